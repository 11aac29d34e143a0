-- What a daemon needs to be left alone for a year.

-- How long a lease was taken for: one that ends later than twice that was taken before the database's
-- clock was stepped back. Until it is renewed, an older daemon's counts as the longest there is.
ALTER TABLE cofferdam.leases ADD COLUMN lasts interval NOT NULL DEFAULT '1 hour';
ALTER TABLE cofferdam.leases ALTER COLUMN lasts SET STATISTICS 0;
GRANT SELECT (lasts), INSERT (lasts), UPDATE (lasts) ON cofferdam.leases TO cofferdam_sealer;

-- The few tenants that are due or halted, among many that are neither.
CREATE INDEX heads_unsealed ON cofferdam.heads (chain_id, oldest_unsealed_at)
    WHERE oldest_unsealed_at IS NOT NULL;
CREATE INDEX heads_halted ON cofferdam.heads (chain_id) WHERE halted IS NOT NULL;

-- What the sequencer found, it finds again, and closes once the entry is out of the intake.
GRANT SELECT (tenant_id, chain_id, incident_id, kind, detail, resolved_at), UPDATE (resolved_at)
    ON cofferdam.incidents TO cofferdam_sequencer;
CREATE POLICY tenant_find ON cofferdam.incidents FOR SELECT TO cofferdam_sequencer
    USING (chain_id = (SELECT cofferdam.scope_chain()) AND tenant_id = (SELECT cofferdam.scope_tenant()));
CREATE POLICY tenant_close ON cofferdam.incidents FOR UPDATE TO cofferdam_sequencer
    USING (chain_id = (SELECT cofferdam.scope_chain()) AND tenant_id = (SELECT cofferdam.scope_tenant()))
    WITH CHECK (chain_id = (SELECT cofferdam.scope_chain()) AND tenant_id = (SELECT cofferdam.scope_tenant()));
