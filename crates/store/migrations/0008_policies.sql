-- Policies that tenants signed and handed in, for the daemon to publish and to follow until they are final.

-- What was handed in, one for each version. Control: hashes and addresses, all of them public once they
-- are published, and read across tenants by the daemon.
CREATE TABLE cofferdam.policy_submissions (
    tenant_id bytea NOT NULL CHECK (octet_length(tenant_id) = 32),
    chain_id bigint NOT NULL CHECK (chain_id > 0),
    version bigint NOT NULL CHECK (version >= 1),
    policy_hash bytea NOT NULL CHECK (octet_length(policy_hash) = 32),
    verdict_signer bytea NOT NULL CHECK (octet_length(verdict_signer) = 20),
    not_before bigint NOT NULL CHECK (not_before >= 0),
    not_after bigint NOT NULL CHECK (not_after >= 0),
    -- 64 bits, all of which a signer may use.
    deadline numeric(20, 0) NOT NULL CHECK (deadline >= 0),
    signature bytea NOT NULL CHECK (octet_length(signature) <= 65536),
    submitted_at timestamptz NOT NULL DEFAULT now(),
    -- Why it is not published any more; gone once it is handed in again.
    failed text CHECK (octet_length(failed) <= 4096),
    -- From the mirrored event; all empty until then, and again after a reorg.
    block_number bigint CHECK (block_number >= 0),
    block_hash bytea CHECK (octet_length(block_hash) = 32),
    tx_hash bytea CHECK (octet_length(tx_hash) = 32),
    PRIMARY KEY (tenant_id, chain_id, version),
    FOREIGN KEY (tenant_id, chain_id) REFERENCES cofferdam.heads (tenant_id, chain_id),
    CONSTRAINT published_whole CHECK (num_nonnulls(block_number, block_hash, tx_hash) IN (0, 3)),
    CONSTRAINT published_or_failed CHECK (block_number IS NULL OR failed IS NULL)
);
CREATE INDEX policy_submissions_waiting ON cofferdam.policy_submissions (tenant_id, chain_id, version)
    WHERE block_number IS NULL AND failed IS NULL;
CREATE INDEX policy_submissions_by_block ON cofferdam.policy_submissions (chain_id, block_number)
    WHERE block_number IS NOT NULL;
ALTER TABLE cofferdam.policy_submissions ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
GRANT SELECT (tenant_id, chain_id, version, policy_hash, verdict_signer, not_before, not_after, deadline,
        signature, submitted_at, failed, block_number, block_hash, tx_hash) ON cofferdam.policy_submissions
    TO cofferdam_sequencer, cofferdam_sealer, cofferdam_indexer, cofferdam_reader;
GRANT INSERT (tenant_id, chain_id, version, policy_hash, verdict_signer, not_before, not_after, deadline, signature),
    UPDATE (policy_hash, verdict_signer, not_before, not_after, deadline, signature, submitted_at, failed)
    ON cofferdam.policy_submissions TO cofferdam_sequencer;
GRANT UPDATE (failed, block_number, block_hash, tx_hash) ON cofferdam.policy_submissions
    TO cofferdam_sealer, cofferdam_indexer;
CREATE POLICY daemon_read ON cofferdam.policy_submissions FOR SELECT
    TO cofferdam_sequencer, cofferdam_sealer, cofferdam_indexer
    USING (chain_id = (SELECT cofferdam.scope_chain())
        AND ((SELECT cofferdam.scope_tenant()) IS NULL OR tenant_id = (SELECT cofferdam.scope_tenant())));
CREATE POLICY tenant_read ON cofferdam.policy_submissions FOR SELECT TO cofferdam_reader
    USING (chain_id = (SELECT cofferdam.scope_chain()) AND tenant_id = (SELECT cofferdam.scope_tenant()));
CREATE POLICY tenant_submit ON cofferdam.policy_submissions FOR INSERT TO cofferdam_sequencer
    WITH CHECK (chain_id = (SELECT cofferdam.scope_chain()) AND tenant_id = (SELECT cofferdam.scope_tenant()));
CREATE POLICY tenant_again ON cofferdam.policy_submissions FOR UPDATE TO cofferdam_sequencer, cofferdam_sealer
    USING (chain_id = (SELECT cofferdam.scope_chain()) AND tenant_id = (SELECT cofferdam.scope_tenant()))
    WITH CHECK (chain_id = (SELECT cofferdam.scope_chain()) AND tenant_id = (SELECT cofferdam.scope_tenant()));
CREATE POLICY daemon_reconcile ON cofferdam.policy_submissions FOR UPDATE TO cofferdam_indexer
    USING (chain_id = (SELECT cofferdam.scope_chain())
        AND ((SELECT cofferdam.scope_tenant()) IS NULL OR tenant_id = (SELECT cofferdam.scope_tenant())))
    WITH CHECK (chain_id = (SELECT cofferdam.scope_chain())
        AND ((SELECT cofferdam.scope_tenant()) IS NULL OR tenant_id = (SELECT cofferdam.scope_tenant())));

-- Which policy an intent carries, and what became of it: what `postings` is to batches.
CREATE TABLE cofferdam.policy_postings (
    tenant_id bytea NOT NULL CHECK (octet_length(tenant_id) = 32),
    chain_id bigint NOT NULL CHECK (chain_id > 0),
    version bigint NOT NULL CHECK (version >= 1),
    intent bytea NOT NULL CHECK (octet_length(intent) = 32),
    -- From the receipt: NULL while the intent is under way, again after a reorg.
    published boolean,
    gas bigint CHECK (gas >= 0),
    fee numeric(78, 0) CHECK (fee >= 0),
    PRIMARY KEY (tenant_id, chain_id, version, intent),
    FOREIGN KEY (tenant_id, chain_id, version)
        REFERENCES cofferdam.policy_submissions (tenant_id, chain_id, version)
);
CREATE INDEX policy_postings_by_intent ON cofferdam.policy_postings (chain_id, intent);
ALTER TABLE cofferdam.policy_postings ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
GRANT SELECT (tenant_id, chain_id, version, intent, published, gas, fee),
    INSERT (tenant_id, chain_id, version, intent), UPDATE (published, gas, fee)
    ON cofferdam.policy_postings TO cofferdam_sealer;
CREATE POLICY daemon ON cofferdam.policy_postings FOR ALL TO cofferdam_sealer
    USING (chain_id = (SELECT cofferdam.scope_chain())
        AND ((SELECT cofferdam.scope_tenant()) IS NULL OR tenant_id = (SELECT cofferdam.scope_tenant())))
    WITH CHECK (chain_id = (SELECT cofferdam.scope_chain())
        AND ((SELECT cofferdam.scope_tenant()) IS NULL OR tenant_id = (SELECT cofferdam.scope_tenant())));

-- No column statistics, as before.
DO $$
DECLARE
    c record;
BEGIN
    FOR c IN SELECT a.attrelid::regclass AS rel, a.attname FROM pg_attribute a
        WHERE a.attrelid IN ('cofferdam.policy_submissions'::regclass, 'cofferdam.policy_postings'::regclass)
            AND a.attnum > 0 AND NOT a.attisdropped
    LOOP
        EXECUTE format('ALTER TABLE ONLY %s ALTER COLUMN %I SET STATISTICS 0', c.rel, c.attname);
    END LOOP;
END $$;
