//! What a provider's tokens must say in `jti` (RFC 7519 §4.1.7).

/// What `jti` must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenIdRule {
    /// Anything, or nothing.
    Ignore,
    /// A string.
    Require,
    /// A string that did not come before: each token serves once.
    SingleUse,
}
