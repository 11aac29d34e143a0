//! `cofferdam policy submit`.

use std::process::ExitCode;

use alloy::{
    primitives::{Address, Bytes},
    sol_types::SolStruct,
};
use cofferdam_contracts::{
    Chain, PolicyRegistry,
    signing::{PublishPolicy, Verifier, domain},
};
use cofferdam_core::{PolicyVersion, TenantId};
use cofferdam_store::{PolicyTerms, Submission, SubmitPolicy};
use eyre::{Result, bail};
use serde_json::json;

use super::Publication;
use crate::{connect, moment::rfc3339, output::Output};

/// Where the contracts' times end.
const END_OF_TIME: u64 = 1 << 47;

/// Hand in a policy that its tenant signed, for the daemon to publish
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cofferdam policy submit --signed signed.json
  cofferdam policy submit policy.json --tenant acme --verdict-signer 0x… --not-before 2026-12-01T00:00:00Z \\
      --not-after 2027-03-01T00:00:00Z --version 1 --deadline 2026-12-08T00:00:00Z --signature 0x…

What the registry would check is checked at once: version, window, deadline, and whose the signature is. Then
`cofferdam run` publishes it, pays for it, and follows it until it is final; `cofferdam status` says how far it
is. Several versions may wait, each signed for after the one before. The same twice is the same.

From the first policy that a tenant hands in, one that appears on the chain under a later version and was not
handed in is an incident of that tenant. Tenants that never hand one in publish by themselves, and nothing is
said.")]
pub(super) struct Args {
    #[command(flatten)]
    publication: Publication,
}

pub(super) async fn run(args: Args, output: &Output) -> Result<ExitCode> {
    let Args { publication } = args;
    let chain = publication.chain.connect_to(publication.registry()).await?;
    let (message, signature) = publication.message(&chain).await?;
    let Some(signature) = signature else {
        bail!(
            "a policy is handed in with its authority's signature: give --signed, which `cofferdam policy \
             sign` makes, or --signature and --deadline"
        );
    };
    let sequencer = connect::sequencer(&publication.database, chain.chain_id()).await?;
    // Whose it is says the message that was signed, and nothing else.
    let id = TenantId::try_from(message.tenantId)?;
    let tenant = connect::tenant(&sequencer, &id.to_string()).await?;
    verify(&chain, &message, &signature, &sequencer.waiting_policies(id).await?).await?;

    let (version, policy_hash) = (PolicyVersion(message.version), message.policyHash);
    let submission = Submission {
        tenant: id,
        version,
        terms: terms_of(&message),
        deadline: message.deadline,
        signature,
    };
    let submitted = sequencer.submit_policy(&submission).await? == SubmitPolicy::Submitted;
    let text = match submitted {
        true => "handed in; `cofferdam run` publishes it, `cofferdam status` says how far it is",
        false => "was handed in before; `cofferdam status` says how far it is",
    };
    let json = json!({
        "tenantId": id, "version": version.get(), "policyHash": policy_hash, "submitted": submitted,
    });
    output.result(&json, format!("policy version {version} of {} {text}", tenant.name));
    Ok(ExitCode::SUCCESS)
}

fn terms_of(message: &PublishPolicy) -> PolicyTerms {
    PolicyTerms {
        policy_hash: message.policyHash,
        verdict_signer: message.verdictSigner,
        not_before: message.notBefore.to(),
        not_after: message.notAfter.to(),
    }
}

/// Checks what the registry would, when it is this policy's turn: after those that wait.
async fn verify(
    chain: &Chain,
    message: &PublishPolicy,
    signature: &Bytes,
    waiting: &[PolicyVersion],
) -> Result<()> {
    let PublishPolicy { version, deadline, .. } = *message;
    let terms = terms_of(message);
    let authority = Address::from_word(message.tenantId);
    let digest = message.eip712_signing_hash(&domain(
        Verifier::PolicyRegistry,
        chain.chain_id(),
        chain.contract(),
    ));
    if !chain.is_signed_by(authority, digest, signature).await? {
        bail!(
            "this is not {authority}'s signature of this policy for the registry {} on chain {}; have the \
             tenant's authority sign exactly these values: `cofferdam policy sign`",
            chain.contract(),
            chain.chain_id()
        );
    }
    let now = chain.head().await?.timestamp;
    if now > deadline {
        bail!(
            "it could be published until {}, and the newest block is of {}; have it signed again with a \
             later deadline",
            rfc3339(deadline),
            rfc3339(now)
        );
    }
    if terms.verdict_signer.is_zero() {
        bail!("it names no verdict signer; have it signed with the key whose verdicts count");
    }
    // As `Windows.sol` has it.
    if terms.not_before.saturating_sub(1) >= terms.not_after || terms.not_after >= END_OF_TIME {
        bail!(
            "its window from {} until {} is none; have it signed with one that ends after it begins, and \
             before 2^47",
            terms.not_before,
            terms.not_after
        );
    }
    let registry = PolicyRegistry::new(chain.contract(), chain.provider());
    let call = registry.versionOf(message.tenantId);
    let last = chain.view("cannot read the policy's version", &call).await?;
    if version <= last {
        let call = registry.policyAt(message.tenantId, version);
        let there = chain.view("cannot read a policy", &call).await?;
        let there = PolicyTerms {
            policy_hash: there.policyHash,
            verdict_signer: there.verdictSigner,
            not_before: there.notBefore.to(),
            not_after: there.notAfter.to(),
        };
        if there != terms {
            bail!(
                "version {version} of {authority} is on the chain already, and is something else; have it \
                 signed as version {}",
                last + 1
            );
        }
        return Ok(());
    }
    let waits = |version: u64| waiting.contains(&PolicyVersion(version));
    let next = (last + 1..).find(|version| !waits(*version)).unwrap_or(u64::MAX);
    if version > next {
        bail!(
            "version {version} does not follow: {authority} is at version {last} on the chain, and the next to be \
             handed in is {next}"
        );
    }
    Ok(())
}
