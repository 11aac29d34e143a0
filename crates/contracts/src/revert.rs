//! Why a contract refused: its revert data as a named error with its arguments, and what to do about it.

use std::{collections::BTreeMap, fmt, sync::LazyLock};

use alloy::{
    dyn_abi::{DynSolValue, JsonAbiExt},
    json_abi,
    primitives::{Bytes, Selector},
};

use crate::{
    account::{Role, Stage},
    bindings,
};

/// Every error that one of our contracts, the EntryPoint or Solidity itself reverts with.
static ERRORS: LazyLock<BTreeMap<Selector, json_abi::Error>> = LazyLock::new(|| {
    let solidity = ["error Error(string message)", "error Panic(uint256 code)"]
        .map(|text| json_abi::Error::parse(text).expect("a Solidity error"));
    let contracts = [
        bindings::audit_anchor::ARTIFACT,
        bindings::policy_registry::ARTIFACT,
        bindings::mcp_agent_registry::ARTIFACT,
        bindings::smart_account::ARTIFACT,
        bindings::smart_account_factory::ARTIFACT,
        bindings::entry_point::ARTIFACT,
    ];
    let errors = contracts.into_iter().flat_map(|artifact| {
        let artifact: Artifact = serde_json::from_str(artifact).expect("what the bindings read");
        artifact.abi.errors.into_values().flatten()
    });
    errors.chain(solidity).map(|error| (error.selector(), error)).collect()
});

/// What of a compiler's output is used here.
#[derive(serde::Deserialize)]
struct Artifact {
    abi: json_abi::JsonAbi,
}

/// The answer of a contract that reverted.
///
/// It prints as `SmartAccount_OverCallLimit(asset 0x…, limit 5, amount 7)`. An error that carries another
/// one's data, as the EntryPoint's `FailedOpWithRevert` does, prints it in the argument's place.
#[derive(Debug, Clone, PartialEq)]
pub struct Revert {
    data: Bytes,
    known: Option<Known>,
}

/// An error that is on the list.
#[derive(Debug, Clone, PartialEq)]
struct Known {
    name: String,
    arguments: Vec<(String, Value)>,
}

#[derive(Debug, Clone, PartialEq)]
enum Value {
    Plain(DynSolValue),
    /// The data of another error.
    Revert(Revert),
}

impl Revert {
    /// Reads revert data. Data of an error that is not known prints as hex.
    pub fn decode(data: impl Into<Bytes>) -> Self {
        let data = data.into();
        let known = data.get(..4).and_then(|selector| {
            let error = ERRORS.get(&Selector::from_slice(selector))?;
            let values = error.abi_decode_input(&data[4..]).ok()?;
            let names = error.inputs.iter().map(|input| input.name.clone());
            let arguments = names.zip(values.into_iter().map(Value::from)).collect();
            Some(Known { name: error.name.clone(), arguments })
        });
        Self { data, known }
    }

    /// The bytes that the contract reverted with.
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// The error's name, such as `SmartAccount_Frozen`; `None` when it is not known.
    pub fn name(&self) -> Option<&str> {
        self.known.as_ref().map(|known| known.name.as_str())
    }

    /// The error that this one passes on, the innermost one; itself when it passes none on.
    pub fn root(&self) -> &Self {
        self.inner().map_or(self, Self::root)
    }

    fn inner(&self) -> Option<&Self> {
        self.known.as_ref()?.arguments.iter().find_map(|(_, value)| match value {
            Value::Revert(inner) if inner.known.is_some() => Some(inner),
            _ => None,
        })
    }

    /// What to do about it; of the innermost error that something is known of.
    pub fn advice(&self) -> Option<&'static str> {
        let deeper = self.inner().and_then(Self::advice);
        deeper.or_else(|| {
            let known = self.known.as_ref()?;
            match known.arguments.get(1) {
                Some((_, Value::Plain(DynSolValue::String(reason))))
                    if known.name.starts_with("FailedOp") =>
                {
                    entry_point_advice(reason)
                }
                _ => advice(&known.name),
            }
        })
    }
}

impl From<DynSolValue> for Value {
    fn from(value: DynSolValue) -> Self {
        match value {
            // No error of ours carries bytes that are anything but another error's data.
            DynSolValue::Bytes(data) => Self::Revert(Revert::decode(data)),
            value => Self::Plain(value),
        }
    }
}

impl fmt::Display for Revert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Known { name, arguments }) = &self.known else {
            return if self.data.is_empty() {
                f.write_str("no reason given")
            } else {
                write!(f, "an unknown error {}", self.data)
            };
        };
        f.write_str(name)?;
        for (i, (argument, value)) in arguments.iter().enumerate() {
            f.write_str(if i == 0 { "(" } else { ", " })?;
            write!(f, "{argument} ")?;
            value.write(argument, f)?;
        }
        f.write_str(if arguments.is_empty() { "" } else { ")" })
    }
}

impl Value {
    fn write(&self, argument: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Revert(inner) => write!(f, "{inner}"),
            Self::Plain(DynSolValue::Address(address)) => write!(f, "{address}"),
            Self::Plain(DynSolValue::Uint(number, 8)) => match (argument, number.to::<u8>()) {
                ("role", number) if Role::try_from(number).is_ok() => {
                    write!(f, "{}", Role::try_from(number).unwrap_or_default())
                }
                ("stage", number) if Stage::try_from(number).is_ok() => {
                    write!(f, "{}", Stage::try_from(number).unwrap_or_default())
                }
                (_, number) => write!(f, "{number}"),
            },
            Self::Plain(DynSolValue::Uint(number, _)) => write!(f, "{number}"),
            Self::Plain(DynSolValue::Bool(value)) => write!(f, "{value}"),
            Self::Plain(DynSolValue::String(text)) => write!(f, "{text:?}"),
            Self::Plain(DynSolValue::FixedBytes(word, size)) => {
                write!(f, "{}", Bytes::copy_from_slice(&word[..*size]))
            }
            Self::Plain(other) => write!(f, "{other:?}"),
        }
    }
}

/// What the EntryPoint's own codes mean (ERC-4337, EntryPoint v0.8).
fn entry_point_advice(reason: &str) -> Option<&'static str> {
    Some(match reason.get(..4)? {
        "AA10" => "the account exists already; leave initCode out",
        "AA20" => "the account is not deployed; run `cofferdam account deploy`",
        "AA21" => {
            "the account cannot pay the operation's fee; send it native currency or add to its deposit"
        }
        "AA22" => {
            "the operation's window is not open; ask the verdict signer for a verdict that is good now"
        }
        "AA23" => "the account refused the operation in validation",
        "AA24" => {
            "the operation is not signed by the agent that its nonce names; sign it with that agent's key"
        }
        "AA25" => {
            "the nonce was used already or another one comes first; read the agent's next nonce and ask for a new verdict"
        }
        "AA26" => "validation ran out of gas; give the operation more verificationGasLimit",
        "AA94" => "a gas field is too large",
        "AA95" => "the bundle ran out of gas; send it with a higher gas limit",
        _ => return None,
    })
}

/// What to do next, by the error's name.
fn advice(name: &str) -> Option<&'static str> {
    Some(match name {
        "AuditAnchor_BadCount" => "a batch has 1 to 4,294,967,295 entries",
        "AuditAnchor_BadSignature" | "MCPAgentRegistry_BadSignature" => {
            "sign the message of this tenant, chain and contract, with the nonce that is next, by the tenant's authority"
        }
        "AuditAnchor_BatchesOverflow" | "AuditAnchor_EntriesOverflow" => {
            "the tenant's counters are full; go on under another tenant"
        }
        "AuditAnchor_Expired"
        | "PolicyRegistry_Expired"
        | "MCPAgentRegistry_Expired"
        | "SmartAccount_Expired" => "sign the message again with a later deadline",
        "AuditAnchor_InvalidTenantId"
        | "PolicyRegistry_InvalidTenantId"
        | "MCPAgentRegistry_InvalidTenantId" => {
            "a tenant's id is its authority's address, left-padded with zeros to 32 bytes"
        }
        "AuditAnchor_NotAnchorer" => {
            "the tenant lets another key anchor for it; anchor with that one, or have the tenant name this one"
        }
        "AuditAnchor_NotAuthority"
        | "PolicyRegistry_NotAuthority"
        | "MCPAgentRegistry_NotAuthority" => {
            "only the tenant itself may do this; send it from the tenant's account, or relay its signature"
        }
        "AuditAnchor_WrongFirstSeq" => "read the tenant's head again and anchor from there",

        "PolicyRegistry_BadSignature" => {
            "sign the message of this tenant, chain and contract, with the version that is next, by the tenant's authority"
        }
        "PolicyRegistry_BadVerdict" => {
            "the verdict signer of the active policy did not sign this; ask it for a verdict for this tenant, agent, capability, nonce and exactly these calls"
        }
        "PolicyRegistry_BadWindow" | "MCPAgentRegistry_BadWindow" => {
            "give a window that ends after it begins, and before 2^47"
        }
        "PolicyRegistry_EmptyWindow" => {
            "verdict and policy are never good at the same time; ask for a verdict within the policy's window"
        }
        "PolicyRegistry_NoActivePolicy" => "publish a policy first: `cofferdam policy publish`",
        "PolicyRegistry_NoVerdictSigner" => "name the key whose verdicts count",
        "PolicyRegistry_OutsideWindow" => "ask the verdict signer for a verdict that is good now",
        "PolicyRegistry_WrongPolicyVersion" => {
            "another policy is active by now; ask for a verdict under that one"
        }
        "PolicyRegistry_WrongVersion" => "read the policy's version again and use the next one",

        "MCPAgentRegistry_AgentExpired" => "have the agent sign again with a later deadline",
        "MCPAgentRegistry_BadAgentSignature" => {
            "have the agent sign the message of this chain and contract, with the nonce that is next"
        }
        "MCPAgentRegistry_BadLimits" => {
            "a grant names a function or a token's maximum only together with the contract it is of"
        }
        "MCPAgentRegistry_NoAgent" => "name the agent's address",
        "MCPAgentRegistry_NotLater" => {
            "give an end later than the present one; to end earlier, revoke"
        }
        "MCPAgentRegistry_NotGranted" => {
            "the agent does not have this capability, or no longer; grant it first: `cofferdam agent grant`"
        }

        "SmartAccount_BadAuthorisation" => {
            "append capability, policy version, fee, window and the verdict's signature"
        }
        "SmartAccount_BadCallData" => "give at least one call, encoded as an ERC-7821 batch",
        "SmartAccount_BadChange" => {
            "changes are those of the account's settings, a policy, a grant or an anchorer; guardians are replaced only by two together"
        }
        "SmartAccount_BadDelay" => "give a delay of 1 hour to 30 days",
        "SmartAccount_BadMode" => "use the ERC-7821 mode of a batch that reverts as a whole",
        "SmartAccount_BadRole" => {
            "an account has one owner, one guardian and a gate to begin with; every key has one role at most, agents and verdict signers none"
        }
        "SmartAccount_BadSignature" => {
            "have the other principal sign the change for this account and chain, with the nonce that is next"
        }
        "SmartAccount_BadToken" => "an account has eight limited tokens at most; unlist one first",
        "SmartAccount_CallFailed" => "the called contract refused; look at its reason",
        "SmartAccount_DayPast" => "ask for a verdict for today",
        "SmartAccount_FellTooFar" => {
            "the calls took more of the asset than they said; check what their target does"
        }
        "SmartAccount_ForeignNonce" => "use a nonce of the agent's own lanes",
        "SmartAccount_Frozen" => "the account is frozen; the owner and a gate unfreeze it together",
        "SmartAccount_NeverGood" => {
            "verdict, policy and grant have no time in common; what one principal recorded counts only after the account's delay"
        }
        "SmartAccount_NoBalance" => "the limited token does not answer; unlist it",
        "SmartAccount_NotNarrower" => {
            "this would widen; widening takes owner and gate together, or the delay"
        }
        "SmartAccount_NotReady" => "apply it once its delay has passed, within 30 days",
        "SmartAccount_NotScheduled" => {
            "no such change waits; see `cofferdam account show`, or schedule it again"
        }
        "SmartAccount_OutsideWindow" => "ask the verdict signer for a verdict that is good now",
        "SmartAccount_OverCallLimit" => {
            "spend less in one call, or have owner and gate raise the account's limit or the grant's"
        }
        "SmartAccount_OverDailyLimit" => {
            "wait until the day after tomorrow (UTC) at most, or have owner and gate raise the limit"
        }
        "SmartAccount_OverMaxFee" => {
            "lower the operation's gas, or ask for a verdict with a higher fee"
        }
        "SmartAccount_Reentered" => "send it by itself, not from within the account's calls",
        "SmartAccount_Stale" => {
            "expiry, policy, scope, a gate or the calls are not what passed; propose it again"
        }
        "SmartAccount_TargetNotAllowed" => {
            "the grant does not name this contract and function; have it granted, or ask for an escalation"
        }
        "SmartAccount_WindowSpansDays" => "ask for a verdict whose window lies within one UTC day",
        "SmartAccount_WrongCaller" => "send it from the one who may call this",
        "SmartAccount_WrongNonce" => {
            "another operation came first; ask for a verdict with the next nonce"
        }
        "SmartAccount_WrongRole" => {
            "use the key of the role that may do this; see `cofferdam account show`"
        }
        "SmartAccount_WrongStage" => {
            "proposals are approved, authorised and executed once, in this order; see `cofferdam account show`"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use alloy::{
        primitives::{Address, U256},
        sol_types::SolError,
    };

    use super::*;
    use crate::{IEntryPoint, SmartAccount};

    fn over_limit() -> SmartAccount::SmartAccount_OverCallLimit {
        SmartAccount::SmartAccount_OverCallLimit {
            asset: Address::ZERO,
            limit: U256::from(5),
            amount: U256::from(7),
        }
    }

    #[test]
    fn an_error_is_named_with_its_arguments() {
        let revert = Revert::decode(over_limit().abi_encode());
        let text = "SmartAccount_OverCallLimit(asset 0x0000000000000000000000000000000000000000, limit 5, amount 7)";
        assert_eq!(revert.to_string(), text);
        assert_eq!(revert.name(), Some("SmartAccount_OverCallLimit"));
    }

    #[test]
    fn the_entry_points_error_tells_the_accounts() {
        let failed = IEntryPoint::FailedOpWithRevert {
            opIndex: U256::ZERO,
            reason: "AA23 reverted".into(),
            inner: over_limit().abi_encode().into(),
        };
        let revert = Revert::decode(failed.abi_encode());
        let text = revert.to_string();
        let start = "FailedOpWithRevert(opIndex 0, reason \"AA23 reverted\", inner SmartAccount_OverCallLimit(";
        assert!(text.starts_with(start), "{text}");
        assert_eq!(revert.root().name(), Some("SmartAccount_OverCallLimit"));
        assert_eq!(revert.advice(), Revert::decode(over_limit().abi_encode()).advice());

        let failed =
            IEntryPoint::FailedOp { opIndex: U256::ZERO, reason: "AA24 signature error".into() };
        let advice = Revert::decode(failed.abi_encode()).advice().expect("advice");
        assert!(advice.contains("not signed by the agent"), "{advice}");
    }

    #[test]
    fn roles_and_stages_are_named() {
        let error = SmartAccount::SmartAccount_WrongRole {
            sender: Address::ZERO,
            role: Role::Guardian.into(),
        };
        assert!(Revert::decode(error.abi_encode()).to_string().ends_with("role guardian)"));
        let error = SmartAccount::SmartAccount_WrongStage {
            id: Default::default(),
            stage: Stage::Closed.into(),
        };
        assert!(Revert::decode(error.abi_encode()).to_string().ends_with("stage closed)"));
    }

    #[test]
    fn every_error_of_our_contracts_has_advice() {
        let ours = ERRORS.values().filter(|error| error.name.contains('_'));
        let without: Vec<_> = ours.clone().filter(|error| advice(&error.name).is_none()).collect();
        assert!(without.is_empty(), "{without:?}");
        assert!(ours.count() > 60);
    }

    #[test]
    fn data_that_is_no_error_of_ours_is_shown_as_it_is() {
        assert_eq!(Revert::decode([]).to_string(), "no reason given");
        assert_eq!(Revert::decode([1, 2, 3]).to_string(), "an unknown error 0x010203");
        // Our selector, but cut off.
        let cut = over_limit().abi_encode()[..40].to_vec();
        assert_eq!(Revert::decode(cut).name(), None);
        let text = Revert::decode(alloy::sol_types::Revert::from("no funds").abi_encode());
        assert_eq!(text.to_string(), "Error(message \"no funds\")");
    }
}
