//! The session id in a request.

use std::fmt;

use super::SESSION_ID;
use super::form::{MAX_SEALED, is_visible_ascii};
use crate::request::RequestHead;

/// The value of the header field, before it is verified.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum SentSession {
    /// One value that may be sealed: visible ASCII, within the limit.
    Sealed(String),
    /// Several values, or one that was never sealed here.
    Unusable,
}

impl SentSession {
    /// Reads the header field; `None` if the request has none.
    #[must_use]
    pub(crate) fn from_head(head: RequestHead<'_>) -> Option<Self> {
        let mut values = head.values(SESSION_ID);
        let value = values.next()?;
        let is_sound =
            values.next().is_none() && value.len() <= MAX_SEALED && is_visible_ascii(value);
        let sealed = std::str::from_utf8(value).ok().filter(|_| is_sound);
        Some(sealed.map_or(Self::Unusable, |sealed| Self::Sealed(sealed.to_owned())))
    }
}

/// Without the value, which gives access to the session.
impl fmt::Debug for SentSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sealed(_) => "Sealed(_)",
            Self::Unusable => "Unusable",
        })
    }
}
