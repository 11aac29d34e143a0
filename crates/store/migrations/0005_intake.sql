-- The second door: what an application enqueued in a transaction of its own, until the sequencer chains
-- it; and when a tenant's entries become a batch.

GRANT USAGE ON SCHEMA cofferdam TO cofferdam_enqueuer, cofferdam_application;
GRANT EXECUTE ON FUNCTION cofferdam.scope_tenant(), cofferdam.scope_chain() TO cofferdam_enqueuer;

-- Who has something waiting, by the transaction that brought it: how the daemon finds the few tenants
-- with work among many without looking into anybody's entries.
CREATE TABLE cofferdam.arrivals (
    tenant_id bytea NOT NULL CHECK (octet_length(tenant_id) = 32),
    chain_id bigint NOT NULL CHECK (chain_id > 0),
    -- Not granted, so that the default says the truth. Whoever began after another had committed has the
    -- higher one; nothing is waited for and nothing is shared, as a sequence would be.
    xid bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint CHECK (xid >= 0),
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, chain_id, xid)
);
ALTER TABLE cofferdam.arrivals ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
GRANT INSERT (tenant_id, chain_id) ON cofferdam.arrivals TO cofferdam_enqueuer;
GRANT SELECT (tenant_id, chain_id, xid, at) ON cofferdam.arrivals TO cofferdam_sequencer, cofferdam_sealer;
GRANT DELETE ON cofferdam.arrivals TO cofferdam_sequencer;
CREATE POLICY tenant_enqueue ON cofferdam.arrivals FOR INSERT TO cofferdam_enqueuer
    WITH CHECK (chain_id = (SELECT cofferdam.scope_chain()) AND tenant_id = (SELECT cofferdam.scope_tenant()));
CREATE POLICY daemon_read ON cofferdam.arrivals FOR SELECT TO cofferdam_sequencer, cofferdam_sealer
    USING (chain_id = (SELECT cofferdam.scope_chain())
        AND ((SELECT cofferdam.scope_tenant()) IS NULL OR tenant_id = (SELECT cofferdam.scope_tenant())));
CREATE POLICY tenant_chain ON cofferdam.arrivals FOR DELETE TO cofferdam_sequencer
    USING (chain_id = (SELECT cofferdam.scope_chain()) AND tenant_id = (SELECT cofferdam.scope_tenant()));

-- The entries themselves: nine fields, the tenth is the sequencer's. No key over external_id: it would
-- make one application's transaction wait for another's.
CREATE TABLE cofferdam.intake (
    tenant_id bytea NOT NULL CHECK (octet_length(tenant_id) = 32),
    chain_id bigint NOT NULL CHECK (chain_id > 0),
    xid bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint,
    -- Its place in the transaction.
    n bigint NOT NULL CHECK (n >= 0),
    action text NOT NULL CHECK (octet_length(action) <= 65536),
    actor text NOT NULL CHECK (octet_length(actor) <= 65536),
    external_id text NOT NULL CHECK (octet_length(external_id) BETWEEN 1 AND 256),
    occurred_at text NOT NULL CHECK (octet_length(occurred_at) <= 65536),
    payload text NOT NULL CHECK (octet_length(payload) <= 1048576),
    policy_version text NOT NULL CHECK (octet_length(policy_version) <= 65536),
    reason text NOT NULL CHECK (octet_length(reason) <= 65536),
    resource text NOT NULL CHECK (octet_length(resource) <= 65536),
    result text NOT NULL CHECK (octet_length(result) <= 65536),
    PRIMARY KEY (tenant_id, chain_id, xid, n),
    -- What waits is always found.
    FOREIGN KEY (tenant_id, chain_id, xid) REFERENCES cofferdam.arrivals (tenant_id, chain_id, xid)
);
ALTER TABLE cofferdam.intake ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
GRANT INSERT (tenant_id, chain_id, n, action, actor, external_id, occurred_at, payload, policy_version,
        reason, resource, result) ON cofferdam.intake TO cofferdam_enqueuer;
GRANT SELECT (tenant_id, chain_id, xid, n, action, actor, external_id, occurred_at, payload, policy_version,
        reason, resource, result) ON cofferdam.intake TO cofferdam_sequencer;
GRANT DELETE ON cofferdam.intake TO cofferdam_sequencer;
CREATE POLICY tenant_enqueue ON cofferdam.intake FOR INSERT TO cofferdam_enqueuer
    WITH CHECK (chain_id = (SELECT cofferdam.scope_chain()) AND tenant_id = (SELECT cofferdam.scope_tenant()));
CREATE POLICY tenant_read ON cofferdam.intake FOR SELECT TO cofferdam_sequencer
    USING (chain_id = (SELECT cofferdam.scope_chain()) AND tenant_id = (SELECT cofferdam.scope_tenant()));
CREATE POLICY tenant_chain ON cofferdam.intake FOR DELETE TO cofferdam_sequencer
    USING (chain_id = (SELECT cofferdam.scope_chain()) AND tenant_id = (SELECT cofferdam.scope_tenant()));

-- An enqueuer may know whether its tenant is registered, without holding the row as a foreign key would.
GRANT SELECT (tenant_id, chain_id) ON cofferdam.tenants TO cofferdam_enqueuer;
CREATE POLICY tenant_enqueue ON cofferdam.tenants FOR SELECT TO cofferdam_enqueuer
    USING (chain_id = (SELECT cofferdam.scope_chain()) AND tenant_id = (SELECT cofferdam.scope_tenant()));

-- The enqueue door, and all that an application may call: one statement that takes the tenant's scope and
-- gives the session's own back, whatever becomes of the client meanwhile; an error takes it back with the
-- transaction. It refuses, without an error, to speak for another tenant than the session's. Its owner
-- may do nothing else, and nobody can log in as it.
CREATE FUNCTION cofferdam.enqueue(chain bigint, tenant bytea, action text[], actor text[],
    external_id text[], occurred_at text[], payload text[], policy_version text[], reason text[],
    resource text[], result text[])
    RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    own_chain text := coalesce(current_setting('cofferdam.chain_id', true), '');
    own_tenant text := coalesce(current_setting('cofferdam.tenant_id', true), '');
    -- A setting, since the rows may not be read; rolling back to a savepoint takes both back alike.
    before bigint := coalesce(nullif(current_setting('cofferdam.enqueued', true), ''), '0')::bigint;
    known boolean;
BEGIN
    IF own_chain NOT IN ('', chain::text) OR own_tenant NOT IN ('', encode(tenant, 'hex')) THEN
        RETURN 'other scope';
    END IF;
    PERFORM set_config('cofferdam.chain_id', chain::text, true),
        set_config('cofferdam.tenant_id', encode(tenant, 'hex'), true);
    known := EXISTS (SELECT FROM cofferdam.tenants t
        WHERE t.tenant_id = enqueue.tenant AND t.chain_id = enqueue.chain);
    IF known THEN
        INSERT INTO cofferdam.arrivals (tenant_id, chain_id) VALUES (tenant, chain) ON CONFLICT DO NOTHING;
        INSERT INTO cofferdam.intake (tenant_id, chain_id, n, action, actor, external_id, occurred_at,
                payload, policy_version, reason, resource, result)
            SELECT tenant, chain, before + u.place - 1, u.action, u.actor, u.external_id, u.occurred_at,
                u.payload, u.policy_version, u.reason, u.resource, u.result
            FROM UNNEST(enqueue.action, enqueue.actor, enqueue.external_id, enqueue.occurred_at,
                enqueue.payload, enqueue.policy_version, enqueue.reason, enqueue.resource, enqueue.result)
                WITH ORDINALITY u(action, actor, external_id, occurred_at, payload, policy_version, reason,
                    resource, result, place);
        PERFORM set_config('cofferdam.enqueued', (before + cardinality(enqueue.external_id))::text, true);
    END IF;
    PERFORM set_config('cofferdam.chain_id', own_chain, true),
        set_config('cofferdam.tenant_id', own_tenant, true);
    RETURN CASE WHEN known THEN 'enqueued' ELSE 'unknown tenant' END;
END $$;
GRANT EXECUTE ON FUNCTION cofferdam.enqueue(bigint, bytea, text[], text[], text[], text[], text[], text[],
    text[], text[], text[]) TO cofferdam_application;
GRANT CREATE ON SCHEMA cofferdam TO cofferdam_enqueuer;
ALTER FUNCTION cofferdam.enqueue(bigint, bytea, text[], text[], text[], text[], text[], text[],
    text[], text[], text[]) OWNER TO cofferdam_enqueuer;
REVOKE CREATE ON SCHEMA cofferdam FROM cofferdam_enqueuer;

-- What the sequencer cannot chain, it reports.
GRANT INSERT (tenant_id, chain_id, incident_id, kind, detail) ON cofferdam.incidents TO cofferdam_sequencer;
CREATE POLICY tenant_report ON cofferdam.incidents FOR INSERT TO cofferdam_sequencer
    WITH CHECK (chain_id = (SELECT cofferdam.scope_chain()) AND tenant_id = (SELECT cofferdam.scope_tenant()));

-- When a tenant's entries become a batch; where nothing is set, the daemon's own settings count.
ALTER TABLE cofferdam.tenants
    ADD COLUMN seal_entries bigint CHECK (seal_entries BETWEEN 1 AND 1000000),
    ADD COLUMN seal_bytes bigint CHECK (seal_bytes >= 1),
    ADD COLUMN seal_seconds bigint CHECK (seal_seconds BETWEEN 0 AND 31536000);
GRANT SELECT (seal_entries, seal_bytes, seal_seconds) ON cofferdam.tenants
    TO cofferdam_sequencer, cofferdam_sealer, cofferdam_reader;
GRANT UPDATE (seal_entries, seal_bytes, seal_seconds) ON cofferdam.tenants TO cofferdam_sequencer;
CREATE POLICY tenant_set ON cofferdam.tenants FOR UPDATE TO cofferdam_sequencer
    USING (chain_id = (SELECT cofferdam.scope_chain()) AND tenant_id = (SELECT cofferdam.scope_tenant()))
    WITH CHECK (chain_id = (SELECT cofferdam.scope_chain()) AND tenant_id = (SELECT cofferdam.scope_tenant()));

-- The bytes of the values of what is in no batch yet.
ALTER TABLE cofferdam.heads ADD COLUMN unsealed_bytes bigint NOT NULL DEFAULT 0 CHECK (unsealed_bytes >= 0);
GRANT SELECT (unsealed_bytes) ON cofferdam.heads
    TO cofferdam_sequencer, cofferdam_sealer, cofferdam_indexer, cofferdam_reader;
GRANT UPDATE (unsealed_bytes) ON cofferdam.heads TO cofferdam_sequencer, cofferdam_sealer;

-- No column statistics, as everywhere (0003).
DO $$
DECLARE
    c record;
BEGIN
    FOR c IN SELECT a.attrelid::regclass AS rel, a.attname FROM pg_attribute a
        WHERE a.attrelid IN ('cofferdam.arrivals'::regclass, 'cofferdam.intake'::regclass,
                'cofferdam.tenants'::regclass, 'cofferdam.heads'::regclass)
            AND a.attnum > 0 AND NOT a.attisdropped
    LOOP
        EXECUTE format('ALTER TABLE ONLY %s ALTER COLUMN %I SET STATISTICS 0', c.rel, c.attname);
    END LOOP;
END $$;
