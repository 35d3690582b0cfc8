//! Refusals because of an MCP message: what it calls, and what is wrong with it.

use std::fmt::{self, Write as _};

/// The method that a request or notification calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct McpCall {
    /// Name of the method.
    pub method: String,
    /// Name of the tool, prompt, resource or task, for methods that take one.
    pub name: Option<String>,
}

/// Why a body that a rule needs is not accepted as a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BodyFault {
    /// An array of messages, which no revision since 2025-06-18 allows.
    Batch,
    /// `Content-Encoding` is not `identity`.
    ContentEncoding,
    /// `Content-Type` is not `application/json` in UTF-8.
    ContentType,
    /// It is neither a request, notification nor response, or it is two of them.
    Kind,
    /// It is nested too deeply.
    Nesting,
    /// It is not JSON.
    NotJson,
    /// It is not UTF-8.
    NotUtf8,
    /// Its method takes a name, and it has none.
    MissingName {
        /// The member of `params` that should hold it.
        member: &'static str,
    },
    /// An object names a member twice, in the same case or another.
    Repeated {
        /// One of the spellings.
        member: String,
    },
    /// It is longer than `access.mcp.max_body`.
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// An object has too many members.
    TooManyMembers,
    /// It is JSON, but neither an object nor an array.
    NotAnObject,
    /// A member of JSON-RPC or MCP has the wrong type.
    WrongType {
        /// The name of the member.
        member: &'static str,
    },
    /// A member of JSON-RPC or MCP is spelt in another case.
    Misspelt {
        /// The name of the member.
        member: String,
    },
    /// The URI of a resource is not in normal form, so servers may map it to another resource.
    Uri { found: String },
}

/// Shows client input only through [`Shown`].
impl fmt::Display for BodyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Batch => "it is an array of messages",
            Self::ContentEncoding => "it has a content encoding",
            Self::ContentType => "it is not application/json in UTF-8",
            Self::Kind => "it is neither a request nor a response",
            Self::Nesting => "it is nested too deeply",
            Self::NotAnObject => "it is not an object",
            Self::NotJson => "it is not JSON",
            Self::NotUtf8 => "it is not UTF-8",
            Self::MissingName { member } => {
                return write!(f, "its method needs params.{member}, a string");
            }
            Self::Repeated { member } => {
                return write!(f, "the member {} is duplicated", Shown(member));
            }
            Self::TooLarge { limit } => {
                return write!(f, "it is larger than access.mcp.max_body ({limit} bytes)");
            }
            Self::TooManyMembers => "an object has too many members",
            Self::WrongType { member } => {
                return write!(f, "the member {member} has the wrong type");
            }
            Self::Misspelt { member } => {
                return write!(f, "the name of the member {} is in the wrong case", Shown(member));
            }
            Self::Uri { .. } => "params.uri is not a URI in its normal form",
        })
    }
}

/// The start of a name that the client chose, reduced to characters that are inert in JSON, header
/// fields, HTML and logs.
struct Shown<'a>(&'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MAX_LENGTH: usize = 64;
        let is_harmless =
            |letter: &char| letter.is_ascii_alphanumeric() || "_-./".contains(*letter);
        let letters = self.0.chars().take(MAX_LENGTH);
        letters
            .map(|letter| Some(letter).filter(is_harmless).unwrap_or('?'))
            .try_for_each(|letter| f.write_char(letter))
    }
}

/// A fault in these fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    /// A field differs from the body.
    Differs {
        /// The name of the field.
        header: &'static str,
        /// The value of the field.
        found: String,
        /// The value in the body, if it has one.
        body: Option<String>,
    },
    /// A field's value is not printable ASCII, or not correctly encoded.
    Malformed {
        /// The name of the field.
        header: &'static str,
    },
    /// A field is missing.
    Missing {
        /// The name of the field.
        header: &'static str,
    },
    /// A field occurs more than once, so servers may read different copies.
    Repeated {
        /// The name of the field.
        header: &'static str,
    },
    /// The protocol revision is not among those whose header fields are trusted.
    Version {
        /// The value of the field.
        found: String,
    },
}

impl HeaderFault {
    /// The field with the MCP revision of a message.
    pub(crate) const VERSION: &str = "mcp-protocol-version";

    /// The name of the field.
    #[must_use]
    pub(crate) fn header(&self) -> &'static str {
        match self {
            Self::Differs { header, .. }
            | Self::Malformed { header }
            | Self::Missing { header }
            | Self::Repeated { header } => header,
            Self::Version { .. } => Self::VERSION,
        }
    }
}

impl fmt::Display for HeaderFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fault = match self {
            Self::Differs { .. } => "does not match the body",
            Self::Malformed { .. } => "is malformed",
            Self::Missing { .. } => "is missing",
            Self::Repeated { .. } => "is repeated",
            Self::Version { .. } => "is not a version that is accepted here",
        };
        write!(f, "the header {} {fault}", self.header())
    }
}
