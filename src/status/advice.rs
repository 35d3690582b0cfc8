//! What each reason means and what to do: the first things to look at. `docs/troubleshooting.md`
//! has all of it.

/// What a reason means, and what to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Advice {
    /// The reason code.
    pub reason: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// What to do.
    pub cure: &'static str,
}

impl Advice {
    /// What there is to say of each reason.
    pub(crate) const ALL: [Self; 31] = [
        Self::on(
            "access_denied",
            "The access policy does not allow the request.",
            "Look at the rule that is named, and at `access.default` where none is.",
        ),
        Self::on(
            "audience_mismatch",
            "The token was issued for another service: its `aud` holds none of the provider's `client_ids`.",
            "If these tokens are meant for this server, add their `aud` to `client_ids`. Otherwise let \
             the client ask for a token for this server (`resource`, `audience` or scope).",
        ),
        Self::on(
            "bad_signature",
            "The provider has the key that the token names, but the token was not signed with it, or \
             was changed since.",
            "Let the client get a new token. If it is refused again, it comes from another environment \
             that calls itself by the same issuer, or from a forger.",
        ),
        Self::on(
            "bound_token",
            "The token is bound to a key of the client (`cnf`), and nothing shows that the client holds it.",
            "Let the provider issue plain bearer tokens to this client.",
        ),
        Self::on(
            "claim_mismatch",
            "A claim has another value than `required_claims` accepts.",
            "Compare the claim that is named with the configuration; `mcp-auth explain` shows both.",
        ),
        Self::on(
            "directory_unavailable",
            "The directory of users could not be asked.",
            "The cause stands beside it: look at the directory, its cluster and the way there.",
        ),
        Self::on(
            "expired",
            "The token's time is over, or it does not say when it ends.",
            "A few are normal: clients renew upon a 401. If there are many, look at the clock of this \
             machine, and whether the client renews its tokens.",
        ),
        Self::on(
            "graph_token",
            "The token is for Microsoft Graph. Nobody else can verify those.",
            "Let the client ask for a scope of this server in full, such as `api://<client id>/mcp.tools`.",
        ),
        Self::on(
            "insufficient_scope",
            "A rule requires scopes that the token lacks.",
            "The client is told which, and can ask for them. If it cannot get them, grant them at the provider.",
        ),
        Self::on(
            "jti_missing",
            "The token has no `jti`, which this provider's tokens must have.",
            "Let the provider add it, or set `jti: ignore`.",
        ),
        Self::on(
            "jti_replayed",
            "The token serves once, and has.",
            "Let the client get a token for each request, or set `jti: ignore`.",
        ),
        Self::on(
            "key_mismatch",
            "The provider publishes the key that the token names, and it must not be used so.",
            "Let the provider publish it with `use: sig` and the `alg` that it signs with.",
        ),
        Self::on(
            "keys_unavailable",
            "There were no keys to judge the token by.",
            "The cause stands beside it, and at the provider above: keys could not be fetched, or \
             too many requests wait.",
        ),
        Self::on(
            "malformed_authorization",
            "The request carries something else than one bearer token.",
            "Let the client send one header `Authorization: Bearer <token>`, and no other.",
        ),
        Self::on(
            "malformed_token",
            "What was sent is no JSON Web Token that can be read.",
            "Let the client send its access token. Some providers issue opaque ones unless they are \
             asked for a token for this server.",
        ),
        Self::on(
            "mcp_body_invalid",
            "A rule needs the MCP message, and the body cannot be read in one way alone.",
            "Let the client send one JSON-RPC message as `application/json`, not compressed.",
        ),
        Self::on(
            "mcp_header_mismatch",
            "The `Mcp-*` header fields do not agree with the message, or are missing.",
            "Update the client; proxies must leave these fields as they are.",
        ),
        Self::on(
            "missing_claim",
            "The token lacks a claim that is needed here.",
            "Let the provider add it to access tokens, or correct `user_claim`, `required_claims` or \
             `required_any_claim`.",
        ),
        Self::on(
            "missing_token",
            "The request carries no token.",
            "A few are normal: each MCP client begins so, and logs in upon the 401.",
        ),
        Self::on(
            "not_yet_valid",
            "The token begins to be valid in the future.",
            "Look at the clocks of this machine and of the provider; `clock_skew` is the tolerance.",
        ),
        Self::on(
            "origin_denied",
            "The request comes from a web page whose origin is not in `allowed_origins`.",
            "Add the origin if the page is yours.",
        ),
        Self::on(
            "replay_store_unavailable",
            "Nobody could tell whether the token was used before.",
            "The cause stands beside it: look at the replay store and its cluster.",
        ),
        Self::on(
            "token_too_old",
            "The token is older than `max_token_age`, or does not tell its age.",
            "Let the client renew its tokens sooner, or raise `max_token_age`.",
        ),
        Self::on(
            "unknown_issuer",
            "The token's `iss` is not the issuer of any provider here.",
            "If you trust that issuer, configure it exactly as it is written in the token. Otherwise the \
             client logs in at the wrong provider, tenant or realm.",
        ),
        Self::on(
            "unknown_kid",
            "The token names a key that its provider does not publish.",
            "Let the client get a new token: its key may have been withdrawn. If that is refused too, \
             the token is of another environment or tenant that calls itself by the same issuer, or \
             `metadata_url` or `jwks_url` is of another one.",
        ),
        Self::on(
            "unsupported_algorithm",
            "The token is signed by an algorithm that is not allowed here.",
            "Let the provider sign with one of `algorithms`, or allow it. HS256 and `none` never are.",
        ),
        Self::on(
            "unsupported_critical_header",
            "The token demands that something be understood which is not.",
            "Let the provider issue tokens without `crit`.",
        ),
        Self::on(
            "user_inactive",
            "The user is inactive or locked.",
            "Activate it in the directory or in `users.records`, if it should be.",
        ),
        Self::on(
            "user_not_service_account",
            "The token is a service's, and its user is no service account.",
            "Set `web_service_access_only` for the user, if it is one.",
        ),
        Self::on(
            "user_unknown",
            "There is no such user.",
            "Add it, or compare `user_claim` with `user_field`: they are matched exactly.",
        ),
        Self::on(
            "wrong_token_type",
            "The token is of a type that is not accepted, such as an ID token or a proof.",
            "Let the client send its access token, or add the type to `token_types`.",
        ),
    ];

    const fn on(reason: &'static str, meaning: &'static str, cure: &'static str) -> Self {
        Self { reason, meaning, cure }
    }
}
