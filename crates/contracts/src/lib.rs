//! Bindings of the Cofferdam contracts, built from their Solidity sources by forge.
