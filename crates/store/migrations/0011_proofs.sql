-- What a node proved of a tenant's history while it still had that state, for receipts that are made later. Control:
-- counters and hashes that the chain has too, found across tenants by the daemon and kept and read tenant by tenant.
CREATE TABLE cofferdam.kept_proofs (
    tenant_id bytea NOT NULL CHECK (octet_length(tenant_id) = 32),
    chain_id bigint NOT NULL CHECK (chain_id > 0),
    block_number bigint NOT NULL CHECK (block_number >= 0),
    block_hash bytea NOT NULL CHECK (octet_length(block_hash) = 32),
    -- How many of the tenant's batches it proves.
    batches bigint NOT NULL CHECK (batches > 0),
    -- A BundleProof as RLP.
    proof bytea NOT NULL CHECK (octet_length(proof) <= 4194304),
    -- By the daemon's clock.
    taken_at timestamptz NOT NULL,
    -- Whether the block is final. A tenant has one such row at most, and one that waits for it.
    is_final boolean NOT NULL DEFAULT false,
    PRIMARY KEY (tenant_id, chain_id, block_number),
    FOREIGN KEY (tenant_id, chain_id) REFERENCES cofferdam.heads (tenant_id, chain_id)
);
CREATE INDEX kept_proofs_unsettled ON cofferdam.kept_proofs (chain_id, block_number) WHERE NOT is_final;
-- Nodes of a tree of hashes do not get smaller.
ALTER TABLE cofferdam.kept_proofs ALTER COLUMN proof SET STORAGE EXTERNAL;
ALTER TABLE cofferdam.kept_proofs ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
GRANT SELECT (tenant_id, chain_id, block_number, block_hash, batches, proof, taken_at, is_final)
    ON cofferdam.kept_proofs TO cofferdam_sealer, cofferdam_reader;
GRANT INSERT (tenant_id, chain_id, block_number, block_hash, batches, proof, taken_at), UPDATE (is_final)
    ON cofferdam.kept_proofs TO cofferdam_sealer;
GRANT DELETE ON cofferdam.kept_proofs TO cofferdam_sealer;
CREATE POLICY daemon_read ON cofferdam.kept_proofs FOR SELECT TO cofferdam_sealer
    USING (chain_id = (SELECT cofferdam.scope_chain())
        AND ((SELECT cofferdam.scope_tenant()) IS NULL OR tenant_id = (SELECT cofferdam.scope_tenant())));
CREATE POLICY tenant_read ON cofferdam.kept_proofs FOR SELECT TO cofferdam_reader
    USING (chain_id = (SELECT cofferdam.scope_chain()) AND tenant_id = (SELECT cofferdam.scope_tenant()));
CREATE POLICY tenant_keep ON cofferdam.kept_proofs FOR INSERT TO cofferdam_sealer
    WITH CHECK (chain_id = (SELECT cofferdam.scope_chain()) AND tenant_id = (SELECT cofferdam.scope_tenant()));
CREATE POLICY tenant_settle ON cofferdam.kept_proofs FOR UPDATE TO cofferdam_sealer
    USING (chain_id = (SELECT cofferdam.scope_chain()) AND tenant_id = (SELECT cofferdam.scope_tenant()))
    WITH CHECK (chain_id = (SELECT cofferdam.scope_chain()) AND tenant_id = (SELECT cofferdam.scope_tenant()));
CREATE POLICY tenant_drop ON cofferdam.kept_proofs FOR DELETE TO cofferdam_sealer
    USING (chain_id = (SELECT cofferdam.scope_chain()) AND tenant_id = (SELECT cofferdam.scope_tenant()));

-- What settled transactions came to, so that nobody who watches sums them up again.
ALTER TABLE cofferdam.finality
    ADD COLUMN settled_gas bigint NOT NULL DEFAULT 0 CHECK (settled_gas >= 0),
    ADD COLUMN settled_fee numeric(78, 0) NOT NULL DEFAULT 0 CHECK (settled_fee >= 0);
GRANT SELECT (settled_gas, settled_fee), INSERT (settled_gas, settled_fee), UPDATE (settled_gas, settled_fee)
    ON cofferdam.finality TO cofferdam_sealer;
-- Row security is forced on the owner too, who has no policy.
ALTER TABLE cofferdam.transactions NO FORCE ROW LEVEL SECURITY;
ALTER TABLE cofferdam.finality NO FORCE ROW LEVEL SECURITY;
INSERT INTO cofferdam.finality AS f (chain_id, head, safe, final, settled_gas, settled_fee)
    SELECT chain_id, 0, 0, 0, coalesce(sum(gas_used), 0), coalesce(sum(fee), 0)
    FROM cofferdam.transactions WHERE settled GROUP BY chain_id
    ON CONFLICT (chain_id) DO UPDATE
    SET settled_gas = EXCLUDED.settled_gas, settled_fee = EXCLUDED.settled_fee;
ALTER TABLE cofferdam.transactions FORCE ROW LEVEL SECURITY;
ALTER TABLE cofferdam.finality FORCE ROW LEVEL SECURITY;

-- No column statistics, as before.
DO $$
DECLARE
    c record;
BEGIN
    FOR c IN SELECT attrelid::regclass AS rel, attname FROM pg_attribute
        WHERE attrelid IN ('cofferdam.kept_proofs'::regclass, 'cofferdam.finality'::regclass)
            AND attnum > 0 AND NOT attisdropped
    LOOP
        EXECUTE format('ALTER TABLE ONLY %s ALTER COLUMN %I SET STATISTICS 0', c.rel, c.attname);
    END LOOP;
END $$;
