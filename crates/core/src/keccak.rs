//! Keccak-256 of many messages at once.
//!
//! Messages that do not depend on each other share every instruction: eight of them in the registers of
//! AVX-512, four in those of AVX2. Elsewhere, and of very few messages, it is the hash of
//! `alloy_primitives`, one message after the other. A test compares them all.

use alloy_primitives::{B256, keccak256};

/// Messages that are hashed together.
#[derive(Default)]
pub(crate) struct Messages {
    bytes: Vec<u8>,
    /// Where each message ends.
    ends: Vec<usize>,
}

impl Messages {
    /// None yet, with room for so many of so many bytes.
    pub(crate) fn with_capacity(count: usize, length: usize) -> Self {
        Self { bytes: Vec::with_capacity(count * length), ends: Vec::with_capacity(count) }
    }

    /// Adds a message: a prefix and what follows it.
    pub(crate) fn push(&mut self, prefix: u8, parts: &[&[u8]]) {
        self.bytes.push(prefix);
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        self.ends.push(self.bytes.len());
    }

    /// The hash of each message, in their order.
    pub(crate) fn hashes(&self) -> Vec<B256> {
        #[cfg(target_arch = "x86_64")]
        if let Some(hashes) = lanes::hashes(self) {
            return hashes;
        }
        (0..self.ends.len()).map(|at| keccak256(self.message(at))).collect()
    }

    fn message(&self, at: usize) -> &[u8] {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[at]]
    }
}

#[cfg(target_arch = "x86_64")]
mod lanes {
    use super::Messages;
    use alloy_primitives::B256;
    use pulp::{
        NullaryFnOnce, cast,
        x86::{V3, V4},
    };
    use std::arch::x86_64::{__m256i, __m512i};

    /// Bytes that one permutation takes in.
    const RATE: usize = 136;
    /// Fewer messages than this are hashed sooner one by one.
    const FEWEST: usize = 3;

    /// The 25 words of as many states as there are lanes, word by word.
    type States<const LANES: usize> = [[u64; LANES]; 25];

    /// On the widest registers that this processor has; `None` where that is not worth it.
    pub(super) fn hashes(messages: &Messages) -> Option<Vec<B256>> {
        if messages.ends.len() < FEWEST {
            return None;
        }
        if let Some(simd) = V4::try_new() {
            return Some(simd.vectorize(Each { messages, simd }));
        }
        let simd = V3::try_new()?;
        Some(simd.vectorize(Each { messages, simd }))
    }

    /// The hash of each message, on registers of one kind.
    pub(super) struct Each<'a, S> {
        pub(super) messages: &'a Messages,
        pub(super) simd: S,
    }

    impl NullaryFnOnce for Each<'_, V4> {
        type Output = Vec<B256>;

        #[inline(always)]
        fn call(self) -> Vec<B256> {
            absorb::<8>(self.messages, |states| *states = cast(permute(self.simd, cast(*states))))
        }
    }

    impl NullaryFnOnce for Each<'_, V3> {
        type Output = Vec<B256>;

        #[inline(always)]
        fn call(self) -> Vec<B256> {
            absorb::<4>(self.messages, |states| *states = cast(permute(self.simd, cast(*states))))
        }
    }

    /// What a lane still has to take in of its message.
    #[derive(Clone, Copy)]
    struct Lane<'a> {
        message: usize,
        rest: &'a [u8],
        last: bool,
    }

    /// Hashes all messages; a lane that is done with one goes on with the next.
    #[inline(always)]
    fn absorb<const LANES: usize>(
        messages: &Messages,
        permute: impl Fn(&mut States<LANES>),
    ) -> Vec<B256> {
        let mut hashes = vec![B256::ZERO; messages.ends.len()];
        let (mut lanes, mut next) = ([None::<Lane<'_>>; LANES], 0);
        let mut states = [[0; LANES]; 25];
        loop {
            let mut busy = false;
            for (at, lane) in lanes.iter_mut().enumerate() {
                if lane.is_none() && next < hashes.len() {
                    states.iter_mut().for_each(|word| word[at] = 0);
                    *lane = Some(Lane { message: next, rest: messages.message(next), last: false });
                    next += 1;
                }
                let Some(lane) = lane else { continue };
                busy = true;
                let (block, rest) = lane.rest.split_at(lane.rest.len().min(RATE));
                let (words, end) = block.as_chunks();
                for (word, bytes) in states.iter_mut().zip(words) {
                    word[at] ^= u64::from_le_bytes(*bytes);
                }
                lane.rest = rest;
                if block.len() < RATE {
                    // Padding begins with a one behind the last byte, and ends with one in the block's last bit.
                    let end = end.iter().rev().fold(1, |word, byte| word << 8 | u64::from(*byte));
                    states[words.len()][at] ^= end;
                    states[RATE / 8 - 1][at] ^= 1 << 63;
                    lane.last = true;
                }
            }
            if !busy {
                return hashes;
            }
            permute(&mut states);
            for (at, lane) in lanes.iter_mut().enumerate() {
                let Some(done) = lane.take_if(|lane| lane.last) else { continue };
                let hash = &mut hashes[done.message];
                for (bytes, word) in hash.as_chunks_mut::<8>().0.iter_mut().zip(&states) {
                    *bytes = word[at].to_le_bytes();
                }
            }
        }
    }

    /// What the permutation does to a word of every lane.
    trait Words: Copy {
        type Word: Copy;

        fn splat(self, word: u64) -> Self::Word;
        fn xor(self, a: Self::Word, b: Self::Word) -> Self::Word;
        /// `a ^ b ^ c`.
        fn xor3(self, a: Self::Word, b: Self::Word, c: Self::Word) -> Self::Word;
        /// `a ^ (!b & c)`.
        fn chi(self, a: Self::Word, b: Self::Word, c: Self::Word) -> Self::Word;
        /// To the left.
        fn rotate(self, word: Self::Word, by: u32) -> Self::Word;
    }

    impl Words for V4 {
        type Word = __m512i;

        #[inline(always)]
        fn splat(self, word: u64) -> __m512i {
            self.avx512f._mm512_set1_epi64(word as i64)
        }

        #[inline(always)]
        fn xor(self, a: __m512i, b: __m512i) -> __m512i {
            self.avx512f._mm512_xor_si512(a, b)
        }

        #[inline(always)]
        fn xor3(self, a: __m512i, b: __m512i, c: __m512i) -> __m512i {
            self.avx512f._mm512_ternarylogic_epi64::<0b1001_0110>(a, b, c)
        }

        #[inline(always)]
        fn chi(self, a: __m512i, b: __m512i, c: __m512i) -> __m512i {
            self.avx512f._mm512_ternarylogic_epi64::<0b1101_0010>(a, b, c)
        }

        #[inline(always)]
        fn rotate(self, word: __m512i, by: u32) -> __m512i {
            self.avx512f._mm512_rolv_epi64(word, self.splat(by.into()))
        }
    }

    impl Words for V3 {
        type Word = __m256i;

        #[inline(always)]
        fn splat(self, word: u64) -> __m256i {
            self.avx._mm256_set1_epi64x(word as i64)
        }

        #[inline(always)]
        fn xor(self, a: __m256i, b: __m256i) -> __m256i {
            self.avx2._mm256_xor_si256(a, b)
        }

        #[inline(always)]
        fn xor3(self, a: __m256i, b: __m256i, c: __m256i) -> __m256i {
            self.xor(self.xor(a, b), c)
        }

        #[inline(always)]
        fn chi(self, a: __m256i, b: __m256i, c: __m256i) -> __m256i {
            self.xor(a, self.avx2._mm256_andnot_si256(b, c))
        }

        #[inline(always)]
        fn rotate(self, word: __m256i, by: u32) -> __m256i {
            let left = self.avx2._mm256_sllv_epi64(word, self.splat(by.into()));
            let right = self.avx2._mm256_srlv_epi64(word, self.splat((64 - by).into()));
            self.avx2._mm256_or_si256(left, right)
        }
    }

    /// Keccak-f\[1600\] (FIPS 202, 3.3) of every lane.
    #[inline(always)]
    fn permute<S: Words>(simd: S, mut a: [S::Word; 25]) -> [S::Word; 25] {
        for constant in ROUNDS {
            let column =
                |x: usize| simd.xor3(simd.xor3(a[x], a[x + 5], a[x + 10]), a[x + 15], a[x + 20]);
            let columns = [column(0), column(1), column(2), column(3), column(4)];
            let mut b = a;
            for x in 0..5 {
                let (left, right) = (columns[(x + 4) % 5], simd.rotate(columns[(x + 1) % 5], 1));
                for y in 0..5 {
                    let word = simd.xor3(a[x + 5 * y], left, right);
                    b[y + 5 * ((2 * x + 3 * y) % 5)] = simd.rotate(word, OFFSETS[x][y]);
                }
            }
            for y in 0..5 {
                for x in 0..5 {
                    let row = |x: usize| b[5 * y + x % 5];
                    a[5 * y + x] = simd.chi(row(x), row(x + 1), row(x + 2));
                }
            }
            a[0] = simd.xor(a[0], simd.splat(constant));
        }
        a
    }

    /// By how much the word at (x, y) turns.
    const OFFSETS: [[u32; 5]; 5] = [
        [0, 36, 3, 41, 18],
        [1, 44, 10, 45, 2],
        [62, 6, 43, 15, 61],
        [28, 55, 25, 21, 56],
        [27, 20, 39, 8, 14],
    ];

    const ROUNDS: [u64; 24] = [
        0x0000_0000_0000_0001,
        0x0000_0000_0000_8082,
        0x8000_0000_0000_808a,
        0x8000_0000_8000_8000,
        0x0000_0000_0000_808b,
        0x0000_0000_8000_0001,
        0x8000_0000_8000_8081,
        0x8000_0000_0000_8009,
        0x0000_0000_0000_008a,
        0x0000_0000_0000_0088,
        0x0000_0000_8000_8009,
        0x0000_0000_8000_000a,
        0x0000_0000_8000_808b,
        0x8000_0000_0000_008b,
        0x8000_0000_0000_8089,
        0x8000_0000_0000_8003,
        0x8000_0000_0000_8002,
        0x8000_0000_0000_0080,
        0x0000_0000_0000_800a,
        0x8000_0000_8000_000a,
        0x8000_0000_8000_8081,
        0x8000_0000_0000_8080,
        0x0000_0000_8000_0001,
        0x8000_0000_8000_8008,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages of so many bytes each, no two alike.
    fn messages(lengths: impl IntoIterator<Item = usize>) -> Messages {
        let mut messages = Messages::default();
        for (n, length) in lengths.into_iter().enumerate() {
            let bytes: Vec<u8> = (0..length).map(|at| (7 * at + 31 * n) as u8).collect();
            let (one, other) = bytes.split_at(length / 3);
            messages.push(n as u8, &[one, other]);
        }
        messages
    }

    fn one_by_one(messages: &Messages) -> Vec<B256> {
        (0..messages.ends.len()).map(|at| keccak256(messages.message(at))).collect()
    }

    /// Every length around the borders of a block, alone, together, and with a long one among short ones.
    fn samples() -> Vec<Messages> {
        let mut samples: Vec<_> = (0..20).map(|count| messages(vec![40; count])).collect();
        samples.push(messages(0..600));
        samples.push(messages((0..600).rev()));
        samples.push(messages([1, 5000, 0, 134, 135, 136, 137, 270, 271, 272, 273, 3, 3, 3]));
        samples
    }

    #[test]
    fn together_they_have_the_hashes_that_they_have_alone() {
        for messages in samples() {
            assert_eq!(messages.hashes(), one_by_one(&messages));
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn every_kind_of_register_that_is_here_gives_the_same() {
        use super::lanes::Each;
        use pulp::x86::{V3, V4};
        for messages in samples() {
            let expected = one_by_one(&messages);
            if let Some(simd) = V3::try_new() {
                assert_eq!(simd.vectorize(Each { messages: &messages, simd }), expected);
            }
            if let Some(simd) = V4::try_new() {
                assert_eq!(simd.vectorize(Each { messages: &messages, simd }), expected);
            }
        }
    }
}
