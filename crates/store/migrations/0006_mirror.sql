-- The mirror: every event of the contracts, decoded. docs/mirror.md describes it table by table.
--
-- One table for each counter of the contracts. The counter ends the table's key, so that neither a row that
-- is there twice nor a gap can hide: (tenant_id, chain_id, 0), (…, 1), (…, 2), … A counter is unique on
-- one fork only, and rows of two forks never meet: a reorg takes the old ones back in the transaction that
-- moves the checkpoint.
--
-- What was mirrored before has AuditAnchor's events alone, so the mirror starts again. What is known of
-- our own batches stays: the same events confirm it.
DROP FUNCTION cofferdam.rewind(bigint);
DROP TABLE cofferdam.anchored, cofferdam.anchorer_set;
TRUNCATE cofferdam.checkpoints, cofferdam.blocks;

-- Up to which block the chain itself says that nothing changes any more, or hardly. NULL: not known yet.
ALTER TABLE cofferdam.checkpoints
    ADD COLUMN safe_number bigint CHECK (safe_number >= 0),
    ADD COLUMN final_number bigint CHECK (final_number >= 0);
GRANT SELECT (safe_number, final_number) ON cofferdam.checkpoints
    TO cofferdam_sealer, cofferdam_indexer, cofferdam_reader;
GRANT UPDATE (safe_number, final_number) ON cofferdam.checkpoints TO cofferdam_indexer;

CREATE TABLE cofferdam.anchored (
    batch_index bigint NOT NULL CHECK (batch_index >= 0),
    first_seq bigint NOT NULL CHECK (first_seq >= 0),
    count bigint NOT NULL CHECK (count >= 0),
    root bytea NOT NULL CHECK (octet_length(root) = 32),
    anchored_at bigint NOT NULL CHECK (anchored_at >= 0)
);
CREATE TABLE cofferdam.anchorer_set (
    nonce bigint NOT NULL CHECK (nonce >= 0),
    -- Zero: nobody may anchor.
    anchorer bytea NOT NULL CHECK (octet_length(anchorer) = 20)
);
-- What somebody's call left out, and the tenant that the call named. Any stranger can name any.
CREATE TABLE cofferdam.skipped (
    item bigint NOT NULL CHECK (item >= 0),
    reason bigint NOT NULL CHECK (reason >= 0)
);
CREATE TABLE cofferdam.policies (
    kind text NOT NULL CHECK (kind IN ('PolicyPublished', 'PolicyRevoked')),
    version bigint NOT NULL CHECK (version >= 1),
    recorded_at bigint NOT NULL CHECK (recorded_at >= 0),
    -- NULL of a revocation.
    policy_hash bytea CHECK (octet_length(policy_hash) = 32),
    verdict_signer bytea CHECK (octet_length(verdict_signer) = 20),
    not_before bigint CHECK (not_before >= 0),
    not_after bigint CHECK (not_after >= 0),
    CONSTRAINT whole CHECK (num_nonnulls(policy_hash, verdict_signer, not_before, not_after)
        = CASE kind WHEN 'PolicyPublished' THEN 4 ELSE 0 END)
);
CREATE TABLE cofferdam.scopes (
    kind text NOT NULL CHECK (kind IN ('Granted', 'Extended', 'Revoked', 'AgentRevoked', 'Forfeited')),
    event_index bigint NOT NULL CHECK (event_index >= 0),
    agent bytea NOT NULL CHECK (octet_length(agent) = 20),
    -- NULL of AgentRevoked, which is about all of them.
    capability bytea CHECK (octet_length(capability) = 32),
    not_before bigint CHECK (not_before >= 0),
    not_after bigint CHECK (not_after >= 0),
    recorded_at bigint CHECK (recorded_at >= 0),
    native_max numeric(32, 0) CHECK (native_max >= 0),
    target bytea CHECK (octet_length(target) = 20),
    selector bytea CHECK (octet_length(selector) = 4),
    token_max numeric(32, 0) CHECK (token_max >= 0),
    agent_nonce bigint CHECK (agent_nonce >= 0),
    CONSTRAINT whole CHECK (num_nonnulls(capability, not_before, not_after, recorded_at, native_max, target,
            selector, token_max, agent_nonce)
        = CASE kind WHEN 'Granted' THEN 8 WHEN 'Extended' THEN 3 WHEN 'Forfeited' THEN 2
            WHEN 'Revoked' THEN 1 ELSE 0 END)
);
-- What an agent says of itself. The tenant is the agent: its address, as every tenant's.
CREATE TABLE cofferdam.described (
    agent_nonce bigint NOT NULL CHECK (agent_nonce >= 0),
    -- Bytes, since a stranger's text need not be text.
    endpoint bytea NOT NULL,
    metadata_hash bytea NOT NULL CHECK (octet_length(metadata_hash) = 32),
    erc8004_registry bytea NOT NULL CHECK (octet_length(erc8004_registry) = 20),
    erc8004_id bytea NOT NULL CHECK (octet_length(erc8004_id) = 32)
);
CREATE TABLE cofferdam.account_events (
    kind text NOT NULL CHECK (kind IN ('Initialized', 'RoleSet', 'LimitSet', 'TokenUnlisted', 'DelaySet',
        'FrozenSet', 'Scheduled', 'Vetoed', 'Applied', 'ChangedTogether', 'Recorded', 'Narrowed', 'Proposed',
        'StageReached', 'ExecutedDirectly', 'SignatureAllowed')),
    event_index bigint NOT NULL CHECK (event_index >= 0),
    -- Each of these where the event has such a member, else NULL.
    holder bytea CHECK (octet_length(holder) = 20),
    role bigint CHECK (role >= 0),
    holders bytea CHECK (octet_length(holders) % 32 = 0),
    token bytea CHECK (octet_length(token) = 20),
    per_call numeric(32, 0) CHECK (per_call >= 0),
    per_day numeric(32, 0) CHECK (per_day >= 0),
    delay bigint CHECK (delay >= 0),
    frozen boolean,
    id bigint CHECK (id >= 0),
    change_nonce bigint CHECK (change_nonce >= 0),
    by bytea CHECK (octet_length(by) = 20),
    cosigner bytea CHECK (octet_length(cosigner) = 20),
    target bytea CHECK (octet_length(target) = 20),
    data bytea,
    ready_at bigint CHECK (ready_at >= 0),
    proposal_id bytea CHECK (octet_length(proposal_id) = 32),
    stage bigint CHECK (stage >= 0),
    agent bytea CHECK (octet_length(agent) = 20),
    capability bytea CHECK (octet_length(capability) = 32),
    policy_version bigint CHECK (policy_version >= 0),
    operation_nonce bytea CHECK (octet_length(operation_nonce) = 32),
    expiry bigint CHECK (expiry >= 0),
    calls_hash bytea CHECK (octet_length(calls_hash) = 32),
    hash bytea CHECK (octet_length(hash) = 32),
    until bigint CHECK (until >= 0)
);

-- What every one of them has, and who may do what with it.
DO $$
DECLARE
    -- The last of the key's columns; then what the rewind door reads beside whose row it was.
    tables CONSTANT text[][] := ARRAY[
        ['anchored', 'batch_index', 'batch_index, first_seq'],
        ['anchorer_set', 'nonce', 'nonce'],
        ['skipped', 'block_number, log_index', ''],
        ['policies', 'version', 'version'],
        ['scopes', 'event_index', 'event_index, agent, agent_nonce'],
        ['described', 'agent_nonce', 'agent_nonce'],
        ['account_events', 'event_index', 'event_index']];
    chain CONSTANT text := 'chain_id = (SELECT cofferdam.scope_chain())';
    tenant CONSTANT text := 'tenant_id = (SELECT cofferdam.scope_tenant())';
    nobody CONSTANT text := '(SELECT cofferdam.scope_tenant()) IS NULL';
    t text[];
    columns text;
BEGIN
    FOREACH t SLICE 1 IN ARRAY tables LOOP
        EXECUTE format('ALTER TABLE cofferdam.%1$I '
            'ADD COLUMN tenant_id bytea NOT NULL CHECK (octet_length(tenant_id) = 32), '
            'ADD COLUMN chain_id bigint NOT NULL CHECK (chain_id > 0), '
            'ADD COLUMN block_number bigint NOT NULL CHECK (block_number >= 0), '
            'ADD COLUMN block_hash bytea NOT NULL CHECK (octet_length(block_hash) = 32), '
            'ADD COLUMN block_time bigint NOT NULL CHECK (block_time >= 0), '
            'ADD COLUMN tx_hash bytea NOT NULL CHECK (octet_length(tx_hash) = 32), '
            'ADD COLUMN log_index bigint NOT NULL CHECK (log_index >= 0), '
            'ADD PRIMARY KEY (tenant_id, chain_id, %2$s)', t[1], t[2]);
        -- Where a rewind finds what it takes back.
        EXECUTE format('CREATE INDEX %1$I ON cofferdam.%2$I (chain_id, block_number)', t[1] || '_by_block', t[1]);
        SELECT string_agg(quote_ident(attname), ', ') INTO columns FROM pg_attribute
            WHERE attrelid = format('cofferdam.%I', t[1])::regclass AND attnum > 0;
        EXECUTE format('ALTER TABLE cofferdam.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', t[1]);
        EXECUTE format('GRANT SELECT (%s) ON cofferdam.%I TO cofferdam_sealer, cofferdam_reader', columns, t[1]);
        EXECUTE format('CREATE POLICY tenant_read ON cofferdam.%I FOR SELECT TO cofferdam_sealer, cofferdam_reader '
            'USING (%s AND %s)', t[1], chain, tenant);
        -- The indexer inserts blind: it may write what the chain said and can read none of it back.
        EXECUTE format('GRANT INSERT (%s) ON cofferdam.%I TO cofferdam_indexer', columns, t[1]);
        EXECUTE format('CREATE POLICY blind_insert ON cofferdam.%I FOR INSERT TO cofferdam_indexer '
            'WITH CHECK (%s AND (%s OR %s))', t[1], chain, nobody, tenant);
        EXECUTE format('GRANT SELECT (%s) ON cofferdam.%I TO cofferdam_rewinder',
            concat_ws(', ', 'tenant_id, chain_id, block_number', nullif(t[3], '')), t[1]);
        EXECUTE format('GRANT DELETE ON cofferdam.%I TO cofferdam_rewinder', t[1]);
        EXECUTE format('CREATE POLICY rewind_read ON cofferdam.%I FOR SELECT TO cofferdam_rewinder '
            'USING (%s AND %s)', t[1], chain, nobody);
        EXECUTE format('CREATE POLICY rewind ON cofferdam.%I FOR DELETE TO cofferdam_rewinder '
            'USING (%s AND %s)', t[1], chain, nobody);
    END LOOP;
END $$;
CREATE INDEX scopes_by_agent ON cofferdam.scopes (tenant_id, chain_id, agent, event_index);

-- How far each tenant's counters have come, so that the indexer, which cannot read the rows, sees a gap
-- before it writes past it. No field values: hashes and counts that the chain has too.
CREATE TABLE cofferdam.mirror_heads (
    tenant_id bytea NOT NULL CHECK (octet_length(tenant_id) = 32),
    chain_id bigint NOT NULL CHECK (chain_id > 0),
    -- Anchored: the index and the first entry of the next batch.
    batches bigint NOT NULL DEFAULT 0 CHECK (batches >= 0),
    entries bigint NOT NULL DEFAULT 0 CHECK (entries >= 0),
    -- The live peaks of the history of these batches, highest first. NULL after a rewind, until they are
    -- made again from the rows.
    peaks bytea DEFAULT '' CHECK (octet_length(peaks) % 32 = 0),
    -- The next nonce, version and index of the other tables.
    anchorers bigint NOT NULL DEFAULT 0 CHECK (anchorers >= 0),
    policies bigint NOT NULL DEFAULT 0 CHECK (policies >= 0),
    scopes bigint NOT NULL DEFAULT 0 CHECK (scopes >= 0),
    agent_events bigint NOT NULL DEFAULT 0 CHECK (agent_events >= 0),
    account_events bigint NOT NULL DEFAULT 0 CHECK (account_events >= 0),
    PRIMARY KEY (tenant_id, chain_id)
) WITH (fillfactor = 50);
CREATE INDEX mirror_heads_without_history ON cofferdam.mirror_heads (tenant_id, chain_id) WHERE peaks IS NULL;
ALTER TABLE cofferdam.mirror_heads ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
GRANT SELECT (tenant_id, chain_id, batches, entries, peaks, anchorers, policies, scopes, agent_events, account_events),
    INSERT (tenant_id, chain_id, batches, entries, peaks, anchorers, policies, scopes, agent_events, account_events),
    UPDATE (batches, entries, peaks, anchorers, policies, scopes, agent_events, account_events)
    ON cofferdam.mirror_heads TO cofferdam_indexer;
GRANT SELECT (tenant_id, chain_id, batches, entries, anchorers, policies, scopes, agent_events, account_events)
    ON cofferdam.mirror_heads TO cofferdam_reader;
GRANT SELECT (tenant_id, chain_id, batches, entries, peaks, anchorers, policies, scopes, agent_events, account_events),
    UPDATE (batches, entries, peaks, anchorers, policies, scopes, agent_events, account_events)
    ON cofferdam.mirror_heads TO cofferdam_rewinder;
GRANT DELETE ON cofferdam.mirror_heads TO cofferdam_rewinder;
CREATE POLICY daemon ON cofferdam.mirror_heads FOR ALL TO cofferdam_indexer, cofferdam_rewinder
    USING (chain_id = (SELECT cofferdam.scope_chain()) AND (SELECT cofferdam.scope_tenant()) IS NULL)
    WITH CHECK (chain_id = (SELECT cofferdam.scope_chain()) AND (SELECT cofferdam.scope_tenant()) IS NULL);
CREATE POLICY tenant_read ON cofferdam.mirror_heads FOR SELECT TO cofferdam_reader
    USING (chain_id = (SELECT cofferdam.scope_chain()) AND tenant_id = (SELECT cofferdam.scope_tenant()));

-- The rewind door. After a reorg the indexer must take back what it mirrored above the common ancestor,
-- and this function is all it can do to mirrored rows. What it takes back tells where each counter stands
-- afterwards: at the lowest that went.
CREATE FUNCTION cofferdam.rewind(above bigint) RETURNS void LANGUAGE sql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH gone AS (DELETE FROM cofferdam.anchored r
            WHERE r.chain_id = (SELECT cofferdam.scope_chain()) AND r.block_number > above
            RETURNING r.tenant_id, r.batch_index, r.first_seq),
        low AS (SELECT tenant_id, min(batch_index) AS batches, min(first_seq) AS entries
            FROM gone GROUP BY tenant_id)
    UPDATE cofferdam.mirror_heads h SET batches = low.batches, entries = low.entries,
            peaks = CASE WHEN low.batches = 0 THEN ''::bytea END
        FROM low WHERE h.tenant_id = low.tenant_id AND h.chain_id = (SELECT cofferdam.scope_chain());
    WITH gone AS (DELETE FROM cofferdam.anchorer_set r
            WHERE r.chain_id = (SELECT cofferdam.scope_chain()) AND r.block_number > above
            RETURNING r.tenant_id, r.nonce),
        low AS (SELECT tenant_id, min(nonce) AS next FROM gone GROUP BY tenant_id)
    UPDATE cofferdam.mirror_heads h SET anchorers = low.next
        FROM low WHERE h.tenant_id = low.tenant_id AND h.chain_id = (SELECT cofferdam.scope_chain());
    DELETE FROM cofferdam.skipped r
        WHERE r.chain_id = (SELECT cofferdam.scope_chain()) AND r.block_number > above;
    WITH gone AS (DELETE FROM cofferdam.policies r
            WHERE r.chain_id = (SELECT cofferdam.scope_chain()) AND r.block_number > above
            RETURNING r.tenant_id, r.version),
        -- Versions count from 1.
        low AS (SELECT tenant_id, min(version) - 1 AS next FROM gone GROUP BY tenant_id)
    UPDATE cofferdam.mirror_heads h SET policies = low.next
        FROM low WHERE h.tenant_id = low.tenant_id AND h.chain_id = (SELECT cofferdam.scope_chain());
    -- An agent counts what it says of itself and what it gives up, whoever had granted it, together.
    WITH gone AS (DELETE FROM cofferdam.scopes r
            WHERE r.chain_id = (SELECT cofferdam.scope_chain()) AND r.block_number > above
            RETURNING r.tenant_id, r.event_index, r.agent, r.agent_nonce),
        gone_agents AS (DELETE FROM cofferdam.described r
            WHERE r.chain_id = (SELECT cofferdam.scope_chain()) AND r.block_number > above
            RETURNING r.tenant_id, r.agent_nonce),
        low AS (SELECT tenant_id, min(event_index) AS scopes, min(agent_nonce) AS agent_events FROM (
                SELECT tenant_id, event_index, NULL::bigint AS agent_nonce FROM gone
                UNION ALL SELECT tenant_id, NULL, agent_nonce FROM gone_agents
                UNION ALL SELECT decode(repeat('00', 12), 'hex') || agent, NULL, agent_nonce FROM gone
                    WHERE agent_nonce IS NOT NULL) both_of_them
            GROUP BY tenant_id)
    UPDATE cofferdam.mirror_heads h SET scopes = coalesce(low.scopes, h.scopes),
            agent_events = coalesce(low.agent_events, h.agent_events)
        FROM low WHERE h.tenant_id = low.tenant_id AND h.chain_id = (SELECT cofferdam.scope_chain());
    WITH gone AS (DELETE FROM cofferdam.account_events r
            WHERE r.chain_id = (SELECT cofferdam.scope_chain()) AND r.block_number > above
            RETURNING r.tenant_id, r.event_index),
        low AS (SELECT tenant_id, min(event_index) AS next FROM gone GROUP BY tenant_id)
    UPDATE cofferdam.mirror_heads h SET account_events = low.next
        FROM low WHERE h.tenant_id = low.tenant_id AND h.chain_id = (SELECT cofferdam.scope_chain());
    DELETE FROM cofferdam.mirror_heads h
        WHERE h.chain_id = (SELECT cofferdam.scope_chain()) AND h.batches + h.anchorers + h.policies
            + h.scopes + h.agent_events + h.account_events = 0;
END;
GRANT EXECUTE ON FUNCTION cofferdam.rewind(bigint) TO cofferdam_indexer;
GRANT CREATE ON SCHEMA cofferdam TO cofferdam_rewinder;
ALTER FUNCTION cofferdam.rewind(bigint) OWNER TO cofferdam_rewinder;
REVOKE CREATE ON SCHEMA cofferdam FROM cofferdam_rewinder;

-- What an operator decided on and is found again is open again.
GRANT SELECT (tenant_id, chain_id, incident_id, resolved_at), UPDATE (resolved_at) ON cofferdam.incidents
    TO cofferdam_indexer;
CREATE POLICY indexer_read ON cofferdam.incidents FOR SELECT TO cofferdam_indexer
    USING (chain_id = (SELECT cofferdam.scope_chain())
        AND ((SELECT cofferdam.scope_tenant()) IS NULL OR tenant_id = (SELECT cofferdam.scope_tenant())));
CREATE POLICY indexer_reopen ON cofferdam.incidents FOR UPDATE TO cofferdam_indexer
    USING (chain_id = (SELECT cofferdam.scope_chain())
        AND ((SELECT cofferdam.scope_tenant()) IS NULL OR tenant_id = (SELECT cofferdam.scope_tenant())))
    WITH CHECK (chain_id = (SELECT cofferdam.scope_chain())
        AND ((SELECT cofferdam.scope_tenant()) IS NULL OR tenant_id = (SELECT cofferdam.scope_tenant())));

-- What an auditor asks for. Each runs as whoever asks, under row security, in the scope of one tenant.
-- Times are Unix seconds; something is in force at t while in_force_from <= t AND t < in_force_until.

-- Every anchor, and whether its block may still go.
CREATE VIEW cofferdam.anchors WITH (security_invoker = true) AS
    SELECT a.tenant_id, a.chain_id, a.batch_index, a.first_seq, a.count, a.root, a.anchored_at, a.block_number,
        a.block_hash, a.tx_hash, a.log_index,
        CASE WHEN a.block_number <= c.final_number THEN 'final'
            WHEN a.block_number <= c.safe_number THEN 'safe' ELSE 'latest' END AS finality
    FROM cofferdam.anchored a JOIN cofferdam.checkpoints c ON c.chain_id = a.chain_id;

-- Where a tenant's history stands, and who may go on with it.
CREATE VIEW cofferdam.current_anchors WITH (security_invoker = true) AS
    SELECT h.tenant_id, h.chain_id, h.batches, h.entries, s.anchorer, a.root, a.anchored_at, a.block_number,
        a.block_hash, a.tx_hash, a.finality
    FROM cofferdam.mirror_heads h
    LEFT JOIN cofferdam.anchors a ON a.tenant_id = h.tenant_id AND a.chain_id = h.chain_id
        AND a.batch_index = h.batches - 1
    LEFT JOIN cofferdam.anchorer_set s ON s.tenant_id = h.tenant_id AND s.chain_id = h.chain_id
        AND s.nonce = h.anchorers - 1;

-- When each policy was the active one, and good.
CREATE VIEW cofferdam.policies_in_force WITH (security_invoker = true) AS
    SELECT p.tenant_id, p.chain_id, p.version, p.policy_hash, p.verdict_signer, p.not_before, p.not_after,
        p.recorded_at, greatest(p.recorded_at, p.not_before) AS in_force_from,
        -- What came next, a policy or a revocation, ends it.
        least(p.not_after + 1, n.recorded_at) AS in_force_until
    FROM cofferdam.policies p
    LEFT JOIN cofferdam.policies n ON n.tenant_id = p.tenant_id AND n.chain_id = p.chain_id
        AND n.version = p.version + 1
    WHERE p.kind = 'PolicyPublished';

-- When each agent had each capability, and within which limits. An extension is a period of its own.
CREATE VIEW cofferdam.scopes_in_force WITH (security_invoker = true) AS
    SELECT s.tenant_id, s.chain_id, s.event_index, s.agent, s.capability, g.not_before, s.not_after, g.native_max,
        g.target, g.selector, g.token_max, s.recorded_at,
        greatest(s.recorded_at, g.not_before) AS in_force_from,
        least(s.not_after + 1, n.block_time) AS in_force_until
    FROM cofferdam.scopes s
    CROSS JOIN LATERAL (
        SELECT o.not_before, o.native_max, o.target, o.selector, o.token_max FROM cofferdam.scopes o
        WHERE o.tenant_id = s.tenant_id AND o.chain_id = s.chain_id AND o.agent = s.agent
            AND o.event_index <= s.event_index AND o.capability = s.capability AND o.kind = 'Granted'
        ORDER BY o.event_index DESC LIMIT 1) g
    -- Whatever is said next of this grant, or of all of the agent's, ends the period.
    LEFT JOIN LATERAL (
        SELECT o.block_time FROM cofferdam.scopes o
        WHERE o.tenant_id = s.tenant_id AND o.chain_id = s.chain_id AND o.agent = s.agent
            AND o.event_index > s.event_index AND (o.capability = s.capability OR o.capability IS NULL)
        ORDER BY o.event_index LIMIT 1) n ON true
    WHERE s.kind IN ('Granted', 'Extended');

-- Who had which role in an account, and when; held_until is NULL for those who have it now.
CREATE VIEW cofferdam.account_roles WITH (security_invoker = true) AS
    SELECT tenant_id, chain_id, holder,
        (ARRAY['none', 'owner', 'approver', 'authoriser', 'executor', 'guardian'])[role + 1] AS role,
        held_from, held_until
    FROM (
        SELECT tenant_id, chain_id, holder, role, block_time AS held_from,
            lead(block_time) OVER (PARTITION BY tenant_id, chain_id, holder ORDER BY event_index) AS held_until
        FROM (
            SELECT e.tenant_id, e.chain_id, e.event_index, e.block_time, e.holder, e.role
            FROM cofferdam.account_events e WHERE e.kind = 'RoleSet'
            UNION ALL
            -- The holders an account starts with: twelve bytes of role, twenty of address.
            SELECT e.tenant_id, e.chain_id, e.event_index, e.block_time, substring(e.holders FROM 32 * n + 13 FOR 20),
                get_byte(e.holders, 32 * n + 11)
            FROM cofferdam.account_events e, generate_series(0, octet_length(e.holders) / 32 - 1) n
            WHERE e.kind = 'Initialized') told) periods
    WHERE role <> 0;

DO $$
DECLARE
    v text;
    columns text;
BEGIN
    FOREACH v IN ARRAY ARRAY['anchors', 'current_anchors', 'policies_in_force', 'scopes_in_force', 'account_roles'] LOOP
        SELECT string_agg(quote_ident(attname), ', ') INTO columns FROM pg_attribute
            WHERE attrelid = format('cofferdam.%I', v)::regclass AND attnum > 0;
        EXECUTE format('GRANT SELECT (%s) ON cofferdam.%I TO cofferdam_reader', columns, v);
    END LOOP;
END $$;

-- No column statistics, as before: the planner would consult them across row security.
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
