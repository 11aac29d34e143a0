-- The scope: which tenant, on which chain, a session speaks for.
--
-- `cofferdam.chain_id` belongs to the connection (one pool serves one chain). `cofferdam.tenant_id` is
-- transaction-local and set in exactly one place, `TenantTx`. Unset and empty both read as NULL, and
-- NULL equals no row: without a scope the database returns nothing.
--
-- Every relation below is made by cofferdam_owner, so these defaults hold before the first one exists.
ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM PUBLIC;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON SEQUENCES FROM PUBLIC;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON TYPES FROM PUBLIC;
REVOKE ALL ON SCHEMA cofferdam FROM PUBLIC;
REVOKE ALL ON TABLE cofferdam.migrations FROM PUBLIC;
GRANT USAGE ON SCHEMA cofferdam TO
    cofferdam_sequencer, cofferdam_sealer, cofferdam_indexer, cofferdam_reader, cofferdam_rewinder;

-- Bodies are parsed now and bound to pg_catalog, so no search_path can put another function under them.
-- Policies call them as `(select f())`: once per statement, not once per row.
CREATE FUNCTION cofferdam.scope_tenant() RETURNS bytea LANGUAGE sql STABLE PARALLEL SAFE
    RETURN pg_catalog.decode(NULLIF(pg_catalog.current_setting('cofferdam.tenant_id', true), ''), 'hex');

CREATE FUNCTION cofferdam.scope_chain() RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE
    RETURN NULLIF(pg_catalog.current_setting('cofferdam.chain_id', true), '')::bigint;

-- The one name that a reader without a tenant may look up.
CREATE FUNCTION cofferdam.scope_name() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
    RETURN NULLIF(pg_catalog.current_setting('cofferdam.tenant_name', true), '');

GRANT EXECUTE ON FUNCTION cofferdam.scope_tenant(), cofferdam.scope_chain() TO
    cofferdam_sequencer, cofferdam_sealer, cofferdam_indexer, cofferdam_reader, cofferdam_rewinder;
GRANT EXECUTE ON FUNCTION cofferdam.scope_name() TO cofferdam_reader;
