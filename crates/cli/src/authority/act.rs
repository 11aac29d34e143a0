//! What a tenant's authority can do at a registry, in every form that it can take.

use alloy::{
    primitives::{Address, B256, Bytes},
    sol_types::SolCall,
};
use cofferdam_contracts::{
    AuditAnchor, IMCPAgentRegistry, MCPAgentRegistry, PolicyRegistry, SmartAccount,
    signing::{
        Extend, Grant, PublishPolicy, Revoke, RevokeAgent, RevokePolicy, SetAnchorer, Verifier,
        domain, publication, typed_data,
    },
};
use serde_json::Value;

/// One act. Its message, as the authority would sign it, holds all there is to know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Act {
    Publish(PublishPolicy),
    RevokePolicy(RevokePolicy),
    Grant(Grant),
    Extend(Extend),
    Revoke(Revoke),
    RevokeAgent(RevokeAgent),
    SetAnchorer(SetAnchorer),
}

impl Act {
    /// The address of the tenant's authority.
    pub(crate) fn authority(&self) -> Address {
        let tenant: B256 = match self {
            Self::Publish(message) => message.tenantId,
            Self::RevokePolicy(message) => message.tenantId,
            Self::Grant(message) => message.tenantId,
            Self::Extend(message) => message.tenantId,
            Self::Revoke(message) => message.tenantId,
            Self::RevokeAgent(message) => message.tenantId,
            Self::SetAnchorer(message) => message.tenantId,
        };
        Address::from_word(tenant)
    }

    /// Last timestamp at which a signature of the message is good.
    pub(crate) fn deadline(&self) -> u64 {
        match self {
            Self::Publish(message) => message.deadline,
            Self::RevokePolicy(message) => message.deadline,
            Self::Grant(message) => message.deadline,
            Self::Extend(message) => message.deadline,
            Self::Revoke(message) => message.deadline,
            Self::RevokeAgent(message) => message.deadline,
            Self::SetAnchorer(message) => message.deadline,
        }
    }

    fn verifier(&self) -> Verifier {
        match self {
            Self::Publish(_) | Self::RevokePolicy(_) => Verifier::PolicyRegistry,
            Self::SetAnchorer(_) => Verifier::AuditAnchor,
            _ => Verifier::MCPAgentRegistry,
        }
    }

    /// The message for the registry that is there, as a wallet elsewhere takes it.
    pub(crate) fn typed_data(&self, chain_id: u64, registry: Address) -> Value {
        let domain = &domain(self.verifier(), chain_id, registry);
        match self {
            Self::Publish(message) => typed_data(domain, message),
            Self::RevokePolicy(message) => typed_data(domain, message),
            Self::Grant(message) => typed_data(domain, message),
            Self::Extend(message) => typed_data(domain, message),
            Self::Revoke(message) => typed_data(domain, message),
            Self::RevokeAgent(message) => typed_data(domain, message),
            Self::SetAnchorer(message) => typed_data(domain, message),
        }
    }

    /// The registry's function, as the authority itself calls it.
    pub(crate) fn direct(&self) -> Bytes {
        match self {
            Self::Publish(_) => return self.relayed(Bytes::new()),
            Self::RevokePolicy(m) => {
                PolicyRegistry::revokeCall { tenantId: m.tenantId }.abi_encode()
            }
            Self::Grant(m) => MCPAgentRegistry::grantCall {
                tenantId: m.tenantId,
                agent: m.agent,
                capability: m.capability,
                window: window(m),
                limits: limits(m),
            }
            .abi_encode(),
            Self::Extend(m) => MCPAgentRegistry::extendCall {
                tenantId: m.tenantId,
                agent: m.agent,
                capability: m.capability,
                notAfter: m.notAfter,
            }
            .abi_encode(),
            Self::Revoke(m) => MCPAgentRegistry::revokeCall {
                tenantId: m.tenantId,
                agent: m.agent,
                capability: m.capability,
            }
            .abi_encode(),
            Self::RevokeAgent(m) => {
                MCPAgentRegistry::revokeAgentCall { tenantId: m.tenantId, agent: m.agent }
                    .abi_encode()
            }
            Self::SetAnchorer(m) => {
                AuditAnchor::setAnchorerCall { tenantId: m.tenantId, anchorer: m.anchorer }
                    .abi_encode()
            }
        }
        .into()
    }

    /// The registry's function, as anybody calls it with the authority's signature of the message.
    pub(crate) fn relayed(&self, signature: Bytes) -> Bytes {
        match self {
            Self::Publish(m) => publication(m, signature).abi_encode(),
            Self::RevokePolicy(m) => PolicyRegistry::revokeSignedCall {
                tenantId: m.tenantId,
                version: m.version,
                deadline: m.deadline,
                signature,
            }
            .abi_encode(),
            Self::Grant(m) => MCPAgentRegistry::grantSignedCall {
                tenantId: m.tenantId,
                agent: m.agent,
                capability: m.capability,
                window: window(m),
                limits: limits(m),
                deadline: m.deadline,
                signature,
            }
            .abi_encode(),
            Self::Extend(m) => MCPAgentRegistry::extendSignedCall {
                tenantId: m.tenantId,
                agent: m.agent,
                capability: m.capability,
                notAfter: m.notAfter,
                deadline: m.deadline,
                signature,
            }
            .abi_encode(),
            Self::Revoke(m) => MCPAgentRegistry::revokeSignedCall {
                tenantId: m.tenantId,
                agent: m.agent,
                capability: m.capability,
                deadline: m.deadline,
                signature,
            }
            .abi_encode(),
            Self::RevokeAgent(m) => MCPAgentRegistry::revokeAgentSignedCall {
                tenantId: m.tenantId,
                agent: m.agent,
                deadline: m.deadline,
                signature,
            }
            .abi_encode(),
            Self::SetAnchorer(m) => AuditAnchor::setAnchorerSignedCall {
                tenantId: m.tenantId,
                anchorer: m.anchorer,
                deadline: m.deadline,
                signature,
            }
            .abi_encode(),
        }
        .into()
    }

    /// The SmartAccount's function that does it at once for owner or guardian; `None` for what widens.
    pub(crate) fn narrowing(&self) -> Option<Bytes> {
        let call = match self {
            Self::Publish(_) | Self::Grant(_) | Self::Extend(_) | Self::SetAnchorer(_) => {
                return None;
            }
            Self::RevokePolicy(_) => SmartAccount::revokePolicyCall {}.abi_encode(),
            Self::Revoke(m) => {
                SmartAccount::revokeGrantCall { agent: m.agent, capability: m.capability }
                    .abi_encode()
            }
            Self::RevokeAgent(m) => SmartAccount::revokeAgentCall { agent: m.agent }.abi_encode(),
        };
        Some(call.into())
    }
}

fn window(grant: &Grant) -> IMCPAgentRegistry::Window {
    IMCPAgentRegistry::Window { notBefore: grant.notBefore, notAfter: grant.notAfter }
}

fn limits(grant: &Grant) -> IMCPAgentRegistry::Limits {
    IMCPAgentRegistry::Limits {
        nativeMax: grant.nativeMax,
        target: grant.target,
        selector: grant.selector,
        tokenMax: grant.tokenMax,
    }
}
