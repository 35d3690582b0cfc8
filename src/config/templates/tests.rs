//! Which inputs give which provider, and which are refused.

use serde_json::{Value, json};

use super::super::{Config, ConfigError};
use crate::claim::{ClaimPath, ListClaim};
use crate::jose::Algorithm;
use crate::keys::{KeySource, Start};
use crate::provider::{AcceptedTokens, Provider, ServiceSign};

const TENANT: &str = "8d5c1f2e-0000-4000-8000-000000000000";
const API: &str = "6a7f0000-0000-4000-8000-000000000000";

fn config(fields: &Value) -> Result<Config, ConfigError> {
    let mut provider = json!({"name": "p", "client_ids": ["mcp"], "cluster": "id"});
    for (name, value) in fields.as_object().unwrap() {
        provider[name] = value.clone();
    }
    provider.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    let document = json!({
        "resource": {"url": "https://mcp.example.com/mcp"},
        "providers": [provider],
    });
    Config::from_bytes(document.to_string().as_bytes())
}

fn read(fields: &Value) -> Result<Provider, Vec<String>> {
    config(fields)
        .map(|config| config.providers.iter().next().unwrap().clone())
        .map_err(|error| error.faults().map(ToString::to_string).collect())
}

/// The audiences that the resource accepts from the provider.
fn accepted(fields: &Value) -> AcceptedTokens {
    let config = config(fields).unwrap();
    let (id, _) = config.providers.entries().next().unwrap();
    config.resources.iter().next().unwrap().providers.get(id).unwrap().clone()
}

fn faults(fields: &Value) -> Vec<String> {
    read(fields).err().unwrap_or_default()
}

/// The URL of the keys, and the accepted issuers.
fn addresses(fields: &Value) -> (String, Vec<String>) {
    let provider = read(fields).unwrap();
    let KeySource::Remote(source) = provider.key_source else { panic!("keys are fetched") };
    assert_eq!(Some(&source.issuer), provider.issuers.first());
    let start = match source.start {
        Start::Metadata(endpoint) | Start::KeySet(endpoint) => endpoint.to_string(),
    };
    (start, provider.issuers)
}

#[test]
fn inputs_become_the_urls_of_the_provider() {
    let entra = "https://login.microsoftonline.com";
    for (fields, issuers, metadata) in [
        (
            json!({"template": "entra_id", "tenant": TENANT.to_uppercase()}),
            vec![format!("{entra}/{TENANT}/v2.0"), format!("https://sts.windows.net/{TENANT}/")],
            format!("{entra}/{TENANT}/v2.0/.well-known/openid-configuration"),
        ),
        (
            json!({"template": "entra_id", "tenant": "Contoso.onmicrosoft.com", "issuer": "i"}),
            vec!["i".to_owned()],
            format!("{entra}/contoso.onmicrosoft.com/v2.0/.well-known/openid-configuration"),
        ),
        (
            json!({"template": "okta", "domain": "Dev-1.okta.com"}),
            vec!["https://dev-1.okta.com/oauth2/default".to_owned()],
            "https://dev-1.okta.com/oauth2/default/.well-known/openid-configuration".to_owned(),
        ),
        (
            json!({"template": "okta", "domain": "id.example.com", "authorization_server": "ausX_1"}),
            vec!["https://id.example.com/oauth2/ausX_1".to_owned()],
            "https://id.example.com/oauth2/ausX_1/.well-known/openid-configuration".to_owned(),
        ),
        (
            json!({"template": "auth0", "domain": "dev-1.eu.auth0.com"}),
            vec!["https://dev-1.eu.auth0.com/".to_owned()],
            "https://dev-1.eu.auth0.com/.well-known/openid-configuration".to_owned(),
        ),
        (
            json!({"template": "google"}),
            vec!["https://accounts.google.com".to_owned(), "accounts.google.com".to_owned()],
            "https://accounts.google.com/.well-known/openid-configuration".to_owned(),
        ),
        (
            json!({"template": "adfs", "host": "fs.contoso.com"}),
            vec![
                "https://fs.contoso.com/adfs".to_owned(),
                "http://fs.contoso.com/adfs/services/trust".to_owned(),
            ],
            "https://fs.contoso.com/adfs/.well-known/openid-configuration".to_owned(),
        ),
        (
            json!({"template": "keycloak", "host": "sso.example.com:8443", "realm": "My Realm é"}),
            vec!["https://sso.example.com:8443/realms/My%20Realm%20%C3%A9".to_owned()],
            "https://sso.example.com:8443/realms/My%20Realm%20%C3%A9/.well-known/openid-configuration"
                .to_owned(),
        ),
    ] {
        assert_eq!(addresses(&fields), (metadata, issuers), "{fields}");
    }
}

#[test]
fn only_missing_and_foreign_inputs_are_faults_with_their_paths() {
    for (fields, expected) in [
        (json!({"template": "entra_id"}), vec!["tenant: is required by template entra_id"]),
        (json!({"template": "okta"}), vec!["domain: is required by template okta"]),
        (json!({"template": "auth0"}), vec!["domain: is required by template auth0"]),
        (json!({"template": "adfs"}), vec!["host: is required by template adfs"]),
        (
            json!({"template": "keycloak"}),
            vec![
                "host: is required by template keycloak",
                "realm: is required by template keycloak",
            ],
        ),
        (
            json!({"template": "okta", "domain": "d.okta.com", "realm": "r", "tenant": "t"}),
            vec![
                "realm: is not an input of template okta",
                "tenant: is not an input of template okta",
            ],
        ),
        (
            json!({"template": "google", "domain": "d"}),
            vec!["domain: is not an input of template google"],
        ),
        (
            json!({"host": "h", "issuer": "i", "jwks_url": "https://h/jwks"}),
            vec!["host: is not an input of template generic"],
        ),
        (
            json!({"template": "auth0", "domain": 5}),
            vec!["domain: invalid type: integer `5`, expected a string"],
        ),
        (
            json!({"template": "entra", "issuer": "i", "jwks_url": "https://h/jwks"}),
            vec![
                "template: unknown variant `entra`, expected one of `entra_id`, `okta`, `auth0`, \
                  `google`, `adfs`, `keycloak`, `generic`",
            ],
        ),
        (
            json!({"template": "entra_id", "tenant": "contoso.com"}),
            vec![
                "issuer: is required with a tenant that is a domain name: tokens name the tenant \
                  by its id",
            ],
        ),
    ] {
        let expected: Vec<String> =
            expected.into_iter().map(|fault| format!("providers[0].{fault}")).collect();
        assert_eq!(faults(&fields), expected, "{fields}");
    }
}

#[test]
fn inputs_are_read_strictly() {
    let host = "must be a host name such as login.example.com";
    let no_url = "must be a host name alone, such as login.example.com, without https:// and path";
    for (template, input, value, fault) in [
        ("entra_id", "tenant", "common", "must be one tenant: common means many"),
        ("entra_id", "tenant", "Organizations", "must be one tenant: organizations means"),
        ("entra_id", "tenant", "consumers", "must be one tenant: consumers means many"),
        ("entra_id", "tenant", "", "must be the id of a tenant"),
        ("entra_id", "tenant", "contoso", "must be the id of a tenant"),
        ("entra_id", "tenant", "8d5c1f2e00004000800000000000000", "must be the id of a tenant"),
        ("entra_id", "tenant", "https://login.microsoftonline.com/x", "must be the id of a tenant"),
        ("entra_id", "tenant", "contoso.com/v2.0", "must be the id of a tenant"),
        ("entra_id", "tenant", "contoso.com?x", "must be the id of a tenant"),
        ("okta", "domain", "https://dev-1.okta.com", no_url),
        ("okta", "domain", "dev-1.okta.com/oauth2/default", no_url),
        ("okta", "domain", "user@dev-1.okta.com", host),
        ("okta", "domain", "dev-1.okta.com:", host),
        ("okta", "domain", "dev-1.okta.com:0", host),
        ("okta", "domain", "dev-1.okta.com:+1", host),
        ("okta", "domain", "dev-1.okta.com:99999", host),
        ("okta", "domain", "-dev.okta.com", host),
        ("okta", "domain", "dev..okta.com", host),
        ("okta", "domain", "dev.okta.com.", host),
        ("okta", "domain", "dev_1.okta.com", host),
        ("okta", "domain", "dév.okta.com", host),
        ("okta", "domain", "", host),
        ("okta", "authorization_server", "", "must be the id of a custom authorization server"),
        ("okta", "authorization_server", "a/b", "must be the id of a custom authorization server"),
        ("okta", "authorization_server", "https://x", "must be the id of a custom authorization"),
        (
            "keycloak",
            "realm",
            "https://sso.example.com/realms/r",
            "must be the name of a realm alone",
        ),
        ("keycloak", "realm", "..", "must be the name of a realm"),
        ("keycloak", "realm", "", "must be the name of a realm"),
    ] {
        let mut fields = match template {
            "okta" => json!({"domain": "d.okta.com"}),
            "keycloak" => json!({"host": "sso.example.com"}),
            _ => json!({}),
        };
        fields["template"] = template.into();
        fields[input] = value.into();
        let faults = faults(&fields);
        assert_eq!(faults.len(), 1, "{fields}: {faults:?}");
        let expected = format!("providers[0].{input}: {fault}");
        assert!(faults[0].starts_with(&expected), "{fields}: {faults:?}");
    }
}

#[test]
fn a_field_that_is_set_overrides_the_template() {
    let okta = |fields: Value| {
        let mut all = json!({"template": "okta", "domain": "d.okta.com"});
        for (name, value) in fields.as_object().unwrap() {
            all[name] = value.clone();
        }
        all
    };
    let (start, issuers) = addresses(&okta(json!({"issuer": "https://other.example"})));
    assert_eq!(start, "https://d.okta.com/oauth2/default/.well-known/openid-configuration");
    assert_eq!(issuers, ["https://other.example"]);
    let (start, issuers) = addresses(&okta(json!({"jwks_url": "https://other.example/jwks"})));
    assert_eq!(start, "https://other.example/jwks");
    assert_eq!(issuers, ["https://d.okta.com/oauth2/default"]);

    let entra = json!({"template": "entra_id", "tenant": TENANT, "additional_issuers": []});
    assert_eq!(addresses(&entra).1.len(), 1);

    let rules = |fields: Value| read(&okta(fields)).unwrap().identity_rules;
    let name = |claim: &str| vec![ClaimPath::name(claim)];
    let identity_rules = rules(json!({}));
    assert_eq!(
        (identity_rules.user_claims, identity_rules.scope_claims),
        (name("sub"), name("scp"))
    );
    let identity_rules = rules(
        json!({"user_claim": "uid", "scope_claim": "s", "roles_claim": "r", "groups_claim": "g"}),
    );
    assert_eq!(
        (identity_rules.user_claims, identity_rules.service_user_claims),
        (name("uid"), name("uid"))
    );
    assert_eq!(identity_rules.scope_claims, name("s"));
    assert_eq!(identity_rules.roles_claims, [ListClaim::Strings(ClaimPath::name("r"))]);
    assert_eq!(identity_rules.groups_claim, ListClaim::Strings(ClaimPath::name("g")));

    // A configured scope claim replaces those of the template.
    let auth0 = |fields: Value| {
        let mut all = json!({"template": "auth0", "domain": "d.auth0.com"});
        for (name, value) in fields.as_object().unwrap() {
            all[name] = value.clone();
        }
        read(&all).unwrap().identity_rules.permission_claims
    };
    assert_eq!(auth0(json!({})), name("permissions"));
    assert_eq!(auth0(json!({"scope_claim": "scope"})), vec![]);
}

#[test]
fn only_entra_id_has_two_spellings_of_a_guid_audience() {
    let audiences = |fields: Value| accepted(&fields).audiences;
    let entra = |ids: Value| {
        audiences(json!({"template": "entra_id", "tenant": TENANT, "client_ids": ids}))
    };
    let uri = format!("api://{API}");
    assert_eq!(entra(json!([API])), [API, &uri]);
    assert_eq!(entra(json!([uri])), [&uri, API]);
    assert_eq!(entra(json!([API, uri])), [API, &uri]);
    for other in ["api://incident-tools", "incident-tools", "https://contoso.com/api"] {
        assert_eq!(entra(json!([other])), [other]);
    }
    let inner = format!("api://{TENANT}/{API}");
    assert_eq!(entra(json!([inner])), [inner]);
    let okta = json!({"template": "okta", "domain": "d.okta.com", "client_ids": [API]});
    assert_eq!(audiences(okta), [API]);
}

#[test]
fn both_spellings_of_an_audience_select_among_providers_with_one_issuer() {
    let provider = |name: &str, id: String| json!({"name": name, "template": "entra_id", "tenant": TENANT, "client_ids": [id], "cluster": "c"});
    let document = json!({
        "resource": {"url": "https://mcp.example.com/mcp"},
        "providers": [provider("a", API.to_owned()), provider("b", format!("api://{API}"))],
    });
    let error = Config::from_bytes(document.to_string().as_bytes()).unwrap_err();
    assert!(error.to_string().contains("is also one of providers[0]"), "{error}");
}

#[test]
fn required_claims_of_a_template_are_added_to_those_configured() {
    let names = |fields: &Value| -> Vec<(String, Vec<Value>)> {
        let claims = read(fields).unwrap().required_claims.into_iter();
        claims.map(|claim| (claim.name, claim.accepted)).collect()
    };
    let verified = ("email_verified".to_owned(), vec![json!(true)]);
    let hosted = ("hd".to_owned(), vec![json!("example.com")]);
    assert_eq!(names(&json!({"template": "google"})), vec![verified.clone()]);
    assert_eq!(
        names(&json!({"template": "google", "required_claims": {"hd": "example.com"}})),
        [hosted, verified.clone()]
    );
    assert_eq!(names(&json!({"template": "google", "user_claim": "email"})), [verified]);
    assert_eq!(names(&json!({"template": "google", "user_claim": "sub"})), []);
    let keycloak = |claims: Value| json!({"template": "keycloak", "host": "h", "realm": "r", "required_claims": claims});
    assert_eq!(names(&keycloak(json!({}))), [("typ".to_owned(), vec![json!("Bearer")])]);
    assert_eq!(names(&keycloak(json!({"typ": "ID"}))), [("typ".to_owned(), vec![json!("ID")])]);
}

#[test]
fn roles_in_keycloak_are_those_of_the_realm_and_the_audiences() {
    let keycloak =
        json!({"template": "keycloak", "host": "h", "realm": "r", "client_ids": ["a", "b"]});
    let rules = read(&keycloak).unwrap().identity_rules;
    let of_realm = ClaimPath::from_names(["realm_access", "roles"]);
    assert_eq!(rules.roles_claims, [ListClaim::Strings(of_realm)]);
    assert_eq!(
        accepted(&keycloak).audience_roles,
        [["resource_access", "a", "roles"], ["resource_access", "b", "roles"]]
            .map(ClaimPath::from_names)
            .map(ListClaim::Strings)
    );
    assert!(matches!(rules.service_signs[..], [ServiceSign::NamedAfterClient { .. }]));
}

#[test]
fn the_generic_template_is_the_default_and_sets_nothing() {
    for fields in [json!({}), json!({"template": "generic"})] {
        assert_eq!(
            faults(&fields),
            [
                "providers[0].issuer: is required",
                "providers[0]: must have exactly one of metadata_url, jwks_url, jwks and certificates",
            ]
        );
    }
}

#[test]
fn each_template_accepts_the_algorithms_of_its_provider() {
    use Algorithm::{Ps256, Rs256, Rs512};
    for (fields, algorithms) in [
        (json!({"template": "entra_id", "tenant": TENANT}), vec![Rs256]),
        (json!({"template": "google"}), vec![Rs256]),
        (json!({"template": "okta", "domain": "d.okta.com"}), vec![Rs256]),
        (json!({"template": "adfs", "host": "fs.contoso.com"}), vec![Rs256]),
        (json!({"template": "auth0", "domain": "d.auth0.com"}), vec![Rs256, Rs512, Ps256]),
        (json!({"template": "keycloak", "host": "h", "realm": "r"}), Algorithm::ALL.into()),
        (json!({"issuer": "i", "jwks_url": "https://h/jwks"}), Algorithm::ALL.into()),
    ] {
        assert_eq!(read(&fields).unwrap().algorithms, algorithms, "{fields}");
        let mut given = fields;
        given["algorithms"] = json!(["PS256", "ES512"]);
        assert_eq!(read(&given).unwrap().algorithms, [Ps256, Algorithm::Es512], "{given}");
    }
}

#[test]
fn only_entra_id_tokens_need_a_scope_or_role_by_default() {
    let required = |fields: Value| read(&fields).unwrap().required_any_claim;
    let entra = |claims: Value| json!({"template": "entra_id", "tenant": TENANT, "required_any_claim": claims});
    let names = |names: &[&str]| names.iter().map(|name| ClaimPath::name(name)).collect::<Vec<_>>();
    assert_eq!(required(entra(Value::Null)), names(&["scp", "roles"]));
    assert_eq!(required(entra(json!([]))), []);
    assert_eq!(required(entra(json!(["wids"]))), names(&["wids"]));
    assert_eq!(required(json!({"template": "google"})), []);
    let generic = json!({"issuer": "i", "jwks_url": "https://h/jwks"});
    assert_eq!(required(generic), []);
    for (claims, fault) in [
        (json!("scp"), "invalid type: string \"scp\", expected a list"),
        (json!([""]), "a claim name must not be empty"),
        (json!([[]]), "a claim name must not be empty"),
        (json!([5]), "expected a claim name, or a list of names as a path"),
    ] {
        let path = "providers[0].required_any_claim";
        assert_eq!(faults(&entra(claims)), [format!("{path}: {fault}")]);
    }
}

#[test]
fn service_and_person_tokens_can_use_different_user_claims() {
    let claims = |fields: Value| {
        let rules = read(&fields).unwrap().identity_rules;
        (rules.user_claims, rules.service_user_claims, rules.userless_is_service)
    };
    let name = |claim: &str| vec![ClaimPath::name(claim)];
    let generic = |user: Value, service: Value| {
        json!({
            "issuer": "i", "jwks_url": "https://h/jwks",
            "user_claim": user, "service_user_claim": service,
        })
    };
    let none = || Value::Null;
    assert_eq!(claims(generic(none(), none())), (name("sub"), name("sub"), false));
    assert_eq!(claims(generic(json!("upn"), none())), (name("upn"), name("upn"), false));
    assert_eq!(claims(generic(none(), json!("cid"))), (name("sub"), name("cid"), true));
    assert_eq!(claims(generic(json!("upn"), json!("cid"))), (name("upn"), name("cid"), true));
    let adfs =
        |service: Value| json!({"template": "adfs", "host": "h", "service_user_claim": service});
    assert_eq!(claims(adfs(none())), (name("upn"), name("appid"), false));
    assert_eq!(claims(adfs(json!("cid"))), (name("upn"), name("cid"), true));
}

#[test]
fn no_template_compares_the_client_instead_of_the_audience() {
    use crate::claim::AudienceClaim;
    let of = |fields: &Value| read(fields).unwrap().claim_rules.audience_claim;
    for fields in [
        json!({"template": "entra_id", "tenant": TENANT}),
        json!({"template": "google"}),
        json!({"template": "okta", "domain": "d.okta.com"}),
        json!({"template": "adfs", "host": "fs.contoso.com"}),
        json!({"template": "auth0", "domain": "d.auth0.com"}),
        json!({"template": "keycloak", "host": "h", "realm": "r"}),
        json!({"issuer": "i", "jwks_url": "https://h/jwks"}),
        json!({"issuer": "i", "jwks_url": "https://h/jwks", "audience_claim": "aud"}),
    ] {
        assert_eq!(of(&fields), AudienceClaim::Audience, "{fields}");
    }
    let by_client = |claim: Value| json!({"issuer": "i", "jwks_url": "https://h/jwks", "audience_claim": claim});
    assert_eq!(of(&by_client(json!("client_id"))), AudienceClaim::ClientId);
    for claim in ["azp", "client", "Client_Id", ""] {
        let faults = faults(&by_client(json!(claim)));
        assert!(faults[0].contains("expected `aud` or `client_id`"), "{faults:?}");
    }
}
