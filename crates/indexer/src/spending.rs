//! What accounts spent, day by day.
//!
//! No event says it, so it is read from the accounts' storage, at the last block of each UTC day that final blocks have
//! ended. What is mirrored up to such a block tells which accounts there were, and which tokens they had listed by then.
//! It is read beside the passes: what fails is tried again after the next one, and holds up no event.

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::U256;
use cofferdam_contracts::SmartAccount;
use cofferdam_core::{TenantId, Timestamp};
use cofferdam_store::{Asset, DAY, Spending};
use tracing::{debug, warn};

use crate::{
    IndexError, IndexMetrics, Indexer, Refusal,
    audit::returned,
    blocks::{At, Link},
    endpoints::ROUNDS,
    indexer::checkpoint,
    state::{Question, State},
    verify::{Difference, UnreadDays, Verdict},
};

/// Assets that accounts are asked about at once.
const AT_ONCE: usize = 512;
/// Tenants whose rows are compared at once.
const PAGE: u32 = 256;

/// Where the chain stood when a day was found to be over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settled {
    /// A final block, mirrored.
    pub(crate) last_final: Link,
    /// The newest block, above it.
    pub(crate) head: Link,
}

/// What there is to spend, as mirrored.
#[derive(Debug)]
struct Known {
    assets: Vec<Asset>,
    /// Complete for all days before this one.
    over: u64,
    /// How often the mirror had been taken back.
    rewinds: u64,
}

impl Indexer {
    /// Reads each day when it is over, until this is dropped.
    pub(crate) async fn keep_reading_days(self) {
        let (mut settled, mut failed) = (self.settled.subscribe(), false);
        while settled.changed().await.is_ok() {
            failed = self.read_days(1, failed).await;
        }
    }

    /// Reads what was spent on all days that are over, one after another. Every endpoint is asked so many times.
    /// Returns whether it failed, which is told once.
    pub(crate) async fn read_days(&self, rounds: u32, failed: bool) -> bool {
        let mut known = None;
        loop {
            match self.read_day(&mut known, rounds).await {
                Ok(true) => {}
                Ok(false) => return false,
                Err(error) => {
                    IndexMetrics::add(&self.metrics.unread, 1);
                    match failed {
                        false => {
                            warn!(%error, "what accounts spent could not be read, trying again")
                        }
                        true => debug!(%error, "what accounts spent could not be read again"),
                    }
                    return true;
                }
            }
        }
    }

    /// Reads one day, the first that is not read; `false` if none is over.
    async fn read_day(&self, known: &mut Option<Known>, rounds: u32) -> Result<bool, IndexError> {
        let Some(Settled { last_final, head }) = *self.settled.borrow() else { return Ok(false) };
        let (state, over) = (self.mirror.state().await?, last_final.time / DAY);
        // After it was taken back the mirror first has to come to that block again.
        if state.spending_day >= over || state.last_final < Some(last_final.number) {
            return Ok(false);
        }
        let is_good = |it: &Known| it.rewinds == state.rewinds && it.over > state.spending_day;
        let Known { assets, over, .. } = match known.take().filter(is_good) {
            Some(still) => known.insert(still),
            None => {
                let accounts = self.mirror.accounts().await?;
                let tenants =
                    accounts.into_iter().filter_map(|it| TenantId::from_authority(it).ok());
                let assets = self.assets(tenants).await?;
                known.insert(Known { assets, over, rewinds: state.rewinds })
            }
        };
        let first = assets.iter().min_by_key(|asset| asset.since);
        // Nobody spends before there are accounts.
        let Some(first) = first.filter(|first| first.time / DAY < *over) else {
            self.mirror.spend(&state, *over, &[]).await?;
            return Ok(true);
        };
        let day = state.spending_day.max(first.time / DAY);
        let last = self.last_block(day, (first.since, first.time), last_final, rounds).await?;
        let mut rows = vec![];
        let mut forgotten = None;
        let assets: Vec<Asset> =
            assets.iter().filter(|it| it.since <= last.number).copied().collect();
        for some in assets.chunks(AT_ONCE) {
            match self.spent(day, last, Some(head), some, rounds).await {
                Ok(spent) => {
                    let spent = some.iter().zip(spent).filter(|(_, spent)| *spent > 0);
                    rows.extend(spent.map(|(of, spent)| row(day, last, of, Some(spent))));
                }
                Err(error) if error.is_forgotten() => {
                    rows.extend(some.iter().map(|of| row(day, last, of, None)));
                    forgotten = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        if let Some(error) = forgotten {
            IndexMetrics::add(&self.metrics.unread, 1);
            let (day, block) = (date(day), last.number);
            warn!(day, block, %error, "no endpoint keeps the state that says what accounts spent");
        }
        // Whoever was quicker wrote the same.
        self.mirror.spend(&state, day + 1, &rows).await?;
        Ok(true)
    }

    /// What the accounts of these tenants may have spent.
    async fn assets(
        &self,
        tenants: impl IntoIterator<Item = TenantId>,
    ) -> Result<Vec<Asset>, IndexError> {
        let mut assets = vec![];
        for tenant in tenants {
            assets.extend(self.reader.tenant(tenant).await?.assets().await?);
        }
        Ok(assets)
    }

    /// The last block of a day, between one that does not end it and one after it: found by where it should be if
    /// blocks came evenly, and every other time in the middle, however they came.
    async fn last_block(
        &self,
        day: u64,
        mut low: (u64, u64),
        after: Link,
        rounds: u32,
    ) -> Result<Link, IndexError> {
        let endpoints = &self.source.endpoints;
        let (end, mut high) = ((day + 1) * DAY, (after.number, after.time));
        for probe in 0_u32.. {
            let (blocks, seconds) = (high.0.saturating_sub(low.0), high.1.saturating_sub(low.1));
            if blocks <= 1 {
                break;
            }
            let evenly = (end - 1).saturating_sub(low.1) as u128 * u128::from(blocks)
                / u128::from(seconds.max(1));
            let ahead = if probe % 2 == 0 { evenly as u64 } else { blocks / 2 };
            let number = low.0 + ahead.clamp(1, blocks - 1);
            let ask = endpoints.ask_everybody(rounds, |endpoint| async move {
                endpoint.link(At::Number(number)).await?.ok_or(IndexError::Moving { number })
            });
            let link = ask.await?;
            *(if link.time < end { &mut low } else { &mut high }) = (number, link.time);
        }
        let number = low.0;
        let both = endpoints
            .ask_everybody(
                rounds,
                |endpoint| async move { endpoint.links([number, number + 1]).await },
            )
            .await?;
        match both[..] {
            [last, next] if next.parent == last.hash && last.time < end && next.time >= end => {
                Ok(last)
            }
            _ => Err(IndexError::Moving { number }),
        }
    }

    /// What was spent of each of these assets on a day that ends with this block.
    async fn spent(
        &self,
        day: u64,
        last: Link,
        head: Option<Link>,
        of: &[Asset],
        rounds: u32,
    ) -> Result<Vec<u128>, IndexError> {
        let told = self.ask_spent(day, last, of, rounds).await;
        let error = match told {
            Err(error) if error.is_forgotten() => error,
            told => return Ok(told?.into_iter().map(|(_, today)| today).collect()),
        };
        // Until the next day is over too, an account still knows at its newest block.
        let Some(head) = head.filter(|head| head.time / DAY == day + 1) else { return Err(error) };
        let told = self.ask_spent(day + 1, head, of, rounds).await?;
        Ok(told.into_iter().map(|(yesterday, _)| yesterday).collect())
    }

    /// What the accounts say after a block: what was spent on the day before, and on the day.
    async fn ask_spent(
        &self,
        day: u64,
        at: Link,
        of: &[Asset],
        rounds: u32,
    ) -> Result<Vec<(u128, u128)>, IndexError> {
        let questions: Vec<_> = of
            .iter()
            .map(|asset| {
                let call = SmartAccount::spentOfCall { token: asset.token, day: U256::from(day) };
                Question::call(asset.tenant.authority(), &call)
            })
            .collect();
        let (state, questions) = (State::After { number: at.number, hash: at.hash }, &questions);
        let ask = self.source.endpoints.ask_everybody(rounds, |endpoint| async move {
            let answers = endpoint.ask_all(state, questions).await?;
            let spent = answers.iter().map(|answer| {
                let told = returned::<SmartAccount::spentOfCall>(&endpoint, answer)?;
                match (told.yesterday.try_into(), told.today.try_into()) {
                    (Ok(yesterday), Ok(today)) => Ok((yesterday, today)),
                    _ => Err(endpoint.error(
                        "read an account",
                        Refusal::Nonsense,
                        "it spent too much",
                    )),
                }
            });
            spent.collect()
        });
        ask.await
    }

    /// Compares what is mirrored of each day that was read with what the accounts say of it.
    pub(crate) async fn verify_days(&self, verdict: &mut Verdict) -> Result<(), IndexError> {
        let state = self.mirror.state().await?;
        let number = state.last_final.unwrap_or_default();
        let after = self.source.link(At::Number(number)).await?;
        let after = after.ok_or(IndexError::Moving { number })?;
        let (mut ends, mut unread) = (BTreeMap::new(), BTreeSet::new());
        let (mut page, mut rounds) = (self.mirror.heads(None, PAGE).await?, ROUNDS);
        while let Some(last) = page.last() {
            let tenants = page.iter().filter_map(|head| TenantId::try_from(head.tenant).ok());
            let assets = self.assets(tenants.clone()).await?;
            let mut mirrored = BTreeMap::new();
            for tenant in tenants {
                let rows = self.reader.tenant(tenant).await?.spending().await?;
                mirrored.extend(rows.into_iter().map(|it| ((it.day, tenant, it.token), it)));
            }
            let first = assets.iter().min_by_key(|it| it.since).map(|it| (it.since, it.time));
            let (low, days) = match first {
                Some(low) => (low, low.1 / DAY..state.spending_day),
                None => ((0, 0), 0..0),
            };
            for day in days {
                let last = match ends.get(&day) {
                    Some(last) => *last,
                    None => self.last_block(day, low, after, ROUNDS).await?,
                };
                ends.insert(day, last);
                let of = assets.iter().filter(|it| it.since <= last.number).copied();
                for some in of.collect::<Vec<_>>().chunks(AT_ONCE) {
                    let told = match unread.contains(&day) {
                        true => None,
                        false => Some(self.spent(day, last, None, some, rounds).await),
                    };
                    let spent = match told.transpose() {
                        Ok(spent) => spent,
                        Err(error @ IndexError::Moving { .. }) => return Err(error),
                        Err(error) => {
                            // Who says that it has forgotten this says so at once.
                            rounds = if error.is_forgotten() { rounds } else { 1 };
                            let (block, reason) = (last.number, error.to_string());
                            let new = || UnreadDays { first: date(day), block, days: 0, reason };
                            verdict.unread_days.get_or_insert_with(new).days += 1;
                            unread.insert(day);
                            None
                        }
                    };
                    for (n, of) in some.iter().enumerate() {
                        let found = mirrored.remove(&(day, of.tenant, of.token));
                        let Some(spent) = spent.as_ref().map(|spent| spent[n]) else { continue };
                        let expected = (spent > 0).then(|| row(day, last, of, Some(spent)));
                        if found != expected {
                            verdict.difference = Some(difference(day, of, found, expected));
                            return Ok(());
                        }
                    }
                }
            }
            if let Some(row) = mirrored.into_values().next() {
                // Or it was read meanwhile.
                if self.mirror.state().await?.spending_day != state.spending_day {
                    return Err(IndexError::Moving { number });
                }
                let of = Asset { tenant: row.tenant, token: row.token, since: 0, time: 0 };
                verdict.difference = Some(difference(row.day, &of, Some(row), None));
                return Ok(());
            }
            page = self.mirror.heads(Some(last.tenant), PAGE).await?;
        }
        verdict.days = Some((ends.len() - unread.len()) as u64);
        Ok(())
    }
}

fn row(day: u64, last: Link, of: &Asset, spent: Option<u128>) -> Spending {
    let (block, time) = (checkpoint(last), last.time);
    Spending { tenant: of.tenant, day, token: of.token, spent, block, time }
}

/// How a row differs from what the account says.
fn difference(
    day: u64,
    of: &Asset,
    found: Option<Spending>,
    expected: Option<Spending>,
) -> Difference {
    let words = |row: Option<Spending>| match row {
        None => "nothing".to_owned(),
        Some(Spending { spent: None, .. }) => "unknown".to_owned(),
        Some(Spending { spent: Some(spent), block, .. }) => {
            format!("{spent} after block {} ({})", block.number, block.hash)
        }
    };
    let (found, expected) = (words(found), words(expected));
    let what = format!(
        "spending of {} on {}: {found} mirrored, {expected} in the account; \
         `cofferdam index rebuild` reads it again",
        of.token,
        date(day)
    );
    Difference { tenant: of.tenant.as_b256(), what }
}

/// A day as people write it.
fn date(day: u64) -> String {
    let micros = i64::try_from(day.saturating_mul(DAY).saturating_mul(1_000_000));
    let time = micros.ok().and_then(|micros| Timestamp::from_unix_micros(micros).ok());
    time.map_or(format!("day {day}"), |time| time.to_string().chars().take(10).collect())
}
