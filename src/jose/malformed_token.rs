use std::fmt;

/// Why a token is not a JWS that can be verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MalformedToken {
    /// A segment is not base64url without padding.
    Base64(Segment),
    /// A header member is not a string.
    HeaderMember(&'static str),
    /// A segment is not JSON.
    Json(Segment),
    /// The header has no `alg`.
    MissingAlgorithm,
    /// A segment is JSON, but not an object.
    NotAnObject(Segment),
    /// A segment is base64url with padding.
    Padded(Segment),
    /// A segment uses the base64 alphabet of RFC 4648 §4.
    PlainBase64(Segment),
    /// A member name is repeated.
    Repeated(Segment, String),
    /// It does not have three segments: a JWE, an opaque token, or anything else.
    Segments,
    /// The signature is empty, and the algorithm requires one.
    Unsigned,
    /// It is longer than the configured limit.
    TooLong {
        /// `max_token_size`, in bytes.
        limit: usize,
    },
}

/// A segment of a compact JWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    /// The first segment.
    Header,
    /// The second segment.
    Payload,
    /// The third segment.
    Signature,
}

impl fmt::Display for MalformedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Base64(segment) => write!(f, "its {segment} is not base64url"),
            Self::HeaderMember(name) => {
                write!(f, "the member {name} of its header is not a string")
            }
            Self::Json(segment) => write!(f, "its {segment} is not JSON"),
            Self::MissingAlgorithm => f.write_str("its header has no member alg"),
            Self::NotAnObject(segment) => write!(f, "its {segment} is not a JSON object"),
            Self::Padded(segment) => {
                write!(f, "its {segment} is padded base64url (=), and must be without padding")
            }
            Self::PlainBase64(segment) => {
                write!(f, "its {segment} is plain base64 (+ or /), and must be base64url")
            }
            Self::Repeated(segment, _) => write!(f, "its {segment} has a duplicate member"),
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
