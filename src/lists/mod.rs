//! Lists in responses: which of their items a caller sees.
//!
//! An item stays if the access policy allows the call to it: the rules are applied to each name, as
//! to the call itself. A list that cannot be read is not forwarded.

mod asked;
mod filter;
mod kind;
mod long_event;
mod message;
mod scan;

pub(crate) use self::asked::Asked;
#[cfg(any(fuzzing, test))]
pub use self::filter::fuzz_lists;
pub(crate) use self::filter::{BodyPlan, Filtered, HeadPlan, Judge, ListFilter};
pub(crate) use self::kind::ListKind;
