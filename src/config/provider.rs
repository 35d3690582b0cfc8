//! `providers`: the identity providers.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::claims::required_claims;
use super::defaults::{PROVIDER_ACTIVE, RESTRICT_TO_POLICIES, USER_FIELD};
use super::field::{Field, Reader, UnknownFields, refuse_unknown};
use super::key_source::{RawSource, key_source};
use super::keys::RawKeys;
use super::limits::CLOCK_SKEW;
use super::provider_login::{OfProvider, RawProviderLogin, provider_login};
use super::scopes::scopes;
use super::templates::{LoginTemplate, Template, TemplateName, is_guid};
use super::units::DurationString;
use super::url::secure_url;
use super::{Environment, Faults};
use crate::claim::{AudienceClaim, ClaimPath, ListClaim, RequiredClaim};
use crate::jose::Algorithm;
use crate::keys::KeySettings;
use crate::login::LoginProvider;
use crate::provider::{
    AcceptedTokens, ClaimRules, ClientType, ClientTypeRule, IdentityRules, Provider, ProviderMap,
    Providers, TokenIdRule, TokenTypes,
};

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, expecting = "an object")]
pub(super) struct RawProvider {
    /// The name of the provider in headers, logs and metrics, unique: a-z, 0-9, _ and -.
    pub(super) name: Field<String>,
    /// Fills in what is known about this provider. Fields that are given here override it.
    pub(super) template: Field<TemplateName>,
    /// Input of template `entra_id`, required there: the id of a tenant or one of its domain names.
    /// Default: none.
    pub(super) tenant: Field<String>,
    /// Input of templates `okta` and `auth0`, required there: a host name, without https:// and
    /// path. Default: none.
    pub(super) domain: Field<String>,
    /// Input of templates `adfs` and `keycloak`, required there: a host name, with a port if
    /// needed, without https:// and path. Default: none.
    pub(super) host: Field<String>,
    /// Input of template `keycloak`, required there: the name of a realm. Default: none.
    pub(super) realm: Field<String>,
    /// Input of template `okta`: the id of a custom authorization server. Default: `default`.
    pub(super) authorization_server: Field<String>,
    /// Accepted values of `aud`, or of the claim that `audience_claim` selects. Active providers
    /// with the same issuer must not share one, because `aud` distinguishes them. Required, unless
    /// every resource that accepts the provider's tokens has `audiences` for it. Default: none.
    pub(super) client_ids: Field<Vec<String>>,
    /// The claim that `client_ids` are compared with.
    pub(super) audience_claim: Field<RawAudienceClaim>,
    /// The URL of the metadata document, which names the key set (discovery). Exactly one of
    /// `metadata_url`, `jwks_url`, `jwks` and `certificates` is given. Default: the template's;
    /// `generic` has none.
    pub(super) metadata_url: Field<String>,
    /// The URL of the key set, without discovery. Default: none.
    pub(super) jwks_url: Field<String>,
    /// The keys as an inline key set (RFC 7517); nothing is fetched. Default: none.
    pub(super) jwks: Field<Value>,
    /// The keys as X.509 certificates in PEM; nothing is fetched. The certificates' issuer and
    /// validity are not checked. Default: none.
    pub(super) certificates: Field<Vec<String>>,
    /// The Envoy cluster that is called for every URL of this provider. With a URL, either this or
    /// `clusters` is required. Default: none.
    pub(super) cluster: Field<String>,
    /// The Envoy cluster for each host, or host:port, of this provider. A host without one is never
    /// called, even if the metadata document names it. Default: none.
    pub(super) clusters: Field<BTreeMap<String, String>>,
    /// The accepted value of `iss`, compared exactly. Default: the template's; required if it has
    /// none.
    pub(super) issuer: Field<String>,
    /// Further accepted values of `iss`. Default: the template's; `generic` has none.
    pub(super) additional_issuers: Field<Vec<String>>,
    /// Accepted signature algorithms. Default: the template's, which are the ones its provider
    /// signs with; all for `generic` and `keycloak`.
    pub(super) algorithms: Field<Vec<String>>,
    /// Tolerance for `exp`, `nbf` and `iat`.
    pub(super) clock_skew: Field<DurationString>,
    /// Greatest age of a token, counted from `iat`, which is then required. Default: no limit.
    pub(super) max_token_age: Field<DurationString>,
    /// Claims that a token must have: for each, the required value or a list of accepted values.
    /// Those of the template are required as well, unless they are given here. Default: the
    /// template's; `generic` has none.
    pub(super) required_claims: Field<BTreeMap<String, Value>>,
    /// Claims of which a token must have at least one that is not empty; `[]` requires none.
    /// Default: the template's: `[scp, roles]` for `entra_id`, none for the others.
    pub(super) required_any_claim: Field<Vec<ClaimPath>>,
    /// Accepted values of `typ`; letter case and a leading application/ are ignored. An ID token
    /// (`JWT`) whose `aud` is accepted is accepted too, unless this is `[at+jwt]` or
    /// `required_claims` excludes it. Default: at+jwt and JWT, and tokens without `typ`.
    pub(super) token_types: Field<Vec<String>>,
    /// How the keys of this provider are fetched. Default: the top-level `keys`, field by field.
    pub(super) keys: Field<RawKeys>,
    /// The claim that identifies the user. Default: `sub`, or the template's.
    pub(super) user_claim: Field<ClaimPath>,
    /// The claim that identifies the user of a service's token. If given, a token that has neither
    /// `user_claim` nor `sub` also counts as a service's when `client_type` is `auto`: set it only
    /// where every person's token has one of the two. Default: the template's; if `user_claim` is
    /// given, that.
    pub(super) service_user_claim: Field<ClaimPath>,
    /// The field of the user records that `user_claim` is compared with.
    pub(super) user_field: Field<String>,
    /// The claim that holds the scopes, as a string or a list. Default: `scope`, then `scp`, or the
    /// template's.
    pub(super) scope_claim: Field<ClaimPath>,
    /// The claim that holds the roles, as a list or a string. `{keys_of: …}`: an object whose
    /// member names are the roles, as in Zitadel's tokens. Default: `roles`, or the template's.
    pub(super) roles_claim: Field<ListClaim>,
    /// The claim that holds the groups, in the same forms. Default: `groups`, or the template's.
    pub(super) groups_claim: Field<ListClaim>,
    /// What is required of the `jti` of a token.
    pub(super) jti: Field<RawTokenIdRule>,
    /// Whether its tokens belong to users or to services.
    pub(super) client_type: Field<RawClientType>,
    /// Scopes that its tokens may carry; others are dropped, and a token without scopes gets
    /// exactly these. ServiceNow's `useraccount` means no limit. Default: no limit.
    pub(super) auth_scopes: Field<Vec<String>>,
    /// Whether its tokens are accepted only where an access rule names this provider.
    pub(super) restrict_to_policies: Field<bool>,
    /// Whether its tokens are accepted.
    pub(super) active: Field<bool>,
    /// How people log in at this provider through the gateway. Required for at least one provider
    /// if there is a top-level `login`. Default: no login.
    pub(super) login: Field<RawProviderLogin>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[serde(rename_all = "snake_case")]
pub(super) enum RawAudienceClaim {
    /// The audience of the token.
    #[default]
    Aud,
    /// The client that the token was issued to, from `client_id`, `azp`, `appid` or `cid`: for
    /// providers whose access tokens have no `aud` (Amazon Cognito, Clerk, WorkOS). **A token that
    /// the client obtained for any other API is then accepted here as well.** If a token has `aud`,
    /// that must name one of `client_ids` too.
    ClientId,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[serde(rename_all = "snake_case")]
pub(super) enum RawTokenIdRule {
    /// It may be anything, or missing.
    #[default]
    Ignore,
    /// It must be a string.
    Require,
    /// It must be a string, and each token is accepted once.
    SingleUse,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[serde(rename_all = "snake_case")]
pub(super) enum RawClientType {
    /// A user or a service, depending on the claims.
    #[default]
    Auto,
    /// A user.
    User,
    /// A service that obtained the token for itself.
    Service,
}

/// The active providers, and their configured audiences.
pub(super) struct ReadProviders {
    pub(super) providers: Providers,
    pub(super) clients: ProviderMap<Clients>,
    /// `None` for a provider without `login`.
    pub(super) logins: ProviderMap<Option<LoginProvider>>,
    /// Whether any active provider, faulty ones included, has `login`.
    pub(super) has_login: bool,
}

/// What one element of `providers` yields.
struct Read {
    provider: Provider,
    clients: Clients,
    login: Option<LoginProvider>,
}

/// The audiences of a provider.
#[derive(Clone, Default)]
pub(super) struct Clients {
    /// The index of the provider in `providers`.
    pub(super) position: usize,
    /// `client_ids`; `None` if it is missing.
    pub(super) ids: Option<Vec<String>>,
    /// A GUID among audiences is accepted with and without this prefix.
    prefix: Option<&'static str>,
    /// The claim that holds roles by audience, unless `roles_claim` replaces it.
    roles_claim: Option<&'static str>,
}

impl Clients {
    /// The tokens that are accepted with these audiences.
    pub(super) fn tokens(&self, audiences: &[String]) -> AcceptedTokens {
        let roles = self.roles_claim.into_iter().flat_map(|claim| {
            let path = move |audience: &String| ClaimPath::from_names([claim, audience, "roles"]);
            audiences.iter().map(path)
        });
        AcceptedTokens {
            audience_roles: roles.map(ListClaim::Strings).collect(),
            audiences: with_other_spellings(audiences, self.prefix),
        }
    }
}

/// Reads the providers. `needs_client_ids`: every provider must have `client_ids`, since nothing else
/// can say which audiences are accepted.
pub(super) fn providers(
    raw: Field<Vec<Field<RawProvider>>>,
    needs_client_ids: bool,
    defaults: &KeySettings,
    environment: Environment<'_>,
    faults: &mut Faults,
) -> ReadProviders {
    let raw = raw.required("providers", faults);
    let is_empty = raw.as_ref().is_some_and(Vec::is_empty);
    let (mut names, mut active) = (Vec::<String>::new(), Vec::<Read>::new());
    let (mut any_fault, mut has_login) = (false, false);
    for (index, raw) in raw.unwrap_or_default().into_iter().enumerate() {
        let path = format!("providers[{index}]");
        let Some(raw) = raw.optional(&path, faults) else {
            any_fault = true;
            continue;
        };
        let is_active = raw.active.clone().optional(&format!("{path}.active"), faults);
        let is_active = is_active.unwrap_or(PROVIDER_ACTIVE.value);
        has_login |= is_active && !matches!(raw.login, Field::Absent);
        let Some(read) = raw.parse(index, needs_client_ids, defaults, environment, faults) else {
            any_fault = true;
            continue;
        };
        let name = &read.provider.name;
        if names.contains(name) {
            faults.add(&format!("{path}.name"), format!("{name:?} is duplicated"));
        }
        names.push(name.clone());
        if is_active {
            active.push(read);
        }
    }
    if is_empty {
        faults.add("providers", "must hold at least one provider");
    } else if !names.is_empty() && active.is_empty() && !any_fault {
        faults.add("providers", "must hold at least one active provider");
    }
    let active = ProviderMap::new(active);
    ReadProviders {
        providers: Providers::new(active.values().map(|read| read.provider.clone()).collect()),
        clients: active.map(|read| read.clients.clone()),
        logins: active.map(|read| read.login.clone()),
        has_login,
    }
}

impl RawProvider {
    fn parse(
        mut self,
        position: usize,
        needs_client_ids: bool,
        defaults: &KeySettings,
        environment: Environment<'_>,
        faults: &mut Faults,
    ) -> Option<Read> {
        let path = &*format!("providers[{position}]");
        refuse_unknown(&format!("{path}."), &self.unknown, faults);
        let mut reader = Reader::new(path, faults);
        let template_name = self.template_name();
        let template = self.template(&mut reader);
        // If the template itself is faulty, fields that it would have filled in are not reported as
        // missing.
        let is_template_faulty = template.is_none();
        let mut template = template.unwrap_or_default();
        let name = self.name(&mut reader);
        let client_ids = self.client_ids(needs_client_ids, &mut reader);
        let issuers = self.issuers(&mut template, is_template_faulty, &mut reader);
        let issuer = issuers.as_ref().and_then(|issuers| issuers.first());
        let settings = reader.optional("keys", &mut self.keys).unwrap_or_default();
        let settings = settings.parse_or(defaults, &reader.at("keys"), reader.faults);
        let source = self.source().or_metadata_url(template.metadata_url.take());
        let key_source = if is_template_faulty && source.is_absent() {
            None
        } else {
            key_source(source, issuer.map(String::as_str), settings, path, reader.faults)
        };
        let of_login = OfProvider {
            name: name.as_deref(),
            issuer: issuer.map(String::as_str),
            key_source: key_source.as_ref(),
            template: LoginTemplate::new(template_name),
        };
        let login = self.login(of_login, environment, &mut reader);
        let algorithms = algorithms(&mut self.algorithms, &mut reader);
        let algorithms = algorithms.unwrap_or_else(|| std::mem::take(&mut template.algorithms));
        let claim_rules = self.claim_rules(&mut reader);
        let required_claims = self.required_claims(&mut reader);
        let required_any_claim = self.required_any_claim(&mut template, &mut reader);
        let token_id_rule = self.token_id_rule(&mut reader);
        let needed = RequiredClaims::new(required_claims, &mut template);
        let clients = Clients {
            position,
            prefix: template.audience_prefix,
            roles_claim: template
                .audience_roles_claim
                .filter(|_| matches!(self.roles_claim, Field::Absent)),
            ids: client_ids.as_ref().ok().cloned().flatten(),
        };
        let identity_rules = self.identity_rules(name.as_deref(), template, &mut reader);
        let restrict_to_policies = reader
            .optional("restrict_to_policies", &mut self.restrict_to_policies)
            .unwrap_or(RESTRICT_TO_POLICIES.value);
        client_ids.ok()?;
        let provider = Provider {
            name: name?,
            issuers: issuers?,
            algorithms,
            claim_rules,
            required_claims: needed.for_identity(&identity_rules),
            required_any_claim,
            token_id_rule,
            identity_rules,
            restrict_to_policies,
            key_source: key_source?,
        };
        Some(Read { provider, clients, login })
    }

    /// The template's name; the default's if it is absent or unreadable.
    fn template_name(&self) -> TemplateName {
        match &self.template {
            Field::Present(name) => *name,
            Field::Absent | Field::Malformed(_) => TemplateName::default(),
        }
    }

    fn required_any_claim(
        &mut self,
        template: &mut Template,
        reader: &mut Reader<'_>,
    ) -> Vec<ClaimPath> {
        reader
            .optional("required_any_claim", &mut self.required_any_claim)
            .unwrap_or_else(|| std::mem::take(&mut template.required_any_claim))
    }

    fn login(
        &mut self,
        provider: OfProvider<'_>,
        environment: Environment<'_>,
        reader: &mut Reader<'_>,
    ) -> Option<LoginProvider> {
        let raw = reader.optional("login", &mut self.login)?;
        provider_login(raw, provider, &reader.at("login"), environment, reader.faults)
    }

    fn template(&mut self, reader: &mut Reader<'_>) -> Option<Template> {
        let name = reader.optional("template", &mut self.template).unwrap_or_default();
        let inputs = [
            ("tenant", &mut self.tenant),
            ("domain", &mut self.domain),
            ("host", &mut self.host),
            ("realm", &mut self.realm),
            ("authorization_server", &mut self.authorization_server),
        ];
        let inputs = inputs.map(|(name, field)| (name, std::mem::take(field)));
        Template::new(name, inputs.into(), reader.path, reader.faults)
    }

    fn name(&mut self, reader: &mut Reader<'_>) -> Option<String> {
        let name = reader.required("name", &mut self.name)?;
        let is_plain = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-')
        };
        if name.is_empty() || !name.bytes().all(is_plain) {
            reader.fault("name", "must consist of a-z, 0-9, _ and -");
        }
        Some(name)
    }

    fn client_ids(
        &mut self,
        is_needed: bool,
        reader: &mut Reader<'_>,
    ) -> Result<Option<Vec<String>>, Faulty> {
        if !is_needed && matches!(self.client_ids, Field::Absent) {
            return Ok(None);
        }
        let client_ids = reader.required("client_ids", &mut self.client_ids).ok_or(Faulty)?;
        refuse_bad_audiences(&client_ids, &reader.at("client_ids"), reader.faults);
        Ok(Some(client_ids))
    }

    /// The accepted values of `iss`, the provider's own issuer first.
    fn issuers(
        &mut self,
        template: &mut Template,
        is_template_faulty: bool,
        reader: &mut Reader<'_>,
    ) -> Option<Vec<String>> {
        let issuer = match std::mem::take(&mut self.issuer) {
            Field::Absent => {
                if template.issuer.is_none() && !is_template_faulty {
                    reader.fault("issuer", template.issuer_missing);
                }
                template.issuer.take()
            }
            mut given => reader.optional("issuer", &mut given),
        };
        if let Some(issuer) = &issuer {
            if issuer.is_empty() {
                reader.fault("issuer", "must not be empty");
            } else if issuer.starts_with("http:") {
                secure_url(issuer, &reader.at("issuer"), reader.faults);
            }
        }
        let additional = reader
            .optional("additional_issuers", &mut self.additional_issuers)
            .unwrap_or_else(|| std::mem::take(&mut template.additional_issuers));
        if additional.iter().any(String::is_empty) {
            reader.fault("additional_issuers", "must not hold an empty issuer");
        }
        Some([issuer?].into_iter().chain(additional).collect())
    }

    fn source(&mut self) -> RawSource {
        RawSource {
            metadata_url: std::mem::take(&mut self.metadata_url),
            jwks_url: std::mem::take(&mut self.jwks_url),
            jwks: std::mem::take(&mut self.jwks),
            certificates: std::mem::take(&mut self.certificates),
            cluster: std::mem::take(&mut self.cluster),
            clusters: std::mem::take(&mut self.clusters),
        }
    }

    fn claim_rules(&mut self, reader: &mut Reader<'_>) -> ClaimRules {
        let audience_claim = reader.optional("audience_claim", &mut self.audience_claim);
        let audience_claim = match audience_claim.unwrap_or_default() {
            RawAudienceClaim::Aud => AudienceClaim::Audience,
            RawAudienceClaim::ClientId => AudienceClaim::ClientId,
        };
        let clock_skew = std::mem::take(&mut self.clock_skew);
        let clock_skew = CLOCK_SKEW.read(clock_skew, &reader.at("clock_skew"), reader.faults);
        ClaimRules {
            audience_claim,
            clock_skew,
            max_token_age: reader
                .optional("max_token_age", &mut self.max_token_age)
                .map(|age| age.0),
            token_types: token_types(&mut self.token_types, reader),
        }
    }

    fn required_claims(&mut self, reader: &mut Reader<'_>) -> Vec<RequiredClaim> {
        let raw = std::mem::take(&mut self.required_claims);
        required_claims(raw, &reader.at("required_claims"), reader.faults)
    }

    fn token_id_rule(&mut self, reader: &mut Reader<'_>) -> TokenIdRule {
        match reader.optional("jti", &mut self.jti).unwrap_or_default() {
            RawTokenIdRule::Ignore => TokenIdRule::Ignore,
            RawTokenIdRule::Require => TokenIdRule::Require,
            RawTokenIdRule::SingleUse => TokenIdRule::SingleUse,
        }
    }

    fn identity_rules(
        &mut self,
        provider: Option<&str>,
        template: Template,
        reader: &mut Reader<'_>,
    ) -> IdentityRules {
        let client_type = reader.optional("client_type", &mut self.client_type);
        let client_type = match client_type.unwrap_or_default() {
            RawClientType::Auto => ClientTypeRule::Auto,
            RawClientType::User => ClientTypeRule::Fixed(ClientType::User),
            RawClientType::Service => ClientTypeRule::Fixed(ClientType::Service),
        };
        let user_claim = reader.optional("user_claim", &mut self.user_claim);
        let service_user_claim =
            reader.optional("service_user_claim", &mut self.service_user_claim);
        let user_field = reader.optional("user_field", &mut self.user_field);
        if user_field.as_ref().is_some_and(String::is_empty) {
            reader.fault("user_field", "must not be empty");
        }
        let scope_claim = reader.optional("scope_claim", &mut self.scope_claim);
        let roles_claims = match reader.optional("roles_claim", &mut self.roles_claim) {
            Some(claim) => vec![claim],
            None => template.roles_claims.iter().cloned().map(ListClaim::Strings).collect(),
        };
        let groups_claim = reader.optional("groups_claim", &mut self.groups_claim);
        let auth_scopes = auth_scopes(&mut self.auth_scopes, reader);

        let userless_is_service = service_user_claim.is_some();
        let service_user_claims = match service_user_claim.or_else(|| user_claim.clone()) {
            Some(claim) => vec![claim],
            None => template.service_user_claims,
        };
        let (scope_claims, permission_claims) = match scope_claim {
            Some(claim) => (vec![claim], vec![]),
            None => (template.scope_claims, template.permission_claims),
        };
        IdentityRules {
            provider: provider.unwrap_or_default().into(),
            user_claims: user_claim.map_or(template.user_claims, |claim| vec![claim]),
            service_user_claims,
            userless_is_service,
            user_field: user_field.unwrap_or_else(|| USER_FIELD.value.to_owned()),
            scope_claims,
            permission_claims,
            roles_claims,
            groups_claim: groups_claim.unwrap_or(ListClaim::Strings(template.groups_claim)),
            client_type,
            auth_scopes,
            service_signs: template.service_signs,
        }
    }
}

/// The claims that a provider's tokens must have. Configured ones override those of the template.
struct RequiredClaims {
    configured: Vec<RequiredClaim>,
    of_template: Vec<RequiredClaim>,
    /// The second is required if the first identifies the user.
    for_user_claim: Option<(ClaimPath, RequiredClaim)>,
}

impl RequiredClaims {
    fn new(configured: Vec<RequiredClaim>, template: &mut Template) -> Self {
        Self {
            configured,
            of_template: std::mem::take(&mut template.required_claims),
            for_user_claim: template.user_claim_needs.take(),
        }
    }

    fn for_identity(self, rules: &IdentityRules) -> Vec<RequiredClaim> {
        let mut required = self.configured;
        let identifies = |claim: &ClaimPath| {
            rules.user_claims.contains(claim) || rules.service_user_claims.contains(claim)
        };
        let needed = self.for_user_claim.filter(|(claim, _)| identifies(claim));
        for claim in self.of_template.into_iter().chain(needed.map(|(_, needed)| needed)) {
            if !required.iter().any(|given| given.name == claim.name) {
                required.push(claim);
            }
        }
        required
    }
}

/// The field is missing or cannot be read, which has been reported.
struct Faulty;

/// Refuses a list of audiences that is empty or holds an empty one.
pub(super) fn refuse_bad_audiences(audiences: &[String], path: &str, faults: &mut Faults) {
    if audiences.is_empty() {
        faults.add(path, "must hold at least one audience");
    }
    if audiences.iter().any(String::is_empty) {
        faults.add(path, "must not hold an empty audience");
    }
}

/// Adds the other spelling, with or without this prefix, of each audience that is a GUID.
fn with_other_spellings(audiences: &[String], prefix: Option<&str>) -> Vec<String> {
    let Some(prefix) = prefix else { return audiences.to_vec() };
    let others = audiences.iter().filter_map(|audience| match audience.strip_prefix(prefix) {
        Some(bare) => is_guid(bare).then(|| bare.to_owned()),
        None => is_guid(audience).then(|| format!("{prefix}{audience}")),
    });
    let others = others.filter(|other| !audiences.contains(other));
    audiences.iter().cloned().chain(others).collect()
}

/// The configured algorithms, if any.
fn algorithms(raw: &mut Field<Vec<String>>, reader: &mut Reader<'_>) -> Option<Vec<Algorithm>> {
    let names = reader.optional("algorithms", raw)?;
    if names.is_empty() {
        reader.fault("algorithms", "must hold at least one algorithm");
    }
    let mut algorithms = Vec::new();
    for (index, name) in names.iter().enumerate() {
        match Algorithm::from_name(name) {
            Some(algorithm) => algorithms.push(algorithm),
            None => {
                let all = Algorithm::ALL.map(Algorithm::name).join(", ");
                reader.fault(
                    &format!("algorithms[{index}]"),
                    format!("{name:?} is not one of {all}"),
                );
            }
        }
    }
    Some(algorithms)
}

fn token_types(raw: &mut Field<Vec<String>>, reader: &mut Reader<'_>) -> TokenTypes {
    let Some(names) = reader.optional("token_types", raw) else { return TokenTypes::AccessTokens };
    if names.is_empty() {
        reader.fault("token_types", "must hold at least one type");
    }
    let names: Vec<String> = names.iter().map(|name| TokenTypes::normalised(name)).collect();
    for (index, name) in names.iter().enumerate() {
        if TokenTypes::NEVER.contains(&name.as_str()) {
            reader.fault(
                &format!("token_types[{index}]"),
                format!("{name} is never an access token"),
            );
        }
    }
    TokenTypes::Listed(names)
}

/// `None` if the scopes of a token are not limited.
fn auth_scopes(raw: &mut Field<Vec<String>>, reader: &mut Reader<'_>) -> Option<Vec<String>> {
    /// ServiceNow's scope for everything that the user may do.
    const ALL: &str = "useraccount";
    let scopes = scopes(std::mem::take(raw), &reader.at("auth_scopes"), reader.faults);
    (!scopes.is_empty() && !scopes.iter().any(|scope| scope == ALL)).then_some(scopes)
}
