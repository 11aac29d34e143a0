-- Control tables: what the daemon needs to know across tenants. None holds a field value.
--
-- Three kinds of policy, written out for each role:
--   chain     chain_id = the connection's chain
--   daemon    chain, and once a tenant scope is set only that tenant's rows
--   tenant    chain and tenant scope, both set
-- So a session that has taken a tenant's scope sees that tenant alone, in these tables too.
-- Grants are by column: system columns (xmin, ctid, tableoid) stay unreadable.

-- Which contract this database follows on a chain.
CREATE TABLE cofferdam.deployments (
    chain_id bigint PRIMARY KEY CHECK (chain_id > 0),
    contract bytea NOT NULL CHECK (octet_length(contract) = 20),
    code_hash bytea NOT NULL CHECK (octet_length(code_hash) = 32),
    from_block bigint NOT NULL CHECK (from_block >= 0)
);
ALTER TABLE cofferdam.deployments ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
GRANT SELECT (chain_id, contract, code_hash, from_block) ON cofferdam.deployments
    TO cofferdam_sequencer, cofferdam_sealer, cofferdam_indexer, cofferdam_reader;
GRANT INSERT (chain_id, contract, code_hash, from_block) ON cofferdam.deployments TO cofferdam_sequencer;
CREATE POLICY read ON cofferdam.deployments FOR SELECT
    TO cofferdam_sequencer, cofferdam_sealer, cofferdam_indexer, cofferdam_reader
    USING (chain_id = (SELECT cofferdam.scope_chain()));
CREATE POLICY register ON cofferdam.deployments FOR INSERT TO cofferdam_sequencer
    WITH CHECK (chain_id = (SELECT cofferdam.scope_chain()) AND (SELECT cofferdam.scope_tenant()) IS NULL);

-- The operator's table: an external name for a tenant id. The one place where a name becomes a tenant.
CREATE TABLE cofferdam.tenants (
    tenant_id bytea NOT NULL CHECK (octet_length(tenant_id) = 32),
    chain_id bigint NOT NULL CHECK (chain_id > 0),
    name text NOT NULL CHECK (octet_length(name) BETWEEN 1 AND 256),
    PRIMARY KEY (tenant_id, chain_id),
    -- Leads without the tenant on purpose; only a session without a tenant scope may insert here.
    UNIQUE (chain_id, name)
);
ALTER TABLE cofferdam.tenants ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
GRANT SELECT (tenant_id, chain_id, name) ON cofferdam.tenants
    TO cofferdam_sequencer, cofferdam_sealer, cofferdam_indexer, cofferdam_reader;
GRANT INSERT (tenant_id, chain_id, name) ON cofferdam.tenants TO cofferdam_sequencer;
CREATE POLICY daemon_read ON cofferdam.tenants FOR SELECT
    TO cofferdam_sequencer, cofferdam_sealer, cofferdam_indexer
    USING (chain_id = (SELECT cofferdam.scope_chain())
        AND ((SELECT cofferdam.scope_tenant()) IS NULL OR tenant_id = (SELECT cofferdam.scope_tenant())));
CREATE POLICY tenant_read ON cofferdam.tenants FOR SELECT TO cofferdam_reader
    USING (chain_id = (SELECT cofferdam.scope_chain())
        AND CASE WHEN (SELECT cofferdam.scope_tenant()) IS NULL
            THEN name = (SELECT cofferdam.scope_name())
            ELSE tenant_id = (SELECT cofferdam.scope_tenant()) END);
CREATE POLICY register ON cofferdam.tenants FOR INSERT TO cofferdam_sequencer
    WITH CHECK (chain_id = (SELECT cofferdam.scope_chain()) AND (SELECT cofferdam.scope_tenant()) IS NULL);

-- Where each tenant's chain ends, and how far it is sealed. The row lock that orders a tenant's writers.
CREATE TABLE cofferdam.heads (
    tenant_id bytea NOT NULL CHECK (octet_length(tenant_id) = 32),
    chain_id bigint NOT NULL CHECK (chain_id > 0),
    next_seq bigint NOT NULL DEFAULT 0 CHECK (next_seq >= 0),
    last_entry_hash bytea NOT NULL CHECK (octet_length(last_entry_hash) = 32),
    -- The first entry that is in no batch yet.
    sealed_seq bigint NOT NULL DEFAULT 0 CHECK (sealed_seq >= 0),
    -- The index of the next batch.
    sealed_batches bigint NOT NULL DEFAULT 0 CHECK (sealed_batches >= 0),
    oldest_unsealed_at timestamptz,
    -- Why this tenant is sealed and anchored no further; appending goes on.
    halted text,
    PRIMARY KEY (tenant_id, chain_id),
    FOREIGN KEY (tenant_id, chain_id) REFERENCES cofferdam.tenants (tenant_id, chain_id),
    CONSTRAINT sealed_within_entries CHECK (sealed_seq <= next_seq AND sealed_batches <= sealed_seq),
    CONSTRAINT age_of_unsealed CHECK ((sealed_seq = next_seq) = (oldest_unsealed_at IS NULL))
) WITH (fillfactor = 50);
ALTER TABLE cofferdam.heads ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
GRANT SELECT (tenant_id, chain_id, next_seq, last_entry_hash, sealed_seq, sealed_batches,
        oldest_unsealed_at, halted) ON cofferdam.heads
    TO cofferdam_sequencer, cofferdam_sealer, cofferdam_indexer, cofferdam_reader;
GRANT INSERT (tenant_id, chain_id, last_entry_hash) ON cofferdam.heads TO cofferdam_sequencer;
GRANT UPDATE (next_seq, last_entry_hash, oldest_unsealed_at) ON cofferdam.heads TO cofferdam_sequencer;
GRANT UPDATE (sealed_seq, sealed_batches, oldest_unsealed_at, halted) ON cofferdam.heads TO cofferdam_sealer;
GRANT UPDATE (halted) ON cofferdam.heads TO cofferdam_indexer;
CREATE POLICY daemon_read ON cofferdam.heads FOR SELECT
    TO cofferdam_sequencer, cofferdam_sealer, cofferdam_indexer
    USING (chain_id = (SELECT cofferdam.scope_chain())
        AND ((SELECT cofferdam.scope_tenant()) IS NULL OR tenant_id = (SELECT cofferdam.scope_tenant())));
CREATE POLICY tenant_read ON cofferdam.heads FOR SELECT TO cofferdam_reader
    USING (chain_id = (SELECT cofferdam.scope_chain()) AND tenant_id = (SELECT cofferdam.scope_tenant()));
CREATE POLICY tenant_create ON cofferdam.heads FOR INSERT TO cofferdam_sequencer
    WITH CHECK (chain_id = (SELECT cofferdam.scope_chain()) AND tenant_id = (SELECT cofferdam.scope_tenant()));
CREATE POLICY tenant_advance ON cofferdam.heads FOR UPDATE TO cofferdam_sequencer, cofferdam_sealer
    USING (chain_id = (SELECT cofferdam.scope_chain()) AND tenant_id = (SELECT cofferdam.scope_tenant()))
    WITH CHECK (chain_id = (SELECT cofferdam.scope_chain()) AND tenant_id = (SELECT cofferdam.scope_tenant()));
CREATE POLICY daemon_halt ON cofferdam.heads FOR UPDATE TO cofferdam_indexer
    USING (chain_id = (SELECT cofferdam.scope_chain())
        AND ((SELECT cofferdam.scope_tenant()) IS NULL OR tenant_id = (SELECT cofferdam.scope_tenant())))
    WITH CHECK (chain_id = (SELECT cofferdam.scope_chain())
        AND ((SELECT cofferdam.scope_tenant()) IS NULL OR tenant_id = (SELECT cofferdam.scope_tenant())));

-- What the daemon sealed, and where the chain confirmed it.
CREATE TABLE cofferdam.batches (
    tenant_id bytea NOT NULL CHECK (octet_length(tenant_id) = 32),
    chain_id bigint NOT NULL CHECK (chain_id > 0),
    batch_index bigint NOT NULL CHECK (batch_index >= 0),
    first_seq bigint NOT NULL CHECK (first_seq >= 0),
    count bigint NOT NULL CHECK (count BETWEEN 1 AND 4294967295),
    root bytea NOT NULL CHECK (octet_length(root) = 32),
    sealed_at timestamptz NOT NULL DEFAULT now(),
    -- From the mirrored event; all empty until then, and again after a reorg.
    anchored_at bigint CHECK (anchored_at >= 0),
    block_number bigint CHECK (block_number >= 0),
    block_hash bytea CHECK (octet_length(block_hash) = 32),
    tx_hash bytea CHECK (octet_length(tx_hash) = 32),
    log_index bigint CHECK (log_index >= 0),
    PRIMARY KEY (tenant_id, chain_id, batch_index),
    UNIQUE (tenant_id, chain_id, first_seq),
    FOREIGN KEY (tenant_id, chain_id) REFERENCES cofferdam.heads (tenant_id, chain_id),
    CONSTRAINT anchored_whole CHECK (
        num_nonnulls(anchored_at, block_number, block_hash, tx_hash, log_index) IN (0, 5))
);
CREATE INDEX batches_unanchored ON cofferdam.batches (tenant_id, chain_id, batch_index)
    WHERE anchored_at IS NULL;
CREATE INDEX batches_by_block ON cofferdam.batches (chain_id, block_number) WHERE anchored_at IS NOT NULL;
ALTER TABLE cofferdam.batches ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
GRANT SELECT (tenant_id, chain_id, batch_index, first_seq, count, root, sealed_at, anchored_at,
        block_number, block_hash, tx_hash, log_index) ON cofferdam.batches
    TO cofferdam_sealer, cofferdam_indexer, cofferdam_reader;
GRANT INSERT (tenant_id, chain_id, batch_index, first_seq, count, root) ON cofferdam.batches TO cofferdam_sealer;
GRANT UPDATE (anchored_at, block_number, block_hash, tx_hash, log_index) ON cofferdam.batches TO cofferdam_indexer;
CREATE POLICY daemon_read ON cofferdam.batches FOR SELECT TO cofferdam_sealer, cofferdam_indexer
    USING (chain_id = (SELECT cofferdam.scope_chain())
        AND ((SELECT cofferdam.scope_tenant()) IS NULL OR tenant_id = (SELECT cofferdam.scope_tenant())));
CREATE POLICY tenant_read ON cofferdam.batches FOR SELECT TO cofferdam_reader
    USING (chain_id = (SELECT cofferdam.scope_chain()) AND tenant_id = (SELECT cofferdam.scope_tenant()));
CREATE POLICY tenant_seal ON cofferdam.batches FOR INSERT TO cofferdam_sealer
    WITH CHECK (chain_id = (SELECT cofferdam.scope_chain()) AND tenant_id = (SELECT cofferdam.scope_tenant()));
CREATE POLICY daemon_reconcile ON cofferdam.batches FOR UPDATE TO cofferdam_indexer
    USING (chain_id = (SELECT cofferdam.scope_chain())
        AND ((SELECT cofferdam.scope_tenant()) IS NULL OR tenant_id = (SELECT cofferdam.scope_tenant())))
    WITH CHECK (chain_id = (SELECT cofferdam.scope_chain())
        AND ((SELECT cofferdam.scope_tenant()) IS NULL OR tenant_id = (SELECT cofferdam.scope_tenant())));

-- Transactions the daemon sent: intent before, outcome after. They carry many tenants' items, so a
-- session with a tenant scope does not see them at all.
CREATE TABLE cofferdam.transactions (
    chain_id bigint NOT NULL CHECK (chain_id > 0),
    tx_hash bytea NOT NULL CHECK (octet_length(tx_hash) = 32),
    nonce bigint NOT NULL CHECK (nonce >= 0),
    sent_at timestamptz NOT NULL DEFAULT now(),
    items bigint NOT NULL CHECK (items >= 0),
    outcome text CHECK (outcome IN ('included', 'reverted', 'dropped')),
    block_number bigint CHECK (block_number >= 0),
    gas_used bigint CHECK (gas_used >= 0),
    effective_gas_price numeric(39, 0) CHECK (effective_gas_price >= 0),
    PRIMARY KEY (chain_id, tx_hash)
);
CREATE INDEX transactions_open ON cofferdam.transactions (chain_id, nonce) WHERE outcome IS NULL;
ALTER TABLE cofferdam.transactions ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
GRANT SELECT (chain_id, tx_hash, nonce, sent_at, items, outcome, block_number, gas_used, effective_gas_price),
    INSERT (chain_id, tx_hash, nonce, items),
    UPDATE (outcome, block_number, gas_used, effective_gas_price)
    ON cofferdam.transactions TO cofferdam_sealer;
CREATE POLICY daemon ON cofferdam.transactions FOR ALL TO cofferdam_sealer
    USING (chain_id = (SELECT cofferdam.scope_chain()) AND (SELECT cofferdam.scope_tenant()) IS NULL)
    WITH CHECK (chain_id = (SELECT cofferdam.scope_chain()) AND (SELECT cofferdam.scope_tenant()) IS NULL);

-- How far the chain is mirrored. Moves in the transaction that writes the rows.
CREATE TABLE cofferdam.checkpoints (
    chain_id bigint PRIMARY KEY CHECK (chain_id > 0),
    block_number bigint NOT NULL CHECK (block_number >= 0),
    block_hash bytea NOT NULL CHECK (octet_length(block_hash) = 32)
);
ALTER TABLE cofferdam.checkpoints ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
GRANT SELECT (chain_id, block_number, block_hash) ON cofferdam.checkpoints
    TO cofferdam_sealer, cofferdam_indexer, cofferdam_reader;
GRANT INSERT (chain_id, block_number, block_hash), UPDATE (block_number, block_hash) ON cofferdam.checkpoints
    TO cofferdam_indexer;
CREATE POLICY read ON cofferdam.checkpoints FOR SELECT
    TO cofferdam_sealer, cofferdam_indexer, cofferdam_reader
    USING (chain_id = (SELECT cofferdam.scope_chain()));
CREATE POLICY start ON cofferdam.checkpoints FOR INSERT TO cofferdam_indexer
    WITH CHECK (chain_id = (SELECT cofferdam.scope_chain()) AND (SELECT cofferdam.scope_tenant()) IS NULL);
CREATE POLICY move ON cofferdam.checkpoints FOR UPDATE TO cofferdam_indexer
    USING (chain_id = (SELECT cofferdam.scope_chain()) AND (SELECT cofferdam.scope_tenant()) IS NULL)
    WITH CHECK (chain_id = (SELECT cofferdam.scope_chain()) AND (SELECT cofferdam.scope_tenant()) IS NULL);

-- Recent block hashes, pruned: where to find the common ancestor after a reorg.
CREATE TABLE cofferdam.blocks (
    chain_id bigint NOT NULL CHECK (chain_id > 0),
    number bigint NOT NULL CHECK (number >= 0),
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    PRIMARY KEY (chain_id, number)
);
ALTER TABLE cofferdam.blocks ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
GRANT SELECT (chain_id, number, hash), INSERT (chain_id, number, hash) ON cofferdam.blocks TO cofferdam_indexer;
GRANT DELETE ON cofferdam.blocks TO cofferdam_indexer;
CREATE POLICY read ON cofferdam.blocks FOR SELECT TO cofferdam_indexer
    USING (chain_id = (SELECT cofferdam.scope_chain()));
CREATE POLICY add ON cofferdam.blocks FOR INSERT TO cofferdam_indexer
    WITH CHECK (chain_id = (SELECT cofferdam.scope_chain()) AND (SELECT cofferdam.scope_tenant()) IS NULL);
CREATE POLICY prune ON cofferdam.blocks FOR DELETE TO cofferdam_indexer
    USING (chain_id = (SELECT cofferdam.scope_chain()) AND (SELECT cofferdam.scope_tenant()) IS NULL);

-- Differences between what was sealed and what the chain says. `detail` holds positions and hashes,
-- never a field value. A tenant of NULL means the whole deployment.
CREATE TABLE cofferdam.incidents (
    tenant_id bytea CHECK (octet_length(tenant_id) = 32),
    chain_id bigint NOT NULL CHECK (chain_id > 0),
    -- A digest of tenant, kind and detail: the same finding is one row, however often it is found.
    incident_id bytea NOT NULL CHECK (octet_length(incident_id) = 32),
    kind text NOT NULL CHECK (octet_length(kind) BETWEEN 1 AND 64),
    detail text NOT NULL CHECK (octet_length(detail) <= 4096),
    at timestamptz NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (tenant_id, chain_id, incident_id)
);
ALTER TABLE cofferdam.incidents ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
GRANT SELECT (tenant_id, chain_id, kind, detail, at) ON cofferdam.incidents TO cofferdam_sealer, cofferdam_reader;
GRANT INSERT (tenant_id, chain_id, incident_id, kind, detail) ON cofferdam.incidents
    TO cofferdam_sealer, cofferdam_indexer;
CREATE POLICY daemon_read ON cofferdam.incidents FOR SELECT TO cofferdam_sealer
    USING (chain_id = (SELECT cofferdam.scope_chain())
        AND ((SELECT cofferdam.scope_tenant()) IS NULL OR tenant_id = (SELECT cofferdam.scope_tenant())));
CREATE POLICY tenant_read ON cofferdam.incidents FOR SELECT TO cofferdam_reader
    USING (chain_id = (SELECT cofferdam.scope_chain()) AND tenant_id = (SELECT cofferdam.scope_tenant()));
CREATE POLICY daemon_report ON cofferdam.incidents FOR INSERT TO cofferdam_sealer, cofferdam_indexer
    WITH CHECK (chain_id = (SELECT cofferdam.scope_chain())
        AND ((SELECT cofferdam.scope_tenant()) IS NULL OR tenant_id = (SELECT cofferdam.scope_tenant())));
