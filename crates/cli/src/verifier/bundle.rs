//! One bundle: by itself, by pinned hashes, and by what endpoints say.

use std::{
    fs::File,
    path::PathBuf,
    sync::{Arc, atomic::AtomicU64},
};

use cofferdam_bundle::{StreamError, Verified};
use cofferdam_core::{
    BlockHeader, BundleBatch, BundleError, CheckedBundle, Manifest, Policy, PolicyRecord,
    ProofError, ScopeRecord,
};
use eyre::{Result, WrapErr};
use serde_json::json;

use super::{AnchoredBatch, Claim, Endpoint, Endpoints, Judgement, Reached, Refusal, Valid};
use crate::{moment::rfc3339, output::visible};

/// Judges a bundle; `read` counts the bytes of the file that were taken in.
pub(crate) async fn bundle(
    path: PathBuf,
    endpoints: &Endpoints,
    read: Arc<AtomicU64>,
) -> Judgement {
    Judgement::from(judge(path, endpoints, read).await)
}

/// The outer error is "could not tell".
async fn judge(
    path: PathBuf,
    endpoints: &Endpoints,
    read: Arc<AtomicU64>,
) -> Result<Result<Valid, Refusal>> {
    let keep = endpoints.any();
    let verified = tokio::task::spawn_blocking(move || {
        let unreadable = || format!("cannot read {}", visible(path.display()));
        let file = File::open(&path).wrap_err_with(unreadable)?;
        match cofferdam_bundle::verify(file, &read, keep) {
            Ok(verified) => Ok(Ok(verified)),
            Err(StreamError::File(error)) => Err(error).wrap_err_with(unreadable),
            Err(StreamError::Bundle(error)) => Ok(Err(refusal(&error))),
            Err(error @ StreamError::Truncated(_)) => Ok(Err(Refusal::new("completeness", error))),
            Err(error @ StreamError::Text(_)) => Ok(Err(Refusal::new("format", error))),
        }
    });
    let Verified { checked, batches } = match verified.await?? {
        Ok(verified) => verified,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let claim = Claimed { checked: &checked, batches: &batches };
    let reached = match endpoints.reached(&claim).await? {
        Ok(reached) => reached,
        Err(refusal) => return Ok(Err(refusal)),
    };
    Ok(Ok(told(&checked, reached)))
}

/// What a bundle says, once it is known to be true.
fn told(checked: &CheckedBundle, reached: Reached) -> Valid {
    let Manifest { chain_id, contract, tenant_id, exporter, exported_at, first, last, .. } =
        &checked.manifest;
    let Manifest { history, policies, scopes, .. } = &checked.manifest;
    let Reached { level, under, .. } = reached;
    let entries = last.seq.get() - first.seq.get() + 1;
    let batches = last.batch.get() - first.batch.get() + 1;
    let exported = rfc3339(*exported_at);
    let to_the_end = last.batch.get() + 1 == history.batches;
    let end = match to_the_end {
        true => "to the end of",
        false => "out of",
    };
    let range = format!("entries {} to {}, complete", first.seq, last.seq);
    Valid {
        reached,
        json: json!({
            "valid": true, "level": level, "trusted": level.trusted(), "tenantId": tenant_id,
            "entries": entries, "firstSeq": first.seq, "lastSeq": last.seq,
            "batches": batches, "firstBatch": first.batch, "lastBatch": last.batch,
            "complete": true, "toTheEnd": to_the_end, "historyRoot": history.root,
            "historyEntries": history.entries.to_string(), "exporter": exporter,
            "exportedAt": exported_at, "proofBlock": under.map(|block| block.hash),
        }),
        text: format!(
            "  {range}, in batches {} to {}, of tenant {tenant_id}\n  {end} a history of {} entries in {} \
             batches\n  exported {exported} by {exporter}, by whose word alone: {} policies, {} scopes\n  \
             {} by contract {contract} on chain {chain_id}",
            first.batch,
            last.batch,
            history.entries,
            history.batches,
            policies.len(),
            scopes.len(),
            reached.by(),
        ),
        tenant: tenant_id.to_string(),
        entries: range,
        anchored_at: checked.anchored_at,
        place: format!("batches {} to {}", first.batch, last.batch),
        said: vec![
            ("exporter", exporter.to_string()),
            ("exported at", exported),
            ("entries", entries.to_string()),
            ("batches", batches.to_string()),
            ("history root", history.root.to_string()),
            ("policies, by the exporter's word", lines(policies, policy)),
            ("scopes, by the exporter's word", lines(scopes, scope)),
        ],
        unsaid: String::new(),
    }
}

/// One a line.
fn lines<T>(all: &[T], line: fn(&T) -> String) -> String {
    if all.is_empty() {
        return "none".to_owned();
    }
    all.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn policy(record: &PolicyRecord) -> String {
    let PolicyRecord { version, policy_hash, verdict_signer, .. } = record;
    let recorded = rfc3339(record.recorded_at);
    if policy_hash.is_zero() {
        return format!("version {version}: a revocation, recorded at {recorded}");
    }
    let (from, to) = (rfc3339(record.not_before), rfc3339(record.not_after));
    format!(
        "version {version}: {policy_hash}, verdicts by {verdict_signer}, from {from} to {to}, recorded \
         at {recorded}"
    )
}

fn scope(record: &ScopeRecord) -> String {
    let ScopeRecord { agent, capability, native_max, token_max, target, selector, .. } = record;
    let (from, to) = (rfc3339(record.not_before), rfc3339(record.not_after));
    let recorded = rfc3339(record.recorded_at);
    let calls = match target.is_zero() {
        true => String::new(),
        false => format!(", calls of {target} {selector}"),
    };
    format!(
        "agent {agent}, capability {capability}: at most {native_max} wei and {token_max} units of a token \
         a call{calls}, from {from} to {to}, recorded at {recorded}"
    )
}

/// A bundle that is complete and agrees with itself.
struct Claimed<'a> {
    checked: &'a CheckedBundle,
    batches: &'a [BundleBatch],
}

impl Claim for Claimed<'_> {
    fn alone(&self) -> &'static str {
        "the bundle is complete and agrees with itself, which anybody's would; \
         pin --code-hash and --block-hash, or pass --rpc-url or set RPC_URL"
    }

    fn prove(&self, pins: &Policy) -> Result<BlockHeader, ProofError> {
        self.checked.prove(pins).map(|proven| proven.block)
    }

    async fn confirm(
        &self,
        endpoint: &Endpoint,
        pins: &Policy,
    ) -> Result<Result<Reached, Refusal>> {
        let Manifest { tenant_id, history, proof_block, .. } = &self.checked.manifest;
        let block = match endpoint.prove(self, &proof_block.header, pins).await? {
            Ok(block) => block,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let events = endpoint.history(*tenant_id, history.batches).await?;
        for own in self.batches {
            let index = own.index;
            let event = usize::try_from(index.get()).ok().and_then(|index| events.get(index));
            let same =
                |it: &AnchoredBatch| (it.batch, it.anchor) == (own.batch(*tenant_id), own.anchor);
            if !event.is_some_and(same) {
                let reason = format!("the chain's event of batch {index} is another, or elsewhere");
                return Ok(Err(Refusal::new("event", reason)));
            }
        }
        let level = endpoint.level(block.number).await;
        Ok(Ok(Reached { level, refreshed: false, under: Some(block) }))
    }
}

/// The check that failed.
fn refusal(error: &BundleError) -> Refusal {
    let check = match error {
        BundleError::Signature(_) => "signature",
        BundleError::Format { .. }
        | BundleError::Manifest(_)
        | BundleError::Batch { .. }
        | BundleError::Entry { .. } => "format",
        _ => "completeness",
    };
    Refusal::new(check, error)
}
