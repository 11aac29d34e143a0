//! Many questions about the state in one call, of a contract that is never deployed.
//!
//! A call without a recipient runs its data as a constructor, and returns what that returns. This one asks
//! everything that stands behind it, one after another, and returns the answers behind each other. So a
//! thousand questions are a few calls, all of one state, and nothing needs to be on the chain for it.

use alloy::primitives::Bytes;

use crate::state::Question;

/// Questions of one call. What a constructor returns is limited to 24 KiB, like code.
pub(crate) const AT_ONCE: usize = 128;
/// In place of the length of an answer: the call failed.
const FAILED: usize = 0xffff;

const LENGTH: u8 = 115;
/// Where the program jumps to.
const NEXT: u8 = 11;
const QUESTION: u8 = 24;
const CALL: u8 = 71;

/// In: `address[20] ‖ length[2] ‖ call`, again and again; a length of 0 asks for the hash of the code. Out:
/// `length[2] ‖ answer` of each. Beside each line the stack after it, its top on the right: `end` is where
/// the questions end and the answers begin, `out` where the next answer goes, `in` where the next question is.
#[rustfmt::skip]
const PROGRAM: [u8; LENGTH as usize] = [
    // The questions to memory, from 0 on.
    0x60, LENGTH, 0x38, 0x03,       // PUSH1 CODESIZE SUB: end
    0x80, 0x60, LENGTH, 0x5f, 0x39, // DUP1 PUSH1 PUSH0 CODECOPY: end
    0x80, 0x5f,                     // DUP1 PUSH0: end out in
    // NEXT: while end > in
    0x5b, 0x80, 0x83, 0x11,         // JUMPDEST DUP1 DUP4 GT: end out in more
    0x60, QUESTION, 0x57,           // PUSH1 JUMPI: end out in
    0x50, 0x81, 0x90, 0x03,         // POP DUP2 SWAP1 SUB: end size
    0x90, 0xf3,                     // SWAP1 RETURN
    // QUESTION
    0x5b, 0x80, 0x51,               // JUMPDEST DUP1 MLOAD: end out in word
    0x80, 0x60, 96, 0x1c,           // DUP1 PUSH1 SHR: end out in word to
    0x90, 0x60, 80, 0x1c,           // SWAP1 PUSH1 SHR: end out in to lengths
    0x61, 0xff, 0xff, 0x16,         // PUSH2 AND: end out in to length
    0x91, 0x60, 22, 0x01,           // SWAP2 PUSH1 ADD: end out length to in
    0x82, 0x60, CALL, 0x57,         // DUP3 PUSH1 JUMPI: end out length to in
    // The hash of the code.
    0x90, 0x3f,                     // SWAP1 EXTCODEHASH: end out length in hash
    0x60, 32, 0x60, 240, 0x1b,      // PUSH1 PUSH1 SHL: end out length in hash 32<<240
    0x84, 0x52,                     // DUP5 MSTORE: end out length in hash
    0x83, 0x60, 2, 0x01, 0x52,      // DUP4 PUSH1 ADD MSTORE: end out length in
    0x90, 0x50,                     // SWAP1 POP: end out in
    0x90, 0x60, 34, 0x01, 0x90,     // SWAP1 PUSH1 ADD SWAP1: end out in
    0x60, NEXT, 0x56,               // PUSH1 JUMP
    // CALL
    0x5b, 0x5f, 0x5f,               // JUMPDEST PUSH0 PUSH0: end out length to in 0 0
    0x84, 0x83, 0x85,               // DUP5 DUP4 DUP6: end out length to in 0 0 length in to
    0x5a, 0xfa,                     // GAS STATICCALL: end out length to in good
    0x80, 0x3d, 0x02,               // DUP1 RETURNDATASIZE MUL: end out length to in good size
    0x90, 0x60, 1, 0x90, 0x03,      // SWAP1 PUSH1 SWAP1 SUB: end out length to in size good-1
    0x81, 0x17, 0x60, 240, 0x1b,    // DUP2 OR PUSH1 SHL: end out length to in size (size|good-1)<<240
    0x85, 0x52,                     // DUP6 MSTORE: end out length to in size
    0x80, 0x5f, 0x86,               // DUP1 PUSH0 DUP7: end out length to in size size 0 out
    0x60, 2, 0x01, 0x3e,            // PUSH1 ADD RETURNDATACOPY: end out length to in size
    0x93, 0x60, 2, 0x01,            // SWAP4 PUSH1 ADD: end size length to in out+2
    0x84, 0x01, 0x93, 0x50,         // DUP5 ADD SWAP4 POP: end out length to in
    0x90, 0x50, 0x01,               // SWAP1 POP ADD: end out in
    0x60, NEXT, 0x56,               // PUSH1 JUMP
];

/// The data of a call that asks all of these.
pub(crate) fn call(questions: &[Question]) -> Vec<u8> {
    let mut data = PROGRAM.to_vec();
    for question in questions {
        let (of, call) = match question {
            Question::Call { to, data } => (to, &data[..]),
            Question::CodeHash(of) => (of, &[][..]),
        };
        data.extend_from_slice(of.as_slice());
        // No call of ours is nearly as long as a length can be.
        data.extend((call.len() as u16).to_be_bytes());
        data.extend_from_slice(call);
    }
    data
}

/// The answers to so many questions; `None` where one failed, or this is not what the program returns.
pub(crate) fn answers(mut returned: &[u8], count: usize) -> Option<Vec<Bytes>> {
    let mut answers = Vec::with_capacity(count);
    for _ in 0..count {
        let (length, rest) = returned.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*length));
        if length == FAILED || length > rest.len() {
            return None;
        }
        let (answer, rest) = rest.split_at(length);
        answers.push(Bytes::copy_from_slice(answer));
        returned = rest;
    }
    returned.is_empty().then_some(answers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_all_answers_is_none() {
        let two = [0, 1, 7, 0, 0];
        let bytes = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
        assert_eq!(answers(&two, 2), Some(vec![bytes(&[7]), bytes(&[])]));
        for (returned, count) in [
            (&two[..], 1),
            (&two[..], 3),
            (&two[..4], 2),
            (&[0xff, 0xff][..], 1),
            (&[0, 2, 7][..], 1),
        ] {
            assert_eq!(answers(returned, count), None, "{returned:?} {count}");
        }
    }
}
