//! What is wrong with the credentials of a request.

use std::fmt;

/// A fault in the credentials of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuthorizationFault {
    /// The query has an `access_token` (RFC 6750 §2.3, removed by OAuth 2.1).
    InQuery,
    /// No token follows the scheme.
    NoToken,
    /// The scheme is not Bearer.
    OtherScheme,
    /// There is more than one set of credentials.
    Repeated,
}

impl fmt::Display for AuthorizationFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InQuery => "the query must not hold an access token",
            Self::NoToken => "the Authorization header holds no token",
            Self::OtherScheme => "the Authorization scheme is not Bearer",
            Self::Repeated => "there is more than one set of credentials",
        })
    }
}
