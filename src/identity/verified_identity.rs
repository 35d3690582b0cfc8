//! Whom a verified token stands for.

use serde_json::{Map, Value};

use crate::refusal::Refusal;
use crate::time::UnixTime;
use crate::token::{ClaimPath, TokenUse, VerifiedToken};

/// Which claims of a provider's tokens say whom they stand for.
#[derive(Clone, Debug)]
pub(crate) struct IdentityRules {
    /// The provider's name.
    pub provider: String,
    /// Identifies the user.
    pub user_claim: ClaimPath,
    /// The field of the user record that the claim is matched with.
    pub user_field: String,
    /// The first that is there holds the scopes.
    pub scope_claims: Vec<ClaimPath>,
    /// Holds the roles.
    pub roles_claim: ClaimPath,
    /// Holds the groups.
    pub groups_claim: ClaimPath,
    /// Whether tokens stand for users or services.
    pub client_type: ClientTypeRule,
    /// The scopes that an identity may have, if they are limited.
    pub auth_scopes: Option<Vec<String>>,
}

/// Whether a token stands for a user or for a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientType {
    /// A program on its own behalf.
    Service,
    /// A person.
    User,
}

/// How the type of a client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientTypeRule {
    /// By the claims of the token.
    Auto,
    /// All tokens of the provider are of this type.
    Fixed(ClientType),
}

/// Whom a verified token stands for. Identity headers are written from this alone, and this is
/// made from a verified token alone.
#[derive(Debug)]
pub(crate) struct VerifiedIdentity {
    pub(super) user: String,
    pub(super) user_field: String,
    pub(super) subject: Option<String>,
    pub(super) issuer: Option<String>,
    pub(super) provider: String,
    pub(super) client_id: Option<String>,
    pub(super) client_type: ClientType,
    pub(super) scopes: Vec<String>,
    pub(super) roles: Vec<String>,
    pub(super) groups: Vec<String>,
    pub(super) token_id: Option<String>,
    pub(super) token_expires: UnixTime,
    pub(super) single_use: Option<TokenUse>,
    pub(super) claims: Map<String, Value>,
}

impl VerifiedIdentity {
    /// Reads the identity out of a token.
    ///
    /// # Errors
    ///
    /// [`Refusal::MissingClaim`] when the user claim is missing, empty, or neither a string nor an
    /// integer.
    pub(crate) fn of_token(token: VerifiedToken, rules: &IdentityRules) -> Result<Self, Refusal> {
        let claims = token.claims();
        let user = match rules.user_claim.find(claims) {
            Some(Value::String(user)) if !user.is_empty() => user.clone(),
            Some(Value::Number(user)) if user.is_i64() || user.is_u64() => user.to_string(),
            _ => return Err(Refusal::MissingClaim { claim: rules.user_claim.to_string() }),
        };
        let client_id = ["azp", "client_id", "appid", "cid"]
            .into_iter()
            .find_map(|name| token.string(name))
            .map(str::to_owned);
        let client_type = match rules.client_type {
            ClientTypeRule::Fixed(client_type) => client_type,
            ClientTypeRule::Auto => client_type(&token, client_id.as_deref()),
        };
        let scope_claim = rules.scope_claims.iter().find_map(|path| path.find(claims));
        Ok(Self {
            user,
            user_field: rules.user_field.clone(),
            subject: token.string("sub").map(str::to_owned),
            issuer: token.string("iss").map(str::to_owned),
            provider: rules.provider.clone(),
            client_id,
            client_type,
            scopes: limited(scopes(scope_claim), rules.auth_scopes.as_deref()),
            roles: strings(rules.roles_claim.find(claims)),
            groups: strings(rules.groups_claim.find(claims)),
            token_id: token.string("jti").map(str::to_owned),
            token_expires: token.expires(),
            single_use: token.single_use(),
            claims: token.into_claims(),
        })
    }

    /// What must be spent before a request of this identity may go on: its token serves once.
    #[must_use]
    pub(crate) fn single_use(&self) -> Option<TokenUse> {
        self.single_use
    }
}

impl VerifiedIdentity {
    /// The name of the provider that vouches for it.
    #[must_use]
    pub(crate) fn provider(&self) -> &str {
        &self.provider
    }

    /// Whether it is a user or a service.
    #[must_use]
    pub(crate) fn client_type(&self) -> ClientType {
        self.client_type
    }

    /// Its scopes.
    #[must_use]
    pub(crate) fn scopes(&self) -> &[String] {
        &self.scopes
    }

    /// Its roles.
    #[must_use]
    pub(crate) fn roles(&self) -> &[String] {
        &self.roles
    }

    /// Its groups.
    #[must_use]
    pub(crate) fn groups(&self) -> &[String] {
        &self.groups
    }

    /// All claims of its token.
    #[must_use]
    pub(crate) fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }
}

impl ClientType {
    /// As headers and configuration spell it.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::User => "user",
        }
    }
}

/// A token that a client got for itself names the client as its subject, or says so: Entra ID in
/// `idtyp`, Auth0 in `gty`.
fn client_type(token: &VerifiedToken, client_id: Option<&str>) -> ClientType {
    let is_own_subject = client_id.is_some() && token.string("sub") == client_id;
    let is_service = is_own_subject
        || token.string("idtyp") == Some("app")
        || token.string("gty") == Some("client-credentials");
    if is_service { ClientType::Service } else { ClientType::User }
}

/// A space-separated string (RFC 8693 §4.2), or an array as some providers have it.
fn scopes(claim: Option<&Value>) -> Vec<String> {
    match claim {
        Some(Value::String(scopes)) => {
            scopes.split(' ').filter(|scope| !scope.is_empty()).map(str::to_owned).collect()
        }
        claim => strings(claim),
    }
}

/// Those of the scopes that are allowed; all that are allowed for a token that names none.
fn limited(scopes: Vec<String>, allowed: Option<&[String]>) -> Vec<String> {
    match allowed {
        None => scopes,
        Some(allowed) if scopes.is_empty() => allowed.to_vec(),
        Some(allowed) => scopes.into_iter().filter(|scope| allowed.contains(scope)).collect(),
    }
}

fn strings(claim: Option<&Value>) -> Vec<String> {
    match claim {
        Some(Value::String(value)) => vec![value.clone()],
        Some(Value::Array(values)) => {
            values.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        }
        _ => Vec::new(),
    }
}
