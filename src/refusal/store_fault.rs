//! What is wrong with the store of spent tokens.

use std::fmt;

use crate::callout::CalloutFault;

/// What keeps the store from spending a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StoreFault {
    /// The call of the fleet's store brought nothing of use.
    Callout(CalloutFault),
    /// The clock was set back: tokens that can be used again were forgotten.
    ClockSetBack,
    /// Other workers wrote each time in between.
    Contended,
    /// Too many requests wait already.
    Crowded,
    /// There is no room for another token.
    Full,
    /// The fleet's store says something else than that the token is spent now, or was before.
    Unclear {
        /// How its answer begins.
        response: String,
    },
    /// What stands there was not written by this plugin.
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
            Self::Contended => "other workers wrote each time in between",
            Self::Crowded => "too many requests wait already",
            Self::Full => "there is no room for another token until older ones expire",
            Self::Unclear { response } => return write!(f, "the store says {response:?}"),
            Self::Unreadable => {
                "something else wrote into this plugin's shared data; what it held is lost until \
                 Envoy restarts"
            }
        })
    }
}
