//! Identity, byte formats, hash chain, trees and receipts of Cofferdam: no I/O, no async.
