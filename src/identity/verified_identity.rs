//! Whom a verified token stands for.

use std::collections::HashSet;
use std::fmt;

use super::{Finding, Standing, User, UserQuery, Wanted};
use crate::json::{Json, Object};
use crate::refusal::Refusal;
use crate::time::UnixTime;
use crate::token::{ClaimPath, TokenUse, VerifiedToken, any_of, is_elsewhere};

/// Which claims of a provider's tokens say whom they stand for.
#[derive(Clone, Debug)]
pub(crate) struct IdentityRules {
    /// The provider's name.
    pub provider: String,
    /// The first that is there identifies the user.
    pub user_claims: Vec<ClaimPath>,
    /// The same for tokens that stand for services.
    pub service_user_claims: Vec<ClaimPath>,
    /// The field of the user record that the claim is matched with.
    pub user_field: String,
    /// The first that is there holds the scopes.
    pub scope_claims: Vec<ClaimPath>,
    /// These hold scopes too.
    pub permission_claims: Vec<ClaimPath>,
    /// All of these hold roles.
    pub roles_claims: Vec<ClaimPath>,
    /// Holds the groups.
    pub groups_claim: ClaimPath,
    /// Whether tokens stand for users or services.
    pub client_type: ClientTypeRule,
    /// The scopes that an identity may have, if they are limited.
    pub auth_scopes: Option<Vec<String>>,
    /// What tells tokens of services, besides what does so at any provider.
    pub service_signs: Vec<ServiceSign>,
}

impl IdentityRules {
    /// The claims that identify a user or a service; the first that is there does.
    fn user_claims_of(&self, client_type: ClientType) -> &[ClaimPath] {
        match client_type {
            ClientType::Service => &self.service_user_claims,
            ClientType::User => &self.user_claims,
        }
    }
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

/// What tells that a client got a token for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ServiceSign {
    /// This claim is the client id between two texts, case aside.
    NamedAfterClient {
        /// The claim.
        claim: ClaimPath,
        /// What stands before the client id.
        before: &'static str,
        /// What stands after it.
        after: &'static str,
    },
    /// `sub` is the same as this claim.
    SubjectIs(ClaimPath),
}
/// Whom a verified token claims to stand for. Only what the directory knows makes an identity of it.
#[derive(Debug)]
pub(crate) struct ClaimedIdentity(VerifiedIdentity);

/// Whom a verified token stands for. Identity headers are written from this alone, and this is
/// made from a verified token and the directory alone.
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
    elsewhere: Vec<&'static str>,
    pub(super) token_id: Option<String>,
    pub(super) token_expires: UnixTime,
    pub(super) single_use: Option<TokenUse>,
    pub(super) claims: Object,
}

/// Roles or groups that a token lists elsewhere instead of carrying them, because they are too many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Overage {
    provider: String,
    user: String,
    lacking: Vec<&'static str>,
}

/// Why a claimed identity is none.
#[derive(Debug)]
pub(crate) enum Unconfirmed {
    /// Nobody can tell yet: this has to be asked first.
    Await(UserQuery),
    /// It must not be one.
    Refused(Refusal),
}

impl From<Refusal> for Unconfirmed {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl ClaimedIdentity {
    /// Reads the claimed identity out of a token.
    ///
    /// # Errors
    ///
    /// [`Refusal::MissingClaim`] when the user claim is missing, empty, or neither a string nor an
    /// integer.
    pub(crate) fn of_token(token: VerifiedToken, rules: &IdentityRules) -> Result<Self, Refusal> {
        let claims = token.claims();
        let client_id = ["azp", "client_id", "appid", "cid"]
            .into_iter()
            .find_map(|name| token.string(name))
            .map(str::to_owned);
        let client_type = match rules.client_type {
            ClientTypeRule::Fixed(client_type) => client_type,
            ClientTypeRule::Auto => client_type(&token, client_id.as_deref(), &rules.service_signs),
        };
        let user_claims = rules.user_claims_of(client_type);
        let user = match user_claims.iter().find_map(|path| path.find(claims)) {
            Some(Json::String(user)) if !user.is_empty() => user.to_owned(),
            Some(Json::Number(user)) if user.is_i64() || user.is_u64() => user.to_string(),
            _ => {
                let claim = any_of(user_claims);
                return Err(Refusal::MissingClaim { claim, is_elsewhere: false });
            }
        };
        let scope_claim = rules.scope_claims.iter().find_map(|path| path.find(claims));
        let permissions = rules.permission_claims.iter().map(|path| path.find(claims));
        let roles = rules.roles_claims.iter().map(|path| strings(path.find(claims)));
        Ok(Self(VerifiedIdentity {
            user,
            user_field: rules.user_field.clone(),
            subject: token.string("sub").map(str::to_owned),
            issuer: token.string("iss").map(str::to_owned),
            provider: rules.provider.clone(),
            client_id,
            client_type,
            scopes: limited(
                union([scope_claim].into_iter().chain(permissions).map(scopes)),
                rules.auth_scopes.as_deref(),
            ),
            roles: union(roles),
            groups: strings(rules.groups_claim.find(claims)),
            elsewhere: elsewhere(claims, rules),
            token_id: token.string("jti").map(str::to_owned),
            token_expires: token.expires(),
            single_use: token.single_use(),
            claims: token.into_claims(),
        }))
    }

    /// The user to look for.
    #[must_use]
    pub(crate) fn wanted(&self) -> Wanted<'_> {
        Wanted {
            field: &self.0.user_field,
            value: &self.0.user,
            is_service: self.0.client_type == ClientType::Service,
            claims: &self.0.claims,
        }
    }

    /// The identity, given what is known of its user.
    ///
    /// # Errors
    ///
    /// Nothing is known yet; or [`Refusal::UserUnknown`], [`Refusal::UserInactive`],
    /// [`Refusal::UserNotServiceAccount`] or [`Refusal::DirectoryUnavailable`].
    pub(crate) fn confirmed_by(
        self,
        finding: Finding<'_>,
        rules: &IdentityRules,
    ) -> Result<VerifiedIdentity, Unconfirmed> {
        match finding {
            Finding::Await(query) => Err(Unconfirmed::Await(query)),
            Finding::Known(user) => Ok(self.of_user(user)?),
            Finding::Tolerated => Ok(self.0),
            Finding::Unavailable(fault) => Err(Refusal::directory_unavailable(fault).into()),
            Finding::Unknown(why) => Err(Unconfirmed::Refused(Refusal::UserUnknown {
                claim: any_of(rules.user_claims_of(self.0.client_type)),
                field: rules.user_field.clone(),
                cause: why.map(ToString::to_string),
            })),
        }
    }

    fn of_user(self, known: &User) -> Result<VerifiedIdentity, Refusal> {
        let user = known.user_name.clone();
        if known.standing != Standing::Active {
            return Err(Refusal::UserInactive { user, standing: known.standing });
        }
        // The other way round passes: not every provider marks the tokens of its services.
        if self.0.client_type == ClientType::Service && !known.web_service_access_only {
            return Err(Refusal::UserNotServiceAccount { user });
        }
        Ok(VerifiedIdentity {
            user,
            roles: union([known.roles.clone(), self.0.roles]),
            groups: union([known.groups.clone(), self.0.groups]),
            ..self.0
        })
    }
}

impl VerifiedIdentity {
    /// What must be spent before a request of this identity may go on: its token serves once.
    #[must_use]
    pub(crate) fn single_use(&self) -> Option<TokenUse> {
        self.single_use
    }

    /// What the token lists elsewhere; none when it carries all.
    #[must_use]
    pub(crate) fn overage(&self) -> Option<Overage> {
        let is_overage = !self.elsewhere.is_empty();
        is_overage.then(|| Overage {
            provider: self.provider.clone(),
            user: self.user.clone(),
            lacking: self.elsewhere.clone(),
        })
    }

    /// Whether the token lists these, `roles` or `groups`, elsewhere.
    #[must_use]
    pub(crate) fn lists_elsewhere(&self, names: &str) -> bool {
        self.elsewhere.contains(&names)
    }

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

    /// The same with these claims of its token alone.
    #[must_use]
    pub(crate) fn keeping_claims(mut self, is_kept: impl Fn(&str) -> bool) -> Self {
        self.claims = self.claims.keeping(is_kept);
        self
    }

    /// How many bytes its claims take up.
    #[must_use]
    pub(crate) fn size_of_claims(&self) -> usize {
        self.claims.size()
    }

    /// The claims of its token, or those that were kept.
    #[must_use]
    pub(crate) fn claims(&self) -> &Object {
        &self.claims
    }
}

impl fmt::Display for Overage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "provider {}: the token of {:?} lists its {} elsewhere (_claim_names): none of them \
             are known here",
            self.provider,
            self.user.chars().take(120).collect::<String>(),
            self.lacking.join(" and "),
        )
    }
}

impl ServiceSign {
    fn is_seen(&self, token: &VerifiedToken, client_id: Option<&str>) -> bool {
        match self {
            Self::NamedAfterClient { claim, before, after } => {
                let value = claim.find(token.claims()).and_then(Json::as_str);
                client_id.zip(value).is_some_and(|(client_id, value)| {
                    value.eq_ignore_ascii_case(&format!("{before}{client_id}{after}"))
                })
            }
            Self::SubjectIs(claim) => token
                .string("sub")
                .is_some_and(|sub| claim.find(token.claims()).and_then(Json::as_str) == Some(sub)),
        }
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
/// `idtyp`, Auth0 in `gty`, others by the signs of their templates.
fn client_type(
    token: &VerifiedToken,
    client_id: Option<&str>,
    signs: &[ServiceSign],
) -> ClientType {
    let is_own_subject = client_id.is_some() && token.string("sub") == client_id;
    let is_service = is_own_subject
        || token.string("idtyp") == Some("app")
        || token.string("gty") == Some("client-credentials")
        || signs.iter().any(|sign| sign.is_seen(token, client_id));
    if is_service { ClientType::Service } else { ClientType::User }
}

/// Which of roles and groups the token names without carrying them.
fn elsewhere(claims: &Object, rules: &IdentityRules) -> Vec<&'static str> {
    let is_elsewhere = |path: &ClaimPath| is_elsewhere(claims, path.top_level());
    let roles = rules.roles_claims.iter().any(is_elsewhere).then_some("roles");
    let groups = is_elsewhere(&rules.groups_claim).then_some("groups");
    roles.into_iter().chain(groups).collect()
}

/// A space-separated string (RFC 8693 §4.2), or an array as some providers have it.
fn scopes(claim: Option<Json<'_>>) -> Vec<String> {
    match claim {
        Some(Json::String(scopes)) => {
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

fn strings(claim: Option<Json<'_>>) -> Vec<String> {
    match claim {
        Some(Json::String(value)) => vec![value.to_owned()],
        Some(Json::Array(values)) => {
            values.iter().filter_map(Json::as_str).map(str::to_owned).collect()
        }
        _ => Vec::new(),
    }
}

/// All items, each once, in their order.
fn union(lists: impl IntoIterator<Item = Vec<String>>) -> Vec<String> {
    let mut seen = HashSet::new();
    lists.into_iter().flatten().filter(|item| seen.insert(item.clone())).collect()
}
