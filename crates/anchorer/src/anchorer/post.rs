//! Posting: what goes into the next transactions, and what each may cost.

use std::collections::{HashMap, HashSet};

use alloy::primitives::Address;
use cofferdam_core::TenantId;
use cofferdam_store::{Item, SealedBatch, Sealer};
use futures::{StreamExt, stream};
use tracing::{error, warn};

use super::{Anchorer, RoundReport};
use crate::{
    AnchorError, PostPolicy,
    anchorers::{Ready, anchoring},
    choose::{Choice, choose, other_anchorer},
    fees::Fees,
    policies,
    poster::{Call, Followed, gas_limit},
    recheck::recheck,
    seal::note,
};

/// Entries of all batches that are hashed again for one transaction, if that has more than one.
const MAX_ENTRIES: u64 = 1 << 17;
/// Batches that are hashed again at the same time.
const TOGETHER: usize = 4;

impl Anchorer {
    /// Posts what there is to post, as far as there is room under way. Policies, which are few, come
    /// first and take half of it at most.
    pub(super) async fn post_all(
        &self,
        ledger: &Sealer,
        followed: &mut Followed,
        report: &mut RoundReport,
    ) -> Result<(), AnchorError> {
        let trouble = match self.publish(ledger, followed).await {
            Err(error) if error.concerns_all() => return Err(error),
            Err(error) => Some(error),
            Ok(trouble) => trouble,
        };
        let posted = self.post(ledger, followed, report).await;
        // What stands in the way of policies does not hold up batches.
        if let (Some(error), None) = (trouble, &followed.waiting) {
            followed.waiting = Some(format!("a policy is not published: {error}"));
        }
        posted
    }

    /// Posts policies that tenants handed in and that are the registry's next. What stood in the way of
    /// one of them.
    async fn publish(
        &self,
        ledger: &Sealer,
        followed: &mut Followed,
    ) -> Result<Option<AnchorError>, AnchorError> {
        let poster = &self.poster;
        let room = poster.policy.in_flight.saturating_sub(followed.open).div_ceil(2);
        let policies::Due { calls, trouble } = policies::due(poster, ledger, room).await?;
        if calls.is_empty() {
            return Ok(trouble);
        }
        let Some(fees) = self.fees(followed).await? else { return Ok(trouble) };
        for (item, call) in calls {
            poster.post(ledger, followed, call, fees, &[item]).await?;
            if followed.waiting.is_some() {
                break;
            }
        }
        Ok(trouble)
    }

    /// Posts sealed batches that the contract does not have yet, as far as there is room under way. Goes
    /// on past those that cannot be posted now, however many these are.
    async fn post(
        &self,
        ledger: &Sealer,
        followed: &mut Followed,
        report: &mut RoundReport,
    ) -> Result<(), AnchorError> {
        let poster = &self.poster;
        let posted = self.post_pages(ledger, followed, report).await;
        // What waits behind a gap makes no room until somebody fills it.
        if followed.has_gap()
            && let Some(fees) = self.fees(followed).await?
        {
            let us = poster.sender.address();
            poster.post(ledger, followed, Call::nothing(us), fees, &[]).await?;
        }
        posted
    }

    /// Page by page, every tenant's oldest batches first.
    async fn post_pages(
        &self,
        ledger: &Sealer,
        followed: &mut Followed,
        report: &mut RoundReport,
    ) -> Result<(), AnchorError> {
        let poster = &self.poster;
        let (us, in_flight) = (poster.sender.address(), poster.policy.in_flight);
        let mut passed = vec![];
        for (tenant, anchorer) in self.aside.resting().await {
            report.troubled.push((tenant, other_anchorer(us, anchorer)));
            passed.push(tenant);
        }
        while followed.open < in_flight {
            let page = (in_flight - followed.open) * poster.policy.max_items;
            let sealed = ledger.unanchored_batches(page as u32, &passed).await?;
            let is_last = sealed.len() < page;
            passed.extend(sealed.iter().map(|batch| batch.tenant));
            let chosen =
                choose(self.chain(), ledger, us, &self.anchorers, &self.aside, sealed).await?;
            let Choice { batches, signers, troubled } = chosen;
            report.troubled.extend(troubled);
            self.post_batches(ledger, followed, (batches, &signers), report).await?;
            if is_last || followed.waiting.is_some() {
                break;
            }
        }
        Ok(())
    }

    /// Posts batches that were chosen, a part at a time, each looked at a last time before.
    async fn post_batches(
        &self,
        ledger: &Sealer,
        followed: &mut Followed,
        (mut chosen, signers): (Vec<SealedBatch>, &HashMap<TenantId, Address>),
        report: &mut RoundReport,
    ) -> Result<(), AnchorError> {
        let PostPolicy { in_flight, max_items, .. } = self.poster.policy;
        if chosen.is_empty() {
            return Ok(());
        }
        let Some(fees) = self.fees(followed).await? else { return Ok(()) };
        let limit = gas_limit(&self.chain().head().await?);
        while followed.open < in_flight && !chosen.is_empty() {
            let part = cut_off(&mut chosen, max_items);
            // A tenant's further batches are left for later: an estimate knows nothing of what is
            // under way, and whatever follows a batch that is not what was sealed waits with it.
            let tenants: HashSet<_> = part.iter().map(|batch| batch.tenant).collect();
            chosen.retain(|batch| !tenants.contains(&batch.tenant));
            let batches = self.sound(ledger, part, report).await?;
            for mut ready in self.sign(batches, signers, report).await {
                while followed.open < in_flight
                    && let Some((chunk, gas)) = self.cut(&mut ready, limit).await?
                {
                    let (to, calldata) = (self.chain().contract(), anchoring(&chunk));
                    let item = |it: &Ready| (it.batch.tenant, Item::Batch(it.batch.index));
                    let items: Vec<_> = chunk.iter().map(item).collect();
                    let call = Call { to, calldata, gas };
                    self.poster.post(ledger, followed, call, fees, &items).await?;
                    if followed.waiting.is_some() {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// Batches that our own key anchors, and those of others' keys, which sign them. A key that does not
    /// answer holds up its own tenants alone.
    async fn sign(
        &self,
        batches: Vec<SealedBatch>,
        signers: &HashMap<TenantId, Address>,
        report: &mut RoundReport,
    ) -> [Vec<Ready>; 2] {
        let (mut own, mut signed) = (vec![], vec![]);
        let mut unsigned = HashSet::new();
        for batch in batches {
            let Some(anchorer) = signers.get(&batch.tenant) else {
                own.push(Ready { batch, signed: None });
                continue;
            };
            if unsigned.contains(&batch.tenant) {
                continue;
            }
            match self.anchorers.sign(self.chain(), *anchorer, &batch).await {
                Ok(item) => signed.push(Ready { batch, signed: Some(item) }),
                Err(error) => {
                    warn!(tenant = %batch.tenant, %error, "batch not signed, trying again");
                    unsigned.insert(batch.tenant);
                    report.troubled.push((batch.tenant, error.to_string()));
                }
            }
        }
        [own, signed]
    }

    /// The batches that still are what was sealed, in order; none of a tenant that has another one.
    async fn sound(
        &self,
        ledger: &Sealer,
        mut batches: Vec<SealedBatch>,
        report: &mut RoundReport,
    ) -> Result<Vec<SealedBatch>, AnchorError> {
        let looks = batches.iter().copied();
        let looks = looks.map(|batch| async move { (batch.tenant, recheck(ledger, &batch).await) });
        let mut looks = stream::iter(looks.collect::<Vec<_>>()).buffer_unordered(TOGETHER);
        let mut unsound = HashSet::new();
        while let Some((tenant, looked)) = looks.next().await {
            match looked {
                Ok(()) => {}
                Err(error) if error.concerns_all() => return Err(error),
                Err(error) => {
                    error!(%tenant, %error, "cannot anchor what was sealed");
                    note(ledger, tenant, &error).await?;
                    if unsound.insert(tenant) {
                        report.troubled.push((tenant, error.to_string()));
                    }
                }
            }
        }
        batches.retain(|batch| !unsound.contains(&batch.tenant));
        Ok(batches)
    }

    /// What a transaction is to offer; none, which is then waited for, while that is over the ceiling.
    async fn fees(&self, followed: &mut Followed) -> Result<Option<Fees>, AnchorError> {
        let (network, ceiling) =
            (Fees::of_network(self.chain()).await?, self.poster.policy.max_fee);
        let price = network.base();
        if price > ceiling {
            followed.waiting = Some(format!(
                "the network asks {price} wei for a unit of gas, the ceiling is {ceiling}"
            ));
            return Ok(None);
        }
        Ok(Some(network.capped(ceiling)))
    }

    /// Cuts off what goes into one transaction, by the gas that it is estimated to use and a fifth more.
    /// A tenant's further batches are left for later, as an estimate knows nothing of what is under way.
    async fn cut(
        &self,
        batches: &mut Vec<Ready>,
        limit: u64,
    ) -> Result<Option<(Vec<Ready>, u64)>, AnchorError> {
        let contract = self.chain().contract();
        let mut size = batches.len().min(self.poster.policy.max_items);
        while size > 0 {
            let calldata = anchoring(&batches[..size]);
            let estimated = self.poster.sender.estimate(contract, &calldata).await?;
            let gas = estimated + estimated / 5;
            if gas <= limit {
                let chunk: Vec<_> = batches.drain(..size).collect();
                let tenants: HashSet<_> = chunk.iter().map(|it| it.batch.tenant).collect();
                batches.retain(|it| !tenants.contains(&it.batch.tenant));
                return Ok(Some((chunk, gas)));
            }
            if size == 1 {
                return Err(AnchorError::TooMuchGas { gas: estimated, limit });
            }
            size /= 2;
        }
        Ok(None)
    }
}

/// Cuts off the first batches: as many as go into one transaction and are hashed again in seconds.
fn cut_off(batches: &mut Vec<SealedBatch>, most: usize) -> Vec<SealedBatch> {
    let mut entries = 0;
    let few = batches.iter().take(most).take_while(|batch| {
        entries += batch.count;
        entries <= MAX_ENTRIES
    });
    let few = few.count().max(1).min(batches.len());
    batches.drain(..few).collect()
}

#[cfg(test)]
mod tests {
    use cofferdam_core::BatchIndex;

    use super::*;

    #[test]
    fn a_part_is_what_is_hashed_in_seconds_and_never_nothing() {
        let batch = |count| SealedBatch {
            tenant: TenantId::from_authority([1; 20].into()).expect("not zero"),
            index: BatchIndex(0),
            first_seq: 0.into(),
            count,
            root: [0; 32].into(),
            sealed_at: std::time::SystemTime::UNIX_EPOCH,
            anchored: None,
        };
        let parts = |counts: &[u64], most| {
            let mut batches: Vec<_> = counts.iter().map(|count| batch(*count)).collect();
            let mut sizes = vec![];
            while !batches.is_empty() {
                sizes.push(cut_off(&mut batches, most).len());
            }
            sizes
        };
        let half = MAX_ENTRIES / 2;
        assert_eq!(parts(&[1, 1, 1], 2), [2, 1]);
        assert_eq!(parts(&[half, half, 1, MAX_ENTRIES + 1, 1], 9), [2, 1, 1, 1]);
    }
}
