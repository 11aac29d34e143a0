//! One receipt: by itself, by pinned hashes, and by what endpoints say.

use cofferdam_contracts::{Event, Logged};
use cofferdam_core::{
    Batch, BatchCommitment, BlockHeader, CheckedReceipt, EntryBody, FieldName, HistoryMerkle,
    HistoryRef, Inclusion, Policy, ProofError, Receipt, ReceiptError, ReceiptField,
};
use eyre::{Result, bail};
use serde_json::json;

use super::{
    Claim, Endpoint, Endpoints, Judgement, Reached, Refusal, Valid, VerifierPolicy, shown,
};

/// Judges a receipt.
pub(crate) async fn receipt(bytes: &[u8], endpoints: &Endpoints) -> Judgement {
    Judgement::from(judge(bytes, endpoints).await)
}

/// The outer error is "could not tell".
async fn judge(bytes: &[u8], endpoints: &Endpoints) -> Result<Result<Valid, Refusal>> {
    let receipt = match Receipt::from_json(bytes) {
        Ok(receipt) => receipt,
        Err(error) => return Ok(Err(Refusal::new("format", error))),
    };
    let outcome = of_receipt(&receipt, endpoints).await?;
    Ok(outcome.map_err(|refusal| refusal.of_entry(receipt.entry.seq)))
}

async fn of_receipt(receipt: &Receipt, endpoints: &Endpoints) -> Result<Result<Valid, Refusal>> {
    let checked = match receipt.check() {
        Ok(checked) => checked,
        Err(error @ ReceiptError::Pending) => bail!(error),
        Err(error) => return Ok(Err(Refusal::new("self-consistency", error))),
    };
    let Some(inclusion) = &receipt.inclusion else { bail!(ReceiptError::Pending) };
    let claim = Claimed { receipt, inclusion, checked: &checked };
    let reached = match endpoints.reached(&claim).await? {
        Ok(reached) => reached,
        Err(refusal) => return Ok(Err(refusal)),
    };
    Ok(Ok(told(receipt, inclusion, &checked, endpoints.policy(), reached)))
}

/// What a receipt says, once it is known to be true.
fn told(
    receipt: &Receipt,
    inclusion: &Inclusion,
    checked: &CheckedReceipt,
    policy: &VerifierPolicy,
    reached: Reached,
) -> Valid {
    let Batch { tenant, index, anchored_at, .. } = checked.batch;
    let (anchor, seq) = (&inclusion.anchor, receipt.entry.seq);
    let Reached { level, refreshed, under } = reached;
    let body = &receipt.entry.body;
    let stale = match refreshed {
        true => " (its history path had gone stale and was rebuilt from events)",
        false => "",
    };
    Valid {
        reached,
        json: json!({
            "valid": true, "level": level, "trusted": level.trusted(), "tenantId": tenant, "seq": seq,
            "batch": index, "anchoredAt": anchored_at, "entryHash": checked.entry_hash,
            "transaction": anchor.transaction, "blockNumber": anchor.block_number,
            "historyRefreshed": refreshed, "proofBlock": under.map(|block| block.hash),
        }),
        text: format!(
            "  entry {seq} of tenant {tenant}\n  anchored in batch {index} at {anchored_at} \
             (seconds since 1970), block {}, transaction {}\n  {} by contract {} on chain {}{stale}",
            anchor.block_number,
            anchor.transaction,
            reached.by(),
            policy.contract,
            policy.chain_id,
        ),
        tenant: tenant.to_string(),
        entries: format!("entry {seq}"),
        anchored_at,
        place: format!(
            "batch {index}, block {}, transaction {}",
            anchor.block_number, anchor.transaction
        ),
        said: FieldName::ALL
            .into_iter()
            .filter_map(|name| Some((name.as_str(), shown(body.value(name)?))))
            .collect(),
        unsaid: match body {
            EntryBody::Whole { .. } => String::new(),
            EntryBody::Partial(fields) => {
                let count = |of: fn(&&ReceiptField) -> bool| fields.iter().filter(of).count();
                let withheld = count(|it| matches!(it, ReceiptField::Withheld(_)));
                let erased = count(|it| matches!(it, ReceiptField::Erased(_)));
                format!("{withheld} fields withheld, {erased} erased")
            }
            EntryBody::Erased(_) => "erased as a whole".into(),
        },
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
        Self::new(check, error)
    }
}

/// A receipt that agrees with itself.
struct Claimed<'a> {
    receipt: &'a Receipt,
    inclusion: &'a Inclusion,
    checked: &'a CheckedReceipt,
}

impl Claim for Claimed<'_> {
    fn alone(&self) -> &'static str {
        "the receipt agrees with itself, which anybody's would; no RPC endpoint \
         given: pass --rpc-url or set RPC_URL, or pin --code-hash and --block-hash if it has a storage proof"
    }

    fn prove(&self, pins: &Policy) -> Result<BlockHeader, ProofError> {
        self.receipt.prove(pins).map(|proven| proven.block)
    }

    async fn confirm(
        &self,
        endpoint: &Endpoint,
        pins: &Policy,
    ) -> Result<Result<Reached, Refusal>> {
        let Claimed { receipt, inclusion, checked } = *self;
        let refuse = |check, reason: String| Ok(Err(Refusal::new(check, reason)));
        let chain = &endpoint.chain;
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
            .filter(|log| log.address() == pins.contract)
            .filter_map(|log| Logged::try_from(log).ok());
        let Some(event) = events.find(|event| event.log_index == anchor.log_index) else {
            let reason =
                format!("transaction {} has no event {}", anchor.transaction, anchor.log_index);
            return refuse("event", reason);
        };
        if event.event != Event::Anchored(batch) {
            return refuse(
                "event",
                "the chain's event is of another batch than the receipt's".into(),
            );
        }
        if (event.block_number, event.block_hash) != (anchor.block_number, anchor.block_hash) {
            let reason =
                format!("the event stands in block {} {}", event.block_number, event.block_hash);
            return refuse("block", reason);
        }
        // An endpoint may serve the receipts of a block that it has since dropped.
        match chain.header(anchor.block_number.into()).await? {
            Some(canonical) if canonical.hash == anchor.block_hash => {}
            _ => {
                return refuse(
                    "block",
                    format!("the chain's block {} is another", anchor.block_number),
                );
            }
        }

        let under = match inclusion.finality.proof() {
            None => None,
            Some(proof) => match endpoint.prove(self, &proof.header, pins).await? {
                Ok(block) => Some(block),
                Err(refusal) => return Ok(Err(refusal)),
            },
        };
        let level = endpoint.level(anchor.block_number).await;
        let reached = |refreshed| Ok(Ok(Reached { level, refreshed, under }));

        let entry = (receipt.entry.seq, receipt.entry.previous, checked.commitment);
        let tenant = batch.tenant;
        let count = async || {
            chain.heads(&[tenant]).await.map(|heads| heads.first().map_or(0, |it| it.batches))
        };
        let known = count().await?;
        if history.batches > known {
            let reason = format!(
                "history.batches is {}, the contract has {known} batches of the tenant",
                history.batches
            );
            return refuse("history", reason);
        }
        if chain.verify_entry(tenant, entry, &batch, path, &history.path).await? {
            return reached(false);
        }
        // Newer batches may have merged the peak that the path led to.
        let batches = endpoint.history(tenant, known).await?;
        let own = usize::try_from(batch.index.get()).ok().and_then(|index| batches.get(index));
        if own.is_some_and(|own| own.batch != batch) {
            let reason = "the tenant's own event for this batch index is of another batch".into();
            return refuse("event", reason);
        }
        let commitments: Vec<BatchCommitment> =
            batches.iter().map(|it| it.batch.commitment()).collect();
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
            return reached(true);
        }
        // A batch that landed in between leads the path elsewhere.
        if count().await? != commitments.len() as u64 {
            bail!("the tenant's history grew while it was read; try again");
        }
        refuse(
            "verifyEntry",
            "the contract says that this entry is not in the tenant's history".into(),
        )
    }
}
