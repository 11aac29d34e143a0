-- What is mirrored comes block by block, so where a block's rows are need not be kept row by row: a summary of
-- each range of pages says it, and costs next to nothing to keep. Which batch an entry is in is known of the
-- sealed batches already.
DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['anchored', 'anchorer_set', 'skipped', 'policies', 'scopes', 'described',
            'account_events'] LOOP
        EXECUTE format('DROP INDEX cofferdam.%I', t || '_by_block');
        EXECUTE format('CREATE INDEX %I ON cofferdam.%I USING brin (chain_id, block_number) '
            'WITH (pages_per_range = 32, autosummarize = on)', t || '_by_block', t);
    END LOOP;
END $$;
DROP INDEX cofferdam.anchored_by_entry;
