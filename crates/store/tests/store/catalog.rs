//! The rules of the schema, read from pg_catalog: whoever adds a relation that breaks one, this fails.
//!
//! Each rule is a query whose rows are violations. The second test adds one bad thing for each in a
//! transaction that is rolled back, and wants to see it named.

use crate::common::database;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};

/// Control tables: readable across tenants by the daemon. A closed list; everything else is tenant data.
const CONTROL: &str = "('deployments', 'tenants', 'heads', 'batches', 'transactions', 'checkpoints', \
                       'blocks', 'incidents', 'leases', 'finality', 'postings', 'arrivals', \
                       'mirror_heads', 'policy_submissions', 'policy_postings', 'kept_proofs')";

/// What the rules are about: ours, without the book of migrations, which nobody is granted.
const OURS: &str = "c.relnamespace = 'cofferdam'::regnamespace";

/// The expressions that a policy may have, as Postgres prints them.
const TENANT: &str = "((chain_id = ( SELECT cofferdam.scope_chain() AS scope_chain)) AND \
                      (tenant_id = ( SELECT cofferdam.scope_tenant() AS scope_tenant)))";
const DAEMON: &str = "((chain_id = ( SELECT cofferdam.scope_chain() AS scope_chain)) AND \
                      ((( SELECT cofferdam.scope_tenant() AS scope_tenant) IS NULL) OR \
                      (tenant_id = ( SELECT cofferdam.scope_tenant() AS scope_tenant))))";
const CHAIN: &str = "(chain_id = ( SELECT cofferdam.scope_chain() AS scope_chain))";
const UNSCOPED: &str = "((chain_id = ( SELECT cofferdam.scope_chain() AS scope_chain)) AND \
                        (( SELECT cofferdam.scope_tenant() AS scope_tenant) IS NULL))";
const NAMED: &str = "((chain_id = ( SELECT cofferdam.scope_chain() AS scope_chain)) AND \
                     CASE WHEN (( SELECT cofferdam.scope_tenant() AS scope_tenant) IS NULL) \
                     THEN (name = ( SELECT cofferdam.scope_name() AS scope_name)) \
                     ELSE (tenant_id = ( SELECT cofferdam.scope_tenant() AS scope_tenant)) END)";

fn rules() -> Vec<(&'static str, String)> {
    let relation = "c.oid::regclass::text";
    vec![
        (
            "only tables, partitions, views and indexes",
            format!("SELECT {relation} FROM pg_class c WHERE {OURS} AND c.relkind NOT IN ('r', 'p', 'v', 'i', 'I')"),
        ),
        (
            "cofferdam_owner owns it",
            format!(
                "SELECT {relation} FROM pg_class c WHERE c.relkind NOT IN ('t', 'i', 'I') \
                 AND ({OURS}) <> (c.relowner = 'cofferdam_owner'::regrole)"
            ),
        ),
        (
            "row security enabled and forced, partitions too",
            format!(
                "SELECT {relation} FROM pg_class c WHERE {OURS} AND c.relkind IN ('r', 'p') \
                 AND c.relname <> 'migrations' AND NOT (c.relrowsecurity AND c.relforcerowsecurity)"
            ),
        ),
        (
            "a view over ours runs as its invoker, wherever it is",
            format!(
                "SELECT DISTINCT v.oid::regclass::text FROM pg_class v JOIN pg_rewrite w ON w.ev_class = v.oid \
                 JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid \
                     AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> v.oid \
                 JOIN pg_class c ON c.oid = d.refobjid \
                 WHERE {OURS} AND (v.relkind <> 'v' \
                     OR NOT coalesce(v.reloptions && ARRAY['security_invoker=true', 'security_invoker=on'], false))"
            ),
        ),
        (
            // What was spent on a day is from no event: it is what a block left in the account.
            "a view says of each row which event it is from, and how final",
            format!(
                "SELECT {relation} FROM pg_class c WHERE {OURS} AND c.relkind = 'v' AND NOT ARRAY(\
                     SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid) \
                     @> (ARRAY['block_number', 'block_hash', 'block_time', 'finality'] \
                     || CASE WHEN c.relname = 'spending_per_day' THEN '{{}}' \
                         ELSE ARRAY['tx_hash', 'log_index'] END)"
            ),
        ),
        (
            "tenant data has a tenant_id of 32 bytes and a chain_id, neither null",
            format!(
                "SELECT {relation} FROM pg_class c WHERE {OURS} AND c.relkind IN ('r', 'p') \
                 AND c.relname <> 'migrations' AND c.relname NOT IN {CONTROL} AND NOT ( \
                     EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' \
                         AND a.atttypid = 'bytea'::regtype AND a.attnotnull) \
                     AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'chain_id' \
                         AND a.atttypid = 'bigint'::regtype AND a.attnotnull) \
                     AND EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'c' \
                         AND k.convalidated AND k.conenforced \
                         AND pg_get_constraintdef(k.oid) = 'CHECK ((octet_length(tenant_id) = 32))') \
                     AND EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'p'))"
            ),
        ),
        (
            "(tenant_id, chain_id) leads every unique index",
            format!(
                "SELECT i.indexrelid::regclass::text FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid \
                 WHERE {OURS} AND c.relname <> 'migrations' AND (i.indisunique OR i.indisexclusion) \
                 AND NOT coalesce((SELECT array_agg(a.attname::text ORDER BY a.attnum) FILTER (WHERE a.attnum <= 2) \
                     FROM pg_attribute a WHERE a.attrelid = i.indexrelid) = ARRAY['tenant_id', 'chain_id'], false) \
                 AND i.indexrelid::regclass::text NOT IN ('cofferdam.deployments_pkey', \
                     'cofferdam.tenants_chain_id_name_key', 'cofferdam.transactions_pkey', \
                     'cofferdam.checkpoints_pkey', 'cofferdam.blocks_pkey', \
                     'cofferdam.leases_pkey', 'cofferdam.finality_pkey')"
            ),
        ),
        (
            "no exclusion constraint and no index over expressions",
            format!(
                "SELECT i.indexrelid::regclass::text FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid \
                 WHERE {OURS} AND (i.indisexclusion OR i.indexprs IS NOT NULL)"
            ),
        ),
        (
            "(tenant_id, chain_id) leads both sides of every foreign key",
            "SELECT k.conrelid::regclass || '.' || k.conname FROM pg_constraint k \
             JOIN pg_class c ON c.oid = k.conrelid JOIN pg_class p ON p.oid = k.confrelid \
             WHERE k.contype = 'f' AND 'cofferdam'::regnamespace IN (c.relnamespace, p.relnamespace) AND NOT ( \
                 c.relnamespace = p.relnamespace \
                 AND (SELECT array_agg(a.attname::text ORDER BY u.n) FROM unnest(k.conkey[1:2]) WITH ORDINALITY u(at, n) \
                     JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.at) = ARRAY['tenant_id', 'chain_id'] \
                 AND (SELECT array_agg(a.attname::text ORDER BY u.n) FROM unnest(k.confkey[1:2]) WITH ORDINALITY u(at, n) \
                     JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.at) = ARRAY['tenant_id', 'chain_id'])"
                .to_owned(),
        ),
        (
            "no identity and no default from a sequence",
            format!(
                "SELECT {relation} || '.' || a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid \
                 LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum \
                 WHERE {OURS} AND (a.attidentity <> '' OR pg_get_expr(d.adbin, d.adrelid) LIKE '%nextval%')"
            ),
        ),
        (
            "no column statistics, which EXPLAIN reads across row security",
            format!(
                "SELECT {relation} || '.' || a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid \
                 WHERE {OURS} AND c.relkind IN ('r', 'p') AND c.relname <> 'migrations' AND a.attnum > 0 \
                 AND NOT a.attisdropped AND a.attstattarget IS DISTINCT FROM 0 \
                 UNION ALL SELECT s.stxname::text FROM pg_statistic_ext s JOIN pg_class c ON c.oid = s.stxrelid WHERE {OURS}"
            ),
        ),
        (
            "nobody is granted a whole table, except to delete where that is listed",
            format!(
                "SELECT {relation} || ': ' || g.privilege_type || ' to ' || g.grantee::regrole \
                 FROM pg_class c, aclexplode(c.relacl) g WHERE {OURS} AND g.grantee <> c.relowner \
                 AND NOT (c.relname = 'blocks' AND g.grantee = 'cofferdam_indexer'::regrole \
                     AND g.privilege_type = 'DELETE' AND NOT g.is_grantable) \
                 AND NOT (c.relname IN ('arrivals', 'intake') AND g.grantee = 'cofferdam_sequencer'::regrole \
                     AND g.privilege_type = 'DELETE' AND NOT g.is_grantable) \
                 AND NOT (c.relname = 'kept_proofs' AND g.grantee = 'cofferdam_sealer'::regrole \
                     AND g.privilege_type = 'DELETE' AND NOT g.is_grantable) \
                 AND NOT (c.relname IN ('anchored', 'anchorer_set', 'skipped', 'policies', 'scopes', \
                         'described', 'account_events', 'spending', 'mirror_heads') AND g.grantee = 'cofferdam_rewinder'::regrole \
                     AND g.privilege_type = 'DELETE' AND NOT g.is_grantable)"
            ),
        ),
        (
            "columns are granted to our roles only, never system columns, never on partitions",
            format!(
                "SELECT {relation} || '.' || a.attname || ': ' || g.privilege_type || ' to ' || g.grantee::regrole \
                 FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid, aclexplode(a.attacl) g \
                 WHERE {OURS} AND (a.attnum <= 0 OR c.relispartition OR c.relname = 'migrations' OR g.is_grantable \
                     OR g.privilege_type = 'REFERENCES' OR g.grantee::regrole::text NOT IN ('cofferdam_sequencer', \
                         'cofferdam_sealer', 'cofferdam_indexer', 'cofferdam_reader', 'cofferdam_rewinder', \
                         'cofferdam_enqueuer'))"
            ),
        ),
        (
            "the enqueuer puts into the intake, never saying when, and knows only which tenant it is",
            format!(
                "SELECT {relation} || '.' || a.attname || ': ' || g.privilege_type FROM pg_class c \
                 JOIN pg_attribute a ON a.attrelid = c.oid, aclexplode(a.attacl) g \
                 WHERE {OURS} AND g.grantee = 'cofferdam_enqueuer'::regrole \
                 AND NOT (c.relname IN ('arrivals', 'intake') AND g.privilege_type = 'INSERT' \
                     AND a.attname NOT IN ('xid', 'at')) \
                 AND NOT (c.relname = 'tenants' AND g.privilege_type = 'SELECT' \
                     AND a.attname IN ('tenant_id', 'chain_id'))"
            ),
        ),
        (
            "the reader only reads, the indexer reads no tenant data, nobody updates tenant data",
            format!(
                "SELECT {relation} || '.' || a.attname || ': ' || g.privilege_type || ' to ' || g.grantee::regrole \
                 FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid, aclexplode(a.attacl) g \
                 WHERE {OURS} AND ((g.grantee = 'cofferdam_reader'::regrole AND g.privilege_type <> 'SELECT') \
                     OR (c.relname NOT IN {CONTROL} AND (g.privilege_type = 'UPDATE' \
                         OR (g.grantee = 'cofferdam_indexer'::regrole AND g.privilege_type = 'SELECT') \
                         OR (g.grantee = 'cofferdam_sealer'::regrole AND g.privilege_type <> 'SELECT') \
                         OR (g.grantee = 'cofferdam_rewinder'::regrole \
                             AND a.attname NOT IN ('tenant_id', 'chain_id', 'block_number', 'batch_index', \
                                 'first_seq', 'nonce', 'version', 'event_index', 'agent', 'agent_nonce')))))"
            ),
        ),
        (
            "a partition carries no policy, and every child is a partition",
            format!(
                "SELECT {relation} || '.' || p.polname FROM pg_class c JOIN pg_policy p ON p.polrelid = c.oid \
                 WHERE {OURS} AND c.relispartition \
                 UNION ALL SELECT k.oid::regclass::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhparent \
                 JOIN pg_class k ON k.oid = i.inhrelid \
                 WHERE {OURS} AND NOT (k.relispartition AND k.relnamespace = c.relnamespace)"
            ),
        ),
        (
            "no trigger, no rule, no publication",
            format!(
                "SELECT {relation} || ' ' || t.tgname FROM pg_class c JOIN pg_trigger t ON t.tgrelid = c.oid \
                 WHERE {OURS} AND NOT t.tgisinternal \
                 UNION ALL SELECT {relation} || ' ' || w.rulename FROM pg_class c JOIN pg_rewrite w ON w.ev_class = c.oid \
                 WHERE {OURS} AND c.relkind <> 'v' \
                 UNION ALL SELECT p.schemaname || '.' || p.tablename || ' ' || p.pubname FROM pg_publication_tables p \
                 WHERE p.schemaname = 'cofferdam'"
            ),
        ),
        (
            "functions run as their caller, except the two doors, and PUBLIC may call none",
            "SELECT p.oid::regprocedure::text FROM pg_proc p \
             WHERE p.pronamespace = 'cofferdam'::regnamespace AND ( \
                 p.proacl IS NULL OR EXISTS (SELECT FROM aclexplode(p.proacl) g WHERE g.grantee = 0 OR \
                     (g.is_grantable AND g.grantee <> p.proowner)) \
                 OR (p.oid::regprocedure::text <> 'cofferdam.rewind(bigint)' AND p.proname <> 'enqueue' \
                     AND (p.prosecdef OR p.proowner <> 'cofferdam_owner'::regrole)) \
                 OR (p.oid::regprocedure::text = 'cofferdam.rewind(bigint)' AND NOT (p.prosecdef \
                     AND p.proowner = 'cofferdam_rewinder'::regrole AND p.prosqlbody IS NOT NULL \
                     AND p.proconfig = ARRAY['search_path=pg_catalog, pg_temp'] \
                     AND NOT EXISTS (SELECT FROM aclexplode(p.proacl) g WHERE g.grantee NOT IN \
                         (p.proowner, 'cofferdam_indexer'::regrole)))) \
                 OR (p.proname = 'enqueue' AND NOT (p.prosecdef \
                     AND p.proowner = 'cofferdam_enqueuer'::regrole \
                     AND p.proconfig = ARRAY['search_path=pg_catalog, pg_temp'] \
                     AND NOT EXISTS (SELECT FROM aclexplode(p.proacl) g WHERE g.grantee NOT IN \
                         (p.proowner, 'cofferdam_application'::regrole))))) \
             UNION ALL SELECT p.oid::regprocedure::text FROM pg_proc p \
             WHERE p.pronamespace <> 'cofferdam'::regnamespace \
                 AND p.proowner IN ('cofferdam_owner'::regrole, 'cofferdam_rewinder'::regrole, \
                     'cofferdam_enqueuer'::regrole)"
                .to_owned(),
        ),
        (
            "the schema is its owner's, others only use it",
            "SELECT g.privilege_type || ' to ' || g.grantee::regrole FROM pg_namespace n, aclexplode(n.nspacl) g \
             WHERE n.nspname = 'cofferdam' AND g.grantee <> n.nspowner AND (g.privilege_type <> 'USAGE' \
                 OR g.grantee::regrole::text NOT IN ('cofferdam_sequencer', 'cofferdam_sealer', \
                     'cofferdam_indexer', 'cofferdam_reader', 'cofferdam_rewinder', 'cofferdam_enqueuer', \
                     'cofferdam_application')) \
             UNION ALL SELECT 'owner ' || n.nspowner::regrole FROM pg_namespace n \
             WHERE n.nspname = 'cofferdam' AND n.nspowner <> 'cofferdam_owner'::regrole"
                .to_owned(),
        ),
        (
            "new objects start without grants",
            "SELECT g.privilege_type || ' on ' || d.defaclobjtype::text || ' to ' || g.grantee::regrole \
             FROM pg_default_acl d, aclexplode(d.defaclacl) g \
             WHERE d.defaclrole = 'cofferdam_owner'::regrole AND g.grantee <> d.defaclrole \
             UNION ALL SELECT 'default for functions' WHERE NOT EXISTS (SELECT FROM pg_default_acl d \
                 WHERE d.defaclrole = 'cofferdam_owner'::regrole AND d.defaclobjtype = 'f' AND d.defaclnamespace = 0)"
                .to_owned(),
        ),
        (
            "the roles have no power of their own",
            "SELECT r.rolname::text FROM pg_roles r WHERE r.rolname ~ '^cofferdam_(owner|rewinder|enqueuer|application|sequencer|sealer|indexer|reader)$' \
                 AND (r.rolsuper OR r.rolbypassrls OR r.rolcanlogin OR r.rolcreaterole OR r.rolcreatedb \
                     OR r.rolreplication OR r.rolinherit) \
             UNION ALL SELECT m.member::regrole || ' in ' || m.roleid::regrole FROM pg_auth_members m \
             WHERE m.member::regrole::text ~ '^cofferdam_(owner|rewinder|enqueuer|application|sequencer|sealer|indexer|reader)$' \
                 AND NOT (m.member = 'cofferdam_owner'::regrole AND m.roleid IN ('cofferdam_rewinder'::regrole, 'cofferdam_enqueuer'::regrole))"
                .to_owned(),
        ),
    ]
}

/// Everything that breaks a rule, each with the rule's name.
async fn violations(connection: &mut PgConnection) -> Vec<String> {
    let mut all = Vec::new();
    for (rule, sql) in rules() {
        let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut *connection).await.expect(rule);
        all.extend(rows.iter().map(|row| format!("{rule}: {}", row.get::<String, _>(0))));
    }
    all.extend(policy_violations(connection).await);
    all
}

/// Each policy is for named roles, permissive, and one of the expressions that its place allows.
async fn policy_violations(connection: &mut PgConnection) -> Vec<String> {
    let sql = "SELECT c.relname::text AS relation, p.polname::text AS name, p.polcmd::text AS command, \
             pg_get_expr(p.polqual, c.oid) AS qual, pg_get_expr(p.polwithcheck, c.oid) AS checked, \
             p.polpermissive AS permissive, \
             ARRAY(SELECT CASE WHEN r = 0 THEN 'public' ELSE r::regrole::text END FROM unnest(p.polroles) r) AS roles, \
             EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id') AS tenants \
         FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid WHERE c.relnamespace = 'cofferdam'::regnamespace";
    let rows = sqlx::query(sql).fetch_all(&mut *connection).await.expect("policies");
    let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut wrong = Vec::new();
    for row in rows {
        let (relation, name): (String, String) = (row.get("relation"), row.get("name"));
        let (command, roles): (String, Vec<String>) = (row.get("command"), row.get("roles"));
        let control = CONTROL.contains(&format!("'{relation}'"));
        let expressions: Vec<String> = [row.get("qual"), row.get::<Option<String>, _>("checked")]
            .iter()
            .flatten()
            .map(|expression| squeeze(expression))
            .collect();
        let allowed = |role: &str, expression: &str| match (role, control, row.get("tenants")) {
            ("cofferdam_reader", _, true) => {
                expression == TENANT || (relation == "tenants" && expression == NAMED)
            }
            ("cofferdam_reader", true, false) => expression == CHAIN,
            ("cofferdam_rewinder", _, true) => expression == UNSCOPED,
            ("cofferdam_enqueuer", _, true) => expression == TENANT,
            ("cofferdam_indexer", false, true) => command == "a" && expression == DAEMON,
            ("cofferdam_sequencer" | "cofferdam_sealer", false, true) => expression == TENANT,
            ("cofferdam_sequencer" | "cofferdam_sealer" | "cofferdam_indexer", true, true) => {
                expression == TENANT
                    || expression == DAEMON
                    || (relation == "tenants" && command == "a" && expression == UNSCOPED)
                    || (relation == "mirror_heads" && expression == UNSCOPED)
            }
            ("cofferdam_sequencer" | "cofferdam_sealer" | "cofferdam_indexer", true, false) => {
                // A tenant's session may hold the lease and, by the check, not change it.
                expression == UNSCOPED
                    || (command == "r" || relation == "leases") && expression == CHAIN
            }
            _ => false,
        };
        let complete = match command.as_str() {
            "w" | "*" => expressions.len() == 2,
            _ => expressions.len() == 1,
        };
        let fine = row.get("permissive")
            && complete
            && roles.iter().all(|role| expressions.iter().all(|text| allowed(role, text)));
        if !fine {
            wrong.push(format!("a policy compares with the scope: cofferdam.{relation}.{name}"));
        }
    }
    wrong
}

#[tokio::test]
async fn i7_the_catalog_breaks_no_rule() {
    let database = database().await;
    let mut raw = database.raw(None).await;
    assert_eq!(violations(&mut raw).await, Vec::<String>::new());
}

/// What somebody might add one day, and what must be said about it.
const BAD: &[(&str, &str)] = &[
    (
        "CREATE TABLE cofferdam.notes (tenant_id bytea NOT NULL CHECK (octet_length(tenant_id) = 32), \
             chain_id bigint NOT NULL, n bigint, PRIMARY KEY (tenant_id, chain_id, n))",
        "row security enabled and forced, partitions too: cofferdam.notes",
    ),
    (
        "CREATE TABLE cofferdam.notes (tenant_id bytea NOT NULL, n bigint PRIMARY KEY)",
        "tenant data has a tenant_id of 32 bytes and a chain_id, neither null: cofferdam.notes",
    ),
    (
        "CREATE TABLE cofferdam.notes (n bigint PRIMARY KEY)",
        "(tenant_id, chain_id) leads every unique index: cofferdam.notes_pkey",
    ),
    (
        "ALTER TABLE cofferdam.entries NO FORCE ROW LEVEL SECURITY",
        "row security enabled and forced, partitions too: cofferdam.entries",
    ),
    (
        "ALTER TABLE cofferdam.entries_3 DISABLE ROW LEVEL SECURITY",
        "row security enabled and forced, partitions too: cofferdam.entries_3",
    ),
    (
        "ALTER TABLE cofferdam.entries DETACH PARTITION cofferdam.entries_7; \
         DROP TABLE cofferdam.entries_7; \
         CREATE TABLE cofferdam.entries_new PARTITION OF cofferdam.entries FOR VALUES WITH (MODULUS 8, REMAINDER 7)",
        "row security enabled and forced, partitions too: cofferdam.entries_new",
    ),
    (
        "CREATE VIEW cofferdam.latest AS SELECT tenant_id, seq FROM cofferdam.entries",
        "a view over ours runs as its invoker, wherever it is: cofferdam.latest",
    ),
    (
        "CREATE VIEW cofferdam.latest WITH (security_invoker = true) AS \
             SELECT tenant_id, batch_index, block_number, block_hash, block_time, tx_hash, log_index \
             FROM cofferdam.anchored",
        "a view says of each row which event it is from, and how final: cofferdam.latest",
    ),
    (
        "RESET ROLE; CREATE VIEW public.latest AS SELECT tenant_id, seq FROM cofferdam.entries",
        "a view over ours runs as its invoker, wherever it is: latest",
    ),
    (
        "CREATE MATERIALIZED VIEW cofferdam.totals AS SELECT count(*) FROM cofferdam.entries",
        "only tables, partitions, views and indexes: cofferdam.totals",
    ),
    ("CREATE SEQUENCE cofferdam.ids", "only tables, partitions, views and indexes: cofferdam.ids"),
    (
        "ALTER TABLE cofferdam.anchored ADD COLUMN n bigint GENERATED ALWAYS AS IDENTITY",
        "no identity and no default from a sequence: cofferdam.anchored.n",
    ),
    (
        "ALTER TABLE cofferdam.anchored ADD UNIQUE (tx_hash, log_index)",
        "(tenant_id, chain_id) leads every unique index: cofferdam.anchored_tx_hash_log_index_key",
    ),
    (
        "CREATE UNIQUE INDEX once ON cofferdam.anchored (tenant_id, lower(root::text))",
        "(tenant_id, chain_id) leads every unique index: cofferdam.once",
    ),
    (
        "CREATE INDEX by_text ON cofferdam.entries_1 (tenant_id, lower(actor))",
        "no exclusion constraint and no index over expressions: cofferdam.by_text",
    ),
    (
        "ALTER TABLE cofferdam.tenants ADD UNIQUE (chain_id, tenant_id); \
         ALTER TABLE cofferdam.anchored ADD CONSTRAINT of FOREIGN KEY (chain_id, tenant_id) \
             REFERENCES cofferdam.tenants (chain_id, tenant_id)",
        "(tenant_id, chain_id) leads both sides of every foreign key: cofferdam.anchored.of",
    ),
    (
        "ALTER TABLE cofferdam.entries ALTER COLUMN actor SET STATISTICS 100",
        "no column statistics, which EXPLAIN reads across row security: cofferdam.entries.actor",
    ),
    (
        "CREATE STATISTICS cofferdam.both ON actor, action FROM cofferdam.entries",
        "no column statistics, which EXPLAIN reads across row security: both",
    ),
    (
        "GRANT SELECT ON cofferdam.entries TO cofferdam_reader",
        "nobody is granted a whole table, except to delete where that is listed: \
         cofferdam.entries: SELECT to cofferdam_reader",
    ),
    (
        "GRANT TRUNCATE ON cofferdam.anchored TO cofferdam_indexer",
        "nobody is granted a whole table, except to delete where that is listed: \
         cofferdam.anchored: TRUNCATE to cofferdam_indexer",
    ),
    (
        "GRANT SELECT (xmin) ON cofferdam.entries TO cofferdam_reader",
        "columns are granted to our roles only, never system columns, never on partitions: \
         cofferdam.entries.xmin: SELECT to cofferdam_reader",
    ),
    (
        "GRANT SELECT (seq) ON cofferdam.entries_5 TO cofferdam_sealer",
        "columns are granted to our roles only, never system columns, never on partitions: \
         cofferdam.entries_5.seq: SELECT to cofferdam_sealer",
    ),
    (
        "GRANT SELECT (seq) ON cofferdam.entries TO PUBLIC",
        "columns are granted to our roles only, never system columns, never on partitions: \
         cofferdam.entries.seq: SELECT to -",
    ),
    (
        "GRANT SELECT (root) ON cofferdam.anchored TO cofferdam_indexer",
        "the reader only reads, the indexer reads no tenant data, nobody updates tenant data: \
         cofferdam.anchored.root: SELECT to cofferdam_indexer",
    ),
    (
        "GRANT UPDATE (payload) ON cofferdam.entries TO cofferdam_sequencer",
        "the reader only reads, the indexer reads no tenant data, nobody updates tenant data: \
         cofferdam.entries.payload: UPDATE to cofferdam_sequencer",
    ),
    (
        "GRANT SELECT (payload) ON cofferdam.intake TO cofferdam_enqueuer",
        "the enqueuer puts into the intake, never saying when, and knows only which tenant it is: \
         cofferdam.intake.payload: SELECT",
    ),
    (
        "GRANT INSERT (xid) ON cofferdam.intake TO cofferdam_enqueuer",
        "the enqueuer puts into the intake, never saying when, and knows only which tenant it is: \
         cofferdam.intake.xid: INSERT",
    ),
    (
        "CREATE POLICY all_of_it ON cofferdam.entries FOR SELECT TO cofferdam_sealer USING (true)",
        "a policy compares with the scope: cofferdam.entries.all_of_it",
    ),
    (
        "CREATE POLICY no_chain ON cofferdam.entries FOR SELECT TO cofferdam_reader \
             USING (tenant_id = (SELECT cofferdam.scope_tenant()))",
        "a policy compares with the scope: cofferdam.entries.no_chain",
    ),
    (
        "CREATE POLICY per_row ON cofferdam.entries FOR SELECT TO cofferdam_reader \
             USING (chain_id = cofferdam.scope_chain() AND tenant_id = cofferdam.scope_tenant())",
        "a policy compares with the scope: cofferdam.entries.per_row",
    ),
    (
        "CREATE POLICY anyone ON cofferdam.heads FOR SELECT \
             USING (chain_id = (SELECT cofferdam.scope_chain()) AND tenant_id = (SELECT cofferdam.scope_tenant()))",
        "a policy compares with the scope: cofferdam.heads.anyone",
    ),
    (
        "CREATE POLICY p ON cofferdam.entries_2 FOR SELECT TO cofferdam_reader USING (true)",
        "a partition carries no policy, and every child is a partition: cofferdam.entries_2.p",
    ),
    (
        "CREATE TABLE cofferdam.child () INHERITS (cofferdam.anchored)",
        "a partition carries no policy, and every child is a partition: cofferdam.child",
    ),
    (
        "CREATE FUNCTION cofferdam.t() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END'; \
         CREATE TRIGGER copy AFTER INSERT ON cofferdam.tag_keys FOR EACH ROW EXECUTE FUNCTION cofferdam.t()",
        "no trigger, no rule, no publication: cofferdam.tag_keys copy",
    ),
    (
        "RESET ROLE; CREATE PUBLICATION everything FOR TABLE cofferdam.anchored",
        "no trigger, no rule, no publication: \
         cofferdam.anchored everything",
    ),
    (
        "CREATE FUNCTION cofferdam.peek() RETURNS bigint LANGUAGE sql SECURITY DEFINER \
             RETURN (SELECT count(*) FROM cofferdam.entries)",
        "functions run as their caller, except the two doors, and PUBLIC may call none: cofferdam.peek()",
    ),
    (
        "GRANT EXECUTE ON FUNCTION cofferdam.scope_chain() TO PUBLIC",
        "functions run as their caller, except the two doors, and PUBLIC may call none: cofferdam.scope_chain()",
    ),
    (
        "RESET ROLE; GRANT EXECUTE ON FUNCTION cofferdam.enqueue TO cofferdam_reader",
        "functions run as their caller, except the two doors, and PUBLIC may call none: \
         cofferdam.enqueue(bigint,bytea,text[],text[],text[],text[],text[],text[],text[],text[],text[])",
    ),
    (
        "RESET ROLE; ALTER FUNCTION cofferdam.rewind(bigint) SET search_path = public",
        "functions run as their caller, except the two doors, and PUBLIC may call none: cofferdam.rewind(bigint)",
    ),
    (
        "GRANT CREATE ON SCHEMA cofferdam TO cofferdam_sequencer",
        "the schema is its owner's, others only use it: CREATE to cofferdam_sequencer",
    ),
    (
        "ALTER DEFAULT PRIVILEGES IN SCHEMA cofferdam GRANT SELECT ON TABLES TO cofferdam_reader",
        "new objects start without grants: SELECT on r to cofferdam_reader",
    ),
    (
        "RESET ROLE; CREATE TABLE cofferdam.of_another (tenant_id bytea)",
        "cofferdam_owner owns it: cofferdam.of_another",
    ),
];

#[tokio::test]
async fn i7_whatever_breaks_a_rule_is_named() {
    let database = database().await;
    let mut raw = database.raw(None).await;
    for (sql, expected) in BAD {
        let mut tx = raw.begin().await.expect("a transaction");
        let sql = format!("SET LOCAL ROLE cofferdam_owner; {sql}; RESET ROLE");
        tx.execute(sqlx::raw_sql(AssertSqlSafe(sql.clone()))).await.expect(&sql);
        let found = violations(&mut tx).await;
        assert!(found.iter().any(|violation| violation == expected), "{sql}\n{found:#?}");
        tx.rollback().await.expect("undone");
    }
    assert_eq!(violations(&mut raw).await, Vec::<String>::new());
}
