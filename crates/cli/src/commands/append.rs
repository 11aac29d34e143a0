//! `cofferdam append`: audit logs into entries.
//!
//! Files are read twice. The first time everything that can be wrong with a record is looked for and
//! every tenant's name is looked up, so that a bad record at the end of a file leaves nothing
//! half-written; the second time the entries go in. Standard input can be read only once: there, what
//! came before a bad record stays, and the error says so.

use std::{
    collections::{BTreeMap, HashSet},
    path::PathBuf,
    process::ExitCode,
};

use cofferdam_core::{FieldName, TenantId};
use cofferdam_store::{Appended, Appender, NewEntry, Sequencer, Tenant};
use eyre::{Result, WrapErr, bail};
use futures::future::try_join_all;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::{
    claims::{Claims, Table, unregistered},
    connect::{self, ChainArgs, DatabaseArgs, KeyArgs},
    ingest::{self, Format, Mapping, Origin, Pointer, Record, RecordFields, Source},
    keys::KeyRing,
    output::{Output, Unit, grouped},
    register::Registrar,
};

/// Records handed to the database together.
const GROUP_RECORDS: usize = 8_000;
/// The most bytes of them, so that memory stays flat however large records are.
const GROUP_BYTES: usize = 8 << 20;

/// Append audit records to tenants' logs
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cofferdam append cloudtrail/            every .json, .jsonl, .ndjson, .log and their .gz in a folder
  zcat app.log.gz | cofferdam append --tenant acme --format ndjson -
  cofferdam append --format map --map-tenant /org --map-id /uuid --map-actor /user/name \\
      --map-action /event --map-time /ts events.jsonl

A record that is there already (same tenant, same id, same content) is recognised and left alone, so
the same input may be appended again after any failure.")]
pub(crate) struct Args {
    /// Files, folders, or - for standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,

    #[command(flatten)]
    format: FormatArgs,

    /// The one tenant (name or id) that all records belong to, whatever they name; a record that names
    /// another registered tenant is refused
    #[arg(long, value_name = "TENANT", help_heading = "Tenants")]
    tenant: Option<String>,

    /// Register tenants that the records name, with keys made here; on chain 31337 only
    #[arg(long, conflicts_with = "tenant", help_heading = "Tenants")]
    register: bool,

    /// The folder of tenants' keystores, for --register
    #[arg(
        long,
        value_name = "DIR",
        env = "COFFERDAM_KEYS",
        default_value = ".cofferdam/keys",
        help_heading = "Tenants"
    )]
    keys: PathBuf,

    #[command(flatten)]
    database: DatabaseArgs,

    #[command(flatten)]
    chain: ChainArgs,

    #[command(flatten)]
    key: KeyArgs,
}

/// How records are read.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Format")]
pub(crate) struct FormatArgs {
    /// What the records look like; `auto` tells CloudTrail and Cofferdam NDJSON apart
    #[arg(long, value_enum, default_value_t = FormatName::Auto)]
    format: FormatName,

    /// JSON pointer (RFC 6901) to the source's own id of a record
    #[arg(long, value_name = "POINTER")]
    map_id: Option<String>,

    /// JSON pointer to the tenant's name
    #[arg(long, value_name = "POINTER")]
    map_tenant: Option<String>,

    /// JSON pointer to who acted
    #[arg(long, value_name = "POINTER")]
    map_actor: Option<String>,

    /// JSON pointer to what was done
    #[arg(long, value_name = "POINTER")]
    map_action: Option<String>,

    /// JSON pointer to what it was done to
    #[arg(long, value_name = "POINTER")]
    map_resource: Option<String>,

    /// JSON pointer to how it ended
    #[arg(long, value_name = "POINTER")]
    map_result: Option<String>,

    /// JSON pointer to when it happened, an RFC 3339 time
    #[arg(long, value_name = "POINTER")]
    map_time: Option<String>,

    /// The member that holds the array of records, where the log wraps them in an object
    #[arg(long, value_name = "NAME")]
    map_envelope: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum FormatName {
    Auto,
    Cloudtrail,
    Ndjson,
    Map,
}

impl FormatArgs {
    fn format(&self) -> Result<Format> {
        let pointers = [
            ("--map-id", &self.map_id),
            ("--map-tenant", &self.map_tenant),
            ("--map-actor", &self.map_actor),
            ("--map-action", &self.map_action),
            ("--map-resource", &self.map_resource),
            ("--map-result", &self.map_result),
            ("--map-time", &self.map_time),
            ("--map-envelope", &self.map_envelope),
        ];
        if self.format != FormatName::Map
            && let Some((option, _)) = pointers.iter().find(|(_, value)| value.is_some())
        {
            bail!("{option} is for --format map only");
        }
        let [id, tenant, actor, action, resource, result, time, _] = pointers;
        let pointer = |(option, text): (&str, &Option<String>)| -> Result<Option<Pointer>> {
            let parse = |text: &String| text.parse().wrap_err_with(|| format!("{option} {text:?}"));
            text.as_ref().map(parse).transpose()
        };
        Ok(match self.format {
            FormatName::Auto => Format::Auto,
            FormatName::Cloudtrail => Format::CloudTrail,
            FormatName::Ndjson => Format::Ndjson,
            FormatName::Map => Format::Map(Mapping {
                envelope: self.map_envelope.clone(),
                tenant: pointer(tenant)?,
                actor: pointer(actor)?,
                action: pointer(action)?,
                resource: pointer(resource)?,
                result: pointer(result)?,
                time: pointer(time)?,
                id: pointer(id)?.ok_or_else(|| {
                    eyre::eyre!("--format map needs --map-id: without the source's own id a repeat could not be recognised")
                })?,
            }),
        })
    }
}

/// What an append did.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Report {
    /// Records read.
    pub(crate) records: u64,
    /// Those that were new.
    pub(crate) appended: u64,
    /// Those that were there already.
    pub(crate) repeated: u64,
    /// Tenants they belong to.
    pub(crate) tenants: usize,
    /// Tenants registered on the way.
    pub(crate) registered: usize,
    /// The tenants themselves, by name.
    #[serde(skip)]
    pub(crate) concerned: BTreeMap<String, TenantId>,
}

/// What to append, and how its tenants are found.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) sequencer: Sequencer,
    pub(crate) sources: Vec<Source>,
    pub(crate) format: Format,
    pub(crate) pinned: Option<Tenant>,
    pub(crate) registrar: Option<Registrar>,
}

pub(crate) async fn run(args: Args, output: &Output) -> Result<ExitCode> {
    let format = args.format.format()?;
    let sources = ingest::sources(&args.paths)?;
    let chain_id = args.chain.id().await?;
    let sequencer = connect::sequencer(&args.database, chain_id).await?;
    let pinned = match &args.tenant {
        Some(tenant) => Some(connect::tenant(&sequencer, tenant).await?),
        None => None,
    };
    let registrar = if args.register {
        let chain = args.chain.connect().await?;
        let sender = cofferdam_anchorer::Sender::new(chain, args.key.load(chain_id)?);
        let (deployment, keys) = (args.chain.deployment(), KeyRing::open(&args.keys)?);
        Some(Registrar::new(sequencer.clone(), sender, deployment, keys)?)
    } else {
        None
    };
    let report = append(Job { sequencer, sources, format, pinned, registrar }, output).await?;
    output.result(&report, summary(&report));
    Ok(ExitCode::SUCCESS)
}

/// One line on what happened.
pub(crate) fn summary(report: &Report) -> String {
    let Report { records, appended, repeated, tenants, .. } = report;
    let (records, appended) = (grouped(*records), grouped(*appended));
    match repeated {
        0 => format!("appended {appended} records of {tenants} tenants"),
        n if *n == report.records => {
            format!("nothing new: all {records} records of {tenants} tenants were there already")
        }
        n => format!(
            "appended {appended} of {records} records of {tenants} tenants; {} were there already",
            grouped(*n)
        ),
    }
}

/// Appends what the job names, in order.
pub(crate) async fn append(job: Job, output: &Output) -> Result<Report> {
    let Job { sequencer, sources, format, pinned, registrar } = job;
    let table = Table::load(&sequencer, pinned).await?;
    let input = Input { sources, format, table: table.clone() };
    let register = registrar.is_some();
    let mut claims = Claims::new(table, sequencer.clone(), registrar);
    // A pipe can be read only once.
    if input.sources.iter().all(|source| source.size().is_some()) {
        for (name, first) in check(&input, register, output).await? {
            claims.tenant_of(Some(&name), &first).await?;
        }
    }
    let mut report = Report::default();
    let done = write(&input, &sequencer.appender(), &mut claims, &mut report, output).await;
    (report.concerned, report.registered) = claims.into_met();
    report.tenants = report.concerned.len();
    done.wrap_err_with(|| match report.appended {
        0 => "nothing was appended".to_string(),
        n => format!(
            "{n} records were appended and stay; mend the input and append all of it again, what \
             is there already will be recognised"
        ),
    })?;
    Ok(report)
}

/// What is read, and whose it can be.
#[derive(Debug, Clone)]
struct Input {
    sources: Vec<Source>,
    format: Format,
    table: Table,
}

/// Reads all sources through and keeps nothing but, for `register`, the names of tenants, in the order
/// in which they are met.
async fn check(input: &Input, register: bool, output: &Output) -> Result<Vec<(String, Origin)>> {
    let total = input.sources.iter().filter_map(Source::size).sum();
    let mut progress = output.progress("checking", total, Unit::Bytes);
    let Input { sources, format, table } = input.clone();
    let names = tokio::task::spawn_blocking(move || -> Result<_> {
        let mut names: Vec<(String, Origin)> = vec![];
        let mut seen: HashSet<String> = HashSet::new();
        let mut before = 0;
        for source in &sources {
            let records = open(source, &format, table.is_pinned())?;
            let read = records.progress();
            for record in records {
                let Record { tenant, origin, .. } = record?;
                progress.set(before + read.bytes());
                let found = table.tenant_of(tenant.as_deref(), &origin)?;
                let Some(name) = tenant.filter(|_| !table.is_pinned()) else { continue };
                if register && !seen.contains(&name) {
                    seen.insert(name.clone());
                    names.push((name, origin));
                } else if !register && found.is_none() {
                    return Err(unregistered(&name, &origin));
                }
            }
            before += source.size().unwrap_or_default();
        }
        progress.done();
        Ok(names)
    });
    names.await?
}

fn open(source: &Source, format: &Format, pinned: bool) -> Result<ingest::Records> {
    let records = ingest::read(source, format)?;
    Ok(if pinned { records.without_tenants() } else { records })
}

/// Records read together, and how many bytes of the input they end at.
struct Group {
    records: Vec<Record>,
    read: u64,
}

/// Reads in one thread and appends group after group, at most one group ahead.
async fn write(
    input: &Input,
    appender: &Appender,
    claims: &mut Claims,
    report: &mut Report,
    output: &Output,
) -> Result<()> {
    let total = input.sources.iter().filter_map(Source::size).sum();
    let mut progress = output.progress("appending", total, Unit::Bytes);
    let (sender, mut groups) = mpsc::channel(1);
    let Input { sources, format, table } = input.clone();
    let pinned = table.is_pinned();
    let reader =
        tokio::task::spawn_blocking(move || read_groups(&sources, &format, pinned, &sender));
    while let Some(group) = groups.recv().await {
        let Group { records, read } = group;
        let mut by_tenant: BTreeMap<TenantId, (Vec<Origin>, Vec<NewEntry>)> = BTreeMap::new();
        for record in records {
            let tenant = claims.tenant_of(record.tenant.as_deref(), &record.origin).await?;
            let entry = new_entry(record.entry)
                .map_err(|error| eyre::eyre!("{}: {error}", record.origin))?;
            let (origins, entries) = by_tenant.entry(tenant).or_default();
            origins.push(record.origin);
            entries.push(entry);
        }
        let appends = by_tenant.into_iter().map(async |(tenant, (origins, entries))| {
            Ok::<_, eyre::Report>((origins, appender.append(tenant, entries).await?))
        });
        let mut failure: Option<eyre::Report> = None;
        for (origins, outcomes) in try_join_all(appends).await? {
            for (origin, outcome) in origins.into_iter().zip(outcomes) {
                report.records += 1;
                match outcome {
                    Ok(Appended::New { .. }) => report.appended += 1,
                    Ok(Appended::Repeat { .. }) => report.repeated += 1,
                    Err(error) if failure.is_none() => {
                        failure = Some(eyre::eyre!("{origin}: {error}"));
                    }
                    Err(_) => {}
                }
            }
        }
        if let Some(failure) = failure {
            return Err(failure);
        }
        progress.set(read);
    }
    progress.done();
    reader.await?
}

/// Sends the sources' records in groups until they end or nobody listens.
fn read_groups(
    sources: &[Source],
    format: &Format,
    pinned: bool,
    groups: &mpsc::Sender<Group>,
) -> Result<()> {
    let mut before = 0;
    for source in sources {
        let records = open(source, format, pinned)?;
        let progress = records.progress();
        let (mut group, mut bytes) = (vec![], 0);
        for record in records {
            // What came before a bad record is handed over first.
            let failed = record.as_ref().is_err();
            if failed || group.len() == GROUP_RECORDS || bytes >= GROUP_BYTES {
                let read = before + progress.bytes();
                let full = Group { records: std::mem::take(&mut group), read };
                if groups.blocking_send(full).is_err() {
                    return Ok(());
                }
                bytes = 0;
            }
            let record = record?;
            bytes += size(&record.entry);
            group.push(record);
        }
        let read = before + progress.bytes();
        if groups.blocking_send(Group { records: group, read }).is_err() {
            return Ok(());
        }
        before += source.size().unwrap_or_default();
    }
    Ok(())
}

fn size(entry: &RecordFields) -> usize {
    let RecordFields { payload, resource, reason, actor, .. } = entry;
    payload.len() + resource.len() + reason.len() + actor.len()
}

fn new_entry(fields: RecordFields) -> Result<NewEntry, cofferdam_store::NewEntryError> {
    NewEntry::new([
        (FieldName::Action, fields.action),
        (FieldName::Actor, fields.actor),
        (FieldName::ExternalId, fields.external_id),
        (FieldName::OccurredAt, fields.occurred_at),
        (FieldName::Payload, fields.payload),
        (FieldName::PolicyVersion, fields.policy_version),
        (FieldName::Reason, fields.reason),
        (FieldName::Resource, fields.resource),
        (FieldName::Result, fields.result),
    ])
}
