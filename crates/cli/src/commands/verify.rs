//! `cofferdam verify`: a receipt against the chain, or everything in a database.

use std::{fmt::Display, fs::File, io::Read, path::PathBuf, process::ExitCode};

use alloy::{
    eips::BlockNumberOrTag,
    primitives::{Address, B256},
};
use cofferdam_contracts::{Chain, Event, Expected, Logged, deployment::Deployed};
use cofferdam_core::{
    Batch, BatchCommitment, BlockHeader, CheckedReceipt, HistoryMerkle, HistoryRef, Inclusion,
    Level, MAX_RECEIPT_BYTES, Policy, ProofError, Receipt, ReceiptError,
};
use cofferdam_store::Reader;
use eyre::{Result, WrapErr, bail, eyre};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    check::{self, Verdict},
    connect::{self, ChainArgs, DatabaseArgs},
    output::{Output, Unit, grouped, table},
};

/// The exit code for "checked, and not true".
const INVALID: u8 = 1;
/// Blocks asked for at once when a history is rebuilt from events.
const RANGE: u64 = 2_000;

/// Verify a receipt against the chain, or every entry in the database
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cofferdam verify receipt.json --rpc-url https://mainnet.base.org --chain-id 8453 --contract 0x…
  cofferdam verify receipt.json --policy verifier.json
  cofferdam verify                                   everything in DATABASE_URL
  cofferdam verify --tenant acme

With a receipt no database is needed, and nothing in the receipt is believed: chain and contract come
from the options, the deployment file or the policy file, {\"chainId\", \"contract\"} and optionally {\"codeHash\",
\"blockHashes\", \"fromBlock\", \"rpcUrl\"}. With code hash and block hash pinned, a receipt with a storage proof
needs no endpoint at all. The level that was reached is said: 1 self-consistent (never enough to be valid),
2 header-proved, 3 chain-confirmed, 4 final.

Exit codes: 0 valid, 1 invalid (which check failed is said), 2 could not tell (unreachable, unreadable).")]
pub(crate) struct Args {
    /// The receipt; without it, everything in the database is verified
    receipt: Option<PathBuf>,

    /// What the auditor trusts: a file with chain and contract
    #[arg(long, value_name = "FILE", requires = "receipt")]
    policy: Option<PathBuf>,

    /// The hash of the contract's code
    #[arg(long, value_name = "HASH", requires = "receipt")]
    code_hash: Option<B256>,

    /// The hash of a block of the chain, known from elsewhere; can be given several times
    #[arg(long, value_name = "HASH", requires = "receipt")]
    block_hash: Vec<B256>,

    /// The first block to look for events in; by default the one that created the contract
    #[arg(long, value_name = "N", requires = "receipt")]
    from_block: Option<u64>,

    /// Only this tenant of the database, by name or id
    #[arg(long, value_name = "TENANT", conflicts_with = "receipt")]
    tenant: Option<String>,

    #[command(flatten)]
    chain: ChainArgs,

    #[command(flatten)]
    database: DatabaseArgs,
}

/// What an auditor trusts: where the truth is, from somebody other than who wrote the receipt.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct VerifierPolicy {
    /// The chain's id.
    pub(crate) chain_id: u64,
    /// AuditAnchor's address.
    pub(crate) contract: Address,
    /// The hash of its code on that chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) code_hash: Option<B256>,
    /// Hashes of blocks that are known to be that chain's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) block_hashes: Vec<B256>,
    /// The block that created it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) from_block: Option<u64>,
    /// An endpoint to ask; `--rpc-url` wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rpc_url: Option<String>,
}

pub(crate) async fn run(args: Args, output: &Output) -> Result<ExitCode> {
    match &args.receipt {
        Some(path) => receipt(&args, path, output).await,
        None => database(&args, output).await,
    }
}

// -------------------------------------------------------------------- a receipt

/// Why a receipt was refused: the check, and what was found.
#[derive(Debug)]
struct Refusal {
    check: &'static str,
    reason: String,
}

async fn receipt(args: &Args, path: &PathBuf, output: &Output) -> Result<ExitCode> {
    let policy = policy(args)?;
    let bytes = read(path)?;
    let refused = |refusal: &Refusal| {
        let Refusal { check, reason } = refusal;
        output.result(
            &json!({ "valid": false, "check": check, "reason": reason }),
            format!("INVALID {}\n  {check}: {reason}", path.display()),
        );
        Ok(ExitCode::from(INVALID))
    };
    let receipt = match Receipt::from_json(&bytes) {
        Ok(receipt) => receipt,
        Err(error) => return refused(&Refusal { check: "format", reason: error.to_string() }),
    };
    let checked = match receipt.check() {
        Ok(checked) => checked,
        Err(error @ ReceiptError::Pending) => bail!("{}: {error}", path.display()),
        Err(error) => {
            return refused(&Refusal { check: "self-consistency", reason: error.to_string() });
        }
    };
    let Some(inclusion) = &receipt.inclusion else { bail!(ReceiptError::Pending) };
    let mut reached = match receipt.prove(&policy.pins()) {
        Ok(proven) => Some(Reached::proven(proven.block)),
        Err(error) if error.is_undecided() => None,
        Err(error) => return refused(&error.into()),
    };
    if reached.is_none() || policy.rpc_url.is_some() {
        match confirm(&receipt, inclusion, &checked, &policy).await? {
            Ok(confirmed) => reached = Some(confirmed),
            Err(refusal) => return refused(&refusal),
        }
    }
    let Some(Reached { level, refreshed, under }) = reached else { bail!("nothing was checked") };
    let (Batch { tenant, index, anchored_at, .. }, anchor) = (checked.batch, &inclusion.anchor);
    let seq = receipt.entry.seq;
    let stale = if refreshed {
        " (its history path had gone stale and was rebuilt from events)"
    } else {
        ""
    };
    let by = match under {
        Some(block) => format!("proven under block {} {}", block.number, block.hash),
        None => "confirmed".to_owned(),
    };
    output.result(
        &json!({
            "valid": true, "level": level, "trusted": level.trusted(), "tenantId": tenant, "seq": seq,
            "batch": index, "anchoredAt": anchored_at, "entryHash": checked.entry_hash,
            "transaction": anchor.transaction, "blockNumber": anchor.block_number,
            "historyRefreshed": refreshed, "proofBlock": under.map(|block| block.hash),
        }),
        format!(
            "VALID {}\n  entry {seq} of tenant {tenant}\n  anchored in batch {index} at {anchored_at} \
             (seconds since 1970), block {}, transaction {}\n  {by} by contract {} on chain {}{stale}\n  \
             level {}, {level}; trusted: {}",
            path.display(),
            anchor.block_number,
            anchor.transaction,
            policy.contract,
            policy.chain_id,
            level.number(),
            level.trusted(),
        ),
    );
    Ok(ExitCode::SUCCESS)
}

/// How far a receipt was verified.
struct Reached {
    level: Level,
    /// Whether its path into the history was rebuilt.
    refreshed: bool,
    /// The block whose storage was proven.
    under: Option<BlockHeader>,
}

impl Reached {
    fn proven(block: BlockHeader) -> Self {
        Self { level: Level::HeaderProved, refreshed: false, under: Some(block) }
    }
}

impl From<ProofError> for Refusal {
    fn from(error: ProofError) -> Self {
        let check = match &error {
            ProofError::Chain { .. } => "chain",
            ProofError::Contract { .. } => "contract",
            ProofError::CodeHash { .. } => "codeHash",
            _ => "proof",
        };
        Self { check, reason: error.to_string() }
    }
}

impl VerifierPolicy {
    /// What is trusted without asking anybody.
    fn pins(&self) -> Policy {
        Policy {
            chain_id: self.chain_id,
            contract: self.contract,
            code_hash: self.code_hash,
            block_hashes: self.block_hashes.clone(),
        }
    }
}

/// What is trusted: the policy file or the options, which must not contradict it; never the receipt.
fn policy(args: &Args) -> Result<VerifierPolicy> {
    let ChainArgs { chain_id, contract, .. } = args.chain;
    let mut policy = match &args.policy {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .wrap_err_with(|| format!("cannot read {}", path.display()))?;
            let policy: VerifierPolicy = serde_json::from_str(&text)
                .wrap_err_with(|| format!("{} is not a verifier policy", path.display()))?;
            let contradiction = |option, value: &dyn Display, named: &dyn Display| {
                let path = path.display();
                Err(eyre!(
                    "{option} is {value}, but the policy {path} names {named}; pass only one"
                ))
            };
            if let Some(chain_id) = chain_id.filter(|id| *id != policy.chain_id) {
                return contradiction("--chain-id", &chain_id, &policy.chain_id);
            }
            if let Some(contract) = contract.filter(|it| *it != policy.contract) {
                return contradiction("--contract", &contract, &policy.contract);
            }
            if let (Some(given), Some(named)) = (args.code_hash, policy.code_hash)
                && given != named
            {
                return contradiction("--code-hash", &given, &named);
            }
            policy
        }
        None => match (chain_id, contract, &args.chain.deployment) {
            (Some(chain_id), Some(contract), _) => {
                VerifierPolicy { chain_id, contract, ..VerifierPolicy::default() }
            }
            (id, None, Some(file)) if id.is_none_or(|id| id == file.chain_id()) => {
                let Deployed { address, code_hash } = file.audit_anchor();
                VerifierPolicy {
                    chain_id: file.chain_id(),
                    contract: address,
                    code_hash: Some(code_hash),
                    from_block: file.from_block(),
                    ..VerifierPolicy::default()
                }
            }
            _ => bail!(
                "say what you trust: pass --chain-id and --contract, or a file with --policy or \
                     --deployment; a receipt's own word for them proves nothing"
            ),
        },
    };
    if args.policy.is_none() || args.chain.rpc_url.is_some() {
        policy.rpc_url = args.chain.rpc_url.clone();
    }
    policy.from_block = args.from_block.or(policy.from_block);
    policy.code_hash = args.code_hash.or(policy.code_hash);
    policy.block_hashes.extend(&args.block_hash);
    Ok(policy)
}

/// Reads a receipt, but not more of it than a receipt can have.
fn read(path: &PathBuf) -> Result<Vec<u8>> {
    let mut bytes = vec![];
    File::open(path)
        .and_then(|file| file.take(MAX_RECEIPT_BYTES as u64 + 1).read_to_end(&mut bytes))
        .wrap_err_with(|| format!("cannot read {}", path.display()))?;
    Ok(bytes)
}

/// Asks the chain. The outer error is "could not tell".
async fn confirm(
    receipt: &Receipt,
    inclusion: &Inclusion,
    checked: &CheckedReceipt,
    policy: &VerifierPolicy,
) -> Result<std::result::Result<Reached, Refusal>> {
    let refuse = |check, reason: String| Ok(Err(Refusal { check, reason }));
    let Some(url) = &policy.rpc_url else {
        bail!(
            "the receipt agrees with itself, which anybody's would; no RPC endpoint given: pass --rpc-url \
             or set RPC_URL, or pin --code-hash and --block-hash if it has a storage proof"
        );
    };
    let expected = Expected { chain_id: Some(policy.chain_id), contract: Some(policy.contract) };
    let chain = Chain::connect(&url.parse()?, expected).await?;
    if policy.code_hash.is_some_and(|hash| hash != chain.code_hash()) {
        bail!(
            "the code at {} on chain {} has hash {}, not what the policy names; it cannot be trusted",
            policy.contract,
            policy.chain_id,
            chain.code_hash()
        );
    }

    let batch = checked.batch;
    let Inclusion { anchor, path, history, .. } = inclusion;
    let Some(mined) = chain.receipt(anchor.transaction).await? else {
        let reason = format!("the chain has no transaction {}", anchor.transaction);
        return refuse("transaction", reason);
    };
    let mut events = mined
        .inner
        .logs()
        .iter()
        .filter(|log| log.address() == policy.contract)
        .filter_map(|log| Logged::try_from(log).ok());
    let Some(event) = events.find(|event| event.log_index == anchor.log_index) else {
        let reason =
            format!("transaction {} has no event {}", anchor.transaction, anchor.log_index);
        return refuse("event", reason);
    };
    if event.event != Event::Anchored(batch) {
        return refuse("event", "the chain's event is of another batch than the receipt's".into());
    }
    if (event.block_number, event.block_hash) != (anchor.block_number, anchor.block_hash) {
        let reason =
            format!("the event stands in block {} {}", event.block_number, event.block_hash);
        return refuse("block", reason);
    }

    let under = match inclusion.finality.proof() {
        None => None,
        Some(proof) => {
            let header = BlockHeader::decode(&proof.header).map_err(ProofError::from);
            let at = header.as_ref().map_or(0, |header| header.number);
            let Some(canonical) = chain.header(at.into()).await? else {
                return refuse("proof", format!("the chain has no block {at}"));
            };
            let pins = Policy {
                code_hash: Some(chain.code_hash()),
                block_hashes: vec![canonical.hash],
                ..policy.pins()
            };
            match header.and_then(|_| receipt.prove(&pins)) {
                Ok(proven) => Some(proven.block),
                Err(error) => return Ok(Err(error.into())),
            }
        }
    };
    let finalized = chain.header(BlockNumberOrTag::Finalized).await.ok().flatten();
    let level = match finalized.is_some_and(|it| anchor.block_number <= it.number) {
        true => Level::Final,
        false => Level::ChainConfirmed,
    };

    let entry = (receipt.entry.seq, receipt.entry.previous, checked.commitment);
    let tenant = batch.tenant;
    let known = chain.heads(&[tenant]).await?.pop().map_or(0, |head| head.batches);
    if history.batches > known {
        let reason = format!(
            "history.batches is {}, the contract has {known} batches of the tenant",
            history.batches
        );
        return refuse("history", reason);
    }
    if chain.verify_entry(tenant, entry, &batch, path, &history.path).await? {
        return Ok(Ok(Reached { level, refreshed: false, under }));
    }
    // Newer batches may have merged the peak that the path led to.
    let from = match policy.from_block {
        Some(block) => block,
        None => chain.deployed_in().await?.unwrap_or_default(),
    };
    let commitments = match rebuild(&chain, &batch, from).await? {
        Ok(commitments) => commitments,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if (commitments.len() as u64) < known {
        bail!(
            "the endpoint has events of {} batches only, the contract counts {known}; try another \
             endpoint, or an earlier --from-block",
            commitments.len()
        );
    }
    // Stale is only what was right once: as the history stood when the receipt was made.
    let HistoryRef { batches, path: claimed } = history;
    let then = usize::try_from(*batches).ok().and_then(|batches| commitments.get(..batches));
    let right_then = then.and_then(|then| HistoryMerkle::new(then).path_to_peak(batch.index));
    if right_then.as_ref() != Some(claimed) {
        let reason =
            format!("history.path never led from batch {} to a peak of {batches}", batch.index);
        return refuse("history", reason);
    }
    let Some(present) = HistoryMerkle::new(&commitments).path_to_peak(batch.index) else {
        bail!("the endpoint has no event of batch {}; try another", batch.index);
    };
    if chain.verify_entry(tenant, entry, &batch, path, &present).await? {
        return Ok(Ok(Reached { level, refreshed: true, under }));
    }
    refuse("verifyEntry", "the contract says that this entry is not in the tenant's history".into())
}

/// The tenant's history of batches, from its events alone.
async fn rebuild(
    chain: &Chain,
    batch: &Batch,
    from: u64,
) -> Result<std::result::Result<Vec<BatchCommitment>, Refusal>> {
    let head = chain.head().await?.number;
    let mut commitments = vec![];
    let mut next = from;
    while next <= head {
        let to = head.min(next + RANGE - 1);
        for logged in chain.anchored(batch.tenant, next, to).await? {
            let Event::Anchored(event) = logged.event else { continue };
            if event.index.get() != commitments.len() as u64 {
                bail!(
                    "the endpoint left out events: batch {} follows batch {}; try another endpoint, or \
                     an earlier --from-block",
                    event.index,
                    commitments.len()
                );
            }
            if event.index == batch.index && event != *batch {
                let reason =
                    "the tenant's own event for this batch index is of another batch".into();
                return Ok(Err(Refusal { check: "event", reason }));
            }
            commitments.push(event.commitment());
        }
        next = to + 1;
    }
    Ok(Ok(commitments))
}

// ------------------------------------------------------------------- a database

async fn database(args: &Args, output: &Output) -> Result<ExitCode> {
    let chain = args.chain.connect().await?;
    let sequencer = connect::sequencer(&args.database, chain.chain_id()).await?;
    connect::follow(&sequencer, &chain).await?;
    let reader = Reader::connect(&args.database.url()?, chain.chain_id()).await?;
    let tenants = match &args.tenant {
        Some(tenant) => vec![connect::tenant(&sequencer, tenant).await?],
        None => sequencer.tenants().await?,
    };
    let tenants = tenants.into_iter().map(|tenant| (tenant.name, tenant.id));
    let verdicts = everything(&chain, &reader, tenants, output).await?;
    let sum = |part: fn(&Verdict) -> u64| verdicts.iter().map(part).sum::<u64>();
    let (entries, verified) = (sum(|it| it.entries), sum(|it| it.verified));
    let (pending, failed) = (sum(|it| it.pending), sum(|it| it.failed));

    let rows: Vec<_> = verdicts
        .iter()
        .map(|it| {
            let counts = [it.entries, it.verified, it.pending, it.failed].map(grouped);
            let [entries, verified, pending, failed] = counts;
            [it.name.clone(), entries, verified, pending, failed]
        })
        .collect();
    let mut text = table(["tenant", "entries", "verified", "not anchored", "failed"], &rows);
    text += &describe(&verdicts);
    text += &match failed {
        0 => format!(
            "\n\nVALID: {} of {} entries are what was anchored at {}",
            grouped(verified),
            grouped(entries),
            chain.contract()
        ),
        n => format!("\n\nINVALID: {} checks failed", grouped(n)),
    };
    output.result(
        &json!({
            "valid": failed == 0, "tenants": verdicts.len(), "entries": entries,
            "verified": verified, "pending": pending, "failed": failed, "verdicts": verdicts,
        }),
        text,
    );
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(INVALID) })
}

/// Verifies tenants one after the other.
pub(crate) async fn everything(
    chain: &Chain,
    reader: &Reader,
    tenants: impl Iterator<Item = (String, cofferdam_core::TenantId)>,
    output: &Output,
) -> Result<Vec<Verdict>> {
    let mut tenants: Vec<_> = tenants.collect();
    tenants.sort();
    let mut total = 0;
    for (_, id) in &tenants {
        total += reader.tenant(*id).await?.head().await?.next_seq.get();
    }
    let mut progress = output.progress("verifying", total, Unit::Entries);
    let mut verdicts = vec![];
    for (name, id) in tenants {
        verdicts.push(check::tenant(chain, reader, name, id, &mut progress).await?);
    }
    progress.done();
    Ok(verdicts)
}

/// The failures, one a paragraph.
pub(crate) fn describe(verdicts: &[Verdict]) -> String {
    let mut text = String::new();
    for verdict in verdicts {
        for failure in &verdict.failures {
            text += &format!("\n\nFAILED  tenant {} ({})", verdict.name, verdict.tenant_id);
            if let (Some(seq), Some(id)) = (failure.seq, &failure.external_id) {
                text += &format!("\n        entry {seq}, external id {id}");
            }
            text += &format!("\n        {}", failure.reason);
        }
    }
    text
}
