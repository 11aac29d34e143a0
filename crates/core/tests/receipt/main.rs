//! Receipts: what is written is read again, and whatever was tampered with is refused by the check
//! that is named for it.
#![allow(clippy::unwrap_used)] // a failed expectation is a failed test

mod adversary;
mod fuzz;
mod golden;
mod level1;
mod level2;
mod sample;
mod second;
