-- What accounts spent, day by day. No event says it, so it is read from the accounts' storage at the last block of
-- each UTC day that final blocks have ended. docs/mirror.md says what the numbers count.

CREATE TABLE cofferdam.spending (
    tenant_id bytea NOT NULL CHECK (octet_length(tenant_id) = 32),
    chain_id bigint NOT NULL CHECK (chain_id > 0),
    -- Days since 1970-01-01, as many as a date can be of.
    day bigint NOT NULL CHECK (day BETWEEN 0 AND 2000000000),
    -- Zero: the native currency.
    token bytea NOT NULL CHECK (octet_length(token) = 20),
    -- NULL: no endpoint kept the state that says it. No row: nothing was spent.
    spent numeric(39, 0) CHECK (spent > 0),
    -- The day's last block.
    block_number bigint NOT NULL CHECK (block_number >= 0),
    block_hash bytea NOT NULL CHECK (octet_length(block_hash) = 32),
    block_time bigint NOT NULL CHECK (block_time >= 0),
    PRIMARY KEY (tenant_id, chain_id, day, token)
);
CREATE INDEX spending_by_block ON cofferdam.spending USING brin (chain_id, block_number)
    WITH (pages_per_range = 32, autosummarize = on);
ALTER TABLE cofferdam.spending ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
GRANT SELECT (tenant_id, chain_id, day, token, spent, block_number, block_hash, block_time)
    ON cofferdam.spending TO cofferdam_reader;
CREATE POLICY tenant_read ON cofferdam.spending FOR SELECT TO cofferdam_reader
    USING (chain_id = (SELECT cofferdam.scope_chain()) AND tenant_id = (SELECT cofferdam.scope_tenant()));
GRANT INSERT (tenant_id, chain_id, day, token, spent, block_number, block_hash, block_time)
    ON cofferdam.spending TO cofferdam_indexer;
CREATE POLICY blind_insert ON cofferdam.spending FOR INSERT TO cofferdam_indexer
    WITH CHECK (chain_id = (SELECT cofferdam.scope_chain())
        AND ((SELECT cofferdam.scope_tenant()) IS NULL OR tenant_id = (SELECT cofferdam.scope_tenant())));
GRANT SELECT (tenant_id, chain_id, block_number) ON cofferdam.spending TO cofferdam_rewinder;
GRANT DELETE ON cofferdam.spending TO cofferdam_rewinder;
CREATE POLICY rewind_read ON cofferdam.spending FOR SELECT TO cofferdam_rewinder
    USING (chain_id = (SELECT cofferdam.scope_chain()) AND (SELECT cofferdam.scope_tenant()) IS NULL);
CREATE POLICY rewind ON cofferdam.spending FOR DELETE TO cofferdam_rewinder
    USING (chain_id = (SELECT cofferdam.scope_chain()) AND (SELECT cofferdam.scope_tenant()) IS NULL);

-- The first day whose spending is not read yet: it moves in the transaction that writes a day's rows. And how often
-- the mirror was taken back: what was found before is not written after.
ALTER TABLE cofferdam.checkpoints
    ADD COLUMN spending_day bigint NOT NULL DEFAULT 0 CHECK (spending_day >= 0),
    ADD COLUMN rewinds bigint NOT NULL DEFAULT 0 CHECK (rewinds >= 0);
GRANT SELECT (spending_day) ON cofferdam.checkpoints TO cofferdam_indexer, cofferdam_reader;
GRANT SELECT (rewinds), UPDATE (spending_day, rewinds) ON cofferdam.checkpoints TO cofferdam_indexer;

-- The rewind door takes back what was spent, too.
DROP FUNCTION cofferdam.rewind(bigint);
CREATE FUNCTION cofferdam.rewind(above bigint) RETURNS SETOF bytea LANGUAGE sql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    DELETE FROM cofferdam.skipped r
        WHERE r.chain_id = (SELECT cofferdam.scope_chain()) AND r.block_number > above;
    -- The day of the block itself too: it ends with this block or a later one.
    DELETE FROM cofferdam.spending r
        WHERE r.chain_id = (SELECT cofferdam.scope_chain()) AND r.block_number >= above;
    WITH anchored AS (DELETE FROM cofferdam.anchored r
            WHERE r.chain_id = (SELECT cofferdam.scope_chain()) AND r.block_number > above
            RETURNING r.tenant_id, r.batch_index, r.first_seq),
        anchorer_set AS (DELETE FROM cofferdam.anchorer_set r
            WHERE r.chain_id = (SELECT cofferdam.scope_chain()) AND r.block_number > above
            RETURNING r.tenant_id, r.nonce),
        policies AS (DELETE FROM cofferdam.policies r
            WHERE r.chain_id = (SELECT cofferdam.scope_chain()) AND r.block_number > above
            RETURNING r.tenant_id, r.version),
        scopes AS (DELETE FROM cofferdam.scopes r
            WHERE r.chain_id = (SELECT cofferdam.scope_chain()) AND r.block_number > above
            RETURNING r.tenant_id, r.event_index, r.agent, r.agent_nonce),
        described AS (DELETE FROM cofferdam.described r
            WHERE r.chain_id = (SELECT cofferdam.scope_chain()) AND r.block_number > above
            RETURNING r.tenant_id, r.agent_nonce),
        account_events AS (DELETE FROM cofferdam.account_events r
            WHERE r.chain_id = (SELECT cofferdam.scope_chain()) AND r.block_number > above
            RETURNING r.tenant_id, r.event_index),
        gone (tenant_id, batches, entries, anchorers, policies, scopes, agent_events, account_events) AS (
            SELECT tenant_id, batch_index, first_seq, NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint,
                NULL::bigint FROM anchored
            UNION ALL SELECT tenant_id, NULL, NULL, nonce, NULL, NULL, NULL, NULL FROM anchorer_set
            -- Versions count from 1.
            UNION ALL SELECT tenant_id, NULL, NULL, NULL, version - 1, NULL, NULL, NULL FROM policies
            UNION ALL SELECT tenant_id, NULL, NULL, NULL, NULL, event_index, NULL, NULL FROM scopes
            -- An agent counts what it says of itself and what it gives up, whoever had granted it, together.
            UNION ALL SELECT decode(repeat('00', 12), 'hex') || agent, NULL, NULL, NULL, NULL, NULL, agent_nonce, NULL
                FROM scopes WHERE agent_nonce IS NOT NULL
            UNION ALL SELECT tenant_id, NULL, NULL, NULL, NULL, NULL, agent_nonce, NULL FROM described
            UNION ALL SELECT tenant_id, NULL, NULL, NULL, NULL, NULL, NULL, event_index FROM account_events),
        -- Each counter stands at the lowest that went.
        low AS (SELECT tenant_id, min(batches) AS batches, min(entries) AS entries, min(anchorers) AS anchorers,
                min(policies) AS policies, min(scopes) AS scopes, min(agent_events) AS agent_events,
                min(account_events) AS account_events
            FROM gone GROUP BY tenant_id),
        kept AS (SELECT h.tenant_id, coalesce(low.batches, h.batches) AS batches,
                coalesce(low.entries, h.entries) AS entries, coalesce(low.anchorers, h.anchorers) AS anchorers,
                coalesce(low.policies, h.policies) AS policies, coalesce(low.scopes, h.scopes) AS scopes,
                coalesce(low.agent_events, h.agent_events) AS agent_events,
                coalesce(low.account_events, h.account_events) AS account_events,
                CASE WHEN low.batches IS NULL THEN h.peaks WHEN low.batches = 0 THEN ''::bytea END AS peaks
            FROM low JOIN cofferdam.mirror_heads h
                ON h.tenant_id = low.tenant_id AND h.chain_id = (SELECT cofferdam.scope_chain())),
        nothing_left AS (DELETE FROM cofferdam.mirror_heads h USING kept k
            WHERE h.tenant_id = k.tenant_id AND h.chain_id = (SELECT cofferdam.scope_chain())
                AND k.batches + k.anchorers + k.policies + k.scopes + k.agent_events + k.account_events = 0),
        set_back AS (UPDATE cofferdam.mirror_heads h SET batches = k.batches, entries = k.entries, peaks = k.peaks,
                history_lost = k.peaks IS NULL, anchorers = k.anchorers, policies = k.policies, scopes = k.scopes, agent_events = k.agent_events,
                account_events = k.account_events
            FROM kept k WHERE h.tenant_id = k.tenant_id AND h.chain_id = (SELECT cofferdam.scope_chain())
                AND k.batches + k.anchorers + k.policies + k.scopes + k.agent_events + k.account_events > 0)
    SELECT tenant_id FROM low;
END;
GRANT EXECUTE ON FUNCTION cofferdam.rewind(bigint) TO cofferdam_indexer;
GRANT CREATE ON SCHEMA cofferdam TO cofferdam_rewinder;
ALTER FUNCTION cofferdam.rewind(bigint) OWNER TO cofferdam_rewinder;
REVOKE CREATE ON SCHEMA cofferdam FROM cofferdam_rewinder;

-- What an account's agents spent of an asset on a UTC day, and the limit that the asset had when the day ended. The
-- zero address is the native currency.
CREATE VIEW cofferdam.spending_per_day WITH (security_invoker = true) AS
    SELECT s.tenant_id, s.chain_id, date '1970-01-01' + s.day::integer AS day, s.token, s.spent, l.per_day,
        s.block_number, s.block_hash, s.block_time,
        cofferdam.finality(s.block_number, c.safe_number, c.final_number) AS finality
    FROM cofferdam.spending s
    LEFT JOIN cofferdam.spending_limits l ON l.tenant_id = s.tenant_id AND l.chain_id = s.chain_id
        AND l.token = s.token AND l.in_force_from < 86400 * (s.day + 1)
        AND (l.in_force_until IS NULL OR l.in_force_until >= 86400 * (s.day + 1))
    LEFT JOIN cofferdam.checkpoints c ON c.chain_id = s.chain_id;
GRANT SELECT (tenant_id, chain_id, day, token, spent, per_day, block_number, block_hash, block_time, finality)
    ON cofferdam.spending_per_day TO cofferdam_reader;

-- No column statistics, as before.
DO $$
DECLARE
    c record;
BEGIN
    FOR c IN SELECT attrelid::regclass AS rel, attname FROM pg_attribute
        WHERE attrelid IN ('cofferdam.spending'::regclass, 'cofferdam.checkpoints'::regclass)
            AND attnum > 0 AND NOT attisdropped
    LOOP
        EXECUTE format('ALTER TABLE ONLY %s ALTER COLUMN %I SET STATISTICS 0', c.rel, c.attname);
    END LOOP;
END $$;
