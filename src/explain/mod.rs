//! What the core decides on a token, told step by step for people, with cause and cure. Not part of
//! the wasm module.
//!
//! [`Setup`] is a configuration that is looked into. It judges a token by the very
//! [`Authenticator`](crate::authenticator) and the very life of keys that the plugin runs; all that
//! is different is who makes the calls: an [`Outside`] instead of Envoy. The [`steps`](step) are
//! told from its decision, and `remedy` says in words what to change.

mod document;
mod explanation;
mod key_report;
mod key_run;
mod outside;
mod remedy;
mod setup;
mod step;
#[cfg(test)]
mod tests;
mod trust;
mod words;

pub use document::{Document, is_utf16, without_byte_order_mark};
pub use explanation::{Explanation, FetchedFrom, Question, Verdict};
pub use key_report::{KeyReport, ReportedKey};
pub use outside::{Callout, CalloutError, CalloutReply, Outside};
pub use remedy::Remedy;
pub use setup::{ClusterUse, Setup};
pub use step::{Step, StepStatus};

pub use crate::refusal::Check;
