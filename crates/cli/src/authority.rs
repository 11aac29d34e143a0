//! The one way in which a tenant's authority acts on a registry, whatever the authority is.
//!
//! | authority | what we hold | how |
//! |---|---|---|
//! | anything | a signature of its own | relayed, by whoever pays |
//! | a key | the key | direct |
//! | SmartAccount | keys of its owner and of a gate | together, at once |
//! | SmartAccount | one of these keys | recorded now, counts after the account's delay |
//! | SmartAccount, to narrow | the key of its owner or guardian | at once |
//! | anything else | | nothing is sent; what the authority must send or sign is said |
//!
//! Every transaction is simulated before it is sent, so that a refusal costs nothing and has the
//! contract's name.

use std::{fmt::Display, path::PathBuf, process::ExitCode};

use alloy::{
    primitives::{Address, B256, Bytes},
    rpc::types::TransactionReceipt,
    signers::{SignerSync, local::PrivateKeySigner},
    sol_types::{SolCall, SolStruct},
};
use cofferdam_anchorer::Sender;
use cofferdam_contracts::{
    Chain, SmartAccount,
    account::{Account, AccountError, Role},
    deployment::Deployment,
    signing::{Change, Verifier, domain},
};
use eyre::{Result, WrapErr, bail};
use serde_json::{Value, json};

mod act;
pub(crate) use act::Act;

use crate::{
    connect::{self, ChainArgs, KeyArgs},
    moment::{Moment, rfc3339},
    output::Output,
    register::Authorisation,
};

/// How long the cosigner's agreement to a change is good, in seconds.
const AGREED: u64 = 3_600;

/// The second of two principals.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Second key, for a SmartAccount's owner and gate together")]
pub(crate) struct CosignerArgs {
    /// The encrypted keystore of the other principal
    #[arg(long, value_name = "FILE")]
    pub(crate) cosigner_keystore: Option<PathBuf>,

    /// A file whose first line is that keystore's password
    #[arg(long, value_name = "FILE", requires = "cosigner_keystore")]
    pub(crate) cosigner_password_file: Option<PathBuf>,

    /// The other principal's raw private key; taken on chain 31337 only
    #[arg(long, value_name = "HEX", conflicts_with = "cosigner_keystore")]
    pub(crate) cosigner_private_key: Option<String>,
}

impl CosignerArgs {
    pub(crate) fn load(&self, chain_id: u64) -> Result<Option<PrivateKeySigner>> {
        if self.cosigner_keystore.is_none() && self.cosigner_private_key.is_none() {
            return Ok(None);
        }
        connect::load_key(
            "cosigner-",
            chain_id,
            self.cosigner_keystore.as_deref(),
            self.cosigner_password_file.as_deref(),
            self.cosigner_private_key.as_deref(),
        )
        .map(Some)
    }
}

/// The authority's own signature, made elsewhere.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Relayed")]
pub(crate) struct RelayArgs {
    /// The authority's signature of the message with exactly these values; whoever posts it pays
    #[arg(long, value_name = "HEX", requires = "deadline")]
    pub(crate) signature: Option<Bytes>,

    /// Until when the message is good; a time as RFC 3339, seconds, or +7d
    #[arg(long, value_name = "TIME", default_value = "+7d")]
    pub(crate) deadline: Moment,
}

/// What an account's role may do here.
fn may_widen(role: Role) -> bool {
    matches!(role, Role::Owner) || is_gate(role)
}

fn is_gate(role: Role) -> bool {
    matches!(role, Role::Approver | Role::Authoriser | Role::Executor)
}

/// What is at a tenant's address.
#[derive(Debug)]
pub(crate) enum Authority {
    /// No code.
    Key,
    /// An account of our factory.
    Account(Box<Account>),
    /// Other code, or a key that delegates to some (EIP-7702).
    Wallet,
}

impl Authority {
    pub(crate) async fn at(
        chain: &Chain,
        deployment: &Deployment,
        address: Address,
    ) -> Result<Self> {
        match Account::connect(chain.clone(), *deployment, address).await {
            Ok(account) => Ok(Self::Account(Box::new(account))),
            Err(AccountError::NotDeployed { .. }) => Ok(Self::Key),
            Err(AccountError::Foreign { .. }) => Ok(Self::Wallet),
            Err(error) => Err(error.into()),
        }
    }
}

/// The role of a key in an account.
pub(crate) async fn role_of(account: &Account, holder: Address) -> Result<Role> {
    let binding = account.binding();
    let word = account.chain().view("cannot read a key's role", &binding.roleOf(holder)).await?;
    Ok(Role::try_from(word.role)?)
}

/// Demands that a key may sign for the account or widen what its agents may do.
pub(crate) fn demand_principal(role: Role, key: Address, account: Address) -> Result<()> {
    match role {
        role if may_widen(role) => Ok(()),
        Role::Guardian => bail!(
            "{key} is the guardian of account {account}, which can veto, freeze and narrow, but not \
             this; use the key of its owner or of a gate"
        ),
        _ => bail!(
            "{key} has no role in account {account}; use the key of its owner or of a gate \
             (approver, authoriser or executor)"
        ),
    }
}

/// Demands that two keys are the account's owner and one of its gates.
pub(crate) fn demand_pair(roles: [Role; 2], keys: [Address; 2], account: Address) -> Result<()> {
    for (role, key) in roles.into_iter().zip(keys) {
        demand_principal(role, key, account)?;
    }
    if (roles[0] == Role::Owner) == (roles[1] == Role::Owner) {
        bail!(
            "{} is {} and {} is {} of account {account}; together act its owner and a gate",
            keys[0],
            roles[0],
            keys[1],
            roles[1]
        );
    }
    Ok(())
}

/// Who acts for the authority, and on which chain.
#[derive(Debug)]
pub(crate) struct Hands {
    /// A connection to the registry.
    pub(crate) chain: Chain,
    /// Where everything else is.
    pub(crate) deployment: Deployment,
    /// Who sends and pays.
    pub(crate) key: KeyArgs,
    /// The second principal, where one is given.
    pub(crate) cosigner: Option<PrivateKeySigner>,
    /// The authority's own signature, where one is given.
    pub(crate) signature: Option<Bytes>,
}

impl Hands {
    /// Connects to a registry.
    pub(crate) async fn new(
        chain: &ChainArgs,
        registry: Address,
        key: KeyArgs,
        cosigner: &CosignerArgs,
        relay: &RelayArgs,
    ) -> Result<Self> {
        let deployment = chain.deployment();
        let chain = chain.connect_to(registry).await?;
        let cosigner = cosigner.load(chain.chain_id())?;
        Ok(Self { chain, deployment, key, cosigner, signature: relay.signature.clone() })
    }

    /// Does it in the way that fits the authority.
    pub(crate) async fn perform(&self, act: &Act) -> Result<Outcome> {
        let (chain, authority) = (&self.chain, act.authority());
        let registry = chain.contract();
        if let Some(signature) = &self.signature {
            let way = Way::Relayed;
            return self.send(self.key()?, registry, act.relayed(signature.clone()), way).await;
        }
        let kind = Authority::at(chain, &self.deployment, authority).await?;
        let key = match (&kind, self.key.is_given()) {
            // Without a key there is still to say what the authority must send or sign.
            (Authority::Key | Authority::Wallet, false) => None,
            _ => Some(self.key()?),
        };
        let own = key.as_ref().is_some_and(|key| key.address() == authority);
        if self.cosigner.is_some() && (own || !matches!(kind, Authority::Account(_))) {
            bail!(
                "a second key is for a SmartAccount, and {authority} is none; leave --cosigner-… out"
            );
        }
        match (kind, key) {
            (Authority::Account(account), Some(key)) if !own => {
                self.through(&account, key, act).await
            }
            (_, Some(key)) if own => self.send(key, registry, act.direct(), Way::Direct).await,
            (Authority::Key, key) => {
                let ours = key.map_or("and no key was given (--keystore)".into(), |key| {
                    format!("not {}", key.address())
                });
                let reason = format!(
                    "there is no account at {authority}, hence only the key of that address acts for \
                     this tenant, {ours}"
                );
                self.needed(act, reason)
            }
            (_, _) => self
                .needed(act, format!("{authority} is a wallet of a kind that is not known here")),
        }
    }

    fn key(&self) -> Result<PrivateKeySigner> {
        self.key.load(self.chain.chain_id())
    }

    /// Through the SmartAccount.
    async fn through(
        &self,
        account: &Account,
        key: PrivateKeySigner,
        act: &Act,
    ) -> Result<Outcome> {
        let (chain, at, sender) = (&self.chain, account.address(), key.address());
        let role = role_of(account, sender).await?;
        if let Some(calldata) = act.narrowing() {
            return match role {
                Role::Owner | Role::Guardian => self.send(key, at, calldata, Way::Narrowed).await,
                role => bail!(
                    "{sender} {} account {at}; its owner or its guardian takes things back",
                    if role == Role::None {
                        "has no role in".into()
                    } else {
                        format!("is {role} of")
                    }
                ),
            };
        }
        let (target, data) = (chain.contract(), act.direct());
        let Some(cosigner) = &self.cosigner else {
            demand_principal(role, sender, at)?;
            let settings = chain
                .view("cannot read the account's delay", &account.binding().settings())
                .await?;
            let calldata = SmartAccount::scheduleCall { target, data }.abi_encode();
            let way = Way::Recorded { delay: settings.delay.to::<u64>() };
            return self.send(key, at, calldata.into(), way).await;
        };
        let other = cosigner.address();
        demand_pair([role, role_of(account, other).await?], [sender, other], at)?;
        let counters =
            chain.view("cannot read the account's nonce", &account.binding().counters()).await?;
        let deadline = chain.head().await?.timestamp + AGREED;
        let change = Change {
            tenantId: at.into_word(),
            target,
            data: data.clone(),
            nonce: counters.nextChange,
            deadline,
        };
        let domain = domain(Verifier::SmartAccount, chain.chain_id(), at);
        let signature = cosigner.sign_hash_sync(&change.eip712_signing_hash(&domain))?.as_bytes();
        let calldata = SmartAccount::changeTogetherCall {
            target,
            data,
            deadline,
            cosigner: other,
            signature: signature.into(),
        };
        self.send(key, at, calldata.abi_encode().into(), Way::Together).await
    }

    async fn send(
        &self,
        key: PrivateKeySigner,
        to: Address,
        calldata: Bytes,
        way: Way,
    ) -> Result<Outcome> {
        let chain = &self.chain;
        let receipt = post(chain, key, to, calldata).await?;
        let block = receipt.block_number.unwrap_or_default();
        let mined = chain.header(block.into()).await?;
        let recorded_at = mined.map_or(0, |header| header.timestamp);
        Ok(Outcome::Done { way, transaction: receipt.transaction_hash, recorded_at })
    }

    /// What the authority must send or sign, as no key here can act for it.
    fn needed(&self, act: &Act, reason: String) -> Result<Outcome> {
        let (chain_id, registry) = (self.chain.chain_id(), self.chain.contract());
        Ok(Outcome::Needed {
            reason,
            authority: act.authority(),
            needed: Authorisation {
                to: registry,
                calldata: act.direct(),
                typed_data: act.typed_data(chain_id, registry),
                deadline: act.deadline(),
            },
        })
    }
}

/// Simulates a call, sends it and waits until it is mined.
pub(crate) async fn post(
    chain: &Chain,
    key: PrivateKeySigner,
    to: Address,
    calldata: Bytes,
) -> Result<TransactionReceipt> {
    let sender = Sender::new(chain.clone(), key);
    sender.estimate(to, &calldata).await.wrap_err("nothing was sent")?;
    Ok(sender.send(to, calldata).await?)
}

/// How it was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Direct,
    Together,
    Recorded { delay: u64 },
    Narrowed,
    Relayed,
}

/// What became of an act.
#[derive(Debug)]
pub(crate) enum Outcome {
    Done { way: Way, transaction: B256, recorded_at: u64 },
    Needed { reason: String, authority: Address, needed: Authorisation },
}

impl Outcome {
    /// Prints it. `fields` are what the caller knows of it, `done` says it in words, and `relay` is
    /// the command that posts the authority's signature.
    pub(crate) fn print(
        self,
        output: &Output,
        mut fields: Value,
        done: impl Display,
        relay: impl Display,
    ) -> ExitCode {
        match self {
            Self::Done { way, transaction, recorded_at } => {
                let (name, how) = match way {
                    Way::Direct => ("direct", "by the authority's key".to_string()),
                    Way::Together => ("together", "by owner and gate together".into()),
                    Way::Relayed => ("relayed", "by the authority's signature".into()),
                    Way::Narrowed => ("narrowed", "through the account".into()),
                    Way::Recorded { delay } => (
                        "recorded",
                        format!(
                            "by one key alone: the account lets nothing pass under it until {}, and \
                             the guardian can take it back",
                            rfc3339(recorded_at + delay)
                        ),
                    ),
                };
                fields["done"] = true.into();
                fields["way"] = name.into();
                fields["transaction"] = json!(transaction);
                fields["recordedAt"] = recorded_at.into();
                if let Way::Recorded { delay } = way {
                    fields["countsFrom"] = (recorded_at + delay).into();
                }
                output.result(&fields, format!("{done}, {how} ({transaction})"));
                ExitCode::SUCCESS
            }
            Self::Needed { reason, authority, needed } => {
                let text = format!(
                    "nothing was sent: {reason}\n\n\
                     The authority must do one of these:\n\n\
                     1. It sends this transaction from {authority} and pays for it:\n\
                     \x20  cast send --rpc-url \"$RPC_URL\" {} {}\n\n\
                     2. It signs this message until {}, and anybody relays it and pays:\n\
                     \x20  cast wallet sign --data '{}'\n\
                     \x20  {relay} --deadline {} --signature SIGNATURE",
                    needed.to,
                    needed.calldata,
                    rfc3339(needed.deadline),
                    needed.typed_data,
                    needed.deadline,
                );
                fields["done"] = false.into();
                fields["error"] = format!("nothing was sent: {reason}").into();
                fields["needed"] = json!(needed);
                output.result(&fields, text);
                ExitCode::FAILURE
            }
        }
    }
}
