//! The request to decide on.

/// The request to decide on.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The token, without `Bearer`.
    pub token: &'a [u8],
    /// The method of the request.
    pub method: &'a str,
    /// The URL of the request; `None` means that of the only resource.
    pub url: Option<&'a str>,
    /// The path of the request; `None` means that of the URL.
    pub path: Option<&'a str>,
    /// A key set document that replaces the keys of the token's provider.
    pub key_set: Option<&'a [u8]>,
}
