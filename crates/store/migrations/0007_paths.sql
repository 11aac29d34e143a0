-- What a receipt reads instead of making whole trees again: the roots of a batch's tiles, and the nodes of a
-- tenant's history. Both are hashes of what the chain has, and whoever uses them checks them against a root.

-- The roots of the tiles of 256 entries, in order, the last one of what is left. NULL of a batch that has only
-- one, and of one that was sealed before: it is a single tile of all its entries.
ALTER TABLE cofferdam.batches
    ADD COLUMN tiles bytea CHECK (octet_length(tiles) = 32 * ((count + 255) / 256)),
    ALTER COLUMN tiles SET STATISTICS 0,
    -- Hashes do not get smaller.
    ALTER COLUMN tiles SET STORAGE EXTERNAL;
GRANT SELECT (tiles) ON cofferdam.batches TO cofferdam_sealer, cofferdam_reader;
GRANT INSERT (tiles) ON cofferdam.batches TO cofferdam_sealer;

-- The roots of the full trees of 2, 4, 8, … batches that end with this one. In its own row, so that a rewind
-- takes them with it. NULL where the indexer did not know the peaks before it, as after a rewind, or of a row
-- that was mirrored before: they follow from the rows below.
ALTER TABLE cofferdam.anchored
    ADD COLUMN nodes bytea CHECK (octet_length(nodes) % 32 = 0),
    ALTER COLUMN nodes SET STATISTICS 0;
GRANT SELECT (nodes) ON cofferdam.anchored TO cofferdam_sealer, cofferdam_reader;
GRANT INSERT (nodes) ON cofferdam.anchored TO cofferdam_indexer;
-- Which batch an entry is in.
CREATE INDEX anchored_by_entry ON cofferdam.anchored (tenant_id, chain_id, first_seq);

-- What a path into the history is checked against.
GRANT SELECT (peaks) ON cofferdam.mirror_heads TO cofferdam_reader;
