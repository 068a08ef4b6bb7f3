//! The proof of the shared secret: HMAC-SHA-256 over what both hellos said.

use crate::options::Secret;
use crate::wire::{Auth, Hello};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// What the prover shows: that it knows the secret, is that node, and answers these two hellos.
/// Its own hello comes first, so a proof sent back to its maker proves nothing.
pub(super) fn prove(secret: &Secret, prover: &Hello, verifier: &Hello) -> Auth {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.bytes()).expect("HMAC takes any length");
    mac.update(b"repd replication 1");
    for hello in [prover, verifier] {
        mac.update(&[hello.node]);
        mac.update(&hello.incarnation.to_le_bytes());
        mac.update(&hello.nonce);
        mac.update(&(hello.resource.len() as u64).to_le_bytes());
        mac.update(hello.resource.as_bytes());
    }
    Auth { proof: mac.finalize().into_bytes().into() }
}

/// Whether the peer's proof is right; takes the same time either way.
pub(super) fn verify(secret: &Secret, prover: &Hello, verifier: &Hello, auth: &Auth) -> bool {
    prove(secret, prover, verifier).proof.ct_eq(&auth.proof).into()
}
