//! `cofferdam tenant`: the operator's table of names and ids.

use std::{path::PathBuf, process::ExitCode};

use alloy::primitives::{Address, Bytes};
use cofferdam_anchorer::Sender;
use cofferdam_contracts::signing::SetAnchorer;
use cofferdam_core::TenantId;
use cofferdam_devnet::Anvil;
use cofferdam_store::AddTenant;
use eyre::{Result, bail};
use serde_json::json;

use crate::{
    authority::{Act, Authority},
    connect::{self, ChainArgs, DatabaseArgs, KeyArgs},
    keys::KeyRing,
    output::{Output, table},
    register::{self, Authorisation, Registrar},
};

mod set;

/// Register tenants, list them, and set when they are sealed
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cofferdam tenant add acme && cofferdam tenant list")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Add(AddArgs),
    Authorise(AuthoriseArgs),
    Set(set::SetArgs),
    List(ListArgs),
}

/// Register a tenant under the name that its records carry
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cofferdam tenant add acme                          on the devnet: makes the tenant's keys and account
  cofferdam tenant add acme --authority 0x… --anchorer 0x…
                                                     elsewhere: prints what the tenant must give

A tenant's id is its authority's address (a SmartAccount, a Safe, or a key), left-padded to 32 bytes.
The authority lets the anchorer anchor for it, by a transaction that it pays (a SmartAccount's people with
`cofferdam account anchorer`), or by a signature that the operator relays and pays with `cofferdam tenant authorise`.")]
struct AddArgs {
    /// The tenant's name, as records carry it
    name: String,

    /// The tenant's own address
    #[arg(long, value_name = "ADDRESS")]
    authority: Option<Address>,

    /// The address of the key that will anchor; by default that of the key given with --keystore
    #[arg(long, value_name = "ADDRESS")]
    anchorer: Option<Address>,

    /// The folder of tenants' keystores, one in it for each account, on chain 31337
    #[arg(long, value_name = "DIR", env = "COFFERDAM_KEYS", default_value = ".cofferdam/keys")]
    keys: PathBuf,

    #[command(flatten)]
    database: DatabaseArgs,

    #[command(flatten)]
    chain: ChainArgs,

    #[command(flatten)]
    key: KeyArgs,
}

/// Relay a tenant's signature that lets our key anchor for it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  cofferdam tenant authorise acme --deadline 1793000000 --signature 0x…

The message that the tenant signs is what `tenant add` printed. Our key pays for the transaction.")]
struct AuthoriseArgs {
    /// The tenant, by name or id
    tenant: String,

    /// The deadline of the message, as `tenant add` printed it
    #[arg(long, value_name = "SECONDS")]
    deadline: u64,

    /// The tenant's signature
    #[arg(long, value_name = "HEX")]
    signature: Bytes,

    #[command(flatten)]
    database: DatabaseArgs,

    #[command(flatten)]
    chain: ChainArgs,

    #[command(flatten)]
    key: KeyArgs,
}

/// List the registered tenants
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cofferdam tenant list --json")]
struct ListArgs {
    #[command(flatten)]
    database: DatabaseArgs,

    #[command(flatten)]
    chain: ChainArgs,
}

pub(crate) async fn run(args: Args, output: &Output) -> Result<ExitCode> {
    match args.command {
        Command::Add(args) => add(args, output).await,
        Command::Authorise(args) => authorise(args, output).await,
        Command::Set(args) => set::set(args, output).await,
        Command::List(args) => list(args, output).await,
    }
}

async fn add(args: AddArgs, output: &Output) -> Result<ExitCode> {
    if args.name.trim().is_empty() {
        bail!("a tenant's name cannot be empty");
    }
    let chain = args.chain.connect().await?;
    let sequencer = connect::sequencer(&args.database, chain.chain_id()).await?;
    connect::follow(&sequencer, &chain).await?;
    let Some(authority) = args.authority else {
        if chain.chain_id() != Anvil::CHAIN_ID {
            bail!(
                "on chain {} a tenant has its own key; pass --authority ADDRESS",
                chain.chain_id()
            );
        }
        let sender = Sender::new(chain, args.key.load(Anvil::CHAIN_ID)?);
        let (deployment, keys) = (args.chain.deployment(), KeyRing::open(&args.keys)?);
        let registrar = Registrar::new(sequencer, sender, deployment, keys)?;
        let (tenant, added) = registrar.ensure(&args.name).await?;
        let new = added == AddTenant::Added;
        output.result(
            &json!({ "name": tenant.name, "tenantId": tenant.id, "added": new }),
            format!(
                "{} {} {}",
                if new { "added" } else { "already there:" },
                tenant.name,
                tenant.id
            ),
        );
        return Ok(ExitCode::SUCCESS);
    };
    let anchorer = match args.anchorer {
        Some(anchorer) => anchorer,
        None => args.key.load(chain.chain_id())?.address(),
    };
    let id = TenantId::from_authority(authority)?;
    let added = sequencer.add_tenant(&args.name, id).await? == AddTenant::Added;
    let needed = register::authorisation(&chain, id, anchorer).await?;
    let name = &args.name;
    let kind = Authority::at(&chain, &args.chain.deployment(), authority).await?;
    let relaying = format!(
        "It signs this message until {} (seconds since 1970), and you relay it and pay",
        needed.deadline
    );
    let relay = format!(
        "cofferdam tenant authorise {name:?} --deadline {} --signature SIGNATURE",
        needed.deadline
    );
    let Authorisation { to, calldata, typed_data, .. } = &needed;
    let (kind, how) = match kind {
        Authority::Account(_) => (
            "account",
            format!(
                ": it is a SmartAccount, and its owner and one of its gates do that together:\n\n\
                 \x20  cofferdam account anchorer {anchorer} --account {authority} \\\n\
                 \x20      --keystore OWNER --password-file FILE \\\n\
                 \x20      --cosigner-keystore GATE --cosigner-password-file FILE"
            ),
        ),
        Authority::Key => (
            "key",
            format!(
                ", in one of two ways:\n\n\
                 1. It sends this transaction from {authority} and pays for it:\n\
                 \x20  cast send --rpc-url \"$RPC_URL\" {to} {calldata}\n\n\
                 2. {relaying}:\n\
                 \x20  cast wallet sign --data '{typed_data}'\n\
                 \x20  {relay}\n\n\
                 There is no contract at {authority}. If it is to be a SmartAccount, it is deployed first \
                 (`cofferdam account deploy`); then ask again."
            ),
        ),
        Authority::Wallet => (
            "wallet",
            format!(
                ", in one of two ways, in the way that its own app has for either:\n\n\
                 1. It calls {to} with this data and pays for it:\n\
                 \x20  {calldata}\n\n\
                 2. {relaying}:\n\
                 \x20  {typed_data}\n\
                 \x20  {relay}"
            ),
        ),
    };
    let said = if added { "added" } else { "already there:" };
    let text =
        format!("{said} {name} {id}\n\nThe tenant must now let {anchorer} anchor for it{how}");
    let json = json!({
        "name": name, "tenantId": id, "added": added, "anchorer": anchorer, "authority": kind,
        "authorisation": needed,
    });
    output.result(&json, text);
    Ok(ExitCode::SUCCESS)
}

async fn authorise(args: AuthoriseArgs, output: &Output) -> Result<ExitCode> {
    let chain = args.chain.connect().await?;
    let sequencer = connect::sequencer(&args.database, chain.chain_id()).await?;
    let tenant = connect::tenant(&sequencer, &args.tenant).await?;
    let key = args.key.load(chain.chain_id())?;
    let sender = Sender::new(chain, key);
    let anchorer = sender.address();
    let AuthoriseArgs { deadline, signature, .. } = args;
    // The contract knows the nonce.
    let message = SetAnchorer { tenantId: tenant.id.as_b256(), anchorer, nonce: 0, deadline };
    let calldata = Act::SetAnchorer(message).relayed(signature);
    let receipt = sender.send(sender.chain().contract(), calldata).await?;
    output.result(
        &json!({ "tenantId": tenant.id, "anchorer": anchorer, "transaction": receipt.transaction_hash }),
        format!("{anchorer} may anchor for {} now ({})", tenant.name, receipt.transaction_hash),
    );
    Ok(ExitCode::SUCCESS)
}

async fn list(args: ListArgs, output: &Output) -> Result<ExitCode> {
    let sequencer = connect::sequencer(&args.database, args.chain.id().await?).await?;
    let tenants = sequencer.tenants().await?;
    let json: Vec<_> = tenants
        .iter()
        .map(|tenant| {
            json!({ "name": tenant.name, "tenantId": tenant.id, "seal": set::as_json(&tenant.seal) })
        })
        .collect();
    let rows: Vec<_> = tenants
        .iter()
        .map(|tenant| [tenant.name.clone(), tenant.id.to_string(), set::in_words(&tenant.seal)])
        .collect();
    output.result(&json!({ "tenants": json }), table(["tenant", "id", "sealed"], &rows));
    Ok(ExitCode::SUCCESS)
}
