//! What refusals say of a message of MCP: what it calls, and what is wrong with it.

use std::fmt::{self, Write as _};

/// What a request or notification calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct McpCall {
    /// The method.
    pub method: String,
    /// The tool, prompt, resource or task, for methods that are about one.
    pub name: Option<String>,
}

/// Why a body that a rule needs was not accepted as a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BodyFault {
    /// An array of messages: no revision from 2025-06-18 on has them.
    Batch,
    /// `Content-Encoding` is none that can be looked into.
    ContentEncoding,
    /// `Content-Type` is not `application/json` in UTF-8.
    ContentType,
    /// It is neither a request or notification nor a response, or both.
    Kind,
    /// It nests deeper than servers read.
    Nesting,
    /// It is no JSON.
    NotJson,
    /// It is not UTF-8.
    NotUtf8,
    /// It lacks the name of what its method is about.
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
        /// That many bytes.
        limit: usize,
    },
    /// An object has too many members.
    TooManyMembers,
    /// It is JSON, but neither an object nor an array.
    NotAnObject,
    /// A member of JSON-RPC or MCP is not of the type that it has there.
    WrongType {
        /// Its name.
        member: &'static str,
    },
    /// A member has the name of one of JSON-RPC or MCP in another case.
    Misspelt {
        /// Its name.
        member: String,
    },
    /// The URI of a resource is not in normal form: servers may take it for that of another.
    Uri {
        /// The URI.
        found: String,
    },
}

/// Of what the client chose, no more than [`Shown`].
impl fmt::Display for BodyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Batch => "it is an array of messages",
            Self::ContentEncoding => "it is encoded",
            Self::ContentType => "it is not application/json in UTF-8",
            Self::Kind => "it is neither a request nor a response",
            Self::Nesting => "it nests too deeply",
            Self::NotAnObject => "it is not an object",
            Self::NotJson => "it is not JSON",
            Self::NotUtf8 => "it is not UTF-8",
            Self::MissingName { member } => {
                return write!(
                    f,
                    "it lacks params.{member}, a string for what its method is about"
                );
            }
            Self::Repeated { member } => {
                return write!(f, "the member {} is repeated", Shown(member));
            }
            Self::TooLarge { limit } => {
                return write!(f, "it is larger than access.mcp.max_body ({limit} bytes)");
            }
            Self::TooManyMembers => "an object has too many members",
            Self::WrongType { member } => {
                return write!(f, "the member {member} is of the wrong type");
            }
            Self::Misspelt { member } => {
                return write!(f, "the name of the member {} is in the wrong case", Shown(member));
            }
            Self::Uri { .. } => "params.uri is not a URI in its normal form",
        })
    }
}

/// The beginning of a name that the client chose, in letters that mean nothing anywhere: not in
/// JSON, in a header field, in HTML, in a log.
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

/// What is wrong with the header fields in which a client of MCP repeats its message (SEP-2243).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    /// A field says something else than the body.
    Differs {
        /// Its name.
        header: &'static str,
        /// What it says.
        found: String,
        /// What the body says.
        body: Option<String>,
    },
    /// A field's value is no text, or not encoded as it should be.
    Malformed {
        /// Its name.
        header: &'static str,
    },
    /// A field is missing.
    Missing {
        /// Its name.
        header: &'static str,
    },
    /// A field came more than once: who reads the first copy and who reads the last would disagree.
    Repeated {
        /// Its name.
        header: &'static str,
    },
    /// The revision is not one whose fields can be believed.
    Version {
        /// What the field says.
        found: String,
    },
}

impl HeaderFault {
    /// The field that says which revision of MCP a message is written for.
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
