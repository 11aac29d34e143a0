//! `cofferdam verify`: files against the chain, or everything in a database.

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
    pin::pin,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cofferdam_contracts::Chain;
use cofferdam_core::MAX_RECEIPT_BYTES;
use cofferdam_store::Reader;
use eyre::{Result, WrapErr, bail, eyre};
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::{sync::Mutex, time::timeout};

use crate::{
    check::{self, Verdict},
    connect::{self, DatabaseArgs},
    output::{Output, Unit, counted, grouped, table, visible, write_whole},
    verifier::{self, Endpoints, Judgement, TrustArgs},
};

/// The exit code for "checked, and not true".
const INVALID: u8 = 1;

/// Verify receipts and bundles against the chain, or every entry in the database
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cofferdam verify receipt.json --rpc-url https://mainnet.base.org --chain-id 8453 --contract 0x…
  cofferdam verify receipt.json --policy verifier.json
  cofferdam verify evidence/ --policy verifier.json --report report.html
  cofferdam verify                                   everything in DATABASE_URL
  cofferdam verify --tenant acme

With a receipt no database is needed, and nothing in the receipt is believed: chain and contract come
from the options, the deployment file or the policy file, {\"chainId\", \"contract\"} and optionally {\"codeHash\",
\"blockHashes\", \"fromBlock\", \"rpcUrl\"}. With code hash and block hash pinned, a receipt with a storage proof
needs no endpoint at all. The level that was reached is said: 1 self-consistent (never enough to be valid),
2 header-proved, 3 chain-confirmed, 4 final. Of a folder, every *.json and *.bundle in it is verified.

Exit codes: 0 valid, 1 invalid (which check failed is said), 2 could not tell (unreachable, unreadable).")]
pub(crate) struct Args {
    /// Receipts, bundles, or folders of them; without any, everything in the database is verified
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Write what was found as one page for a browser
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,

    /// Only this tenant of the database, by name or id
    #[arg(long, value_name = "TENANT", conflicts_with = "files")]
    tenant: Option<String>,

    #[command(flatten)]
    trust: TrustArgs,

    #[command(flatten)]
    database: DatabaseArgs,
}

pub(crate) async fn run(args: Args, output: &Output) -> Result<ExitCode> {
    if args.files.is_empty() {
        return database(&args, output).await;
    }
    let endpoints = Endpoints::new(args.trust.trust()?);
    // Some more than there are cores, since they also wait for endpoints.
    let at_once = 2 * std::thread::available_parallelism().map_or(2, usize::from);
    let found = verifier::collect(&args.files)?;
    let (endpoints, results) = files(found, endpoints, at_once, output).await?;
    if let Some(path) = &args.report {
        write_whole(path, &verifier::page(&endpoints, &results))?;
    }
    tell(&results, output)
}

// ---------------------------------------------------------------------- files

/// What all files share.
struct Work {
    endpoints: Endpoints,
    /// Bytes of files that were read.
    read: Arc<AtomicU64>,
    /// A bundle takes all cores by itself.
    bundle: Mutex<()>,
}

/// Judges files, so many at once, and tells of them in their own order.
async fn files(
    files: Vec<PathBuf>,
    endpoints: Endpoints,
    at_once: usize,
    output: &Output,
) -> Result<(Endpoints, Vec<(PathBuf, Judgement)>)> {
    let total = files.iter().filter_map(|it| Some(fs::metadata(it).ok()?.len())).sum();
    let mut progress = output.progress("verifying", total, Unit::Bytes);
    let read = Arc::new(AtomicU64::new(0));
    let work = Arc::new(Work { endpoints, read: Arc::clone(&read), bundle: Mutex::default() });
    let judging = |path: PathBuf| {
        let work = Arc::clone(&work);
        async move { (path.clone(), judge(path, &work).await) }
    };
    let results =
        in_order(files, at_once, judging, || progress.set(read.load(Ordering::Relaxed))).await?;
    progress.done();
    let work = Arc::into_inner(work).ok_or_else(|| eyre!("verifying goes on"))?;
    Ok((work.endpoints, results))
}

/// Does the work on all items, so many at once, and gives what came of it in their order; `tick` is for whoever
/// waits meanwhile.
async fn in_order<T, F>(
    items: Vec<T>,
    at_once: usize,
    work: impl Fn(T) -> F,
    mut tick: impl FnMut(),
) -> Result<Vec<F::Output>>
where
    F: Future<Output: Send> + Send + 'static,
{
    let mut done = Vec::with_capacity(items.len());
    let mut running =
        pin!(stream::iter(items).map(|item| tokio::spawn(work(item))).buffered(at_once));
    loop {
        match timeout(Duration::from_millis(200), running.next()).await {
            Ok(Some(result)) => done.push(result.wrap_err("verifying stopped")?),
            Ok(None) => return Ok(done),
            Err(_) => {}
        }
        tick();
    }
}

async fn judge(path: PathBuf, work: &Work) -> Judgement {
    match read(&path) {
        Ok(bytes) if bytes.starts_with(&cofferdam_bundle::MAGIC) => {
            drop(bytes);
            let _one = work.bundle.lock().await;
            verifier::bundle(path, &work.endpoints, Arc::clone(&work.read)).await
        }
        Ok(bytes) => {
            let judgement = verifier::receipt(&bytes, &work.endpoints).await;
            work.read.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            judgement
        }
        Err(error) => Judgement::Undecided(format!("{error:#}")),
    }
}

/// Reads a file, but not more of it than a receipt can have; a bundle is read once more, in parts.
fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = vec![];
    File::open(path)
        .and_then(|file| file.take(MAX_RECEIPT_BYTES as u64 + 1).read_to_end(&mut bytes))
        .wrap_err_with(|| format!("cannot read {}", visible(path.display())))?;
    Ok(bytes)
}

/// Says what was found; the worst of it is the exit code.
fn tell(results: &[(PathBuf, Judgement)], output: &Output) -> Result<ExitCode> {
    if let [(file, judgement)] = results {
        if let Judgement::Undecided(reason) = judgement {
            bail!("{}: {reason}", visible(file.display()));
        }
        output.result(&judgement.json(), judgement.text(file));
        return Ok(ExitCode::from(judgement.exit_code()));
    }
    let count = |code| results.iter().filter(|(_, it)| it.exit_code() == code).count() as u64;
    let (valid, invalid, undecided) = (count(0), count(1), count(2));
    let all: Vec<Value> = results
        .iter()
        .map(|(file, judgement)| {
            let mut json = judgement.json();
            json["file"] = file.to_string_lossy().into();
            json
        })
        .collect();
    let mut text: String = results
        .iter()
        .filter(|(_, judgement)| judgement.exit_code() != 0)
        .map(|(file, judgement)| judgement.text(file) + "\n\n")
        .collect();
    text += &format!(
        "{}: {} of {} files are what was anchored, {} are not, {} cannot be told",
        if invalid > 0 {
            "INVALID"
        } else if undecided > 0 {
            "CANNOT TELL"
        } else {
            "VALID"
        },
        grouped(valid),
        grouped(results.len() as u64),
        grouped(invalid),
        grouped(undecided),
    );
    let verdict = if invalid > 0 {
        json!(false)
    } else if undecided > 0 {
        json!(null)
    } else {
        json!(true)
    };
    output.result(
        &json!({
            "valid": verdict, "files": results.len(), "validFiles": valid, "invalidFiles": invalid,
            "undecidedFiles": undecided, "results": all,
        }),
        text,
    );
    Ok(ExitCode::from(if invalid > 0 {
        INVALID
    } else if undecided > 0 {
        2
    } else {
        0
    }))
}

// ------------------------------------------------------------------- a database

async fn database(args: &Args, output: &Output) -> Result<ExitCode> {
    if args.report.is_some() {
        bail!("--report is about files; name one");
    }
    let chain = args.trust.chain()?.connect().await?;
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
        n => format!("\n\nINVALID: {} failed", counted(n, "check", "checks")),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verifier::{Trust, VerifierPolicy};
    use alloy::primitives::keccak256;
    use tokio::sync::Barrier;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn so_many_are_worked_on_at_once_and_told_in_their_order() {
        let barrier = Arc::new(Barrier::new(4));
        let mut ticks = 0;
        // None of them ends before three others have begun, and then the later ones end sooner.
        let work = |item: u64| {
            let barrier = Arc::clone(&barrier);
            async move {
                barrier.wait().await;
                tokio::time::sleep(Duration::from_millis(20 - item)).await;
                item
            }
        };
        let all = in_order((0..16).collect(), 4, work, || ticks += 1);
        let all = timeout(Duration::from_secs(60), all).await.expect("never four at once");
        assert_eq!(all.expect("none stops"), (0..16).collect::<Vec<_>>());
        assert!(ticks >= 16);
    }

    fn golden(name: &str) -> Vec<u8> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors").join(name);
        fs::read(path).expect("a golden file")
    }

    /// Of golden receipts and bundles, and of what was changed in them, whatever stands beside them.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_folder_is_judged_alike_however_many_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let receipt = golden("receipts/final-proven.json");
        let bundle = golden("bundles/whole.ndjson");
        let packed = |text: &[u8]| zstd::encode_all(text, 3).expect("memory");
        let changed = |text: &[u8], from: &str, to: &str| {
            let text = String::from_utf8_lossy(text);
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1).into_bytes()
        };
        let forged = changed(&bundle, "invoice/4", "invoice/5");
        let mut files = vec![];
        for n in 0..12 {
            // The longest first, so that others are done before it.
            let (name, bytes) = match n % 6 {
                0 => ("forged.bundle", packed(&forged)),
                1 => ("true.bundle", packed(&bundle)),
                2 => ("forged.json", changed(&receipt, "payments.send", "payments.sent")),
                3 => ("true.json", receipt.clone()),
                4 => ("pending.json", golden("receipts/pending.json")),
                _ => ("none.json", b"{".to_vec()),
            };
            files.push((format!("{n:02}-{name}"), bytes));
        }
        let paths: Vec<_> = files.iter().map(|(name, _)| folder.path().join(name)).collect();
        for (path, (_, bytes)) in paths.iter().zip(&files) {
            fs::write(path, bytes).expect("room");
        }
        let pins = |text: &[u8]| {
            let end = text.iter().position(|byte| *byte == b'\n').filter(|_| text != receipt);
            let text: Value =
                serde_json::from_slice(&text[..end.unwrap_or(text.len())]).expect("JSON");
            let header = text["proofBlock"]["header"].as_str().expect("a header");
            let header = alloy::hex::decode(header).expect("hex");
            let member = |name: &str| text[name].as_str().expect("a string").to_owned();
            (member("chainId"), member("contract"), member("codeHash"), keccak256(header))
        };
        let (chain_id, contract, code_hash, header) = pins(&receipt);
        let policy = VerifierPolicy {
            chain_id: chain_id.parse().expect("a number"),
            contract: contract.parse().expect("an address"),
            code_hash: Some(code_hash.parse().expect("a hash")),
            block_hashes: vec![header, pins(&bundle).3],
            ..VerifierPolicy::default()
        };
        let mut told = vec![];
        for at_once in [1, 2, 5, 32] {
            let endpoints = Endpoints::new(Trust { policy: policy.clone(), urls: vec![] });
            let judged = super::files(paths.clone(), endpoints, at_once, &Output::new(true)).await;
            let (_, results) = judged.expect("judged");
            assert!(results.iter().map(|(path, _)| path).eq(&paths), "in their order");
            told.push(results.iter().map(|(_, it)| it.json().to_string()).collect::<Vec<_>>());
        }
        assert!(told.iter().all(|it| *it == told[0]), "{told:#?}");
        let codes = ["false", "true", "false", "true", "null", "false"]
            .map(|valid| format!("\"valid\":{valid}"));
        for (told, code) in told[0].iter().zip(codes.iter().cycle()) {
            assert!(told.contains(code), "{code}: {told}");
        }
    }
}
