-- What comes next to a row is found on the way over a tenant's rows, or as the last of them. A join to the row of
-- the next number cannot use a key under row security: the sum in its condition may fail, and so say something of a
-- row before it is known to be the tenant's.
CREATE OR REPLACE VIEW cofferdam.current_anchors WITH (security_invoker = true) AS
    SELECT h.tenant_id, h.chain_id, h.batches, h.entries, s.anchorer, a.root, a.anchored_at, a.block_number,
        a.block_hash, a.tx_hash, a.finality
    FROM cofferdam.mirror_heads h
    LEFT JOIN LATERAL (
        SELECT o.root, o.anchored_at, o.block_number, o.block_hash, o.tx_hash, o.finality FROM cofferdam.anchors o
        WHERE o.tenant_id = h.tenant_id AND o.chain_id = h.chain_id
        ORDER BY o.batch_index DESC LIMIT 1) a ON true
    LEFT JOIN LATERAL (
        SELECT o.anchorer FROM cofferdam.anchorer_set o
        WHERE o.tenant_id = h.tenant_id AND o.chain_id = h.chain_id
        ORDER BY o.nonce DESC LIMIT 1) s ON true;

CREATE OR REPLACE VIEW cofferdam.policies_in_force WITH (security_invoker = true) AS
    SELECT tenant_id, chain_id, version, policy_hash, verdict_signer, not_before, not_after, recorded_at,
        greatest(recorded_at, not_before) AS in_force_from,
        -- What came next, a policy or a revocation, ends it.
        least(not_after + 1, next_at) AS in_force_until
    FROM (
        SELECT p.*, lead(p.recorded_at) OVER (PARTITION BY p.tenant_id, p.chain_id ORDER BY p.version) AS next_at
        FROM cofferdam.policies p) told
    WHERE kind = 'PolicyPublished';
