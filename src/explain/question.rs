//! What is asked of a configuration.

/// What is asked: would a request with this token pass?
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The token, without `Bearer`.
    pub token: &'a [u8],
    /// The method of the request.
    pub method: &'a str,
    /// The path of the request; none is that of `resource.url`.
    pub path: Option<&'a str>,
    /// A key set document that is used instead of what the token's provider publishes.
    pub key_set: Option<&'a [u8]>,
}
