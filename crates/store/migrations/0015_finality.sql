-- Every answer says which event it comes from, and whether that may still go; an answer about a period, whether the
-- event may that ended it. New columns come last: a view can be replaced in no other way.

-- What the chain's own tags say of a block; NULL of none.
CREATE FUNCTION cofferdam.finality(block bigint, safe bigint, final bigint) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN block <= final THEN 'final' WHEN block <= safe THEN 'safe'
        WHEN block IS NOT NULL THEN 'latest' END;
GRANT EXECUTE ON FUNCTION cofferdam.finality(bigint, bigint, bigint) TO cofferdam_reader;

CREATE OR REPLACE VIEW cofferdam.anchors WITH (security_invoker = true) AS
    SELECT a.tenant_id, a.chain_id, a.batch_index, a.first_seq, a.count, a.root, a.anchored_at, a.block_number,
        a.block_hash, a.tx_hash, a.log_index,
        cofferdam.finality(a.block_number, c.safe_number, c.final_number) AS finality, a.block_time
    FROM cofferdam.anchored a LEFT JOIN cofferdam.checkpoints c ON c.chain_id = a.chain_id;

CREATE OR REPLACE VIEW cofferdam.current_anchors WITH (security_invoker = true) AS
    SELECT h.tenant_id, h.chain_id, h.batches, h.entries, s.anchorer, a.root, a.anchored_at, a.block_number,
        a.block_hash, a.tx_hash, a.finality, a.block_time, a.log_index
    FROM cofferdam.mirror_heads h
    LEFT JOIN LATERAL (
        SELECT o.root, o.anchored_at, o.block_number, o.block_hash, o.block_time, o.tx_hash, o.log_index, o.finality
        FROM cofferdam.anchors o
        WHERE o.tenant_id = h.tenant_id AND o.chain_id = h.chain_id
        ORDER BY o.batch_index DESC LIMIT 1) a ON true
    LEFT JOIN LATERAL (
        SELECT o.anchorer FROM cofferdam.anchorer_set o
        WHERE o.tenant_id = h.tenant_id AND o.chain_id = h.chain_id
        ORDER BY o.nonce DESC LIMIT 1) s ON true;

CREATE OR REPLACE VIEW cofferdam.policies_in_force WITH (security_invoker = true) AS
    SELECT p.tenant_id, p.chain_id, p.version, p.policy_hash, p.verdict_signer, p.not_before, p.not_after,
        p.recorded_at, greatest(p.recorded_at, p.not_before) AS in_force_from,
        -- What came next, a policy or a revocation, ends it.
        least(p.not_after + 1, p.next_at) AS in_force_until,
        p.block_number, p.block_hash, p.block_time, p.tx_hash, p.log_index,
        cofferdam.finality(p.block_number, c.safe_number, c.final_number) AS finality,
        cofferdam.finality(p.next_block, c.safe_number, c.final_number) AS until_finality
    FROM (
        SELECT o.*, lead(o.recorded_at) OVER next AS next_at, lead(o.block_number) OVER next AS next_block
        FROM cofferdam.policies o
        WINDOW next AS (PARTITION BY o.tenant_id, o.chain_id ORDER BY o.version)) p
    LEFT JOIN cofferdam.checkpoints c ON c.chain_id = p.chain_id
    WHERE p.kind = 'PolicyPublished';

CREATE OR REPLACE VIEW cofferdam.scopes_in_force WITH (security_invoker = true) AS
    SELECT s.tenant_id, s.chain_id, s.event_index, s.agent, s.capability, g.not_before, s.not_after, g.native_max,
        g.target, g.selector, g.token_max, s.recorded_at,
        greatest(s.recorded_at, g.not_before) AS in_force_from,
        least(s.not_after + 1, n.block_time) AS in_force_until,
        s.block_number, s.block_hash, s.block_time, s.tx_hash, s.log_index,
        cofferdam.finality(s.block_number, c.safe_number, c.final_number) AS finality,
        cofferdam.finality(n.block_number, c.safe_number, c.final_number) AS until_finality
    FROM cofferdam.scopes s
    CROSS JOIN LATERAL (
        SELECT o.not_before, o.native_max, o.target, o.selector, o.token_max FROM cofferdam.scopes o
        WHERE o.tenant_id = s.tenant_id AND o.chain_id = s.chain_id AND o.agent = s.agent
            AND o.event_index <= s.event_index AND o.capability = s.capability AND o.kind = 'Granted'
        ORDER BY o.event_index DESC LIMIT 1) g
    -- Whatever is said next of this grant, or of all of the agent's, ends the period.
    LEFT JOIN LATERAL (
        SELECT o.block_time, o.block_number FROM cofferdam.scopes o
        WHERE o.tenant_id = s.tenant_id AND o.chain_id = s.chain_id AND o.agent = s.agent
            AND o.event_index > s.event_index AND (o.capability = s.capability OR o.capability IS NULL)
        ORDER BY o.event_index LIMIT 1) n ON true
    LEFT JOIN cofferdam.checkpoints c ON c.chain_id = s.chain_id
    WHERE s.kind IN ('Granted', 'Extended');

CREATE OR REPLACE VIEW cofferdam.account_roles WITH (security_invoker = true) AS
    SELECT p.tenant_id, p.chain_id, p.holder,
        (ARRAY['none', 'owner', 'approver', 'authoriser', 'executor', 'guardian'])[p.role + 1] AS role,
        p.block_time AS held_from, p.held_until,
        p.block_number, p.block_hash, p.block_time, p.tx_hash, p.log_index,
        cofferdam.finality(p.block_number, c.safe_number, c.final_number) AS finality,
        cofferdam.finality(p.next_block, c.safe_number, c.final_number) AS until_finality
    FROM (
        SELECT told.*, lead(block_time) OVER next AS held_until, lead(block_number) OVER next AS next_block
        FROM (
            SELECT e.tenant_id, e.chain_id, e.event_index, e.block_number, e.block_hash, e.block_time, e.tx_hash,
                e.log_index, e.holder, e.role
            FROM cofferdam.account_events e WHERE e.kind = 'RoleSet'
            UNION ALL
            -- The holders an account starts with: twelve bytes of role, twenty of address.
            SELECT e.tenant_id, e.chain_id, e.event_index, e.block_number, e.block_hash, e.block_time, e.tx_hash,
                e.log_index, substring(e.holders FROM 32 * n + 13 FOR 20), get_byte(e.holders, 32 * n + 11)
            FROM cofferdam.account_events e, generate_series(0, octet_length(e.holders) / 32 - 1) n
            WHERE e.kind = 'Initialized') told
        WINDOW next AS (PARTITION BY tenant_id, chain_id, holder ORDER BY event_index)) p
    LEFT JOIN cofferdam.checkpoints c ON c.chain_id = p.chain_id
    WHERE p.role <> 0;

-- What an account's agents could spend of each asset at most in one call and in two days on end, and when. The zero
-- address is the native currency. What they did spend is in the account's storage and in no event.
CREATE VIEW cofferdam.spending_limits WITH (security_invoker = true) AS
    SELECT p.tenant_id, p.chain_id, p.token, p.per_call, p.per_day, p.block_time AS in_force_from, p.in_force_until,
        p.block_number, p.block_hash, p.block_time, p.tx_hash, p.log_index,
        cofferdam.finality(p.block_number, c.safe_number, c.final_number) AS finality,
        cofferdam.finality(p.next_block, c.safe_number, c.final_number) AS until_finality
    FROM (
        SELECT told.*, lead(block_time) OVER next AS in_force_until, lead(block_number) OVER next AS next_block
        FROM (
            SELECT e.tenant_id, e.chain_id, e.event_index, e.block_number, e.block_hash, e.block_time, e.tx_hash,
                e.log_index, e.kind, coalesce(e.token, decode(repeat('00', 20), 'hex')) AS token, e.per_call, e.per_day
            FROM cofferdam.account_events e WHERE e.kind IN ('Initialized', 'LimitSet', 'TokenUnlisted')) told
        WINDOW next AS (PARTITION BY tenant_id, chain_id, token ORDER BY event_index)) p
    LEFT JOIN cofferdam.checkpoints c ON c.chain_id = p.chain_id
    WHERE p.kind <> 'TokenUnlisted';

DO $$
DECLARE
    v text;
    columns text;
BEGIN
    FOREACH v IN ARRAY ARRAY['anchors', 'current_anchors', 'policies_in_force', 'scopes_in_force', 'account_roles',
            'spending_limits'] LOOP
        SELECT string_agg(quote_ident(attname), ', ') INTO columns FROM pg_attribute
            WHERE attrelid = format('cofferdam.%I', v)::regclass AND attnum > 0;
        EXECUTE format('GRANT SELECT (%s) ON cofferdam.%I TO cofferdam_reader', columns, v);
    END LOOP;
END $$;
