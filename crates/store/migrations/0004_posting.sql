-- What posting needs to survive anything: who leads, every transaction before it is sent, which batches
-- each one carries, how settled the chain is, and what an operator decided.

-- One daemon leads. The epoch grows with every change of leader; each write of the leader holds this
-- row and compares, so that what a deposed one still has in hand is refused.
CREATE TABLE cofferdam.leases (
    chain_id bigint PRIMARY KEY CHECK (chain_id > 0),
    epoch bigint NOT NULL CHECK (epoch > 0),
    holder text NOT NULL CHECK (octet_length(holder) BETWEEN 1 AND 256),
    -- By the database's clock alone.
    expires_at timestamptz NOT NULL,
    -- What the leader cannot go on without, such as funds.
    waiting text CHECK (octet_length(waiting) <= 4096)
);
ALTER TABLE cofferdam.leases ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
GRANT SELECT (chain_id, epoch, holder, expires_at, waiting), INSERT (chain_id, epoch, holder, expires_at),
    UPDATE (epoch, holder, expires_at, waiting) ON cofferdam.leases TO cofferdam_sealer;
CREATE POLICY read ON cofferdam.leases FOR SELECT TO cofferdam_sealer
    USING (chain_id = (SELECT cofferdam.scope_chain()));
CREATE POLICY take ON cofferdam.leases FOR INSERT TO cofferdam_sealer
    WITH CHECK (chain_id = (SELECT cofferdam.scope_chain()) AND (SELECT cofferdam.scope_tenant()) IS NULL);
-- Held, not changed, also in a tenant's scope: while a seal is written.
CREATE POLICY hold ON cofferdam.leases FOR UPDATE TO cofferdam_sealer
    USING (chain_id = (SELECT cofferdam.scope_chain()))
    WITH CHECK (chain_id = (SELECT cofferdam.scope_chain()) AND (SELECT cofferdam.scope_tenant()) IS NULL);

-- The blocks that the chain itself calls safe and final, or that lie deep enough where it has no words.
CREATE TABLE cofferdam.finality (
    chain_id bigint PRIMARY KEY CHECK (chain_id > 0),
    head bigint NOT NULL CHECK (head >= 0),
    safe bigint NOT NULL CHECK (safe >= 0),
    final bigint NOT NULL CHECK (final >= 0)
);
ALTER TABLE cofferdam.finality ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
GRANT SELECT (chain_id, head, safe, final) ON cofferdam.finality TO cofferdam_sealer, cofferdam_reader;
GRANT INSERT (chain_id, head, safe, final), UPDATE (head, safe, final) ON cofferdam.finality TO cofferdam_sealer;
CREATE POLICY read ON cofferdam.finality FOR SELECT TO cofferdam_sealer, cofferdam_reader
    USING (chain_id = (SELECT cofferdam.scope_chain()));
CREATE POLICY start ON cofferdam.finality FOR INSERT TO cofferdam_sealer
    WITH CHECK (chain_id = (SELECT cofferdam.scope_chain()) AND (SELECT cofferdam.scope_tenant()) IS NULL);
CREATE POLICY move ON cofferdam.finality FOR UPDATE TO cofferdam_sealer
    USING (chain_id = (SELECT cofferdam.scope_chain()) AND (SELECT cofferdam.scope_tenant()) IS NULL)
    WITH CHECK (chain_id = (SELECT cofferdam.scope_chain()) AND (SELECT cofferdam.scope_tenant()) IS NULL);

-- A row is one hash. Hashes that do the same thing with the same nonce share an intent, the first of
-- them; at most one of these is ever in a block. What was sent by an older version stays as history.
ALTER TABLE cofferdam.transactions
    ADD COLUMN intent bytea CHECK (octet_length(intent) = 32),
    ADD COLUMN sender bytea CHECK (octet_length(sender) = 20),
    -- The signed bytes; gone once the nonce is settled.
    ADD COLUMN raw bytea,
    ADD COLUMN max_fee numeric(39, 0) CHECK (max_fee >= 0),
    ADD COLUMN tip numeric(39, 0) CHECK (tip >= 0),
    ADD COLUMN block_hash bytea CHECK (octet_length(block_hash) = 32),
    -- What it paid in all, in wei: its gas, and what an OP Stack chain takes beside.
    ADD COLUMN fee numeric(78, 0) CHECK (fee >= 0),
    ADD COLUMN l1_fee numeric(78, 0) CHECK (l1_fee >= 0),
    ADD COLUMN operator_fee numeric(78, 0) CHECK (operator_fee >= 0),
    -- Whether its nonce was used up in a final block: nothing can change any more.
    ADD COLUMN settled boolean NOT NULL DEFAULT true;
-- Row security is forced on the owner too, who has no policy.
ALTER TABLE cofferdam.transactions NO FORCE ROW LEVEL SECURITY;
UPDATE cofferdam.transactions SET intent = tx_hash, fee = gas_used * effective_gas_price;
ALTER TABLE cofferdam.transactions FORCE ROW LEVEL SECURITY,
    ALTER COLUMN intent SET NOT NULL, ALTER COLUMN settled SET DEFAULT false;
DROP INDEX cofferdam.transactions_open;
CREATE INDEX transactions_unsettled ON cofferdam.transactions (chain_id, nonce) WHERE NOT settled;
CREATE INDEX transactions_by_intent ON cofferdam.transactions (chain_id, intent);
GRANT SELECT (intent, sender, raw, max_fee, tip, block_hash, fee, l1_fee, operator_fee, settled),
    INSERT (intent, sender, raw, max_fee, tip),
    UPDATE (raw, block_hash, fee, l1_fee, operator_fee, settled)
    ON cofferdam.transactions TO cofferdam_sealer;

-- Which batches an intent carries, and what became of each.
CREATE TABLE cofferdam.postings (
    tenant_id bytea NOT NULL CHECK (octet_length(tenant_id) = 32),
    chain_id bigint NOT NULL CHECK (chain_id > 0),
    batch_index bigint NOT NULL CHECK (batch_index >= 0),
    intent bytea NOT NULL CHECK (octet_length(intent) = 32),
    -- From the receipt: NULL while the intent is under way, again after a reorg.
    anchored boolean,
    -- This batch's share of what the transaction used and paid; in wei.
    gas bigint CHECK (gas >= 0),
    fee numeric(78, 0) CHECK (fee >= 0),
    PRIMARY KEY (tenant_id, chain_id, batch_index, intent),
    FOREIGN KEY (tenant_id, chain_id, batch_index)
        REFERENCES cofferdam.batches (tenant_id, chain_id, batch_index)
);
CREATE INDEX postings_by_intent ON cofferdam.postings (chain_id, intent);
CREATE INDEX postings_under_way ON cofferdam.postings (tenant_id, chain_id) WHERE anchored IS NULL;
ALTER TABLE cofferdam.postings ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
GRANT SELECT (tenant_id, chain_id, batch_index, intent, anchored, gas, fee),
    INSERT (tenant_id, chain_id, batch_index, intent), UPDATE (anchored, gas, fee)
    ON cofferdam.postings TO cofferdam_sealer;
CREATE POLICY daemon ON cofferdam.postings FOR ALL TO cofferdam_sealer
    USING (chain_id = (SELECT cofferdam.scope_chain())
        AND ((SELECT cofferdam.scope_tenant()) IS NULL OR tenant_id = (SELECT cofferdam.scope_tenant())))
    WITH CHECK (chain_id = (SELECT cofferdam.scope_chain())
        AND ((SELECT cofferdam.scope_tenant()) IS NULL OR tenant_id = (SELECT cofferdam.scope_tenant())));

-- Why nothing of this chain is sealed or anchored any further; appending goes on.
ALTER TABLE cofferdam.deployments ADD COLUMN halted text;
GRANT SELECT (halted) ON cofferdam.deployments
    TO cofferdam_sequencer, cofferdam_sealer, cofferdam_indexer, cofferdam_reader;
GRANT UPDATE (halted) ON cofferdam.deployments TO cofferdam_sealer;
CREATE POLICY halt ON cofferdam.deployments FOR UPDATE TO cofferdam_sealer
    USING (chain_id = (SELECT cofferdam.scope_chain()) AND (SELECT cofferdam.scope_tenant()) IS NULL)
    WITH CHECK (chain_id = (SELECT cofferdam.scope_chain()) AND (SELECT cofferdam.scope_tenant()) IS NULL);

-- An incident stays open until an operator decides; found again, it is open again.
ALTER TABLE cofferdam.incidents ADD COLUMN resolved_at timestamptz;
GRANT SELECT (incident_id, resolved_at), UPDATE (resolved_at) ON cofferdam.incidents TO cofferdam_sealer;
GRANT SELECT (resolved_at) ON cofferdam.incidents TO cofferdam_reader;
CREATE POLICY daemon_resolve ON cofferdam.incidents FOR UPDATE TO cofferdam_sealer
    USING (chain_id = (SELECT cofferdam.scope_chain())
        AND ((SELECT cofferdam.scope_tenant()) IS NULL OR tenant_id = (SELECT cofferdam.scope_tenant())))
    WITH CHECK (chain_id = (SELECT cofferdam.scope_chain())
        AND ((SELECT cofferdam.scope_tenant()) IS NULL OR tenant_id = (SELECT cofferdam.scope_tenant())));

-- No column statistics, as in 0003.
DO $$
DECLARE
    c record;
BEGIN
    FOR c IN SELECT a.attrelid::regclass AS rel, a.attname FROM pg_attribute a
        JOIN pg_class r ON r.oid = a.attrelid
        WHERE r.relnamespace = 'cofferdam'::regnamespace AND r.relkind IN ('r', 'p')
            AND r.relname <> 'migrations' AND a.attnum > 0 AND NOT a.attisdropped
            AND a.attstattarget IS DISTINCT FROM 0
    LOOP
        EXECUTE format('ALTER TABLE ONLY %s ALTER COLUMN %I SET STATISTICS 0', c.rel, c.attname);
    END LOOP;
END $$;
