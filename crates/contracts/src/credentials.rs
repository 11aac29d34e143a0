//! Whose a signature is, as the contracts see it (`Credentials.sol`).

use alloy::{
    primitives::{Address, B256, Bytes, Signature},
    providers::Provider,
    rpc::types::TransactionRequest,
    sol_types::SolCall,
};

use crate::{Chain, ChainError, SmartAccount};

impl Chain {
    /// Whether `signer` signed `digest`: its own key first, whatever code it has, then its code by ERC-1271,
    /// asked in the name of the contract that this is a connection to.
    pub async fn is_signed_by(
        &self,
        signer: Address,
        digest: B256,
        signature: &Bytes,
    ) -> Result<bool, ChainError> {
        if signer.is_zero() {
            return Ok(false);
        }
        if recover(digest, signature) == Some(signer) {
            return Ok(true);
        }
        if !self.has_code(signer).await? {
            return Ok(false);
        }
        let call =
            SmartAccount::isValidSignatureCall { hash: digest, signature: signature.clone() };
        let request = TransactionRequest::default()
            .from(self.contract())
            .to(signer)
            .input(call.abi_encode().into());
        let answer = self.provider().call(request).into_future();
        match self.ask("cannot ask the authority for its signature", answer).await {
            Ok(answer) => Ok(answer.len() >= 32
                && answer[..4] == SmartAccount::isValidSignatureCall::SELECTOR
                && answer[4..32].iter().all(|byte| *byte == 0)),
            Err(ChainError::Reverted { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The key that made a signature in one of the two forms that the contracts take: 65 bytes, or 64 as in
/// ERC-2098.
fn recover(digest: B256, signature: &[u8]) -> Option<Address> {
    let signature = match *signature {
        [.., 27 | 28] if signature.len() == 65 => Signature::try_from(signature).ok()?,
        _ if signature.len() == 64 => Signature::from_erc2098(signature),
        _ => return None,
    };
    signature.recover_address_from_prehash(&digest).ok()
}
