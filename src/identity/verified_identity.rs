//! The identity that a verified token proves.

use std::borrow::Cow;
use std::fmt;
use std::rc::Rc;

use super::string_list::StringList;
use super::{User, UserLookup, UserQuery, UserSelector};
use crate::claim::{ClaimPath, ListClaim, UnreadList, any_of, is_elsewhere, strings};
use crate::json::{Json, Object};
use crate::provider::{ClientType, ClientTypeRule, IdentityRules, ServiceSign};
use crate::refusal::{AccountStatus, Denial, Refusal};
use crate::sessions::{SessionHolder, Subject};
use crate::token::{SingleUseToken, VerifiedToken};

/// Claims with the same name at every provider, as far as they are strings.
#[derive(Debug, Default)]
pub(super) struct StandardClaims<'a> {
    pub(super) issuer: Option<&'a str>,
    pub(super) subject: Option<&'a str>,
    pub(super) token_id: Option<&'a str>,
    azp: Option<&'a str>,
    client_id: Option<&'a str>,
    appid: Option<&'a str>,
    cid: Option<&'a str>,
    idtyp: Option<&'a str>,
    gty: Option<&'a str>,
    /// Whether the token may refer to claims that it does not carry.
    names_others: bool,
}

/// The identity that a verified token claims. It is confirmed by looking up its user.
#[derive(Debug)]
pub(crate) struct ClaimedIdentity<'a> {
    token: &'a VerifiedToken,
    standard: StandardClaims<'a>,
    rules: &'a IdentityRules,
    audience_roles: &'a [ListClaim],
    client_type: ClientType,
    user: Cow<'a, str>,
}

/// A confirmed identity: the proof that a token was verified and its user looked up. Identity
/// headers can only be written from it.
#[derive(Debug)]
pub(crate) struct ConfirmedIdentity<'a> {
    pub(super) token: &'a VerifiedToken,
    pub(super) standard: StandardClaims<'a>,
    pub(super) rules: &'a IdentityRules,
    audience_roles: &'a [ListClaim],
    pub(super) client_type: ClientType,
    pub(super) user: Cow<'a, str>,
    pub(super) scopes: StringList,
    pub(super) roles: StringList,
    pub(super) groups: StringList,
    misread: Vec<Misread>,
}

/// The parts of an identity that access decisions need after its headers have been written.
#[derive(Debug)]
pub(crate) struct VerifiedIdentity {
    provider: Rc<str>,
    client_type: ClientType,
    scopes: StringList,
    roles: StringList,
    groups: StringList,
    claims: Object,
    overage: Option<Rc<Overage>>,
    misread: Box<[Misread]>,
    single_use: Option<SingleUseToken>,
    /// `None` where sessions are not bound.
    session_holder: Option<Rc<SessionHolder>>,
}

/// A claim of scopes, roles or groups whose value cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Misread {
    /// `scopes`, `roles` or `groups`.
    holds: &'static str,
    claim: String,
    found: UnreadList,
}

/// Roles or groups that are too many for the token, which only says where they are listed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Overage {
    provider: Rc<str>,
    user: String,
    lacking: Vec<&'static str>,
}

/// Why a claimed identity is not confirmed.
#[derive(Debug)]
pub(crate) enum Unconfirmed {
    /// The directory must be queried first.
    Await(UserQuery),
    /// The request must be refused.
    Refused(Refusal),
}

impl From<Refusal> for Unconfirmed {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl<'a> ClaimedIdentity<'a> {
    /// Reads the claimed identity from a token. `audience_roles` are role claims in addition to
    /// those of `rules`.
    ///
    /// # Errors
    ///
    /// [`Refusal::MissingUserClaim`] when the user claim is missing, empty, or neither a string nor
    /// an integer.
    pub(crate) fn from_token(
        token: &'a VerifiedToken,
        rules: &'a IdentityRules,
        audience_roles: &'a [ListClaim],
    ) -> Result<Self, Refusal> {
        let standard = StandardClaims::from_claims(token.claims());
        let client_type = match rules.client_type {
            ClientTypeRule::Fixed(client_type) => client_type,
            ClientTypeRule::Auto if rules.makes_a_service_of(token.claims()) => ClientType::Service,
            ClientTypeRule::Auto => standard.client_type(token.claims(), &rules.service_signs),
        };
        let user_claims = rules.user_claims_of(client_type);
        let user = match user_claims.iter().find_map(|path| path.find(token.claims())) {
            Some(Json::String(user)) if !user.is_empty() => Cow::Borrowed(user),
            Some(Json::Number(user)) if user.is_i64() || user.is_u64() => {
                Cow::Owned(user.to_string())
            }
            _ => {
                let claim = any_of(user_claims);
                return Err(Refusal::MissingUserClaim { claim });
            }
        };
        Ok(Self { token, standard, rules, audience_roles, client_type, user })
    }

    /// The criteria for looking up the user.
    #[must_use]
    pub(crate) fn selector(&self) -> UserSelector<'_> {
        UserSelector {
            field: &self.rules.user_field,
            value: &self.user,
            provider: &self.rules.provider,
            is_service: self.client_type == ClientType::Service,
            claims: self.token.claims(),
        }
    }

    /// `iss`; empty if it is missing.
    #[must_use]
    pub(crate) fn issuer(&self) -> &str {
        self.standard.issuer.unwrap_or_default()
    }

    /// Whom sessions are bound to: `sub`, or the user where there is none.
    #[must_use]
    pub(crate) fn subject(&self) -> Subject<'_> {
        match self.standard.subject {
            Some(subject) if !subject.is_empty() => Subject::Sub(subject),
            _ => Subject::User(&self.user),
        }
    }

    /// Confirms the identity by the result of looking up its user.
    ///
    /// # Errors
    ///
    /// [`Unconfirmed::Await`]; or [`Refusal::UserUnknown`], [`Refusal::UserInactive`],
    /// [`Refusal::UserNotServiceAccount`] or [`Refusal::DirectoryUnavailable`].
    pub(crate) fn confirmed_by(
        self,
        finding: UserLookup<'a>,
    ) -> Result<ConfirmedIdentity<'a>, Unconfirmed> {
        let known = self.known_user(finding)?;
        let Self { token, standard, rules, audience_roles, client_type, user } = self;
        let claims = token.claims();
        let mut misread = Vec::new();
        let mut values = |holds, claim: &ListClaim| {
            let misread_as = |found| misread.push(Misread::new(holds, claim.path(), found));
            claim.values(claims).map_err(misread_as).ok()
        };
        let roles_of_user = known.into_iter().flat_map(User::roles);
        let roles_claims = rules.roles_claims.iter().chain(audience_roles);
        let roles = roles_claims.filter_map(|claim| values("roles", claim)).flatten();
        let roles = StringList::union(roles_of_user.chain(roles));
        let groups = values("groups", &rules.groups_claim).into_iter().flatten();
        let scope_claims: Vec<_> = scope_claims(claims, rules).collect();
        misread.extend(scope_claims.iter().filter_map(|(claim, value)| {
            let found = UnreadList::in_place_of_strings(*value)?;
            Some(Misread::new("scopes", claim, found))
        }));
        Ok(ConfirmedIdentity {
            token,
            standard,
            rules,
            audience_roles,
            client_type,
            user: known.map_or(user, |known| Cow::Borrowed(&known.user_name)),
            scopes: scopes(&scope_claims, rules),
            roles,
            groups: match known {
                Some(known) => StringList::union(known.groups().chain(groups)),
                None => StringList::new(groups),
            },
            misread,
        })
    }

    /// The user that was found; `None` for an unknown user who is allowed.
    fn known_user<'b>(&self, finding: UserLookup<'b>) -> Result<Option<&'b User>, Unconfirmed> {
        match finding {
            UserLookup::Await(query) => Err(Unconfirmed::Await(query)),
            UserLookup::Known(user) => {
                self.may_be(user)?;
                Ok(Some(user))
            }
            UserLookup::Tolerated => Ok(None),
            UserLookup::Unavailable(fault) => {
                Err(Refusal::directory_unavailable(fault.clone()).into())
            }
            UserLookup::Unknown(why) => Err(Unconfirmed::Refused(Refusal::UserUnknown {
                claim: any_of(self.rules.user_claims_of(self.client_type)),
                field: self.rules.user_field.clone(),
                cause: why.cause(),
            })),
        }
    }

    fn may_be(&self, known: &User) -> Result<(), Refusal> {
        let user = || known.user_name.clone();
        if known.account_status != AccountStatus::Active {
            return Err(Refusal::UserInactive {
                user: user(),
                account_status: known.account_status,
            });
        }
        // A user's token may use a service account: not every provider marks tokens of services.
        if self.client_type == ClientType::Service && !known.web_service_access_only {
            return Err(Refusal::UserNotServiceAccount { user: user() });
        }
        Ok(())
    }
}

impl ConfirmedIdentity<'_> {
    /// Drops the token except for the claims with these names. `session_holder`: whom its sessions are
    /// bound to, if they are.
    #[must_use]
    pub(crate) fn retain_claims(
        self,
        names: &[String],
        session_holder: Option<Rc<SessionHolder>>,
    ) -> VerifiedIdentity {
        let claims = match names {
            [] => Object::default(),
            names => self.token.claims().retain(|name| names.iter().any(|kept| kept == name)),
        };
        let overage = Overage::from_identity(&self).map(Rc::new);
        VerifiedIdentity {
            provider: self.rules.provider.clone(),
            client_type: self.client_type,
            claims,
            overage,
            misread: self.misread.into(),
            single_use: self.token.single_use(),
            session_holder,
            scopes: self.scopes,
            roles: self.roles,
            groups: self.groups,
        }
    }
}

impl VerifiedIdentity {
    /// The single-use token that must be spent before a request is forwarded.
    #[must_use]
    pub(crate) fn single_use(&self) -> Option<SingleUseToken> {
        self.single_use
    }

    /// Whom its sessions are bound to; `None` where sessions are not bound.
    #[must_use]
    pub(crate) fn session_holder(&self) -> Option<&Rc<SessionHolder>> {
        self.session_holder.as_ref()
    }

    /// The lists that the token does not carry; `None` if it carries all.
    #[must_use]
    pub(crate) fn overage(&self) -> Option<Rc<Overage>> {
        self.overage.clone()
    }

    /// Whether the token does not carry its `roles` or `groups` but lists them elsewhere.
    #[must_use]
    pub(crate) fn lists_elsewhere(&self, names: &str) -> bool {
        self.overage.as_ref().is_some_and(|overage| overage.lacking.contains(&names))
    }

    /// The claim of `scopes`, `roles` or `groups` that could not be read, if there is one.
    #[must_use]
    pub(crate) fn misread(&self, holds: &str) -> Option<&Misread> {
        self.misread.iter().find(|misread| misread.holds == holds)
    }

    /// Name of the provider that issued the token.
    #[must_use]
    pub(crate) fn provider(&self) -> &str {
        &self.provider
    }

    #[must_use]
    pub(crate) fn client_type(&self) -> ClientType {
        self.client_type
    }

    #[must_use]
    pub(crate) fn scopes(&self) -> &StringList {
        &self.scopes
    }

    #[must_use]
    pub(crate) fn roles(&self) -> &StringList {
        &self.roles
    }

    #[must_use]
    pub(crate) fn groups(&self) -> &StringList {
        &self.groups
    }

    /// The claims that [`ConfirmedIdentity::retain_claims`] kept.
    #[must_use]
    pub(crate) fn claims(&self) -> &Object {
        &self.claims
    }

    /// Approximate size in bytes.
    #[must_use]
    pub(crate) fn size(&self) -> usize {
        let lists = [&self.scopes, &self.roles, &self.groups].map(StringList::heap_size);
        let overage = self.overage.as_ref().map_or(0, |overage| overage.size());
        let misread = self.misread.iter().map(|misread| size_of_val(misread) + misread.claim.len());
        let misread = misread.sum::<usize>();
        let holder = self.session_holder.as_ref().map_or(0, |holder| size_of_val(&**holder));
        let lists = lists.iter().sum::<usize>();
        size_of::<Self>() + lists + overage + misread + holder + self.claims.size()
    }
}

impl Misread {
    fn new(holds: &'static str, claim: &ClaimPath, found: UnreadList) -> Self {
        Self { holds, claim: claim.to_string(), found }
    }

    /// The denial by the rule of this name, which requires values of this claim.
    #[must_use]
    pub(crate) fn denial(&self, rule: &str) -> Denial {
        Denial::Misread {
            rule: rule.to_owned(),
            line: self.holds,
            claim: self.claim.clone(),
            found: self.found,
        }
    }
}

impl Overage {
    fn from_identity(identity: &ConfirmedIdentity<'_>) -> Option<Self> {
        let (claims, rules) = (identity.token.claims(), identity.rules);
        if !identity.standard.names_others {
            return None;
        }
        let is_elsewhere = |path: &ClaimPath| is_elsewhere(claims, path.top_level());
        let mut roles = rules.roles_claims.iter().chain(identity.audience_roles);
        let roles = roles.any(|claim| is_elsewhere(claim.path()));
        let roles = roles.then_some("roles");
        let groups = is_elsewhere(rules.groups_claim.path()).then_some("groups");
        let lacking: Vec<_> = roles.into_iter().chain(groups).collect();
        (!lacking.is_empty()).then(|| Self {
            provider: rules.provider.clone(),
            user: identity.user.clone().into_owned(),
            lacking,
        })
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.user.len() + size_of_val(self.lacking.as_slice())
    }
}

impl fmt::Display for Overage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "provider {}: the token of {:?} lists its {} elsewhere (_claim_names), so they are \
             not known here",
            self.provider,
            self.user.chars().take(120).collect::<String>(),
            self.lacking.join(" and "),
        )
    }
}

impl<'a> StandardClaims<'a> {
    /// Collects the claims in one pass.
    fn from_claims(claims: &'a Object) -> Self {
        let mut standard = Self::default();
        for (name, value) in claims.members().iter_bytes() {
            let claim = match name {
                b"iss" => &mut standard.issuer,
                b"sub" => &mut standard.subject,
                b"jti" => &mut standard.token_id,
                b"azp" => &mut standard.azp,
                b"client_id" => &mut standard.client_id,
                b"appid" => &mut standard.appid,
                b"cid" => &mut standard.cid,
                b"idtyp" => &mut standard.idtyp,
                b"gty" => &mut standard.gty,
                b"_claim_names" | b"hasgroups" => {
                    standard.names_others = true;
                    continue;
                }
                _ => continue,
            };
            *claim = value.as_str();
        }
        standard
    }

    /// The client id, under the name that the provider uses.
    pub(super) fn client_id(&self) -> Option<&'a str> {
        self.azp.or(self.client_id).or(self.appid).or(self.cid)
    }

    /// A service's token has the client as its subject, or a marker: `idtyp` of Entra ID, `gty` of
    /// Auth0, or the signs of the provider's template.
    fn client_type(&self, claims: &Object, signs: &[ServiceSign]) -> ClientType {
        let client_id = self.client_id();
        let is_own_subject = client_id.is_some() && self.subject == client_id;
        let is_service = is_own_subject
            || self.idtyp == Some("app")
            || self.gty == Some("client-credentials")
            || signs.iter().any(|sign| sign.is_seen(claims, self));
        if is_service { ClientType::Service } else { ClientType::User }
    }
}

impl ServiceSign {
    fn is_seen(&self, claims: &Object, standard: &StandardClaims<'_>) -> bool {
        let string = |claim: &ClaimPath| claim.find(claims).and_then(Json::as_str);
        match self {
            Self::NamedAfterClient { claim, before, after } => {
                standard.client_id().zip(string(claim)).is_some_and(|(client_id, value)| {
                    value.eq_ignore_ascii_case(&format!("{before}{client_id}{after}"))
                })
            }
            Self::SubjectIs(claim) => {
                standard.subject.is_some_and(|subject| string(claim) == Some(subject))
            }
        }
    }
}

/// The token's scopes, limited to `auth_scopes`. A token without a scope claim gets all of
/// `auth_scopes`; one whose scope claim cannot be read gets none.
fn scopes(claims: &[(&ClaimPath, Json<'_>)], rules: &IdentityRules) -> StringList {
    let values = claims.iter().map(|(_, value)| *value);
    let scopes = StringList::union(values.clone().flat_map(words));
    match &rules.auth_scopes {
        None => scopes,
        Some(allowed) if scopes.is_empty() => {
            let is_unread = |value| UnreadList::in_place_of_strings(value).is_some();
            let allowed = if values.clone().any(is_unread) { &[][..] } else { allowed.as_slice() };
            StringList::new(allowed.iter().map(String::as_str))
        }
        Some(allowed) => StringList::new(
            scopes.iter().filter(|scope| allowed.iter().any(|allowed| allowed == scope)),
        ),
    }
}

/// The claims that hold the token's scopes: the first of `scope_claims`, and all permissions.
fn scope_claims<'a>(
    claims: &'a Object,
    rules: &'a IdentityRules,
) -> impl Iterator<Item = (&'a ClaimPath, Json<'a>)> {
    let find = |path: &'a ClaimPath| Some((path, path.find(claims)?));
    let scope_claim = rules.scope_claims.iter().find_map(find);
    scope_claim.into_iter().chain(rules.permission_claims.iter().filter_map(find))
}

/// Splits a space-separated string (RFC 8693 §4.2), or lists the strings of an array.
fn words(claim: Json<'_>) -> impl Iterator<Item = &str> + Clone {
    let (line, listed) = match claim {
        Json::String(line) => (line, None),
        claim => ("", Some(claim)),
    };
    line.split(' ').filter(|word| !word.is_empty()).chain(strings(listed))
}

#[cfg(test)]
mod tests;
