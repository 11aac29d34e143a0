//! The account's enumerations.

use std::{fmt, str::FromStr};

/// A number or a name that stands for nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given} is no {what}")]
pub struct Unknown {
    given: String,
    what: &'static str,
}

/// An enumeration whose numbers are part of the contract's interface.
macro_rules! numbered {
    ($(#[$meta:meta])* $name:ident ($what:literal) {
        $($(#[$doc:meta])* $variant:ident = $number:literal $text:literal,)+
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$doc])* $variant = $number,)+ }

        impl From<$name> for u8 {
            fn from(value: $name) -> Self {
                value as Self
            }
        }

        impl TryFrom<u8> for $name {
            type Error = Unknown;

            fn try_from(number: u8) -> Result<Self, Unknown> {
                match number {
                    $($number => Ok(Self::$variant),)+
                    _ => Err(Unknown { given: number.to_string(), what: $what }),
                }
            }
        }

        impl FromStr for $name {
            type Err = Unknown;

            fn from_str(text: &str) -> Result<Self, Unknown> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err(Unknown { given: format!("{text:?}"), what: $what }),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $text,)+ })
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

numbered! {
    /// What a key may do in an account. Every key has one role at most.
    Role ("role of an account") {
        /// None; an agent's, for example.
        #[default]
        None = 0 "none",
        /// Makes changes, together with a gate or after the delay. One in every account.
        Owner = 1 "owner",
        /// The first gate: approves what was proposed.
        Approver = 2 "approver",
        /// The second gate: authorises what was approved.
        Authoriser = 3 "authoriser",
        /// The third gate: executes what was authorised.
        Executor = 4 "executor",
        /// Vetoes, freezes and narrows. One in every account.
        Guardian = 5 "guardian",
    }
}

numbered! {
    /// How far a proposal is.
    Stage ("stage of a proposal") {
        /// There is no such proposal.
        #[default]
        Unknown = 0 "unknown",
        /// An agent proposed it.
        Proposed = 1 "proposed",
        /// An approver approved it.
        Approved = 2 "approved",
        /// An authoriser authorised it.
        Authorised = 3 "authorised",
        /// It was executed or rejected.
        Closed = 4 "closed",
    }
}

numbered! {
    /// What a verdict decides.
    Outcome ("outcome of a verdict") {
        /// These calls may not be made, by any way.
        #[default]
        Deny = 0 "deny",
        /// The agent may make these calls.
        Allow = 1 "allow",
        /// People have to approve these calls first.
        Escalate = 2 "escalate",
    }
}
