//! The requests, which are the same for all listeners.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use testbed::IdentityProvider;

use crate::listeners::PATH;
use crate::requests::{Requests, get, token};

/// A kind of load.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Load {
    /// The same token each time.
    Hot,
    /// 500 tokens in turn.
    InTurn,
    /// Each token once.
    New,
    /// Each token once, with a wrong signature.
    Forged,
    /// No token.
    Missing,
}

impl Load {
    pub const ALL: [Self; 5] = [Self::Hot, Self::InTurn, Self::New, Self::Forged, Self::Missing];

    /// The requests of a round: few, so that all listeners have theirs within a fraction of a
    /// second.
    pub fn requests(self, provider: &IdentityProvider) -> Requests {
        let (distinct, count) = match self {
            Self::Hot | Self::Missing => (1, 250),
            Self::InTurn => (500, 500),
            Self::New | Self::Forged => (125, 125),
        };
        let requests = (0..distinct).map(|_| get(PATH, self.token(provider).as_deref()));
        Requests::new(requests.collect(), count)
    }

    /// One more token, if the requests have tokens.
    pub fn token(self, provider: &IdentityProvider) -> Option<String> {
        match self {
            Self::Hot | Self::InTurn | Self::New => Some(token(provider)),
            Self::Forged => Some(forged(&token(provider))),
            Self::Missing => None,
        }
    }

    /// Whether no two rounds have a token in common.
    pub fn is_new_each_round(self) -> bool {
        matches!(self, Self::New | Self::Forged)
    }

    /// The status from filters that check tokens.
    pub fn expected_status(self) -> u16 {
        match self {
            Self::Hot | Self::InTurn | Self::New => 200,
            Self::Forged | Self::Missing => 401,
        }
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Hot => "one hot token",
            Self::InTurn => "500 tokens in turn",
            Self::New => "always new tokens",
            Self::Forged => "forged signatures",
            Self::Missing => "no token",
        })
    }
}

/// The token with another signature of the same length.
fn forged(token: &str) -> String {
    let (input, signature) = token.rsplit_once('.').unwrap();
    let mut signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
    // Not the first byte: an RSA signature that exceeds the modulus is refused immediately.
    let middle = signature.len() / 2;
    signature[middle] ^= 1;
    format!("{input}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}
