//! The SCRAM-SHA-256 verifier of a password (RFC 5803), made on this side.
//!
//! `ALTER ROLE … PASSWORD 'plain'` would show the password to the server's log and to every error that
//! quotes the statement, so only the verifier is ever sent.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use rand::Rng;
use sha2::{Digest, Sha256};

use crate::{Result, StoreError};

/// Postgres' own default.
const ITERATIONS: u32 = 4096;

/// A verifier with a fresh salt.
pub(crate) fn verifier(password: &str) -> Result<String> {
    // Other characters would need SASLprep, where servers and drivers have differed.
    if password.is_empty() || !password.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return Err(StoreError::BadPassword);
    }
    let mut salt = [0; 16];
    rand::rng().fill(&mut salt);
    Ok(with_salt(password, &salt))
}

fn with_salt(password: &str, salt: &[u8; 16]) -> String {
    let mut block = hmac(password.as_bytes(), &[salt, &1u32.to_be_bytes()]);
    let mut salted = block;
    for _ in 1..ITERATIONS {
        block = hmac(password.as_bytes(), &[&block]);
        salted.iter_mut().zip(block).for_each(|(sum, byte)| *sum ^= byte);
    }
    let stored = Sha256::digest(hmac(&salted, &[b"Client Key"]));
    let server = hmac(&salted, &[b"Server Key"]);
    let [salt, stored, server] =
        [&salt[..], &stored[..], &server[..]].map(|bytes| STANDARD.encode(bytes));
    format!("SCRAM-SHA-256${ITERATIONS}:{salt}${stored}:{server}")
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_example_of_rfc_7677() {
        // The RFC's exchange (password "pencil"): its client proof must follow from our stored key.
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").expect("base64");
        let verifier = with_salt("pencil", salt.as_slice().try_into().expect("16 bytes"));
        let (_, keys) = verifier.rsplit_once('$').expect("keys");
        let (stored, server) = keys.split_once(':').expect("two keys");
        let stored = STANDARD.decode(stored).expect("base64");
        let server = STANDARD.decode(server).expect("base64");
        let exchange = b"n=user,r=rOprNGfwEbeRWgbNEkqO,\
            r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
            c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let proof =
            STANDARD.decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=").expect("base64");
        let signature = hmac(&stored, &[exchange]);
        let client_key: Vec<u8> = proof.iter().zip(signature).map(|(a, b)| a ^ b).collect();
        assert_eq!(Sha256::digest(client_key)[..], stored[..]);
        assert_eq!(
            STANDARD.encode(hmac(&server, &[exchange])),
            "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
        );
    }

    #[test]
    fn refuses_what_would_need_saslprep() {
        for password in ["", "naïve", "tab\t"] {
            assert!(matches!(verifier(password), Err(StoreError::BadPassword)));
        }
    }
}
