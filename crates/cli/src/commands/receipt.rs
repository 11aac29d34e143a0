//! `cofferdam receipt`: what an auditor is handed.

use std::{fs, path::PathBuf, process::ExitCode};

use cofferdam_core::{EntryBody, FieldName, Receipt, ReceiptEntry};
use cofferdam_store::{Deployment, Reader, StoredEntry, Tenant, TenantTx};
use eyre::{Result, WrapErr, bail};
use serde_json::json;

use crate::{
    connect::{self, ChainArgs, DatabaseArgs},
    output::{Output, print},
    proof,
};

/// Write the receipt of an entry, which anyone can verify without this database
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cofferdam receipt --tenant acme --seq 7 --out receipt.json
  cofferdam receipt --tenant acme --id 5ccb707e-ea1c-4ae5-acb1-2039ca8908ec
  cofferdam receipt --tenant acme --seq 7 --disclose actor,action,occurred_at

  cofferdam receipt --tenant acme --seq 7 --withhold payload

Without --disclose and --withhold the receipt carries the whole entry and the seed of its salts; with
them, some fields, and nothing of the others but their digests. With an RPC endpoint it says how settled
the entry is, and once that is final proves it, so that it can be verified without asking anybody. Without
one, or where that has forgotten the state it takes, the proof that the daemon kept serves.")]
pub(crate) struct Args {
    /// The tenant, by name or id
    #[arg(long, value_name = "TENANT")]
    tenant: String,

    /// The entry's sequence number
    #[arg(long, value_name = "N", required_unless_present = "id", conflicts_with = "id")]
    seq: Option<u64>,

    /// The source's own id of the entry
    #[arg(long, value_name = "ID")]
    id: Option<String>,

    #[command(flatten)]
    fields: FieldArgs,

    /// Where to write it; standard output when not given
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    #[command(flatten)]
    database: DatabaseArgs,

    #[command(flatten)]
    chain: ChainArgs,
}

pub(crate) async fn run(args: Args, output: &Output) -> Result<ExitCode> {
    let chain_id = args.chain.id().await?;
    let sequencer = connect::sequencer(&args.database, chain_id).await?;
    let tenant = connect::tenant(&sequencer, &args.tenant).await?;
    let reader = Reader::connect(&args.database.url()?, chain_id).await?;
    let Some(deployment) = reader.deployment().await? else {
        bail!("nothing was anchored from this database yet; run `cofferdam run`");
    };
    let mut tx = reader.tenant(tenant.id).await?;
    let found = match (&args.seq, &args.id) {
        (Some(seq), _) => tx.entry((*seq).into()).await?,
        (None, Some(id)) => tx.entry_by_external_id(id).await?,
        (None, None) => None,
    };
    let Some(entry) = found else {
        let which = args.seq.map_or_else(
            || format!("with id {:?}", args.id.as_deref().unwrap_or_default()),
            |seq| format!("{seq}"),
        );
        bail!("tenant {} has no entry {which}", tenant.name);
    };
    let mut receipt =
        make(&mut tx, &tenant, entry, args.fields.disclosed(), &deployment, chain_id).await?;
    let chain = match args.chain.rpc_url {
        Some(_) => Some(args.chain.connect().await?),
        None => None,
    };
    if chain.as_ref().is_some_and(|chain| chain.contract() != deployment.contract) {
        bail!("this database follows contract {}; pass no other", deployment.contract);
    }
    proof::settle(chain.as_ref(), &mut receipt, &mut tx).await?;
    let text = receipt.to_json()?;
    let seq = receipt.entry.seq;
    match &args.out {
        Some(path) => {
            fs::write(path, text.as_bytes())
                .wrap_err_with(|| format!("cannot write {}", path.display()))?;
            output.result(
                &json!({
                    "tenantId": tenant.id, "seq": seq, "state": receipt.state(), "out": path,
                }),
                format!(
                    "wrote the receipt of entry {seq} of {}, {}, to {}",
                    tenant.name,
                    receipt.state(),
                    path.display()
                ),
            );
        }
        None => print(text),
    }
    Ok(ExitCode::SUCCESS)
}

/// Which fields are told.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct FieldArgs {
    /// The only fields to disclose
    #[arg(long, value_name = "FIELD", value_delimiter = ',')]
    disclose: Vec<FieldName>,

    /// The only fields not to disclose
    #[arg(long, value_name = "FIELD", value_delimiter = ',', conflicts_with = "disclose")]
    withhold: Vec<FieldName>,
}

impl FieldArgs {
    /// The only fields to disclose; `None` for all of them, with the seed.
    pub(crate) fn disclosed(&self) -> Option<Vec<FieldName>> {
        match (&*self.disclose, &*self.withhold) {
            ([], []) => None,
            (disclosed, []) => Some(disclosed.into()),
            (_, withheld) => {
                Some(FieldName::ALL.into_iter().filter(|it| !withheld.contains(it)).collect())
            }
        }
    }
}

/// As much of an entry as may be told.
pub(crate) fn body(entry: StoredEntry, disclosed: Option<&[FieldName]>) -> EntryBody {
    match (entry.seed, disclosed) {
        (None, _) => EntryBody::Erased(entry.commitment),
        (Some(seed), None) => EntryBody::Whole { seed, fields: entry.fields },
        (Some(seed), Some(disclosed)) => EntryBody::partial(&seed, &entry.fields, disclosed),
    }
}

/// Makes the receipt of an entry from what is stored and mirrored.
async fn make(
    tx: &mut TenantTx,
    tenant: &Tenant,
    entry: StoredEntry,
    disclosed: Option<Vec<FieldName>>,
    deployment: &Deployment,
    chain_id: u64,
) -> Result<Receipt> {
    let seq = entry.seq;
    let (previous, commitment) = (entry.previous, entry.commitment);
    let body = body(entry, disclosed.as_deref());
    // A receipt that its own verifier refuses is never handed out.
    let refused = |what| {
        let (name, id) = (&tenant.name, tenant.id);
        format!(
            "entry {seq} of {name} is not what was {what}; run `cofferdam verify --tenant {id}`"
        )
    };
    let receipt = Receipt {
        chain_id,
        contract: deployment.contract,
        code_hash: deployment.code_hash,
        tenant: tenant.id,
        entry: ReceiptEntry { seq, previous, body },
        inclusion: tx.inclusion(seq).await?,
    };
    if receipt.inclusion.is_some() {
        receipt.check().wrap_err_with(|| refused("anchored"))?;
    } else if receipt.entry.body.commitment() != commitment {
        bail!(refused("appended"));
    }
    Ok(receipt)
}
