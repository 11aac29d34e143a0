//! What a transaction offers to pay.

use alloy::providers::Provider;
use cofferdam_contracts::{Chain, ChainError};

/// The fee fields of a transaction, in wei per gas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fees {
    pub(crate) max: u128,
    pub(crate) tip: u128,
}

impl Fees {
    /// What the network takes now.
    pub(crate) async fn of_network(chain: &Chain) -> Result<Self, ChainError> {
        let fees = chain.provider().estimate_eip1559_fees();
        let fees = chain.ask("cannot read the network's fees", fees).await?;
        Ok(Self { max: fees.max_fee_per_gas, tip: fees.max_priority_fee_per_gas })
    }

    /// The block's own price that this offer was made for: an offer allows for twice that.
    pub(crate) fn base(self) -> u128 {
        self.max.saturating_sub(self.tip) / 2
    }

    /// Whether it is not for want of an offer that a transaction is not mined: it is what the network
    /// takes now, and twice the tip.
    pub(crate) fn suffices(self, network: Self) -> bool {
        self.max >= network.max && self.tip >= 2 * network.tip
    }

    /// No more than a ceiling.
    pub(crate) fn capped(self, ceiling: u128) -> Self {
        let max = self.max.min(ceiling);
        Self { max, tip: self.tip.min(max) }
    }

    /// What replaces a transaction in the pool: a tenth more and one, or the network's if higher.
    pub(crate) fn bumped(self, network: Self) -> Self {
        let bump = |old: u128| old + old.div_ceil(10) + 1;
        Self { max: bump(self.max).max(network.max), tip: bump(self.tip).max(network.tip) }
    }

    /// The same, within a ceiling: `None` where that leaves less than a pool takes as a replacement.
    pub(crate) fn bumped_within(self, network: Self, ceiling: u128) -> Option<Self> {
        let least = self.bumped(Self { max: 0, tip: 0 });
        let wanted = self.bumped(network).capped(ceiling);
        (wanted.max >= least.max && wanted.tip >= least.tip).then_some(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn fees(max: u128, tip: u128) -> Fees {
        Fees { max, tip }
    }

    #[test]
    fn a_bump_beats_the_pools_threshold_and_the_network() {
        let free = fees(0, 0);
        assert_eq!(fees(100, 10).bumped(free), fees(111, 12));
        assert_eq!(fees(101, 11).bumped(free), fees(113, 14));
        assert_eq!(fees(1, 0).bumped(free), fees(3, 1));
        assert_eq!(fees(100, 10).bumped(fees(500, 11)), fees(500, 12));
        assert_eq!(fees(100, 10).bumped(fees(90, 40)), fees(111, 40));
    }

    #[test]
    fn no_bump_goes_over_the_ceiling_or_below_the_threshold() {
        let (old, network) = (fees(100, 10), fees(500, 40));
        assert_eq!(old.bumped_within(network, 1_000), Some(network));
        assert_eq!(old.bumped_within(network, 200), Some(fees(200, 40)));
        assert_eq!(old.bumped_within(network, 111), Some(fees(111, 40)));
        assert_eq!(old.bumped_within(network, 110), None);
        assert_eq!(network.capped(30), fees(30, 30));
        assert_eq!(fees(250, 50).base(), 100);
    }

    #[test]
    fn an_offer_is_raised_until_it_is_what_the_network_takes_and_no_further() {
        let network = fees(210, 10);
        let mut offer = network;
        let mut raises = 0;
        while !offer.suffices(network) {
            offer = offer.bumped(network);
            raises += 1;
        }
        assert_eq!((raises, offer), (4, fees(314, 21)));
        assert!(!offer.suffices(fees(315, 10)) && !offer.suffices(fees(210, 11)));
    }
}
