//! How long a range is.

/// The first range's length, in blocks: not much, also where each is full of events.
const FIRST_SPAN: u64 = 8;
/// The longest range: what the more generous of the providers allow.
const LONGEST_SPAN: u64 = 10_000;
/// What was refused is taken to be one of so many parts more after each range that was sent.
const PARTS: u64 = 256;
/// Nothing was refused.
const HIGHEST: u64 = (LONGEST_SPAN + 1) * PARTS;
/// A range that holds more than this makes the next one shorter.
const FULL: usize = 8_192;

/// How many blocks a range has, by what the ranges before it held and what was refused.
#[derive(Debug)]
pub(crate) struct Span {
    blocks: u64,
    /// So many were refused, in `PARTS`.
    ceiling: u64,
    /// Rows in a block of the last range.
    density: f64,
}

impl Default for Span {
    fn default() -> Self {
        Self { blocks: FIRST_SPAN, ceiling: HIGHEST, density: 0.0 }
    }
}

impl Span {
    /// The next range's length.
    pub(crate) fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Room for the logs that so many blocks may hold: reserved at once, few are moved to make more.
    pub(crate) fn room(&self, blocks: u64) -> usize {
        (blocks as f64 * self.density * 1.125).min(2.0 * FULL as f64) as usize
    }

    /// So many blocks were sent, with so many rows.
    pub(crate) fn fits(&mut self, blocks: u64, rows: usize) {
        self.density = rows as f64 / blocks as f64;
        // What was refused once may be sent elsewhere on the chain, or by now: asked for now and then.
        self.ceiling = (self.ceiling + self.ceiling / PARTS).min(HIGHEST);
        if rows > FULL {
            self.blocks = (blocks * FULL as u64 / rows as u64).max(1);
        } else if rows < FULL / 2 && blocks >= self.blocks {
            // As close to what was refused as an eighth, in halves.
            let room = (self.ceiling / PARTS).saturating_sub(blocks);
            let more = blocks.min(room / 2);
            self.blocks = blocks + if more > blocks / 16 { more } else { 0 };
        }
    }

    pub(crate) fn refused(&mut self, blocks: u64) {
        self.ceiling = self.ceiling.min(blocks.saturating_mul(PARTS));
        self.blocks = self.blocks.min(blocks / 2).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks a hundred times an endpoint that refuses more than `limit` blocks, which hold `rows` each.
    fn asked(span: &mut Span, limit: u64, rows: usize) -> Vec<u64> {
        let mut sent = vec![];
        for _ in 0..100 {
            let blocks = span.blocks();
            match blocks > limit {
                true => span.refused(blocks),
                false => {
                    span.fits(blocks, blocks as usize * rows);
                    sent.push(blocks);
                }
            }
        }
        sent
    }

    #[test]
    fn a_range_grows_to_what_is_allowed_and_back_when_more_is() {
        let mut span = Span::default();
        let sent = asked(&mut span, 1_000, 0);
        assert_eq!(sent.first(), Some(&FIRST_SPAN));
        let last = *sent.last().expect("ranges");
        assert!((875..=1_000).contains(&last), "{sent:?}");
        // Asking for what is refused costs a request: hardly ever.
        assert!(sent.len() > 90, "{sent:?}");
        let sent = asked(&mut span, 5, 0);
        assert!(sent.len() > 85 && sent.iter().all(|blocks| *blocks <= 5), "{sent:?}");
        assert!((4..=5).contains(&span.blocks()), "{span:?}");
        // What was refused is asked for again in time.
        for _ in 0..40 {
            asked(&mut span, u64::MAX, 0);
        }
        assert!((LONGEST_SPAN * 7 / 8..=LONGEST_SPAN).contains(&span.blocks()), "{span:?}");
    }

    #[test]
    fn room_is_for_as_many_as_there_were_and_some_more() {
        let mut span = Span::default();
        assert_eq!(span.room(LONGEST_SPAN), 0);
        span.fits(16, 4_000);
        assert_eq!((span.room(16), span.room(8)), (4_500, 2_250));
        assert_eq!(span.room(LONGEST_SPAN), 2 * FULL);
        span.fits(1_000, 0);
        assert_eq!(span.room(LONGEST_SPAN), 0);
    }

    #[test]
    fn a_single_block_is_always_asked_for() {
        let mut span = Span::default();
        for _ in 0..20 {
            span.refused(span.blocks());
        }
        assert_eq!(span.blocks(), 1);
    }

    #[test]
    fn what_is_full_of_events_is_read_in_less() {
        let mut span = Span::default();
        let sent = asked(&mut span, u64::MAX, 1_000);
        let last = *sent.last().expect("ranges") as usize;
        assert!((FULL / 4..=FULL).contains(&(last * 1_000)), "{sent:?}");
    }
}
