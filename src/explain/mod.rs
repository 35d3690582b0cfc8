//! Explains the decision on a token to people: step by step, with cause and fix.
//!
//! [`Setup`] is the configuration to examine. It runs the plugin's [`Engine`](crate::Engine) on one
//! request, with an [`Outside`] that makes the callouts in place of Envoy. [`step`] derives the
//! steps from the engine's decision, and `remedy` says what to change.

mod explanation;
mod key_report;
mod login_report;
mod notes;
mod offline;
mod outside;
mod question;
mod remedy;
mod servers;
mod setup;
mod step;
#[cfg(test)]
mod tests;
mod tools;
mod trust;
mod utf16;
mod words;

pub use explanation::{Explanation, FetchedFrom, Verdict};
pub use key_report::{KeyReport, ReportedKey};
pub use login_report::{LoginAddress, LoginReport};
pub use outside::{Callout, CalloutError, CalloutReply, Outside};
pub use question::{Message, Question};
pub use remedy::Remedy;
pub use servers::{ExemptPath, Server};
pub use setup::{ClusterUse, Setup};
pub use step::{Step, StepStatus};
pub use tools::{ItemRefusal, JudgedItem, JudgedList, ListReport};
pub use utf16::is_utf16;

pub use crate::config::{HOST_VARIABLES, Variable};
pub use crate::json::{read_reporting, without_byte_order_mark};
pub use crate::refusal::Check;
