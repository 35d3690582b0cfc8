//! Answers: the only place that makes any. A refusal becomes status, challenge and body here, and
//! the resource's metadata a document.

mod error;
mod resource_metadata;

use std::borrow::Cow;

pub(crate) use error::{Details, ErrorStyle, Format, RefusalAnswers};
pub(crate) use resource_metadata::ResourceMetadata;

/// An answer that the client gets instead of the upstream's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Status code.
    pub status: u16,
    /// Header fields.
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
    /// Body.
    pub body: Vec<u8>,
}
