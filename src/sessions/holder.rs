//! Whom a session belongs to.

use sha2::{Digest, Sha256};

/// The holder of a session: a digest (SHA-256) of issuer, subject and resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SessionHolder([u8; 32]);

/// What distinguishes the holder from others of the same issuer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Subject<'a> {
    /// The claim `sub`.
    Sub(&'a str),
    /// The claim that identifies the user, of a token without `sub`.
    User(&'a str),
}

impl SessionHolder {
    /// The holder with this `iss`, at the resource with this URL.
    #[must_use]
    pub(crate) fn new(issuer: &str, subject: Subject<'_>, resource: &str) -> Self {
        let (claim, subject) = match subject {
            Subject::Sub(subject) => ("sub", subject),
            Subject::User(subject) => ("user", subject),
        };
        let mut digest = Sha256::new();
        for part in [issuer, claim, subject, resource] {
            // The length precedes each part, so that different lists of parts never have the same
            // bytes.
            digest.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            digest.update(part);
        }
        Self(digest.finalize().into())
    }

    pub(super) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}
