//! Which implementation verifies signatures.

use log::Level;

use super::host::Host;
use crate::jose::{
    Algorithm, HostBacked, HostCrypto, HostCryptoError, PureRust, SelfTestFault, SignatureVerifier,
};

/// The host's cryptography if it passes its self-test, else pure Rust. The log reports which.
pub(super) fn signature_verifier<C: HostCrypto + 'static>(
    crypto: C,
    host: &impl Host,
) -> Box<dyn SignatureVerifier> {
    match HostBacked::new(crypto) {
        Ok(verifier) => {
            let names: Vec<_> = HostBacked::<C>::algorithms().map(Algorithm::name).collect();
            let names = names.join(", ");
            host.log(Level::Info, format_args!("signatures of {names} are verified by Envoy"));
            Box::new(verifier)
        }
        Err(SelfTestFault::NoResult { why: HostCryptoError::Missing, .. }) => {
            host.log(
                Level::Info,
                format_args!(
                    "signatures are verified in the sandbox: the host has no verify_signature"
                ),
            );
            Box::new(PureRust)
        }
        Err(fault) => {
            host.log(
                Level::Warn,
                format_args!(
                    "signatures are verified in the sandbox: verify_signature failed its \
                     self-test: {fault}"
                ),
            );
            Box::new(PureRust)
        }
    }
}
