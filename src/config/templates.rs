//! Templates of identity providers: what is known about each, so that two or three inputs make a
//! complete provider. Everything specific to one of them is here, as data.

mod login;

use std::collections::BTreeMap;
use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::json;

pub(super) use self::login::LoginTemplate;
use super::Faults;
use super::field::Field;
use crate::claim::{ClaimPath, RequiredClaim};
use crate::jose::Algorithm;
use crate::provider::ServiceSign;

/// What is known about a provider. Fields of the configuration override it.
#[derive(Debug)]
pub(super) struct Template {
    /// The accepted `iss`, and the `issuer` of the metadata document.
    pub(super) issuer: Option<String>,
    /// The fault when neither the template nor the configuration has an issuer.
    pub(super) issuer_missing: &'static str,
    /// Other values of `iss` for the same provider.
    pub(super) additional_issuers: Vec<String>,
    /// The URL of the metadata document.
    pub(super) metadata_url: Option<String>,
    /// An audience that is a GUID means the same with and without this prefix.
    pub(super) audience_prefix: Option<&'static str>,
    /// The algorithms that the provider signs with, according to its documentation. A longer list
    /// would let a forger pick the most expensive to verify.
    pub(super) algorithms: Vec<Algorithm>,
    /// The claims that every token must have.
    pub(super) required_claims: Vec<RequiredClaim>,
    /// A token must have one of these, and not empty; no condition if there are none.
    pub(super) required_any_claim: Vec<ClaimPath>,
    /// A further required claim if this claim identifies the user.
    pub(super) user_claim_needs: Option<(ClaimPath, RequiredClaim)>,
    /// The first one present identifies the user.
    pub(super) user_claims: Vec<ClaimPath>,
    /// The first one present identifies the user of a service's token.
    pub(super) service_user_claims: Vec<ClaimPath>,
    /// The first one present holds the scopes.
    pub(super) scope_claims: Vec<ClaimPath>,
    /// These hold scopes too.
    pub(super) permission_claims: Vec<ClaimPath>,
    /// All of these hold roles.
    pub(super) roles_claims: Vec<ClaimPath>,
    /// The claim that holds roles for each audience, as a member `roles` under its name.
    pub(super) audience_roles_claim: Option<&'static str>,
    /// The claim that holds the groups.
    pub(super) groups_claim: ClaimPath,
    /// Further signs of a token that a service obtained for itself.
    pub(super) service_signs: Vec<ServiceSign>,
}

/// The names of the templates.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[serde(rename_all = "snake_case")]
pub(super) enum TemplateName {
    EntraId,
    Okta,
    Auth0,
    Google,
    Adfs,
    Keycloak,
    #[default]
    Generic,
}

/// The given inputs of all templates, by name.
pub(super) type RawInputs = BTreeMap<&'static str, Field<String>>;

impl Template {
    /// The template of this name with its inputs filled in.
    ///
    /// `None` if an input is missing, wrong, or not one of this template; each is reported as a
    /// fault.
    pub(super) fn new(
        name: TemplateName,
        inputs: RawInputs,
        path: &str,
        faults: &mut Faults,
    ) -> Option<Self> {
        let mut inputs = Inputs { name, inputs, path, faults, is_faulty: false };
        let template = match name {
            TemplateName::EntraId => inputs.required("tenant", tenant).map(Self::entra_id),
            TemplateName::Okta => {
                let domain = inputs.required("domain", host_name);
                let server = inputs.optional("authorization_server", authorization_server);
                domain.map(|domain| Self::okta(&domain, server.as_deref().unwrap_or("default")))
            }
            TemplateName::Auth0 => {
                inputs.required("domain", host_name).map(|domain| Self::auth0(&domain))
            }
            TemplateName::Google => Some(Self::google()),
            TemplateName::Adfs => inputs.required("host", host_name).map(|host| Self::adfs(&host)),
            TemplateName::Keycloak => {
                let host = inputs.required("host", host_name);
                let realm = inputs.required("realm", realm);
                host.zip(realm).map(|(host, realm)| Self::keycloak(&host, &realm))
            }
            TemplateName::Generic => Some(Self::default()),
        };
        inputs.refuse_others();
        if inputs.is_faulty { None } else { template }
    }

    /// Tokens of version 1 have another issuer. The version is set in the registration of the API,
    /// not by the client.
    fn entra_id(tenant: Tenant) -> Self {
        let login = "https://login.microsoftonline.com";
        let (issuer, additional_issuers) = match &tenant {
            Tenant::Id(id) => {
                (Some(format!("{login}/{id}/v2.0")), vec![format!("https://sts.windows.net/{id}/")])
            }
            Tenant::Domain(_) => (None, vec![]),
        };
        let (Tenant::Id(name) | Tenant::Domain(name)) = tenant;
        Self {
            issuer,
            issuer_missing: "is required with a tenant that is a domain name: tokens name the \
                             tenant by its id",
            additional_issuers,
            metadata_url: Some(format!("{login}/{name}/v2.0/.well-known/openid-configuration")),
            // An id after `api://` must be that of the application (or the tenant).
            audience_prefix: Some("api://"),
            algorithms: vec![Algorithm::Rs256],
            // Any application of the tenant gets a token for any API, with the right `aud` and
            // without permissions, unless the API requires assignment.
            required_any_claim: names(["scp", "roles"]),
            user_claims: names(["upn", "preferred_username"]),
            service_user_claims: names(["azp", "appid"]),
            scope_claims: names(["scp"]),
            // `idtyp` is an optional claim. The subject of a user differs between applications;
            // that of a service is its object in the directory.
            service_signs: vec![ServiceSign::SubjectIs(ClaimPath::name("oid"))],
            ..Self::default()
        }
    }

    fn okta(domain: &str, authorization_server: &str) -> Self {
        let issuer = format!("https://{domain}/oauth2/{authorization_server}");
        Self {
            metadata_url: Some(format!("{issuer}/.well-known/openid-configuration")),
            issuer: Some(issuer),
            algorithms: vec![Algorithm::Rs256],
            scope_claims: names(["scp"]),
            ..Self::default()
        }
    }

    /// The issuer ends with a slash. RS512 and PS256 are available for an API, though not through
    /// the Dashboard alone.
    fn auth0(domain: &str) -> Self {
        let issuer = format!("https://{domain}/");
        Self {
            metadata_url: Some(format!("{issuer}.well-known/openid-configuration")),
            issuer: Some(issuer),
            algorithms: vec![Algorithm::Rs256, Algorithm::Rs512, Algorithm::Ps256],
            scope_claims: names(["scope"]),
            permission_claims: names(["permissions"]),
            // Tokens of the RFC 9068 profile have no `gty`.
            service_signs: vec![ServiceSign::NamedAfterClient {
                claim: ClaimPath::name("sub"),
                before: "",
                after: "@clients",
            }],
            ..Self::default()
        }
    }

    /// Google's access tokens are not JWTs; these are ID tokens.
    fn google() -> Self {
        Self {
            issuer: Some("https://accounts.google.com".to_owned()),
            additional_issuers: vec!["accounts.google.com".to_owned()],
            metadata_url: Some(
                "https://accounts.google.com/.well-known/openid-configuration".to_owned(),
            ),
            algorithms: vec![Algorithm::Rs256],
            user_claims: names(["email"]),
            service_user_claims: names(["email"]),
            user_claim_needs: Some((
                ClaimPath::name("email"),
                RequiredClaim {
                    name: "email_verified".to_owned(),
                    accepted: vec![json!(true)],
                    may_be_absent: false,
                },
            )),
            ..Self::default()
        }
    }

    /// In the metadata document, `issuer` is the issuer of ID tokens and `access_token_issuer` that
    /// of access tokens, which is an http URI used only as a name.
    fn adfs(host: &str) -> Self {
        let issuer = format!("https://{host}/adfs");
        Self {
            metadata_url: Some(format!("{issuer}/.well-known/openid-configuration")),
            issuer: Some(issuer),
            additional_issuers: vec![format!("http://{host}/adfs/services/trust")],
            algorithms: vec![Algorithm::Rs256],
            user_claims: names(["upn"]),
            service_user_claims: names(["appid"]),
            scope_claims: names(["scp"]),
            ..Self::default()
        }
    }

    /// The claim `typ` distinguishes access tokens (`Bearer`) from ID tokens (`ID`). Realms and
    /// clients can choose any algorithm.
    fn keycloak(host: &str, realm: &str) -> Self {
        let issuer = format!("https://{host}/realms/{realm}");
        let is_no_id_token = RequiredClaim {
            name: "typ".to_owned(),
            accepted: vec![json!("Bearer")],
            may_be_absent: true,
        };
        Self {
            metadata_url: Some(format!("{issuer}/.well-known/openid-configuration")),
            issuer: Some(issuer),
            required_claims: vec![is_no_id_token],
            user_claims: names(["preferred_username"]),
            service_user_claims: names(["preferred_username"]),
            scope_claims: names(["scope"]),
            roles_claims: vec![ClaimPath::from_names(["realm_access", "roles"])],
            audience_roles_claim: Some("resource_access"),
            service_signs: vec![ServiceSign::NamedAfterClient {
                claim: ClaimPath::name("preferred_username"),
                before: "service-account-",
                after: "",
            }],
            ..Self::default()
        }
    }
}

/// The template `generic`, for any provider.
impl Default for Template {
    fn default() -> Self {
        Self {
            issuer: None,
            issuer_missing: "is required",
            additional_issuers: vec![],
            metadata_url: None,
            audience_prefix: None,
            algorithms: Algorithm::ALL.into(),
            required_claims: vec![],
            required_any_claim: vec![],
            user_claim_needs: None,
            user_claims: names(["sub"]),
            service_user_claims: names(["sub"]),
            scope_claims: names(["scope", "scp"]),
            permission_claims: vec![],
            roles_claims: names(["roles"]),
            audience_roles_claim: None,
            groups_claim: ClaimPath::name("groups"),
            service_signs: vec![],
        }
    }
}

impl fmt::Display for TemplateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EntraId => "entra_id",
            Self::Okta => "okta",
            Self::Auth0 => "auth0",
            Self::Google => "google",
            Self::Adfs => "adfs",
            Self::Keycloak => "keycloak",
            Self::Generic => "generic",
        })
    }
}

/// Reads the inputs of one template; any input left unread is a fault.
struct Inputs<'a> {
    name: TemplateName,
    inputs: RawInputs,
    path: &'a str,
    faults: &'a mut Faults,
    is_faulty: bool,
}

impl Inputs<'_> {
    fn required<T>(
        &mut self,
        input: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        if matches!(self.inputs.get(input), None | Some(Field::Absent)) {
            self.fault(input, format!("is required by template {}", self.name));
        }
        self.optional(input, read)
    }

    fn optional<T>(
        &mut self,
        input: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let read = match self.inputs.remove(input)? {
            Field::Absent => return None,
            Field::Malformed(fault) => Err(fault),
            Field::Present(text) => read(&text),
        };
        read.map_err(|fault| self.fault(input, fault)).ok()
    }

    fn refuse_others(&mut self) {
        for (input, field) in std::mem::take(&mut self.inputs) {
            if !matches!(field, Field::Absent) {
                self.fault(input, format!("is not an input of template {}", self.name));
            }
        }
    }

    fn fault(&mut self, input: &str, problem: String) {
        self.is_faulty = true;
        self.faults.add(&format!("{}.{input}", self.path), problem);
    }
}

#[derive(Debug)]
enum Tenant {
    Id(String),
    Domain(String),
}

fn tenant(text: &str) -> Result<Tenant, String> {
    let lower = text.to_ascii_lowercase();
    if ["common", "organizations", "consumers"].contains(&lower.as_str()) {
        return Err(format!(
            "must be one tenant: {lower} means many tenants, and anyone with an account in any of \
             them would be accepted"
        ));
    }
    if is_guid(&lower) {
        return Ok(Tenant::Id(lower));
    }
    if lower.contains('.') && is_host_name(&lower) {
        return Ok(Tenant::Domain(lower));
    }
    Err("must be the id of a tenant, such as 8d5c1f2e-0000-4000-8000-000000000000, or one of its \
         domain names, such as contoso.onmicrosoft.com, not a URL"
        .to_owned())
}

/// A host name with or without a port, in lower case.
fn host_name(text: &str) -> Result<String, String> {
    if text.contains('/') {
        return Err(
            "must be a host name alone, such as login.example.com, without https:// and path"
                .to_owned(),
        );
    }
    let lower = text.to_ascii_lowercase();
    let (name, port) = match lower.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (lower.as_str(), None),
    };
    let is_port = |port: &str| {
        port.bytes().all(|byte| byte.is_ascii_digit())
            && port.parse::<u16>().is_ok_and(|port| port > 0)
    };
    if !is_host_name(name) || !port.is_none_or(is_port) {
        return Err("must be a host name such as login.example.com, or one with a port".to_owned());
    }
    Ok(lower)
}

fn authorization_server(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if text.is_empty() || !text.bytes().all(is_plain) {
        return Err("must be the id of a custom authorization server, such as default or \
                    aus9o8wvmhQ8pcRo90h7, not a URL"
            .to_owned());
    }
    Ok(text.to_owned())
}

/// A realm name as it is written in a path.
fn realm(text: &str) -> Result<String, String> {
    const OTHER_THAN_UNRESERVED: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    if text.contains('/') {
        return Err("must be the name of a realm alone, not a URL or path".to_owned());
    }
    if text.is_empty() || text.bytes().all(|byte| byte == b'.') {
        return Err("must be the name of a realm".to_owned());
    }
    Ok(utf8_percent_encode(text, OTHER_THAN_UNRESERVED).to_string())
}

/// True for a GUID in the usual form of five groups.
pub(super) fn is_guid(text: &str) -> bool {
    text.split('-').map(str::len).eq([8, 4, 4, 4, 12])
        && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

/// True for labels of RFC 1123 §2.1.
fn is_host_name(name: &str) -> bool {
    name.len() <= 253
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
}

fn names<const N: usize>(names: [&str; N]) -> Vec<ClaimPath> {
    names.into_iter().map(ClaimPath::name).collect()
}

#[cfg(test)]
mod tests;
