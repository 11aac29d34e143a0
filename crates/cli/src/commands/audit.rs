//! `cofferdam audit`: a tenant's whole history by the chain alone.

use std::process::ExitCode;

use alloy::{
    eips::{BlockId, BlockNumberOrTag},
    primitives::{Address, B256},
};
use cofferdam_contracts::Header;
use cofferdam_core::{History, TenantId};
use eyre::{Result, bail};
use serde_json::{Value, json};

use crate::{
    moment::rfc3339,
    output::{Output, grouped, table},
    verifier::{self, AnchoredBatch, Endpoint, Endpoints, TrustArgs, history},
};

/// The exit code for "checked, and not true".
const INVALID: u8 = 1;

/// List every batch of a tenant from the chain's events, and compare them with the contract
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cofferdam audit --tenant 0x5ccb707eea1c4ae5acb12039ca8908ec5a3e0000 --rpc-url https://mainnet.base.org
  cofferdam audit --tenant 0x… --policy verifier.json --block finalized --json

No file and no database is needed. The tenant's batches are read from `Anchored` events, its history is
computed from them, and peaks and counters must be those that the contract has at that block. With several
--rpc-url all must say the same.

Exit codes: 0 the events are the contract's history, 1 they are not, 2 could not tell (unreachable, events
missing, endpoints disagree).")]
pub(crate) struct Args {
    /// The tenant: its id, or its authority's address
    #[arg(long, value_name = "TENANT", value_parser = tenant)]
    tenant: TenantId,

    /// At which block: a number, latest, safe or finalized
    #[arg(long, value_name = "BLOCK", default_value = "latest", value_parser = verifier::block)]
    block: BlockNumberOrTag,

    #[command(flatten)]
    trust: TrustArgs,
}

fn tenant(text: &str) -> Result<TenantId, String> {
    let id = match text.parse::<Address>() {
        Ok(authority) => TenantId::from_authority(authority),
        Err(_) => return text.parse().map_err(|error| format!("{error}; no name is known here")),
    };
    id.map_err(|error| error.to_string())
}

/// What an endpoint says of a tenant at one block.
#[derive(Debug, PartialEq)]
struct Account {
    /// From events.
    batches: Vec<AnchoredBatch>,
    /// From the contract: its counters, its peaks, and who may anchor.
    counted: (u64, u64),
    peaks: Vec<B256>,
    anchorer: Address,
}

pub(crate) async fn run(args: Args, output: &Output) -> Result<ExitCode> {
    let endpoints = Endpoints::new(args.trust.trust_of_chain().await?);
    let block = block(&endpoints, args.block).await?;
    let mut accounts = vec![];
    for endpoint in endpoints.all().await? {
        accounts.push(account(endpoint, args.tenant, &block).await?);
    }
    let asked = accounts.len();
    let account = endpoints.same("the tenant's history", accounts)?;
    let history = match judge(&account) {
        Ok(history) => history,
        Err(reason) => {
            let text = format!("INVALID {}\n  {reason}", args.tenant);
            output.result(
                &json!({ "valid": false, "tenantId": args.tenant, "reason": reason }),
                text,
            );
            return Ok(ExitCode::from(INVALID));
        }
    };
    let finalized = finalized(&endpoints).await;
    let state = |it: &AnchoredBatch| match finalized {
        Some(number) if it.anchor.block_number <= number => "final",
        _ => "included",
    };
    let policy = endpoints.policy();
    let (batches, entries) = account.counted;
    let listed: Vec<Value> = account.batches.iter().map(|it| listed(it, state(it))).collect();
    let rows: Vec<_> = account.batches.iter().map(|it| row(it, state(it))).collect();
    let mut text = String::new();
    if !rows.is_empty() {
        let headings = ["batch", "first seq", "entries", "root", "anchored at", "block", "state"];
        text = table(headings, &rows) + "\n\n";
    }
    text += &format!(
        "VALID {}\n  {} entries in {} batches, history root {}\n  peaks and counters are those of contract {} \
         on chain {} at block {} {}\n  trusted: {asked} RPC {}",
        args.tenant,
        grouped(entries),
        grouped(batches),
        history.root(),
        policy.contract,
        policy.chain_id,
        block.number,
        block.hash,
        if asked == 1 { "endpoint" } else { "endpoints, which agree" },
    );
    output.result(
        &json!({
            "valid": true, "tenantId": args.tenant, "chainId": policy.chain_id, "contract": policy.contract,
            "block": { "number": block.number, "hash": block.hash, "timestamp": block.timestamp },
            "endpoints": asked, "entries": entries, "batchCount": batches, "anchorer": account.anchorer,
            "historyRoot": history.root(), "peaks": history.peaks(), "batches": listed,
        }),
        text,
    );
    Ok(ExitCode::SUCCESS)
}

/// The block that all are asked about: the lowest of what they call so, and the same for all.
async fn block(endpoints: &Endpoints, at: BlockNumberOrTag) -> Result<Header> {
    let all = endpoints.all().await?;
    let mut number = u64::MAX;
    for endpoint in all {
        let Some(header) = endpoint.chain.header(at).await? else {
            bail!("the endpoint {} has no block {at}", endpoint.chain.url());
        };
        number = number.min(header.number);
    }
    let mut headers = vec![];
    for endpoint in all {
        headers.push(endpoint.chain.header(number.into()).await?);
    }
    match endpoints.same(format_args!("block {number}"), headers)? {
        Some(header) => Ok(header),
        None => bail!("the chain has no block {number} any more; try again"),
    }
}

/// Up to where all call the chain final, where they know.
async fn finalized(endpoints: &Endpoints) -> Option<u64> {
    let mut lowest = u64::MAX;
    for endpoint in endpoints.all().await.ok()? {
        let header = endpoint.chain.header(BlockNumberOrTag::Finalized).await.ok()??;
        lowest = lowest.min(header.number);
    }
    Some(lowest)
}

/// Asks one endpoint for both sides.
async fn account(endpoint: &Endpoint, tenant: TenantId, block: &Header) -> Result<Account> {
    let chain = &endpoint.chain;
    let batches = history(chain, tenant, endpoint.from().await?, block.number).await?;
    // By hash: what is read belongs together, also when the chain is reorganised meanwhile.
    let at = BlockId::hash(block.hash);
    let (binding, id) = (chain.binding(), tenant.as_b256());
    let heads = chain.view("cannot read heads", &binding.heads(vec![id]).block(at)).await?;
    let peaks = chain.view("cannot read peaks", &binding.peaks(id).block(at)).await?;
    let Some(head) = heads.first() else {
        bail!("the endpoint {} answers with no head", chain.url());
    };
    let canonical = chain.header(block.number.into()).await?;
    if canonical.is_none_or(|it| it.hash != block.hash) {
        bail!("block {} was replaced while it was read; try again", block.number);
    }
    if (batches.len() as u64) < head.batches {
        bail!(
            "the endpoint {} has events of {} batches only, the contract counts {}; try another endpoint, \
             or an earlier --from-block",
            chain.url(),
            batches.len(),
            head.batches
        );
    }
    Ok(Account { batches, counted: (head.batches, head.entries), peaks, anchorer: head.anchorer })
}

/// The history that the events give, if it is the contract's.
fn judge(account: &Account) -> Result<History, String> {
    let (batches, entries) = account.counted;
    let (mut history, mut next) = (History::new(), 0u64);
    for AnchoredBatch { batch, .. } in &account.batches {
        let (index, first) = (batch.index, batch.first_seq.get());
        if first != next {
            return Err(format!("batch {index} begins with entry {first}, after entry {next}"));
        }
        let end = next.checked_add(batch.count).filter(|_| batch.count > 0);
        next = end.ok_or_else(|| format!("batch {index} cannot have {} entries", batch.count))?;
        history.append(batch.commitment()).map_err(|error| error.to_string())?;
    }
    if (history.batches(), next) != (batches, entries) {
        return Err(format!(
            "the events are of {next} entries in {} batches, the contract counts {entries} in {batches}",
            history.batches()
        ));
    }
    if history.peaks() != account.peaks {
        return Err("the events give other peaks than the contract has".to_owned());
    }
    Ok(history)
}

fn listed(AnchoredBatch { batch, anchor }: &AnchoredBatch, state: &str) -> Value {
    json!({
        "index": batch.index, "firstSeq": batch.first_seq, "count": batch.count.to_string(),
        "root": batch.root, "anchoredAt": batch.anchored_at.to_string(), "anchor": anchor, "state": state,
    })
}

fn row(AnchoredBatch { batch, anchor }: &AnchoredBatch, state: &str) -> [String; 7] {
    [
        batch.index.to_string(),
        batch.first_seq.to_string(),
        grouped(batch.count),
        batch.root.to_string(),
        rfc3339(batch.anchored_at),
        anchor.block_number.to_string(),
        state.to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_core::{AnchorRef, Batch, BatchIndex, BatchRoot, Seq};

    /// Batches of these sizes, and the contract's side of them.
    fn account(sizes: &[u64]) -> Account {
        let tenant = TenantId::from_authority(Address::repeat_byte(1)).expect("not zero");
        let (mut batches, mut history, mut next) = (vec![], History::new(), 0);
        for (index, count) in sizes.iter().enumerate() {
            let batch = Batch {
                tenant,
                index: BatchIndex(index as u64),
                first_seq: Seq(next),
                count: *count,
                root: BatchRoot::from([index as u8 + 1; 32]),
                anchored_at: 7,
            };
            let anchor = AnchorRef {
                transaction: B256::ZERO,
                log_index: 0,
                block_number: 9,
                block_hash: B256::ZERO,
            };
            history.append(batch.commitment()).expect("room");
            batches.push(AnchoredBatch { batch, anchor });
            next += count;
        }
        let counted = (sizes.len() as u64, next);
        Account { batches, counted, peaks: history.peaks().to_vec(), anchorer: Address::ZERO }
    }

    #[test]
    fn the_events_must_be_the_contracts_history() {
        for sizes in [&[][..], &[1], &[3, 1, 4], &[1, 5, 9, 2, 6, 5, 3]] {
            let history = judge(&account(sizes)).expect("its own");
            assert_eq!(history.batches(), sizes.len() as u64);
        }
        let refused = |change: fn(&mut Account)| {
            let mut account = account(&[3, 1, 4]);
            change(&mut account);
            judge(&account).expect_err("changed")
        };
        assert!(refused(|it| it.batches[1].batch.root = BatchRoot::ZERO).contains("peaks"));
        assert!(refused(|it| it.batches[2].batch.anchored_at += 1).contains("peaks"));
        assert!(
            refused(|it| it.batches[1].batch.first_seq = Seq(4)).contains("begins with entry 4")
        );
        assert!(refused(|it| it.batches[2].batch.count = u64::MAX).contains("cannot have"));
        assert!(refused(|it| it.batches[0].batch.count = 0).contains("cannot have"));
        assert!(refused(|it| it.batches[2].batch.count = 5).contains("counts 8 in 3"));
        assert!(refused(|it| it.batches.truncate(2)).contains("in 2 batches"));
        assert!(refused(|it| it.peaks.swap(0, 1)).contains("peaks"));
    }
}
