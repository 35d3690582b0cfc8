//! The parameters of an authorization request that no configuration and no endpoint may set.

/// Whether the gateway itself sets a parameter of the authorization request.
pub(crate) fn is_own_parameter(name: &str) -> bool {
    const NAMES: [&str; 8] = [
        "client_id",
        "redirect_uri",
        "response_type",
        "response_mode",
        "state",
        "nonce",
        "scope",
        "resource",
    ];
    let is_of_group = ["code_challenge", "request"].iter().any(|group| name.starts_with(group));
    NAMES.contains(&name) || is_of_group
}
