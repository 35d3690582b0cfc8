//! What is required of `jti` in a provider's tokens (RFC 7519 §4.1.7).

/// What is required of `jti`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenIdRule {
    /// Nothing; it may be missing.
    Ignore,
    /// A string.
    Require,
    /// A string that was not used before: the token is single-use.
    SingleUse,
}
