//! `cofferdam bundle`: a tenant's whole history, or a range of it, in one file.

use std::{
    fs::{self, File},
    io::BufWriter,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use alloy::{eips::BlockNumberOrTag, signers::SignerSync};
use cofferdam_bundle::Writer;
use cofferdam_contracts::{Chain, Header, PolicyRegistry};
use cofferdam_core::{
    AnchorRef, BatchIndex, BundleBatch, BundleCheck, BundleEntry, BundleFirst, BundleHistory,
    BundleLast, BundleProof, EntryHash, FieldName, History, LaterBatch, Manifest, Policy,
    PolicyRecord, ReceiptEntry, ScopeRecord, Seq, SignatureLine, TenantId, manifest_digest,
};
use cofferdam_store::{AnchoredEvent, LogPosition, Reader, Rules, Tenant, TenantTx};
use eyre::{Result, WrapErr, bail, eyre};
use futures::{TryStreamExt, pin_mut};
use serde_json::json;
use tracing::warn;

use super::{
    agent::list::grants,
    receipt::{FieldArgs, body},
};
use crate::{
    connect::{self, ChainArgs, DatabaseArgs, KeyArgs},
    output::{Output, Progress, Unit, grouped, unfinished},
    proof, verifier,
};

/// Write a tenant's history in one file, which anyone can verify to be complete without this database
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cofferdam bundle --tenant acme --out acme.bundle --keystore exporter.json --password-file exporter.password
  cofferdam bundle --tenant acme --first-batch 10 --last-batch 19 --withhold payload --out acme.bundle …
  cofferdam verify acme.bundle --policy verifier.json

The bundle is proven at one block of the chain, by default the last final one, and goes to the last batch
before it. The key signs for what only the exporter says: when it was made, and under which policies and
scopes. Every entry is hashed again on the way; what is not what was anchored is never written.")]
pub(crate) struct Args {
    /// The tenant, by name or id
    #[arg(long, value_name = "TENANT")]
    tenant: String,

    /// Where to write it
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    /// The batch to begin with
    #[arg(long, value_name = "N", default_value_t = 0)]
    first_batch: u64,

    /// The batch to end with; by default the last one
    #[arg(long, value_name = "N")]
    last_batch: Option<u64>,

    /// The block to prove it at: a number, latest, safe or finalized
    #[arg(long, value_name = "BLOCK", default_value = "finalized", value_parser = verifier::block)]
    block: BlockNumberOrTag,

    #[command(flatten)]
    fields: FieldArgs,

    #[command(flatten)]
    key: KeyArgs,

    #[command(flatten)]
    database: DatabaseArgs,

    #[command(flatten)]
    chain: ChainArgs,
}

pub(crate) async fn run(args: Args, output: &Output) -> Result<ExitCode> {
    let chain = args.chain.connect().await?;
    let key = args.key.load(chain.chain_id())?;
    let sequencer = connect::sequencer(&args.database, chain.chain_id()).await?;
    connect::follow(&sequencer, &chain).await?;
    let tenant = connect::tenant(&sequencer, &args.tenant).await?;
    let reader = Reader::connect(&args.database.url()?, chain.chain_id()).await?;
    let mut tx = reader.tenant(tenant.id).await?;

    let mut events = tx.anchored().await?;
    let (block, proof, (policies, scopes)) = proven(&chain, &args, &tenant, &mut tx).await?;
    let head = proof.claimed_head();
    let all = usize::try_from(head.batches).unwrap_or(usize::MAX);
    if events.len() < all {
        bail!(
            "the mirror of tenant {} is behind the chain; run `cofferdam index --once`",
            tenant.name
        );
    }
    events.truncate(all);
    let last = args.last_batch.unwrap_or(head.batches - 1);
    let (first, end) = (args.first_batch, usize::try_from(last).unwrap_or(usize::MAX));
    if first > last || end >= all {
        bail!("tenant {} has batches 0 to {} at block {}", tenant.name, all - 1, block.number);
    }
    let first = usize::try_from(first).unwrap_or(usize::MAX);

    let (begin, last, history) = range(&mut tx, &tenant, &events, (first, end)).await?;
    let history = BundleHistory { entries: head.entries, ..history };
    let (chain_id, contract, code_hash) = (chain.chain_id(), chain.contract(), chain.code_hash());
    let range = (begin, last, history);
    let mut manifest = Manifest::new(chain_id, contract, code_hash, tenant.id, range, proof);
    manifest.exporter = key.address();
    manifest.exported_at =
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |it| it.as_secs());
    (manifest.policies, manifest.scopes) = (policies, scopes);

    let entries = manifest.last.seq.get() - manifest.first.seq.get() + 1;
    let line = manifest.to_json()?;
    let digest = manifest_digest(chain_id, contract, tenant.id, line.as_bytes());
    let signature = key.sign_hash_sync(&digest).wrap_err("cannot sign the bundle")?;
    let signature = SignatureLine { signature: signature.as_bytes().to_vec().into() };
    let head = [line, serde_json::to_string(&signature)?];
    let mut export = Export {
        tenant: &tenant,
        disclosed: args.fields.disclosed(),
        check: BundleCheck::open(head[0].as_bytes(), head[1].as_bytes())?,
        progress: output.progress("exporting", entries, Unit::Entries),
    };

    let fresh = unfinished(&args.out);
    let written = export.write(&mut tx, &events, (first, end), &head, &fresh).await;
    export.progress.done();
    // Only what its own reader would take gets its name.
    let check = export.check;
    let written = written.and_then(|()| {
        let checked = check.finish()?;
        let block_hashes = vec![block.hash];
        checked.prove(&Policy { chain_id, contract, code_hash: Some(code_hash), block_hashes })?;
        fs::rename(&fresh, &args.out)?;
        Ok(checked)
    });
    let check = match written {
        Ok(checked) => checked,
        Err(error) => {
            let _ = fs::remove_file(&fresh);
            return Err(error.wrap_err(format!("cannot write {}", args.out.display())));
        }
    };
    let Manifest { first, last, history, exporter, .. } = &check.manifest;
    output.result(
        &json!({
            "tenantId": tenant.id, "firstSeq": first.seq, "lastSeq": last.seq, "entries": entries,
            "firstBatch": first.batch, "lastBatch": last.batch, "historyRoot": history.root,
            "exporter": exporter, "block": block.number, "blockHash": block.hash, "out": args.out,
        }),
        format!(
            "wrote {} entries of {}, batches {} to {} of {}, proven at block {} {}, to {}",
            grouped(entries),
            tenant.name,
            first.batch,
            last.batch,
            history.batches,
            block.number,
            block.hash,
            args.out.display()
        ),
    );
    Ok(ExitCode::SUCCESS)
}

/// The block that the bundle is proven at, the proof, and what the tenant was under then. Where the node has
/// forgotten the state of its last final block, that of the proof that the daemon kept.
async fn proven(
    chain: &Chain,
    args: &Args,
    tenant: &Tenant,
    tx: &mut TenantTx,
) -> Result<(Header, BundleProof, Rules)> {
    let header = async |at: BlockNumberOrTag| {
        let header = chain.header(at).await?;
        header.ok_or_else(|| eyre!("the endpoint has no block {at}"))
    };
    let block = header(args.block).await?;
    let error = match chain.prove(tenant.id, block.number).await {
        Ok(proof) if proof.claimed_head().batches == 0 => bail!(
            "tenant {} has no batch at block {} yet; wait until one is final, or pass --block latest",
            tenant.name,
            block.number
        ),
        Ok(proof) => {
            let policies = policies(chain, &args.chain, tenant.id, &block).await?;
            let scopes = scopes(chain, &args.chain, tenant.id, block).await?;
            return Ok((block, proof, (policies, scopes)));
        }
        Err(error) => error,
    };
    let kept = match args.block {
        BlockNumberOrTag::Finalized => proof::kept(Some(chain), BatchIndex(0), tx).await?,
        _ => None,
    };
    let Some((at, proof)) = kept else { return Err(error.into()) };
    warn!(%error, number = at.number, "no storage proof of the last final block, only one that was kept before");
    let Some(rules) = tx.rules_at(at.number).await? else {
        bail!("the mirror is behind block {}; run `cofferdam index --once`", at.number);
    };
    Ok((header(at.number.into()).await?, proof, rules))
}

/// Where these batches begin and end, and the whole history.
async fn range(
    tx: &mut TenantTx,
    tenant: &Tenant,
    events: &[AnchoredEvent],
    (first, end): (usize, usize),
) -> Result<(BundleFirst, BundleLast, BundleHistory)> {
    let mut history = History::new();
    let mut peaks = vec![];
    for (at, event) in events.iter().enumerate() {
        if at == first {
            peaks = history.peaks().to_vec();
        }
        history.append(event.batch().commitment())?;
    }
    let (begin, last) = (events[first].batch(), events[end].batch());
    let last_seq = Seq(last.first_seq.get() + last.count - 1);
    let entry = async |tx: &mut TenantTx, seq: Seq| {
        let found = tx.entry(seq).await?;
        found.ok_or_else(|| eyre!("entry {seq} of {} is not in the database", tenant.name))
    };
    let previous = match begin.first_seq {
        Seq(0) => EntryHash::ZERO,
        seq => entry(tx, Seq(seq.get() - 1)).await?.entry_hash,
    };
    let entry_hash = entry(tx, last_seq).await?.entry_hash;
    Ok((
        BundleFirst { batch: begin.index, seq: begin.first_seq, previous, peaks },
        BundleLast { batch: last.index, seq: last_seq, entry_hash },
        BundleHistory { batches: history.batches(), entries: 0, root: history.root() },
    ))
}

/// A bundle that is being written, and checked on the way as its reader will.
struct Export<'a> {
    tenant: &'a Tenant,
    disclosed: Option<Vec<FieldName>>,
    check: BundleCheck,
    progress: Progress,
}

impl Export<'_> {
    async fn write(
        &mut self,
        tx: &mut TenantTx,
        events: &[AnchoredEvent],
        (first, end): (usize, usize),
        head: &[String; 2],
        path: &Path,
    ) -> Result<()> {
        let mut writer = Writer::new(BufWriter::new(File::create(path)?));
        for line in head {
            writer.line(line)?;
        }
        for event in &events[first..=end] {
            let line = line(event);
            writer.line(&serde_json::to_string(&line)?)?;
            self.check.batch(&line).wrap_err_with(|| self.refused())?;
            let entries = tx.entries(line.first_seq, line.count);
            pin_mut!(entries);
            while let Some(stored) = entries.try_next().await? {
                let (seq, previous) = (stored.seq, stored.previous);
                let entry =
                    ReceiptEntry { seq, previous, body: body(stored, self.disclosed.as_deref()) };
                writer.line(&BundleEntry::to_json(&entry)?)?;
                self.check.entry(&BundleEntry::from(&entry)).wrap_err_with(|| self.refused())?;
                self.progress.add(1);
            }
        }
        for event in &events[end + 1..] {
            let later = LaterBatch { commitment: event.batch().commitment() };
            writer.line(&serde_json::to_string(&later)?)?;
            self.check.later(&later).wrap_err_with(|| self.refused())?;
        }
        writer.finish()?.into_inner().map_err(|error| error.into_error())?.sync_all()?;
        Ok(())
    }

    fn refused(&self) -> String {
        let Tenant { name, id, .. } = self.tenant;
        format!(
            "what is stored of {name} is not what was anchored; run `cofferdam verify --tenant {id}`"
        )
    }
}

fn line(event: &AnchoredEvent) -> BundleBatch {
    let batch = event.batch();
    let LogPosition { block_number, block_hash, tx_hash, log_index } = event.position;
    BundleBatch {
        index: batch.index,
        first_seq: batch.first_seq,
        count: batch.count,
        root: batch.root,
        anchored_at: batch.anchored_at,
        anchor: AnchorRef { transaction: tx_hash, log_index, block_number, block_hash },
    }
}

/// Every version of the tenant's policy, as of the block; none where the registry is not deployed.
async fn policies(
    chain: &Chain,
    args: &ChainArgs,
    tenant: TenantId,
    block: &Header,
) -> Result<Vec<PolicyRecord>> {
    let address = args.deployment().policy_registry;
    if !chain.has_code(address).await? {
        return Ok(vec![]);
    }
    let registry = PolicyRegistry::new(address, chain.provider());
    let at = block.number.into();
    let call = registry.versionOf(tenant.as_b256()).block(at);
    let last = chain.view("cannot read the policy's version", &call).await?;
    let mut policies = vec![];
    for version in 1..=last {
        let call = registry.policyAt(tenant.as_b256(), version).block(at);
        let record = chain.view("cannot read a policy", &call).await?;
        policies.push(PolicyRecord {
            version,
            policy_hash: record.policyHash,
            verdict_signer: record.verdictSigner,
            not_before: record.notBefore.to(),
            not_after: record.notAfter.to(),
            recorded_at: record.recordedAt.to(),
        });
    }
    Ok(policies)
}

/// What the tenant's agents were scoped to at the block; nothing where the registry is not deployed.
async fn scopes(
    chain: &Chain,
    args: &ChainArgs,
    tenant: TenantId,
    block: Header,
) -> Result<Vec<ScopeRecord>> {
    let address = args.deployment().mcp_agent_registry;
    if !chain.has_code(address).await? {
        return Ok(vec![]);
    }
    let chain = args.connect_to(address).await?;
    let from = chain.deployed_in().await?.unwrap_or_default();
    let granted = grants(&chain, tenant, from, block).await?.into_iter();
    let scopes = granted.filter_map(|grant| {
        let scope = grant.scope?;
        Some(ScopeRecord {
            agent: grant.agent,
            capability: grant.capability,
            not_before: grant.not_before,
            not_after: grant.not_after,
            native_max: scope.native_max.to(),
            token_max: scope.token_max.to(),
            target: scope.target,
            selector: scope.selector,
            recorded_at: scope.recorded_at,
        })
    });
    Ok(scopes.collect())
}
