//! Why a text is not accepted as JSON.

/// Why a text is not accepted as strict JSON.
#[derive(Debug)]
pub(crate) enum JsonFault {
    /// It is JSON, but not an object.
    NotAnObject,
    /// It has a duplicate member, with this path.
    Repeated(String),
    /// It is not JSON.
    Syntax,
}
