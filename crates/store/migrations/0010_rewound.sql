-- An update of counters must stay on its page. It cannot while an index speaks of a column that every update
-- writes, be it in the index's condition alone; so it speaks of one that changes with a rewind.
DROP INDEX cofferdam.mirror_heads_without_history;
ALTER TABLE cofferdam.mirror_heads ADD COLUMN history_lost boolean NOT NULL DEFAULT false;
-- The owner sees no row to update: a change of type computes it for all.
ALTER TABLE cofferdam.mirror_heads ALTER COLUMN history_lost TYPE boolean USING peaks IS NULL;
CREATE INDEX mirror_heads_without_history ON cofferdam.mirror_heads (tenant_id, chain_id) WHERE history_lost;
GRANT SELECT (history_lost), UPDATE (history_lost) ON cofferdam.mirror_heads
    TO cofferdam_indexer, cofferdam_rewinder;
ALTER TABLE cofferdam.mirror_heads ALTER COLUMN history_lost SET STATISTICS 0;

-- The rewind door says whose rows it took back: until each of these tenants' counters were compared with the
-- contracts' again, nobody knows that what came instead is all there.
DROP FUNCTION cofferdam.rewind(bigint);
CREATE FUNCTION cofferdam.rewind(above bigint) RETURNS SETOF bytea LANGUAGE sql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    DELETE FROM cofferdam.skipped r
        WHERE r.chain_id = (SELECT cofferdam.scope_chain()) AND r.block_number > above;
    WITH anchored AS (DELETE FROM cofferdam.anchored r
            WHERE r.chain_id = (SELECT cofferdam.scope_chain()) AND r.block_number > above
            RETURNING r.tenant_id, r.batch_index, r.first_seq),
        anchorer_set AS (DELETE FROM cofferdam.anchorer_set r
            WHERE r.chain_id = (SELECT cofferdam.scope_chain()) AND r.block_number > above
            RETURNING r.tenant_id, r.nonce),
        policies AS (DELETE FROM cofferdam.policies r
            WHERE r.chain_id = (SELECT cofferdam.scope_chain()) AND r.block_number > above
            RETURNING r.tenant_id, r.version),
        scopes AS (DELETE FROM cofferdam.scopes r
            WHERE r.chain_id = (SELECT cofferdam.scope_chain()) AND r.block_number > above
            RETURNING r.tenant_id, r.event_index, r.agent, r.agent_nonce),
        described AS (DELETE FROM cofferdam.described r
            WHERE r.chain_id = (SELECT cofferdam.scope_chain()) AND r.block_number > above
            RETURNING r.tenant_id, r.agent_nonce),
        account_events AS (DELETE FROM cofferdam.account_events r
            WHERE r.chain_id = (SELECT cofferdam.scope_chain()) AND r.block_number > above
            RETURNING r.tenant_id, r.event_index),
        gone (tenant_id, batches, entries, anchorers, policies, scopes, agent_events, account_events) AS (
            SELECT tenant_id, batch_index, first_seq, NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint,
                NULL::bigint FROM anchored
            UNION ALL SELECT tenant_id, NULL, NULL, nonce, NULL, NULL, NULL, NULL FROM anchorer_set
            -- Versions count from 1.
            UNION ALL SELECT tenant_id, NULL, NULL, NULL, version - 1, NULL, NULL, NULL FROM policies
            UNION ALL SELECT tenant_id, NULL, NULL, NULL, NULL, event_index, NULL, NULL FROM scopes
            -- An agent counts what it says of itself and what it gives up, whoever had granted it, together.
            UNION ALL SELECT decode(repeat('00', 12), 'hex') || agent, NULL, NULL, NULL, NULL, NULL, agent_nonce, NULL
                FROM scopes WHERE agent_nonce IS NOT NULL
            UNION ALL SELECT tenant_id, NULL, NULL, NULL, NULL, NULL, agent_nonce, NULL FROM described
            UNION ALL SELECT tenant_id, NULL, NULL, NULL, NULL, NULL, NULL, event_index FROM account_events),
        -- Each counter stands at the lowest that went.
        low AS (SELECT tenant_id, min(batches) AS batches, min(entries) AS entries, min(anchorers) AS anchorers,
                min(policies) AS policies, min(scopes) AS scopes, min(agent_events) AS agent_events,
                min(account_events) AS account_events
            FROM gone GROUP BY tenant_id),
        kept AS (SELECT h.tenant_id, coalesce(low.batches, h.batches) AS batches,
                coalesce(low.entries, h.entries) AS entries, coalesce(low.anchorers, h.anchorers) AS anchorers,
                coalesce(low.policies, h.policies) AS policies, coalesce(low.scopes, h.scopes) AS scopes,
                coalesce(low.agent_events, h.agent_events) AS agent_events,
                coalesce(low.account_events, h.account_events) AS account_events,
                CASE WHEN low.batches IS NULL THEN h.peaks WHEN low.batches = 0 THEN ''::bytea END AS peaks
            FROM low JOIN cofferdam.mirror_heads h
                ON h.tenant_id = low.tenant_id AND h.chain_id = (SELECT cofferdam.scope_chain())),
        nothing_left AS (DELETE FROM cofferdam.mirror_heads h USING kept k
            WHERE h.tenant_id = k.tenant_id AND h.chain_id = (SELECT cofferdam.scope_chain())
                AND k.batches + k.anchorers + k.policies + k.scopes + k.agent_events + k.account_events = 0),
        set_back AS (UPDATE cofferdam.mirror_heads h SET batches = k.batches, entries = k.entries, peaks = k.peaks,
                history_lost = k.peaks IS NULL, anchorers = k.anchorers, policies = k.policies, scopes = k.scopes, agent_events = k.agent_events,
                account_events = k.account_events
            FROM kept k WHERE h.tenant_id = k.tenant_id AND h.chain_id = (SELECT cofferdam.scope_chain())
                AND k.batches + k.anchorers + k.policies + k.scopes + k.agent_events + k.account_events > 0)
    SELECT tenant_id FROM low;
END;
GRANT EXECUTE ON FUNCTION cofferdam.rewind(bigint) TO cofferdam_indexer;
GRANT CREATE ON SCHEMA cofferdam TO cofferdam_rewinder;
ALTER FUNCTION cofferdam.rewind(bigint) OWNER TO cofferdam_rewinder;
REVOKE CREATE ON SCHEMA cofferdam FROM cofferdam_rewinder;
