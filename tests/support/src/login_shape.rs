use serde_json::{Value, json};

/// How a provider behaves where providers differ: as data, for
/// [`LoginProvider::start_as`](crate::LoginProvider::start_as).
#[derive(Clone, Debug)]
pub struct LoginShape {
    /// The name of the plugin's template, and of the provider.
    pub template: &'static str,
    /// Fields of the plugin's configuration in addition to those of all providers.
    pub fields: Value,
    /// The issuer, below the origin.
    pub issuer: &'static str,
    /// The issuer of access tokens, if it is another one. It is in no document that clients read.
    pub access_issuer: Option<&'static str>,
    /// Paths of the endpoints.
    pub paths: LoginPaths,
    /// Members of the metadata document in addition to the endpoints.
    pub metadata: Value,
    /// `aud` of access tokens.
    pub audience: &'static str,
    /// The prefix of the API's scopes in requests of clients.
    pub scope_prefix: &'static str,
    /// The claim of access tokens that holds the scopes, without the prefix.
    pub scope_claim: ScopeClaim,
    /// Whether a request with `resource` is refused.
    pub refuses_resource: bool,
    /// Whether authorization responses name the issuer (RFC 9207).
    pub names_iss: bool,
    /// What its access tokens are.
    pub access_token: AccessToken,
    /// When it issues refresh tokens.
    pub refresh: Refresh,
    /// Claims of access tokens.
    pub access_claims: Value,
    /// Claims of ID tokens.
    pub id_claims: Value,
    /// The user that the plugin finds in the token that clients get.
    pub user: &'static str,
}

/// The paths of a provider's endpoints, below its origin.
#[derive(Clone, Copy, Debug)]
pub struct LoginPaths {
    /// Path of the authorization endpoint.
    pub authorize: &'static str,
    /// Path of the token endpoint.
    pub token: &'static str,
    /// Path of the key set.
    pub keys: &'static str,
}

/// Where an access token has its scopes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ScopeClaim {
    /// `scope`, a string.
    Scope,
    /// `scp`, a string.
    Scp,
    /// `scp`, an array.
    ScpArray,
}

/// What an access token is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AccessToken {
    /// A JWT.
    Jwt,
    /// A JWT if the authorization request named an `audience`, else opaque.
    JwtForAudience,
    /// An opaque string that only the provider can verify.
    Opaque,
}

/// When a refresh token is issued.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refresh {
    /// At each login; a new one on each use.
    Always,
    /// With the scope `offline_access`; a new one on each use.
    OfflineAccess,
    /// With the scope `offline_access`; the first one stays valid.
    OfflineAccessOnce,
    /// With `access_type=offline`; it stays valid.
    AccessType,
}

impl LoginShape {
    /// The scope that all of them except Google know.
    pub const SCOPE: &str = "mcp.tools";

    /// The shapes of all templates.
    pub fn all() -> [Self; 6] {
        [
            Self::entra_id(),
            Self::okta(),
            Self::auth0(),
            Self::google(),
            Self::adfs(),
            Self::keycloak(),
        ]
    }

    /// Only what the specifications require.
    pub fn plain(audience: &'static str) -> Self {
        Self {
            template: "generic",
            fields: json!({}),
            issuer: "",
            access_issuer: None,
            paths: LoginPaths { authorize: "/authorize", token: "/token", keys: "/jwks" },
            metadata: json!({"code_challenge_methods_supported": ["S256"]}),
            audience,
            scope_prefix: "",
            scope_claim: ScopeClaim::Scope,
            refuses_resource: false,
            names_iss: false,
            access_token: AccessToken::Jwt,
            refresh: Refresh::Always,
            access_claims: json!({}),
            id_claims: json!({}),
            user: "ada",
        }
    }

    /// Refuses `resource`, does not announce S256, and has scopes with the Application ID URI in
    /// front, and tokens of version 2.
    pub fn entra_id() -> Self {
        Self {
            template: "entra_id",
            fields: json!({"tenant": ENTRA_TENANT, "additional_issuers": []}),
            issuer: "/8d5c1f2e-0000-4000-8000-000000000000/v2.0",
            paths: LoginPaths {
                authorize: "/8d5c1f2e-0000-4000-8000-000000000000/oauth2/v2.0/authorize",
                token: "/8d5c1f2e-0000-4000-8000-000000000000/oauth2/v2.0/token",
                keys: "/8d5c1f2e-0000-4000-8000-000000000000/discovery/v2.0/keys",
            },
            metadata: json!({
                "token_endpoint_auth_methods_supported": [
                    "client_secret_post", "private_key_jwt", "client_secret_basic",
                ],
                "scopes_supported": ["openid", "profile", "email", "offline_access"],
            }),
            scope_prefix: "api://6a7f0000-0000-4000-8000-000000000000/",
            scope_claim: ScopeClaim::Scp,
            refuses_resource: true,
            refresh: Refresh::OfflineAccess,
            access_claims: json!({
                "ver": "2.0", "tid": ENTRA_TENANT, "preferred_username": "ada@example.com",
                "azp": "6a7f0000-0000-4000-8000-000000000000",
            }),
            user: "ada@example.com",
            ..Self::plain("6a7f0000-0000-4000-8000-000000000000")
        }
    }

    /// A custom authorization server.
    pub fn okta() -> Self {
        Self {
            template: "okta",
            fields: json!({"domain": "acme.okta.com"}),
            issuer: "/oauth2/default",
            paths: LoginPaths {
                authorize: "/oauth2/default/v1/authorize",
                token: "/oauth2/default/v1/token",
                keys: "/oauth2/default/v1/keys",
            },
            metadata: json!({
                "code_challenge_methods_supported": ["S256"],
                "token_endpoint_auth_methods_supported": [
                    "client_secret_basic", "client_secret_post", "client_secret_jwt",
                    "private_key_jwt", "none",
                ],
            }),
            scope_claim: ScopeClaim::ScpArray,
            refresh: Refresh::OfflineAccess,
            access_claims: json!({"sub": "ada@okta", "cid": "gateway", "uid": "00u1"}),
            user: "ada@okta",
            ..Self::plain("api://incident-tools")
        }
    }

    /// An access token is a JWT only for an `audience`; refresh tokens are not rotated.
    pub fn auth0() -> Self {
        Self {
            template: "auth0",
            fields: json!({"domain": "acme.eu.auth0.com"}),
            issuer: "/",
            paths: LoginPaths {
                authorize: "/authorize",
                token: "/oauth/token",
                keys: "/.well-known/jwks.json",
            },
            metadata: json!({
                "code_challenge_methods_supported": ["S256", "plain"],
                "token_endpoint_auth_methods_supported": [
                    "client_secret_basic", "client_secret_post", "private_key_jwt",
                ],
            }),
            access_token: AccessToken::JwtForAudience,
            refresh: Refresh::OfflineAccessOnce,
            access_claims: json!({"sub": "auth0|ada", "azp": "gateway"}),
            user: "auth0|ada",
            ..Self::plain("https://mcp.example.com/mcp")
        }
    }

    /// Access tokens are opaque, ID tokens name the user, and responses name the issuer.
    pub fn google() -> Self {
        Self {
            template: "google",
            fields: json!({"additional_issuers": [], "required_claims": {"hd": "example.com"}}),
            paths: LoginPaths {
                authorize: "/o/oauth2/v2/auth",
                token: "/token",
                keys: "/oauth2/v3/certs",
            },
            metadata: json!({
                "code_challenge_methods_supported": ["plain", "S256"],
                "token_endpoint_auth_methods_supported": [
                    "client_secret_post", "client_secret_basic",
                ],
            }),
            names_iss: true,
            access_token: AccessToken::Opaque,
            refresh: Refresh::AccessType,
            id_claims: json!({
                "sub": "110169484474386276334", "email": "ada@example.com",
                "email_verified": true, "hd": "example.com",
            }),
            user: "ada@example.com",
            // The audience of its ID tokens: the gateway itself.
            ..Self::plain("gateway")
        }
    }

    /// Access tokens have another issuer than ID tokens; the resource is named by its scopes.
    pub fn adfs() -> Self {
        Self {
            template: "adfs",
            fields: json!({"host": "fs.contoso.com"}),
            issuer: "/adfs",
            access_issuer: Some("http://fs.contoso.com/adfs/services/trust"),
            paths: LoginPaths {
                authorize: "/adfs/oauth2/authorize/",
                token: "/adfs/oauth2/token/",
                keys: "/adfs/discovery/keys",
            },
            metadata: json!({
                "access_token_issuer": "http://fs.contoso.com/adfs/services/trust",
                "token_endpoint_auth_methods_supported": [
                    "client_secret_post", "client_secret_basic", "private_key_jwt",
                    "windows_client_authentication",
                ],
            }),
            scope_prefix: "https://mcp.example.com/mcp/",
            scope_claim: ScopeClaim::Scp,
            access_claims: json!({"upn": "ada@contoso.com", "appid": "gateway"}),
            user: "ada@contoso.com",
            ..Self::plain("https://mcp.example.com/mcp")
        }
    }

    /// Announces `iss` (RFC 9207), and marks access and ID tokens by the claim `typ`.
    pub fn keycloak() -> Self {
        Self {
            template: "keycloak",
            fields: json!({"host": "sso.example.com", "realm": "acme"}),
            issuer: "/realms/acme",
            paths: LoginPaths {
                authorize: "/realms/acme/protocol/openid-connect/auth",
                token: "/realms/acme/protocol/openid-connect/token",
                keys: "/realms/acme/protocol/openid-connect/certs",
            },
            metadata: json!({
                "code_challenge_methods_supported": ["plain", "S256"],
                "token_endpoint_auth_methods_supported": [
                    "private_key_jwt", "client_secret_basic", "client_secret_post",
                    "tls_client_auth", "client_secret_jwt",
                ],
            }),
            names_iss: true,
            access_claims: json!({
                "typ": "Bearer", "preferred_username": "ada", "azp": "gateway",
                "realm_access": {"roles": ["itil"]},
            }),
            id_claims: json!({"typ": "ID"}),
            ..Self::plain("incident-mcp")
        }
    }
}

const ENTRA_TENANT: &str = "8d5c1f2e-0000-4000-8000-000000000000";
