//! From the raw form to the validated one. Goes on after a fault, so that all are found.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::claims::required_claims;
use super::field::{Field, in_words_of_json, refuse_unknown};
use super::raw::{
    RawAudienceClaim, RawClaimHeader, RawClientType, RawConfig, RawDetails, RawErrors, RawFormat,
    RawIdentity, RawKeys, RawMode, RawProvider, RawResource, RawTokenCache, RawTokenIdRule,
};
use super::scopes::{SCOPE_EXPECTED, is_scope, scopes};
use super::templates::{Template, is_guid};
use super::{Config, Environment, Faults, access, replay_store, users};
use crate::callout::{Clusters, is_secure_url};
use crate::claim::{AudienceClaim, ClaimPath, ListClaim};
use crate::identity::{ClaimHeader, IdentityHeaders};
use crate::jose::{Algorithm, certificate_key};
use crate::keys::{
    KeyAccount, KeySet, KeySettings, KeySource, MAX_LIFETIME, MIN_LIFETIME, RemoteSource, Start,
};
use crate::provider::{
    ClaimRules, ClientType, ClientTypeRule, IdentityRules, Provider, Providers, TokenIdRule,
    TokenTypes,
};
use crate::resource::{Mode, ProtectedResource, ResourceUrl};
use crate::response::{Details, ErrorStyle, Format};

/// Validates a whole configuration. What it returns is to be used only if there are no faults.
pub(super) fn config(
    document: Value,
    environment: Environment<'_>,
    faults: &mut Faults,
) -> Option<Config> {
    let digest = digest(&document);
    let raw: RawConfig = match serde_json::from_value(document) {
        Ok(raw) => raw,
        Err(fault) => {
            faults.add("configuration", in_words_of_json(&fault));
            return None;
        }
    };
    refuse_unknown("", &raw.unknown, faults);

    let resource = raw.resource.required("resource", faults).and_then(|raw| resource(raw, faults));
    let keys = raw.keys.optional("keys", faults).unwrap_or_default();
    let settings = key_settings(keys, &KEY_DEFAULTS, "keys", faults);
    let provider_names = users::provider_names(&raw.providers);
    let providers = providers(raw.providers, &settings, faults);
    let users = users::users(raw.users, &providers, &provider_names, environment, faults);
    let identity = raw.identity.optional("identity", faults).unwrap_or_default();
    let (identity_headers, forward_token) = identity_headers(identity, faults);
    let allowed_origins =
        raw.allowed_origins.optional("allowed_origins", faults).unwrap_or_default();
    for (index, origin) in allowed_origins.iter().enumerate() {
        if !is_origin(origin) {
            faults.add(
                &format!("allowed_origins[{index}]"),
                "must be an origin such as https://app.example.com",
            );
        }
    }
    let max_token_size =
        raw.max_token_size.optional("max_token_size", faults).map_or(8 * 1024, |size| size.0);
    if !(1..=MAX_TOKEN_SIZE).contains(&max_token_size) {
        faults.add("max_token_size", "must be between 1B and 8MiB");
    }
    let token_cache = token_cache(raw.token_cache, faults);
    let errors = errors(raw.errors.optional("errors", faults).unwrap_or_default(), faults);
    let access = raw.access.optional("access", faults).unwrap_or_default();
    let supported = resource.as_ref().map(|resource| resource.scopes_supported.as_slice());
    let access = access::policy(access, &providers, supported.unwrap_or_default(), faults);
    let exempt = access::exempt(raw.exempt, faults);
    let replay_store = replay_store::replay_store(raw.replay_store, faults);
    let mode = match raw.mode.optional("mode", faults) {
        None | Some(RawMode::Enforce) => Mode::Enforce,
        Some(RawMode::Report) => Mode::Report,
    };
    let Described { url, name, documentation, scopes_supported } = resource?;
    Some(Config {
        digest,
        resource: ProtectedResource {
            url,
            name,
            documentation,
            scopes_supported,
            access,
            exempt,
            allowed_origins,
            mode,
        },
        providers,
        users,
        replay_store,
        identity_headers,
        forward_token,
        token_cache,
        max_token_size,
        errors,
    })
}

/// The same for the same fields, in whatever order and form they came.
fn digest(document: &Value) -> String {
    // A value of JSON, which has its members in order: this cannot fail.
    let digest = Sha256::digest(serde_json::to_vec(document).unwrap_or_default());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// No Envoy takes a request with more header bytes (`max_request_headers_kb`).
const MAX_TOKEN_SIZE: usize = 8 * 1024 * 1024;

const KEY_DEFAULTS: KeySettings = KeySettings {
    max_age: Duration::from_secs(10 * 60),
    max_age_cap: MAX_LIFETIME,
    refresh_ahead: Duration::from_secs(30),
    refresh_cooldown: Duration::from_secs(30),
    timeout: Duration::from_secs(5),
    max_stale: Duration::from_secs(24 * 60 * 60),
    max_body: 256 * 1024,
};

/// How many tokens are remembered.
fn token_cache(raw: Field<RawTokenCache>, faults: &mut Faults) -> usize {
    const MAX_ENTRIES: usize = 100_000;
    let raw = raw.optional("token_cache", faults).unwrap_or_default();
    refuse_unknown("token_cache.", &raw.unknown, faults);
    let entries = raw.entries.optional("token_cache.entries", faults).unwrap_or(1000);
    let entries = usize::try_from(entries).unwrap_or(usize::MAX);
    if entries > MAX_ENTRIES {
        faults.add("token_cache.entries", format!("must be at most {MAX_ENTRIES}"));
    }
    entries
}

/// What `resource` says of the protected resource.
struct Described {
    url: ResourceUrl,
    name: Option<String>,
    documentation: Option<String>,
    scopes_supported: Vec<String>,
}

fn resource(raw: RawResource, faults: &mut Faults) -> Option<Described> {
    refuse_unknown("resource.", &raw.unknown, faults);
    let url = raw.url.required("resource.url", faults);
    let url = url.filter(|url| secure_url(url, "resource.url", faults));
    let documentation = raw.documentation.optional("resource.documentation", faults);
    let documentation =
        documentation.filter(|url| secure_url(url, "resource.documentation", faults));
    let name = raw.name.optional("resource.name", faults);
    let scopes_supported =
        raw.scopes_supported.optional("resource.scopes_supported", faults).unwrap_or_default();
    for (index, scope) in scopes_supported.iter().enumerate() {
        let path = format!("resource.scopes_supported[{index}]");
        if !is_scope(scope) {
            faults.add(&path, SCOPE_EXPECTED);
        } else if scope == "offline_access" {
            faults.add(&path, "must not be offline_access, which is not for resources to ask for");
        }
    }
    // A URL that is not secure has its fault already.
    let url = url?.try_into().ok()?;
    Some(Described { url, name, documentation, scopes_supported })
}

fn providers(
    raw: Field<Vec<Field<RawProvider>>>,
    defaults: &KeySettings,
    faults: &mut Faults,
) -> Providers {
    let raw = raw.required("providers", faults);
    let is_empty = raw.as_ref().is_some_and(Vec::is_empty);
    let mut names: Vec<String> = Vec::new();
    let mut active: Vec<(usize, Provider)> = Vec::new();
    let mut any_fault = false;
    for (index, raw) in raw.unwrap_or_default().into_iter().enumerate() {
        let path = format!("providers[{index}]");
        let Some(raw) = raw.optional(&path, faults) else {
            any_fault = true;
            continue;
        };
        let is_active = raw.active.clone().optional(&format!("{path}.active"), faults);
        let Some(provider) = provider(raw, &path, defaults, faults) else {
            any_fault = true;
            continue;
        };
        if names.contains(&provider.name) {
            faults.add(&format!("{path}.name"), format!("{:?} is given twice", provider.name));
        }
        names.push(provider.name.clone());
        if is_active.unwrap_or(true) {
            refuse_ambiguous(&active, &provider, &path, faults);
            active.push((index, provider));
        }
    }
    if is_empty {
        faults.add("providers", "must hold at least one provider");
    } else if !names.is_empty() && active.is_empty() && !any_fault {
        faults.add("providers", "must hold at least one active provider");
    }
    Providers::new(active.into_iter().map(|(_, provider)| provider).collect())
}

/// Among providers of one issuer the audience picks: so no two may have it in common.
fn refuse_ambiguous(
    others: &[(usize, Provider)],
    provider: &Provider,
    path: &str,
    faults: &mut Faults,
) {
    for (index, other) in others {
        if !provider.issuers.iter().any(|issuer| other.issuers.contains(issuer)) {
            continue;
        }
        let audiences = &provider.claim_rules.audiences;
        for audience in
            audiences.iter().filter(|audience| other.claim_rules.audiences.contains(audience))
        {
            faults.add(
                &format!("{path}.client_ids"),
                format!(
                    "{audience:?} is also one of providers[{index}], which has the same issuer"
                ),
            );
        }
    }
}

fn provider(
    raw: RawProvider,
    path: &str,
    defaults: &KeySettings,
    faults: &mut Faults,
) -> Option<Provider> {
    let at = |field: &str| format!("{path}.{field}");
    refuse_unknown(&at(""), &raw.unknown, faults);
    let template_name = raw.template.optional(&at("template"), faults).unwrap_or_default();
    let inputs = [
        ("tenant", raw.tenant),
        ("domain", raw.domain),
        ("host", raw.host),
        ("realm", raw.realm),
        ("authorization_server", raw.authorization_server),
    ];
    let template = Template::new(template_name, inputs.into(), path, faults);
    // What a template would have filled in is not missed when the template itself is at fault.
    let is_template_faulty = template.is_none();
    let template = template.unwrap_or_default();
    let auth_scopes = auth_scopes(raw.auth_scopes, &at("auth_scopes"), faults);
    let restrict_to_policies =
        raw.restrict_to_policies.optional(&at("restrict_to_policies"), faults).unwrap_or(false);

    let name = raw.name.required(&at("name"), faults);
    if name.as_ref().is_some_and(|name| !is_provider_name(name)) {
        faults.add(&at("name"), "must consist of a-z, 0-9, _ and -");
    }
    let audiences = raw.client_ids.required(&at("client_ids"), faults);
    if audiences.as_ref().is_some_and(Vec::is_empty) {
        faults.add(&at("client_ids"), "must hold at least one audience");
    }
    if audiences.as_ref().is_some_and(|ids| ids.iter().any(String::is_empty)) {
        faults.add(&at("client_ids"), "must not hold an empty audience");
    }
    let issuer = match raw.issuer {
        Field::Absent => {
            if template.issuer.is_none() && !is_template_faulty {
                faults.add(&at("issuer"), template.issuer_missing);
            }
            template.issuer
        }
        given => given.optional(&at("issuer"), faults),
    };
    if let Some(issuer) = &issuer {
        if issuer.is_empty() {
            faults.add(&at("issuer"), "must not be empty");
        } else if issuer.starts_with("http:") {
            secure_url(issuer, &at("issuer"), faults);
        }
    }
    let additional_issuers = raw.additional_issuers.optional(&at("additional_issuers"), faults);
    let additional_issuers = additional_issuers.unwrap_or(template.additional_issuers);
    if additional_issuers.iter().any(String::is_empty) {
        faults.add(&at("additional_issuers"), "must not hold an empty issuer");
    }
    let settings = raw.keys.optional(&at("keys"), faults).unwrap_or_default();
    let settings = key_settings(settings, defaults, &at("keys"), faults);
    let source = RawSource {
        metadata_url: raw.metadata_url,
        jwks_url: raw.jwks_url,
        jwks: raw.jwks,
        certificates: raw.certificates,
        cluster: raw.cluster,
        clusters: raw.clusters,
    };
    let source = source.or_metadata_url(template.metadata_url);
    let key_source = if is_template_faulty && source.is_absent() {
        None
    } else {
        key_source(source, issuer.as_deref(), settings, path, faults)
    };
    let algorithms =
        algorithms(raw.algorithms, &at("algorithms"), faults).unwrap_or(template.algorithms);
    let audience_claim = match raw.audience_claim.optional(&at("audience_claim"), faults) {
        None | Some(RawAudienceClaim::Aud) => AudienceClaim::Audience,
        Some(RawAudienceClaim::ClientId) => AudienceClaim::ClientId,
    };
    let clock_skew = raw.clock_skew.optional(&at("clock_skew"), faults);
    let max_token_age = raw.max_token_age.optional(&at("max_token_age"), faults);
    let token_types = token_types(raw.token_types, &at("token_types"), faults);
    let mut required_claims = required_claims(raw.required_claims, &at("required_claims"), faults);
    let required_any_claim = raw
        .required_any_claim
        .optional(&at("required_any_claim"), faults)
        .unwrap_or(template.required_any_claim);
    let token_id_rule = match raw.jti.optional(&at("jti"), faults) {
        None | Some(RawTokenIdRule::Ignore) => TokenIdRule::Ignore,
        Some(RawTokenIdRule::Require) => TokenIdRule::Require,
        Some(RawTokenIdRule::SingleUse) => TokenIdRule::SingleUse,
    };
    let client_type = match raw.client_type.optional(&at("client_type"), faults) {
        None | Some(RawClientType::Auto) => ClientTypeRule::Auto,
        Some(RawClientType::User) => ClientTypeRule::Fixed(ClientType::User),
        Some(RawClientType::Service) => ClientTypeRule::Fixed(ClientType::Service),
    };
    let user_claim = raw.user_claim.optional(&at("user_claim"), faults);
    let service_user_claim = raw.service_user_claim.optional(&at("service_user_claim"), faults);
    let user_field = raw.user_field.optional(&at("user_field"), faults);
    if user_field.as_ref().is_some_and(String::is_empty) {
        faults.add(&at("user_field"), "must not be empty");
    }
    let scope_claim = raw.scope_claim.optional(&at("scope_claim"), faults);
    let roles_claim = raw.roles_claim.optional(&at("roles_claim"), faults);
    let groups_claim = raw.groups_claim.optional(&at("groups_claim"), faults);

    let userless_is_service = service_user_claim.is_some();
    let service_user_claims = match service_user_claim.or_else(|| user_claim.clone()) {
        Some(claim) => vec![claim],
        None => template.service_user_claims,
    };
    let user_claims = user_claim.map_or(template.user_claims, |claim| vec![claim]);
    let needed_by_user_claim = template
        .user_claim_needs
        .filter(|(claim, _)| user_claims.contains(claim) || service_user_claims.contains(claim));
    let from_template = template.required_claims.into_iter();
    for claim in from_template.chain(needed_by_user_claim.map(|(_, needed)| needed)) {
        if !required_claims.iter().any(|given| given.name == claim.name) {
            required_claims.push(claim);
        }
    }
    let audiences = audiences?;
    let (scope_claims, permission_claims) = match scope_claim {
        Some(claim) => (vec![claim], vec![]),
        None => (template.scope_claims, template.permission_claims),
    };
    let roles_claims = match roles_claim {
        Some(claim) => vec![claim],
        None => {
            let of_audiences = template.audience_roles_claim.into_iter().flat_map(|claim| {
                audiences
                    .iter()
                    .map(move |audience| ClaimPath::from_names([claim, audience, "roles"]))
            });
            template.roles_claims.into_iter().chain(of_audiences).map(ListClaim::Strings).collect()
        }
    };
    let name = name?;
    Some(Provider {
        issuers: [issuer?].into_iter().chain(additional_issuers).collect(),
        algorithms,
        claim_rules: ClaimRules {
            audiences: with_other_spellings(audiences, template.audience_prefix),
            audience_claim,
            clock_skew: clock_skew.map_or(Duration::from_secs(300), |skew| skew.0),
            max_token_age: max_token_age.map(|age| age.0),
            token_types,
        },
        required_claims,
        required_any_claim,
        token_id_rule,
        identity_rules: IdentityRules {
            provider: name.as_str().into(),
            user_claims,
            service_user_claims,
            userless_is_service,
            user_field: user_field.unwrap_or_else(|| "user_name".to_owned()),
            scope_claims,
            permission_claims,
            roles_claims,
            groups_claim: groups_claim.unwrap_or(ListClaim::Strings(template.groups_claim)),
            client_type,
            auth_scopes,
            service_signs: template.service_signs,
        },
        restrict_to_policies,
        key_source: key_source?,
        name,
    })
}

/// Adds to each audience that is a GUID, with or without this prefix, the other spelling.
fn with_other_spellings(audiences: Vec<String>, prefix: Option<&str>) -> Vec<String> {
    let Some(prefix) = prefix else { return audiences };
    let others: Vec<String> = audiences
        .iter()
        .filter_map(|audience| match audience.strip_prefix(prefix) {
            Some(bare) => is_guid(bare).then(|| bare.to_owned()),
            None => is_guid(audience).then(|| format!("{prefix}{audience}")),
        })
        .filter(|other| !audiences.contains(other))
        .collect();
    audiences.into_iter().chain(others).collect()
}

struct RawSource {
    metadata_url: Field<String>,
    jwks_url: Field<String>,
    jwks: Field<Value>,
    certificates: Field<Vec<String>>,
    cluster: Field<String>,
    clusters: Field<BTreeMap<String, String>>,
}

impl RawSource {
    /// True when nothing says where keys come from.
    fn is_absent(&self) -> bool {
        matches!(self.metadata_url, Field::Absent)
            && matches!(self.jwks_url, Field::Absent)
            && matches!(self.jwks, Field::Absent)
            && matches!(self.certificates, Field::Absent)
    }

    /// This source, or else discovery at this URL.
    fn or_metadata_url(self, url: Option<String>) -> Self {
        match url {
            Some(url) if self.is_absent() => Self { metadata_url: Field::Present(url), ..self },
            _ => self,
        }
    }
}

fn key_source(
    raw: RawSource,
    issuer: Option<&str>,
    settings: KeySettings,
    path: &str,
    faults: &mut Faults,
) -> Option<KeySource> {
    let at = |field: &str| format!("{path}.{field}");
    let given = [
        !matches!(raw.metadata_url, Field::Absent),
        !matches!(raw.jwks_url, Field::Absent),
        !matches!(raw.jwks, Field::Absent),
        !matches!(raw.certificates, Field::Absent),
    ];
    if given.into_iter().filter(|given| *given).count() != 1 {
        faults.add(path, "must have exactly one of metadata_url, jwks_url, jwks and certificates");
    }
    let metadata_url = raw.metadata_url.optional(&at("metadata_url"), faults);
    let jwks_url = raw.jwks_url.optional(&at("jwks_url"), faults);
    let is_remote = metadata_url.is_some() || jwks_url.is_some();
    let clusters = clusters(raw.cluster, raw.clusters, is_remote, path, faults);
    let mut endpoint = |url: String, field: &str| match clusters.as_ref()?.endpoint(&url) {
        Ok(endpoint) => Some(endpoint),
        Err(fault) => {
            faults.add(&at(field), fault.to_string());
            None
        }
    };
    let metadata = metadata_url.and_then(|url| endpoint(url, "metadata_url"));
    let key_set = jwks_url.and_then(|url| endpoint(url, "jwks_url"));
    let static_set = raw
        .jwks
        .optional(&at("jwks"), faults)
        .and_then(|document| static_key_set(&document, &at("jwks"), faults));
    let certificates = raw
        .certificates
        .optional(&at("certificates"), faults)
        .and_then(|certificates| certificate_keys(&certificates, &at("certificates"), faults));
    if let Some(set) = static_set.or(certificates) {
        return Some(KeySource::Static(set));
    }
    let start = metadata.map(Start::Metadata).or(key_set.map(Start::KeySet))?;
    Some(KeySource::Remote(Box::new(RemoteSource {
        issuer: issuer?.to_owned(),
        start,
        clusters: clusters?,
        settings,
    })))
}

fn clusters(
    one: Field<String>,
    by_host: Field<BTreeMap<String, String>>,
    is_needed: bool,
    path: &str,
    faults: &mut Faults,
) -> Option<Clusters> {
    let one = one.optional(&format!("{path}.cluster"), faults);
    let by_host = by_host.optional(&format!("{path}.clusters"), faults);
    match (one, by_host) {
        (Some(_), Some(_)) => {
            faults.add(path, "must have only one of cluster and clusters");
            None
        }
        (Some(cluster), None) => {
            if cluster.is_empty() {
                faults.add(&format!("{path}.cluster"), "must not be empty");
            }
            Some(Clusters::Any(cluster))
        }
        (None, Some(map)) if map.values().any(String::is_empty) => {
            faults.add(&format!("{path}.clusters"), "must not hold an empty name");
            None
        }
        (None, Some(map)) => Some(Clusters::ByHost(
            map.into_iter().map(|(host, cluster)| (host.to_ascii_lowercase(), cluster)).collect(),
        )),
        (None, None) => {
            if is_needed {
                faults.add(path, "must have cluster or clusters, on which its keys are fetched");
            }
            None
        }
    }
}

fn static_key_set(document: &Value, path: &str, faults: &mut Faults) -> Option<KeySet> {
    match KeySet::from_value(document) {
        Ok(set) if set.dropped() == 0 => Some(set),
        Ok(set) => {
            let accounts = KeyAccount::from_elements(document);
            let first = accounts.iter().zip(0..).find(|(account, _)| account.is_dropped);
            let first = first.map(|(account, index)| {
                format!(": keys[{index}]: {}", account.problem.as_deref().unwrap_or_default())
            });
            let dropped = set.dropped();
            let first = first.unwrap_or_default();
            faults.add(path, format!("holds {dropped} elements that are no JWK{first}"));
            None
        }
        Err(fault) => {
            faults.add(path, fault.to_string());
            None
        }
    }
}

fn certificate_keys(pems: &[String], path: &str, faults: &mut Faults) -> Option<KeySet> {
    if pems.is_empty() {
        faults.add(path, "must hold at least one certificate");
    }
    let mut keys = Vec::new();
    for (index, pem) in pems.iter().enumerate() {
        match certificate_key(pem) {
            Ok(key) => keys.push(key),
            Err(fault) => faults.add(&format!("{path}[{index}]"), fault.to_string()),
        }
    }
    (!keys.is_empty()).then(|| KeySet::from_keys(keys))
}

fn key_settings(
    raw: RawKeys,
    defaults: &KeySettings,
    path: &str,
    faults: &mut Faults,
) -> KeySettings {
    const MIN: Duration = Duration::from_secs(1);
    const MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    refuse_unknown(&format!("{path}."), &raw.unknown, faults);
    let mut duration = |field: Field<_>, name: &str, default: Duration| {
        let path = format!("{path}.{name}");
        let value = field
            .optional(&path, faults)
            .map_or(default, |text: super::units::DurationString| text.0);
        if !(MIN..=MAX).contains(&value) {
            faults.add(&path, "must be between 1s and 8760h");
        }
        value
    };
    let max_age = duration(raw.max_age, "max_age", defaults.max_age);
    let refresh_ahead = duration(raw.refresh_ahead, "refresh_ahead", defaults.refresh_ahead);
    let refresh_cooldown =
        duration(raw.refresh_cooldown, "refresh_cooldown", defaults.refresh_cooldown);
    let timeout = duration(raw.timeout, "timeout", defaults.timeout);
    let max_stale = duration(raw.max_stale, "max_stale", defaults.max_stale);
    let max_body = raw.max_body.optional(&format!("{path}.max_body"), faults);
    if max_body.is_some_and(|size| size.0 == 0) {
        faults.add(&format!("{path}.max_body"), "must not be 0");
    }
    if timeout > Duration::from_secs(60 * 60) {
        faults.add(&format!("{path}.timeout"), "must be at most 1h");
    }
    let max_age_cap = raw.max_age_cap.optional(&format!("{path}.max_age_cap"), faults);
    if max_age_cap.is_some_and(|cap| !(MIN_LIFETIME..=MAX_LIFETIME).contains(&cap.0)) {
        faults.add(&format!("{path}.max_age_cap"), "must be between 1m and 24h");
    }
    KeySettings {
        max_age,
        max_age_cap: max_age_cap.map_or(defaults.max_age_cap, |cap| cap.0),
        refresh_ahead,
        refresh_cooldown,
        timeout,
        max_stale,
        max_body: max_body.map_or(defaults.max_body, |size| size.0),
    }
}

/// The algorithms that are given, if any are.
fn algorithms(raw: Field<Vec<String>>, path: &str, faults: &mut Faults) -> Option<Vec<Algorithm>> {
    let names = raw.optional(path, faults)?;
    if names.is_empty() {
        faults.add(path, "must hold at least one algorithm");
    }
    let mut algorithms = Vec::new();
    for (index, name) in names.iter().enumerate() {
        match Algorithm::from_name(name) {
            Some(algorithm) => algorithms.push(algorithm),
            None => faults.add(
                &format!("{path}[{index}]"),
                format!(
                    "{name:?} is not one of {}",
                    Algorithm::ALL.map(Algorithm::name).join(", ")
                ),
            ),
        }
    }
    Some(algorithms)
}

fn token_types(raw: Field<Vec<String>>, path: &str, faults: &mut Faults) -> TokenTypes {
    let Some(names) = raw.optional(path, faults) else { return TokenTypes::AccessTokens };
    if names.is_empty() {
        faults.add(path, "must hold at least one type");
    }
    let names: Vec<String> = names.iter().map(|name| TokenTypes::normalised(name)).collect();
    for (index, name) in names.iter().enumerate() {
        if TokenTypes::NEVER.contains(&name.as_str()) {
            faults.add(&format!("{path}[{index}]"), format!("{name} is never an access token"));
        }
    }
    TokenTypes::Listed(names)
}

fn identity_headers(raw: RawIdentity, faults: &mut Faults) -> (IdentityHeaders, bool) {
    refuse_unknown("identity.", &raw.unknown, faults);
    let prefix = raw
        .header_prefix
        .optional("identity.header_prefix", faults)
        .unwrap_or_else(|| "x-mcp-".to_owned());
    if !is_header_name(&prefix) {
        faults.add("identity.header_prefix", HEADER_NAME_EXPECTED);
    }
    let own_names = IdentityHeaders::new(&prefix, Vec::new());
    let raw_claims = raw.claims_to_headers.optional("identity.claims_to_headers", faults);
    let mut claims: Vec<ClaimHeader> = Vec::new();
    for (index, raw) in raw_claims.unwrap_or_default().into_iter().enumerate() {
        let path = format!("identity.claims_to_headers[{index}]");
        let Some(raw) = raw.optional(&path, faults) else { continue };
        let Some(claim) = claim_header(raw, &path, faults) else { continue };
        if own_names.is_reserved(claim.header.as_bytes()) {
            faults.add(&format!("{path}.header"), "is one of the identity headers");
        }
        if claims.iter().any(|other| other.header == claim.header) {
            faults.add(&format!("{path}.header"), "is given twice");
        }
        claims.push(claim);
    }
    let forward_token =
        raw.forward_token.optional("identity.forward_token", faults).unwrap_or(false);
    (IdentityHeaders::new(&prefix, claims), forward_token)
}

fn claim_header(raw: RawClaimHeader, path: &str, faults: &mut Faults) -> Option<ClaimHeader> {
    refuse_unknown(&format!("{path}."), &raw.unknown, faults);
    let claim = raw.claim.required(&format!("{path}.claim"), faults);
    let header = raw.header.required(&format!("{path}.header"), faults);
    let header = header.map(|header| header.to_ascii_lowercase());
    if let Some(header) = &header {
        if !is_header_name(header) {
            faults.add(&format!("{path}.header"), HEADER_NAME_EXPECTED);
        } else if MEANT_OTHERWISE.contains(&header.as_str()) {
            faults.add(&format!("{path}.header"), "has another meaning in HTTP or MCP");
        }
    }
    Some(ClaimHeader { claim: claim?, header: header? })
}

const HEADER_NAME_EXPECTED: &str = "must be a header name of a-z, 0-9 and -";

/// Fields that a claim must not overwrite.
const MEANT_OTHERWISE: [&str; 23] = [
    "accept",
    "accept-encoding",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "last-event-id",
    "mcp-method",
    "mcp-name",
    "mcp-protocol-version",
    "mcp-session-id",
    "origin",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

fn errors(raw: RawErrors, faults: &mut Faults) -> ErrorStyle {
    refuse_unknown("errors.", &raw.unknown, faults);
    let format = match raw.format.optional("errors.format", faults) {
        None | Some(RawFormat::Oauth) => Format::OAuth,
        Some(RawFormat::JsonRpc) => Format::JsonRpc,
        Some(RawFormat::Servicenow) => Format::ServiceNow,
    };
    let details = match raw.details.optional("errors.details", faults) {
        Some(RawDetails::None) => Details::None,
        None | Some(RawDetails::Reason) => Details::Reason,
        Some(RawDetails::Full) => Details::Full,
    };
    ErrorStyle { format, details }
}

/// None when the scopes of a token are not limited.
fn auth_scopes(raw: Field<Vec<String>>, path: &str, faults: &mut Faults) -> Option<Vec<String>> {
    /// ServiceNow's word for all that the user may do.
    const ALL: &str = "useraccount";
    let scopes = scopes(raw, path, faults);
    (!scopes.is_empty() && !scopes.iter().any(|scope| scope == ALL)).then_some(scopes)
}

fn secure_url(url: &str, path: &str, faults: &mut Faults) -> bool {
    let is_secure = is_secure_url(url);
    if !is_secure {
        faults.add(path, "must be an absolute https URL (http only for loopback hosts)");
    }
    is_secure
}

fn is_provider_name(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-')
        })
}

/// Underscores are left out: whoever folds them to hyphens could not tell the field apart.
fn is_header_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// An origin in the form in which browsers send it (RFC 6454 §6.2).
fn is_origin(origin: &str) -> bool {
    let Some((scheme, host)) = origin.split_once("://") else { return false };
    !scheme.is_empty()
        && !host.is_empty()
        && origin.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase())
        && !host.contains(['/', '?', '#', '@', '*', ','])
}
