-- Without column statistics the planner takes any key of a tenant for as good as any other, and what is asked
-- for by its index could go by the first entry and read all of a tenant's batches for one. A partial index
-- serves those queries alone that say its condition.
ALTER TABLE cofferdam.batches DROP CONSTRAINT batches_tenant_id_chain_id_first_seq_key;
CREATE UNIQUE INDEX batches_by_entry ON cofferdam.batches (tenant_id, chain_id, first_seq) WHERE first_seq >= 0;

-- Writes down where a batch is anchored. One row by its key, so that no plan compares many batches with many
-- events.
CREATE FUNCTION cofferdam.confirm(tenant bytea, chain bigint, batch bigint, at_time bigint, at_number bigint,
        at_hash bytea, at_tx bytea, at_log bigint) RETURNS bigint LANGUAGE sql
BEGIN ATOMIC
    UPDATE cofferdam.batches b SET anchored_at = at_time, block_number = at_number, block_hash = at_hash,
            tx_hash = at_tx, log_index = at_log
        WHERE b.tenant_id = tenant AND b.chain_id = chain AND b.batch_index = batch
        RETURNING b.batch_index;
END;
GRANT EXECUTE ON FUNCTION cofferdam.confirm(bytea, bigint, bigint, bigint, bigint, bytea, bytea, bigint)
    TO cofferdam_indexer;
