//! The reasons for refusals, one row each. The response, the log line, the status page, the
//! explainer and docs/troubleshooting.md all read from here.

use serde::{Serialize, Serializer};

use super::Check;

/// The properties of every refusal with this reason.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// Stable identifier for programs.
    pub code: &'static str,
    /// Status code of the response.
    pub status: u16,
    /// `error` of the response and its challenge; `None` where RFC 6750 §3.1 asks for none.
    pub error: Option<OAuthError>,
    /// The party that causes it.
    pub party: Party,
    /// The checks that refuse with this reason.
    pub checks: &'static [Check],
    /// A clause without a full stop, safe for the client.
    pub meaning: &'static str,
    /// The first thing to do for the operator: sentences, with names in backticks.
    pub fix: &'static str,
}

/// The party that causes a refusal. Refusals by clients are logged at level info, others at warn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Party {
    /// The sender of the request.
    Client,
    /// The operator of this Envoy.
    Operator,
    /// The operator of the identity provider, of the user directory, or of the network in between.
    Provider,
}

/// Error codes of RFC 6750 §3.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OAuthError {
    InsufficientScope,
    InvalidRequest,
    InvalidToken,
}

impl OAuthError {
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::InsufficientScope => "insufficient_scope",
            Self::InvalidRequest => "invalid_request",
            Self::InvalidToken => "invalid_token",
        }
    }
}

/// Makes the enum of reasons, the list of all, and the row of each from one table.
macro_rules! reasons {
    ($($reason:ident {
        $code:literal, $status:literal, $error:expr, $party:ident, [$($check:ident),+],
        $meaning:literal,
        $fix:literal $(,)?
    })+) => {
        /// Why a request is refused, without the data of the case.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Reason {
            $(#[doc = $meaning] $reason,)+
        }

        impl Reason {
            /// All reasons, in the order of their codes.
            pub(crate) const ALL: &[Self] = &[$(Self::$reason),+];

            /// The row of this reason.
            #[must_use]
            pub(crate) const fn row(self) -> &'static Row {
                match self {
                    $(Self::$reason => &Row {
                        code: $code,
                        status: $status,
                        error: $error,
                        party: Party::$party,
                        checks: &[$(Check::$check),+],
                        meaning: $meaning,
                        fix: $fix,
                    },)+
                }
            }
        }
    };
}

const INVALID_TOKEN: Option<OAuthError> = Some(OAuthError::InvalidToken);

reasons! {
    AccessDenied {
        "access_denied", 403, None, Client, [Access],
        "the access policy does not allow this request",
        "Look at the rule that is named, and at `access.default` if none is.",
    }
    AudienceMismatch {
        "audience_mismatch", 401, INVALID_TOKEN, Client, [Audience],
        "the token was issued for another audience",
        "If these tokens are meant for this server, add their `aud` to the `audiences` of the resource \
         if it has them, or else to `client_ids`. Otherwise have the client request a token for this \
         server (`resource`, `audience` or scope).",
    }
    BadSignature {
        "bad_signature", 401, INVALID_TOKEN, Client, [Signature],
        "the token signature is invalid",
        "Copy the token again, or have the client get another: one lost character is enough. If that is \
         refused too, it comes from another environment with the same issuer, or is forged.",
    }
    BoundToken {
        "bound_token", 401, INVALID_TOKEN, Client, [Binding],
        "the token is bound to a key and came without proof of possession",
        "Switch off sender-constrained tokens (DPoP, mTLS) for this client at the identity provider.",
    }
    ClaimMismatch {
        "claim_mismatch", 401, INVALID_TOKEN, Client, [RequiredClaims],
        "a claim of the token has a value that is not accepted",
        "Compare the claim that is named with `required_claims`; `mcp-auth explain` shows both.",
    }
    DirectoryUnavailable {
        "directory_unavailable", 503, None, Provider, [User],
        "the user directory is temporarily unavailable",
        "See the cause in the log line; check the service at `users.scim.url`, its cluster and the \
         network path to it.",
    }
    Expired {
        "expired", 401, INVALID_TOKEN, Client, [Time],
        "the token has expired",
        "A few are normal: clients renew their token after a 401. If there are many, check the clock of \
         this machine, and whether the client renews its tokens.",
    }
    GraphToken {
        "graph_token", 401, INVALID_TOKEN, Client, [Header, Signature],
        "the token is for Microsoft Graph; request one for this server instead",
        "Have the client request a scope of this server in full, such as \
         `api://<application id>/<scope>`, or `api://<application id>/.default` with client \
         credentials. Entra ID issues Graph tokens to clients that request only `User.Read`, `openid` \
         or `profile`.",
    }
    InsufficientScope {
        "insufficient_scope", 403, Some(OAuthError::InsufficientScope), Client, [Access],
        "the token lacks required scopes",
        "The challenge names the scopes to request. If the client cannot get them, grant them at the \
         provider.",
    }
    TokenIdMissing {
        "jti_missing", 401, INVALID_TOKEN, Client, [TokenId],
        "the token has no jti",
        "Have the provider add `jti` to its tokens, or set `jti: ignore`.",
    }
    TokenReplayed {
        "jti_replayed", 401, INVALID_TOKEN, Client, [Replay],
        "the token was already used and is valid only once",
        "Have the client get a token for each request, or set `jti: ignore`.",
    }
    KeyMismatch {
        "key_mismatch", 401, INVALID_TOKEN, Client, [Key],
        "the key that the token names must not be used with it",
        "Have the provider publish the key with `use: sig` and the `alg` that it signs with.",
    }
    KeysUnavailable {
        "keys_unavailable", 503, None, Provider, [Key, Signature, Access],
        "the keys of the identity provider are temporarily unavailable",
        "See the cause in the log line and on the status page: keys could not be fetched, or too many \
         requests are waiting.",
    }
    MalformedAuthorization {
        "malformed_authorization", 400, Some(OAuthError::InvalidRequest), Client, [Credentials],
        "the request does not carry exactly one bearer token",
        "Have the client send one header `Authorization: Bearer <token>`, and no other credentials.",
    }
    MalformedToken {
        "malformed_token", 401, INVALID_TOKEN, Client, [Form, Header],
        "the token is malformed",
        "Have the client send its access token. Some providers issue opaque tokens unless the client \
         requests one for this server.",
    }
    McpBodyInvalid {
        "mcp_body_invalid", 400, None, Client, [Access],
        "the access policy cannot evaluate the body",
        "Have the client send one JSON-RPC message as `application/json`, not compressed; see \
         docs/access.md.",
    }
    McpHeaderMismatch {
        "mcp_header_mismatch", 400, None, Client, [Access],
        "the MCP header fields are invalid or do not match the message",
        "Have the client send `MCP-Protocol-Version`, `Mcp-Method` and `Mcp-Name` as in its message, \
         and proxies leave them as they are; or set `access.mcp.inspect: body`.",
    }
    McpListInvalid {
        "mcp_list_invalid", 502, None, Operator, [Access],
        "the list from the server cannot be read, so it cannot be filtered",
        "Have the server send lists as JSON or as an event stream, not compressed, within \
         `access.mcp.max_body`; or set `access.mcp.filter_lists: false`. Calls are checked either way.",
    }
    MissingClaim {
        "missing_claim", 401, INVALID_TOKEN, Client, [RequiredClaims, UserClaim],
        "the token lacks a required claim",
        "Have the provider add the claim to access tokens, or correct `user_claim`, `required_claims` or \
         `required_any_claim`.",
    }
    MissingToken {
        "missing_token", 401, None, Client, [Credentials],
        "an access token is required",
        "A few are normal: every MCP client starts like this, and logs in after the 401. Otherwise have \
         the client send `Authorization: Bearer <token>`.",
    }
    NotYetValid {
        "not_yet_valid", 401, INVALID_TOKEN, Client, [Time],
        "the token is not valid yet",
        "Synchronise the clocks of this machine and of the provider; `clock_skew` is the tolerance.",
    }
    OriginDenied {
        "origin_denied", 403, None, Client, [Origin],
        "this origin is not allowed",
        "Add the origin to `allowed_origins` if the web page is yours.",
    }
    ReplayStoreUnavailable {
        "replay_store_unavailable", 503, None, Operator, [Replay],
        "replay protection is temporarily unavailable",
        "See the cause in the log line; check the replay store and its cluster. docs/replay.md says how \
         many tokens fit.",
    }
    SessionMismatch {
        "session_mismatch", 404, None, Client, [Session],
        "this session was not given to the sender of the request",
        "A few are normal after `sessions.bind` was turned on or `secret` was changed: clients start a new \
         session after a 404. If there are many, compare `secret` in all replicas.",
    }
    TokenTooOld {
        "token_too_old", 401, INVALID_TOKEN, Client, [Time],
        "the token is too old",
        "Have the client renew its tokens sooner, or raise `max_token_age`.",
    }
    UnknownIssuer {
        "unknown_issuer", 401, INVALID_TOKEN, Client, [Provider],
        "the token issuer is not trusted here",
        "If you trust that issuer, configure it exactly as the token has it. Otherwise the client logs \
         in at the wrong provider, tenant or realm.",
    }
    UnknownKid {
        "unknown_kid", 401, INVALID_TOKEN, Client, [Key],
        "no key with this kid is published by the identity provider",
        "Have the client get a new token: its key may have been withdrawn. If that is refused \
         too, either the token or the configured `metadata_url` or `jwks_url` belongs to another \
         environment or tenant with the same issuer.",
    }
    UnknownResource {
        "unknown_resource", 404, None, Client, [Resource],
        "no protected server has this host and path",
        "Compare host and path of the request with `url` and `hosts` of `resources`, and these with \
         the routes of Envoy. docs/several-servers.md says which spellings count.",
    }
    UnsupportedAlgorithm {
        "unsupported_algorithm", 401, INVALID_TOKEN, Client, [Header, Algorithm],
        "the signature algorithm of the token is not allowed here",
        "Have the provider sign with one of `algorithms`, or add the algorithm there. HS256 and `none` are \
         never allowed.",
    }
    UnsupportedCriticalHeader {
        "unsupported_critical_header", 401, INVALID_TOKEN, Client, [Header],
        "the token uses a critical extension that is not supported",
        "Have the provider issue plain JWTs, without `crit` and `b64`.",
    }
    UserInactive {
        "user_inactive", 403, None, Client, [User],
        "this user account is inactive or locked",
        "If that is wrong, correct `active` or `locked` in the directory or in `users.records`.",
    }
    UserNotServiceAccount {
        "user_not_service_account", 403, None, Client, [User],
        "this user is not a service account, which service clients require",
        "Set `web_service_access_only` for the user if it is a service account.",
    }
    UserUnknown {
        "user_unknown", 403, None, Client, [User],
        "the user of the token is not known here",
        "Add the user, or compare `user_claim` with `user_field`: they are matched exactly.",
    }
    WrongTokenType {
        "wrong_token_type", 401, INVALID_TOKEN, Client, [Type],
        "this type of token is not accepted here",
        "Have the client send its access token, not an ID token or a proof; or add the type to \
         `token_types`.",
    }
}

impl Reason {
    #[must_use]
    pub(crate) const fn code(self) -> &'static str {
        self.row().code
    }

    /// [`Row::meaning`] as a sentence.
    #[must_use]
    pub(crate) fn sentence(self) -> String {
        sentence(self.row().meaning)
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl Party {
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Operator => "operator",
            Self::Provider => "provider",
        }
    }
}

/// A clause as a sentence.
#[must_use]
pub(crate) fn sentence(clause: &str) -> String {
    let mut characters = clause.chars();
    let first = characters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(characters).chain(['.']).collect()
}
