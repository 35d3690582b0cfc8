//! Why a token is no JWS that could be judged.

use std::fmt;

/// Why a token is no JWS that could be judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MalformedToken {
    /// A segment is no base64url without padding.
    Base64(Segment),
    /// A header member is no string.
    HeaderMember(&'static str),
    /// A segment is no JSON.
    Json(Segment),
    /// The header does not name the algorithm.
    MissingAlgorithm,
    /// A segment holds JSON, but no object.
    NotAnObject(Segment),
    /// A segment is base64url with padding.
    Padded(Segment),
    /// A segment is base64 with the alphabet of RFC 4648 §4.
    PlainBase64(Segment),
    /// A member is named twice.
    Repeated(Segment, String),
    /// It is not three segments: no JWS, or a JWE, or an opaque token.
    Segments,
    /// The signature is empty though the algorithm makes one.
    Unsigned,
    /// It is longer than the configured number of bytes.
    TooLong {
        /// `max_token_size`, in bytes.
        limit: usize,
    },
}

/// A part of a compact JWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    /// The first.
    Header,
    /// The second.
    Payload,
    /// The third.
    Signature,
}

impl fmt::Display for MalformedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Base64(segment) => write!(f, "its {segment} is not base64url"),
            Self::HeaderMember(name) => write!(f, "the member {name} of its header is no string"),
            Self::Json(segment) => write!(f, "its {segment} is not JSON"),
            Self::MissingAlgorithm => f.write_str("its header has no member alg"),
            Self::NotAnObject(segment) => write!(f, "its {segment} is not a JSON object"),
            Self::Padded(segment) => {
                write!(f, "its {segment} is padded base64url (=), and must be without padding")
            }
            Self::PlainBase64(segment) => {
                write!(f, "its {segment} is plain base64 (+ or /), and must be base64url")
            }
            Self::Repeated(segment, _) => write!(f, "its {segment} names a member twice"),
            Self::Segments => f.write_str("it is not a JWS in compact form"),
            Self::Unsigned => f.write_str("its signature is empty"),
            Self::TooLong { limit } => write!(f, "it is longer than {limit} bytes"),
        }
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Payload => "payload",
            Self::Signature => "signature",
        })
    }
}
