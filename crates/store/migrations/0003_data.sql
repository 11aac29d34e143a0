-- Tenant data: entries, the tag keys and the mirrored events. (tenant_id, chain_id) leads every key, row
-- security is enabled and forced on parents and partitions, and every policy compares both with the
-- scope. Partitions carry no policy and no grant: read directly they are empty for everyone.

CREATE TABLE cofferdam.entries (
    tenant_id bytea NOT NULL CHECK (octet_length(tenant_id) = 32),
    chain_id bigint NOT NULL CHECK (chain_id > 0),
    seq bigint NOT NULL CHECK (seq >= 0),
    -- keccak256(tag key ‖ external id): finds a repeat, also after the entry was erased.
    external_id_tag bytea NOT NULL CHECK (octet_length(external_id_tag) = 32),
    previous bytea NOT NULL CHECK (octet_length(previous) = 32),
    commitment bytea NOT NULL CHECK (octet_length(commitment) = 32),
    entry_hash bytea NOT NULL CHECK (octet_length(entry_hash) = 32),
    -- NULL once the entry or one of its fields was erased.
    seed bytea CHECK (octet_length(seed) = 32),
    action text NOT NULL CHECK (octet_length(action) <= 65536),
    actor text NOT NULL CHECK (octet_length(actor) <= 65536),
    external_id text NOT NULL CHECK (octet_length(external_id) <= 256),
    occurred_at text NOT NULL CHECK (octet_length(occurred_at) <= 65536),
    payload text NOT NULL CHECK (octet_length(payload) <= 1048576),
    policy_version text NOT NULL CHECK (octet_length(policy_version) <= 65536),
    reason text NOT NULL CHECK (octet_length(reason) <= 65536),
    recorded_at text NOT NULL CHECK (octet_length(recorded_at) <= 65536),
    resource text NOT NULL CHECK (octet_length(resource) <= 65536),
    result text NOT NULL CHECK (octet_length(result) <= 65536),
    PRIMARY KEY (tenant_id, chain_id, seq),
    UNIQUE (tenant_id, chain_id, external_id_tag)
) PARTITION BY HASH (tenant_id);
ALTER TABLE cofferdam.entries ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
DO $$
BEGIN
    FOR i IN 0..7 LOOP
        EXECUTE format('CREATE TABLE cofferdam.entries_%s PARTITION OF cofferdam.entries '
            'FOR VALUES WITH (MODULUS 8, REMAINDER %s)', i, i);
        EXECUTE format('ALTER TABLE cofferdam.entries_%s '
            'ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', i);
    END LOOP;
END $$;
GRANT SELECT (tenant_id, chain_id, seq, external_id_tag, previous, commitment, entry_hash, seed, action,
        actor, external_id, occurred_at, payload, policy_version, reason, recorded_at, resource, result)
    ON cofferdam.entries TO cofferdam_sequencer, cofferdam_sealer, cofferdam_reader;
GRANT INSERT (tenant_id, chain_id, seq, external_id_tag, previous, commitment, entry_hash, seed, action,
        actor, external_id, occurred_at, payload, policy_version, reason, recorded_at, resource, result)
    ON cofferdam.entries TO cofferdam_sequencer;
CREATE POLICY tenant_read ON cofferdam.entries FOR SELECT
    TO cofferdam_sequencer, cofferdam_sealer, cofferdam_reader
    USING (chain_id = (SELECT cofferdam.scope_chain()) AND tenant_id = (SELECT cofferdam.scope_tenant()));
CREATE POLICY tenant_append ON cofferdam.entries FOR INSERT TO cofferdam_sequencer
    WITH CHECK (chain_id = (SELECT cofferdam.scope_chain()) AND tenant_id = (SELECT cofferdam.scope_tenant()));

-- The secret that keys a tenant's external id tags.
CREATE TABLE cofferdam.tag_keys (
    tenant_id bytea NOT NULL CHECK (octet_length(tenant_id) = 32),
    chain_id bigint NOT NULL CHECK (chain_id > 0),
    key bytea NOT NULL CHECK (octet_length(key) = 32),
    PRIMARY KEY (tenant_id, chain_id),
    FOREIGN KEY (tenant_id, chain_id) REFERENCES cofferdam.tenants (tenant_id, chain_id)
);
ALTER TABLE cofferdam.tag_keys ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
GRANT SELECT (tenant_id, chain_id, key) ON cofferdam.tag_keys
    TO cofferdam_sequencer, cofferdam_sealer, cofferdam_reader;
GRANT INSERT (tenant_id, chain_id, key) ON cofferdam.tag_keys TO cofferdam_sequencer;
CREATE POLICY tenant_read ON cofferdam.tag_keys FOR SELECT
    TO cofferdam_sequencer, cofferdam_sealer, cofferdam_reader
    USING (chain_id = (SELECT cofferdam.scope_chain()) AND tenant_id = (SELECT cofferdam.scope_tenant()));
CREATE POLICY tenant_create ON cofferdam.tag_keys FOR INSERT TO cofferdam_sequencer
    WITH CHECK (chain_id = (SELECT cofferdam.scope_chain()) AND tenant_id = (SELECT cofferdam.scope_tenant()));

-- Mirrored `Anchored` events, of registered tenants and of strangers. Keys come from the chain.
CREATE TABLE cofferdam.anchored (
    tenant_id bytea NOT NULL CHECK (octet_length(tenant_id) = 32),
    chain_id bigint NOT NULL CHECK (chain_id > 0),
    block_hash bytea NOT NULL CHECK (octet_length(block_hash) = 32),
    log_index bigint NOT NULL CHECK (log_index >= 0),
    batch_index bigint NOT NULL CHECK (batch_index >= 0),
    first_seq bigint NOT NULL CHECK (first_seq >= 0),
    count bigint NOT NULL CHECK (count >= 0),
    root bytea NOT NULL CHECK (octet_length(root) = 32),
    anchored_at bigint NOT NULL CHECK (anchored_at >= 0),
    block_number bigint NOT NULL CHECK (block_number >= 0),
    tx_hash bytea NOT NULL CHECK (octet_length(tx_hash) = 32),
    PRIMARY KEY (tenant_id, chain_id, block_hash, log_index)
);
CREATE INDEX anchored_by_batch ON cofferdam.anchored (tenant_id, chain_id, batch_index);
CREATE INDEX anchored_by_block ON cofferdam.anchored (chain_id, block_number);

-- Mirrored `AnchorerSet` events.
CREATE TABLE cofferdam.anchorer_set (
    tenant_id bytea NOT NULL CHECK (octet_length(tenant_id) = 32),
    chain_id bigint NOT NULL CHECK (chain_id > 0),
    block_hash bytea NOT NULL CHECK (octet_length(block_hash) = 32),
    log_index bigint NOT NULL CHECK (log_index >= 0),
    anchorer bytea NOT NULL CHECK (octet_length(anchorer) = 20),
    nonce bigint NOT NULL CHECK (nonce >= 0),
    block_number bigint NOT NULL CHECK (block_number >= 0),
    tx_hash bytea NOT NULL CHECK (octet_length(tx_hash) = 32),
    PRIMARY KEY (tenant_id, chain_id, block_hash, log_index)
);
CREATE INDEX anchorer_set_by_block ON cofferdam.anchorer_set (chain_id, block_number);

ALTER TABLE cofferdam.anchored ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE cofferdam.anchorer_set ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
GRANT SELECT (tenant_id, chain_id, block_hash, log_index, batch_index, first_seq, count, root, anchored_at,
        block_number, tx_hash) ON cofferdam.anchored TO cofferdam_sealer, cofferdam_reader;
GRANT SELECT (tenant_id, chain_id, block_hash, log_index, anchorer, nonce, block_number, tx_hash)
    ON cofferdam.anchorer_set TO cofferdam_sealer, cofferdam_reader;
-- The indexer inserts blind: it may write what the chain said and can read none of it back.
GRANT INSERT (tenant_id, chain_id, block_hash, log_index, batch_index, first_seq, count, root, anchored_at,
        block_number, tx_hash) ON cofferdam.anchored TO cofferdam_indexer;
GRANT INSERT (tenant_id, chain_id, block_hash, log_index, anchorer, nonce, block_number, tx_hash)
    ON cofferdam.anchorer_set TO cofferdam_indexer;
CREATE POLICY tenant_read ON cofferdam.anchored FOR SELECT TO cofferdam_sealer, cofferdam_reader
    USING (chain_id = (SELECT cofferdam.scope_chain()) AND tenant_id = (SELECT cofferdam.scope_tenant()));
CREATE POLICY tenant_read ON cofferdam.anchorer_set FOR SELECT TO cofferdam_sealer, cofferdam_reader
    USING (chain_id = (SELECT cofferdam.scope_chain()) AND tenant_id = (SELECT cofferdam.scope_tenant()));
CREATE POLICY blind_insert ON cofferdam.anchored FOR INSERT TO cofferdam_indexer
    WITH CHECK (chain_id = (SELECT cofferdam.scope_chain())
        AND ((SELECT cofferdam.scope_tenant()) IS NULL OR tenant_id = (SELECT cofferdam.scope_tenant())));
CREATE POLICY blind_insert ON cofferdam.anchorer_set FOR INSERT TO cofferdam_indexer
    WITH CHECK (chain_id = (SELECT cofferdam.scope_chain())
        AND ((SELECT cofferdam.scope_tenant()) IS NULL OR tenant_id = (SELECT cofferdam.scope_tenant())));

-- The rewind door. After a reorg the indexer must take back what it mirrored above the common ancestor,
-- and this function is all it can do to mirrored rows: its owner may delete them and read two columns.
GRANT SELECT (chain_id, block_number) ON cofferdam.anchored, cofferdam.anchorer_set TO cofferdam_rewinder;
GRANT DELETE ON cofferdam.anchored, cofferdam.anchorer_set TO cofferdam_rewinder;
CREATE POLICY rewind_read ON cofferdam.anchored FOR SELECT TO cofferdam_rewinder
    USING (chain_id = (SELECT cofferdam.scope_chain()) AND (SELECT cofferdam.scope_tenant()) IS NULL);
CREATE POLICY rewind_read ON cofferdam.anchorer_set FOR SELECT TO cofferdam_rewinder
    USING (chain_id = (SELECT cofferdam.scope_chain()) AND (SELECT cofferdam.scope_tenant()) IS NULL);
CREATE POLICY rewind ON cofferdam.anchored FOR DELETE TO cofferdam_rewinder
    USING (chain_id = (SELECT cofferdam.scope_chain()) AND (SELECT cofferdam.scope_tenant()) IS NULL);
CREATE POLICY rewind ON cofferdam.anchorer_set FOR DELETE TO cofferdam_rewinder
    USING (chain_id = (SELECT cofferdam.scope_chain()) AND (SELECT cofferdam.scope_tenant()) IS NULL);
CREATE FUNCTION cofferdam.rewind(above bigint) RETURNS void LANGUAGE sql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    DELETE FROM cofferdam.anchored a
        WHERE a.chain_id = (SELECT cofferdam.scope_chain()) AND a.block_number > above;
    DELETE FROM cofferdam.anchorer_set a
        WHERE a.chain_id = (SELECT cofferdam.scope_chain()) AND a.block_number > above;
END;
GRANT EXECUTE ON FUNCTION cofferdam.rewind(bigint) TO cofferdam_indexer;
GRANT CREATE ON SCHEMA cofferdam TO cofferdam_rewinder;
ALTER FUNCTION cofferdam.rewind(bigint) OWNER TO cofferdam_rewinder;
REVOKE CREATE ON SCHEMA cofferdam FROM cofferdam_rewinder;

-- No column statistics. The planner consults them across row security for leakproof operators, so
-- `EXPLAIN … WHERE actor = 'x'` would tell a tenant how common 'x' is among its neighbours. Every
-- query goes by key, so nothing is lost.
DO $$
DECLARE
    c record;
BEGIN
    FOR c IN SELECT a.attrelid::regclass AS rel, a.attname FROM pg_attribute a
        JOIN pg_class r ON r.oid = a.attrelid
        WHERE r.relnamespace = 'cofferdam'::regnamespace AND r.relkind IN ('r', 'p')
            AND r.relname <> 'migrations' AND a.attnum > 0 AND NOT a.attisdropped
    LOOP
        EXECUTE format('ALTER TABLE ONLY %s ALTER COLUMN %I SET STATISTICS 0', c.rel, c.attname);
    END LOOP;
END $$;
