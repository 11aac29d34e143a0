//! What principals sign when a tenant's SmartAccount is to have signed a message: ERC-7739's `TypedDataSign`.

use alloy::{
    primitives::{B256, Bytes, Signature, keccak256},
    sol_types::{Eip712Domain, SolStruct, SolValue},
};
use serde::Serialize;
use serde_json::{Value, json};

use super::typed_data;

/// The members of `TypedDataSign` after `contents`: the fields of the account's domain.
const ACCOUNT_FIELDS: [(&str, &str); 5] = [
    ("name", "string"),
    ("version", "string"),
    ("chainId", "uint256"),
    ("verifyingContract", "address"),
    ("salt", "bytes32"),
];

/// A message, nested for one account: its signature is worth nothing at another account of the same
/// people.
///
/// Two different principals of the account, neither of them the guardian, sign [`Nested::digest`]; what
/// [`Nested::wrap`] makes of their signatures is the account's ERC-1271 signature of the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nested {
    digest: B256,
    app_separator: B256,
    contents: B256,
    contents_type: String,
    typed_data: Value,
}

impl Nested {
    /// Nests a message that the contract with the domain `app` takes, for the account with the domain
    /// `account` ([`super::domain`] makes both).
    pub fn new<M: SolStruct + Serialize>(
        message: &M,
        app: &Eip712Domain,
        account: &Eip712Domain,
    ) -> Self {
        let contents_type = M::eip712_encode_type().into_owned();
        let members = ACCOUNT_FIELDS.map(|(name, kind)| format!("{kind} {name}")).join(",");
        let type_hash =
            keccak256(format!("TypedDataSign({} contents,{members}){contents_type}", M::NAME));
        let (contents, app_separator) = (message.eip712_hash_struct(), app.separator());
        let hash = |text: &Option<_>| keccak256(text.as_deref().unwrap_or_default());
        let nested = keccak256(
            (
                type_hash,
                contents,
                hash(&account.name),
                hash(&account.version),
                account.chain_id.unwrap_or_default(),
                account.verifying_contract.unwrap_or_default(),
                account.salt.unwrap_or_default(),
            )
                .abi_encode(),
        );
        let digest =
            keccak256([&[0x19, 0x01], app_separator.as_slice(), nested.as_slice()].concat());
        let typed_data = nest(typed_data(app, message), M::NAME, account);
        Self { digest, app_separator, contents, contents_type, typed_data }
    }

    /// What each of the two principals signs.
    pub fn digest(&self) -> B256 {
        self.digest
    }

    /// The same as JSON, as `eth_signTypedData_v4` and `cast wallet sign --data` take it.
    pub fn typed_data(&self) -> &Value {
        &self.typed_data
    }

    /// The account's signature of the message, from those of two principals.
    pub fn wrap(&self, signatures: [Signature; 2]) -> Bytes {
        let [first, second] = signatures.map(|signature| signature.as_bytes());
        let kind = self.contents_type.as_bytes();
        // The types above are all far shorter than 64 KiB.
        let length = (kind.len() as u16).to_be_bytes();
        let parts: [&[u8]; 6] =
            [&first, &second, &self.app_separator[..], &self.contents[..], kind, &length];
        parts.concat().into()
    }
}

/// Turns a message's typed data into that of its `TypedDataSign`.
fn nest(mut typed_data: Value, name: &str, account: &Eip712Domain) -> Value {
    let mut members = vec![json!({ "name": "contents", "type": name })];
    members.extend(ACCOUNT_FIELDS.map(|(name, kind)| json!({ "name": name, "type": kind })));
    typed_data["types"]["TypedDataSign"] = members.into();
    typed_data["primaryType"] = "TypedDataSign".into();
    let contents = typed_data["message"].take();
    typed_data["message"] = json!({
        "contents": contents,
        "name": account.name,
        "version": account.version,
        "chainId": account.chain_id,
        "verifyingContract": account.verifying_contract,
        "salt": account.salt.unwrap_or_default(),
    });
    typed_data
}

#[cfg(test)]
mod tests {
    use alloy::{
        dyn_abi::TypedData,
        primitives::{Address, U256},
    };

    use super::{
        super::{SetAnchorer, Verifier, domain},
        *,
    };

    fn nested() -> (SetAnchorer, Eip712Domain, Nested) {
        let app = domain(Verifier::AuditAnchor, 8453, Address::repeat_byte(7));
        let account = domain(Verifier::SmartAccount, 8453, Address::repeat_byte(8));
        let message = SetAnchorer {
            tenantId: Address::repeat_byte(8).into_word(),
            anchorer: Address::repeat_byte(9),
            nonce: u64::MAX,
            deadline: 5,
        };
        let nested = Nested::new(&message, &app, &account);
        (message, app, nested)
    }

    /// A wallet that is given the JSON signs the same digest.
    #[test]
    fn typed_data_has_the_digest_of_the_nested_message() {
        let (_, _, nested) = nested();
        let read: TypedData = serde_json::from_value(nested.typed_data().clone()).expect("data");
        assert_eq!(read.eip712_signing_hash().expect("a digest"), nested.digest());
    }

    /// Solady's ERC1271 takes it apart from the end: length, type, contents, separator.
    #[test]
    fn what_is_appended_hashes_to_the_message_itself() {
        let (message, app, nested) = nested();
        let signature = |byte: u8| {
            let word = U256::from_be_bytes([byte; 32]);
            Signature::new(word, word, false)
        };
        let wrapped = nested.wrap([signature(1), signature(2)]);
        let (rest, length) = wrapped.split_at(wrapped.len() - 2);
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        let (rest, kind) = rest.split_at(rest.len() - length);
        assert_eq!(kind, SetAnchorer::eip712_encode_type().as_bytes());
        let (signatures, hashes) = rest.split_at(rest.len() - 64);
        let digest = keccak256([&[0x19, 0x01], hashes].concat());
        assert_eq!(digest, message.eip712_signing_hash(&app));
        assert_eq!(signatures.len(), 130);
        assert_eq!((signatures[0], signatures[65]), (1, 2));
    }
}
