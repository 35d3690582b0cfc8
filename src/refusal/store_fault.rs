//! Faults of the store of spent tokens.

use std::fmt;

use crate::callout::CalloutFault;

/// Why the store could not spend a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StoreFault {
    /// The callout to the shared store failed, or its response is not usable.
    Callout(CalloutFault),
    /// The clock was set back: tokens that are valid again were forgotten.
    ClockSetBack,
    /// Other workers wrote between each read and write.
    Contended,
    /// Too many requests are waiting already.
    Crowded,
    /// There is no room for another token.
    Full,
    /// The shared store's response says neither that the token is now spent nor that it was before.
    Unclear {
        /// The beginning of the response.
        response: String,
    },
    /// The value was not written by this plugin.
    Unreadable,
}

/// For the operator.
impl fmt::Display for StoreFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Callout(fault) => return fault.fmt(f),
            Self::ClockSetBack => {
                "the clock was set back, and the token may be one that was forgotten before"
            }
            Self::Contended => "other workers changed the value at each attempt",
            Self::Crowded => "too many requests are already waiting",
            Self::Full => "there is no room for another token until older ones expire",
            Self::Unclear { response } => return write!(f, "the store says {response:?}"),
            Self::Unreadable => {
                "something else wrote into this plugin's shared data; what it held is lost until \
                 Envoy restarts"
            }
        })
    }
}
