use serde_json::{Value, json};

use super::*;

fn claims(claims: &Value) -> Object {
    claims.as_object().unwrap().into()
}

fn rules() -> IdentityRules {
    IdentityRules {
        provider: "example".into(),
        user_claims: vec![],
        service_user_claims: vec![],
        userless_is_service: false,
        user_field: String::new(),
        scope_claims: vec![ClaimPath::name("scope"), ClaimPath::name("scp")],
        permission_claims: vec![ClaimPath::name("permissions")],
        roles_claims: vec![],
        groups_claim: ListClaim::Strings(ClaimPath::name("groups")),
        client_type: ClientTypeRule::Auto,
        auth_scopes: None,
        service_signs: vec![],
    }
}

#[test]
fn the_client_is_named_by_the_first_of_its_claims_that_is_a_string() {
    for (given, client_id) in [
        (json!({"cid": "d", "appid": "c", "client_id": "b", "azp": "a"}), Some("a")),
        (json!({"cid": "d", "appid": "c", "client_id": "b", "azp": 1}), Some("b")),
        (json!({"cid": "d", "appid": "c", "client_id": null}), Some("c")),
        (json!({"cid": "d", "sub": "e"}), Some("d")),
        (json!({"sub": "e", "AZP": "f", "az": "g"}), None),
    ] {
        assert_eq!(StandardClaims::from_claims(&claims(&given)).client_id(), client_id, "{given}");
    }
}

#[test]
fn a_service_is_recognised_by_its_subject_or_a_marker() {
    let named = |before, after| {
        let claim = ClaimPath::name("name");
        vec![ServiceSign::NamedAfterClient { claim, before, after }]
    };
    let by_oid = || vec![ServiceSign::SubjectIs(ClaimPath::name("oid"))];
    for (given, signs, client_type) in [
        (json!({"sub": "a", "cid": "a"}), vec![], ClientType::Service),
        (json!({"sub": "a", "cid": "b"}), vec![], ClientType::User),
        (json!({}), vec![], ClientType::User),
        (json!({"idtyp": "app"}), vec![], ClientType::Service),
        (json!({"idtyp": "user"}), vec![], ClientType::User),
        (json!({"gty": "client-credentials"}), vec![], ClientType::Service),
        (json!({"gty": ["client-credentials"]}), vec![], ClientType::User),
        (json!({"azp": "C", "name": "S-c!"}), named("s-", "!"), ClientType::Service),
        (json!({"azp": "C", "name": "s-c"}), named("s-", "!"), ClientType::User),
        (json!({"name": "s-!"}), named("s-", "!"), ClientType::User),
        (json!({"sub": "a", "oid": "a"}), by_oid(), ClientType::Service),
        (json!({"sub": "a", "oid": "b"}), by_oid(), ClientType::User),
        (json!({"cid": "a"}), by_oid(), ClientType::User),
    ] {
        let claims = claims(&given);
        let found = StandardClaims::from_claims(&claims).client_type(&claims, &signs);
        assert_eq!(found, client_type, "{given}");
    }
}

#[test]
fn a_token_without_user_belongs_to_a_service_only_where_configured() {
    let rules = |userless_is_service| IdentityRules {
        user_claims: vec![ClaimPath::name("upn"), ClaimPath::from_names(["account", "name"])],
        userless_is_service,
        ..rules()
    };
    for (given, names_no_user) in [
        (json!({"client_id": "c"}), true),
        (json!({"client_id": "c", "account": {}}), true),
        (json!({"client_id": "c", "sub": "s"}), false),
        (json!({"client_id": "c", "upn": "u"}), false),
        (json!({"client_id": "c", "account": {"name": "u"}}), false),
        // An unreadable claim is not a missing one.
        (json!({"client_id": "c", "sub": ""}), false),
        (json!({"client_id": "c", "sub": null}), false),
        (json!({"client_id": "c", "upn": []}), false),
        (json!({"client_id": "c", "account": {"name": null}}), false),
    ] {
        let claims = claims(&given);
        assert_eq!(rules(true).makes_a_service_of(&claims), names_no_user, "{given}");
        assert!(!rules(false).makes_a_service_of(&claims), "{given}");
    }
}

#[test]
fn scopes_are_the_allowed_ones_of_all_claims() {
    let given = json!({"scope": "a  b a", "scp": "x", "permissions": ["b", "", "c d", 1]});
    for (given, allowed, expected) in [
        (given.clone(), None, vec!["a", "b", "", "c d"]),
        (given, Some(vec!["c d", "a", "z"]), vec!["a", "c d"]),
        (json!({"scope": ["a b", "a b"]}), None, vec!["a b"]),
        (json!({"scope": null, "permissions": "a b"}), None, vec!["a", "b"]),
        (json!({"scope": ""}), None, vec![]),
        (json!({}), Some(vec!["b", "a"]), vec!["b", "a"]),
        (json!({"scope": [""]}), Some(vec!["b"]), vec![]),
        (json!({"scope": null}), Some(vec!["b"]), vec!["b"]),
        // An unreadable claim does not count as absent.
        (json!({"scope": {"a": {}}}), Some(vec!["b"]), vec![]),
        (json!({"scope": true}), Some(vec!["b"]), vec![]),
        (json!({"scope": [1]}), Some(vec!["b"]), vec![]),
        (json!({"permissions": {"b": {}}}), Some(vec!["b"]), vec![]),
        (json!({"scope": {}, "permissions": ["b", "c"]}), Some(vec!["b"]), vec!["b"]),
    ] {
        let auth_scopes = allowed.map(|scopes| scopes.into_iter().map(str::to_owned).collect());
        let rules = IdentityRules { auth_scopes, ..rules() };
        let claims = claims(&given);
        let scope_claims: Vec<_> = scope_claims(&claims, &rules).collect();
        let scopes = scopes(&scope_claims, &rules);
        assert_eq!(scopes.iter().collect::<Vec<_>>(), expected, "{given}");
    }
}
