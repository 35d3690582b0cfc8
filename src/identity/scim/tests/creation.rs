//! Users who are created in the directory.

use super::*;

/// The user created for the claims of [`Worker`], found by this field and value.
fn created(by: &str, value: &str) -> Value {
    let user = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "active": true,
        "userName": "ada",
        "emails": [{"value": "ada@x", "primary": true}],
        "name": {"givenName": "Ada"},
        "roles": [{"value": "external"}],
    });
    let mut user = user.as_object().unwrap().clone();
    Attribute::from_field(by).set(&mut user, value);
    Value::Object(user)
}

#[test]
fn an_unknown_user_is_created_from_the_token_and_found_by_the_user_claim() {
    for (field, value) in
        [("user_name", "countess"), ("email", "ada@y"), ("employee_number", "1815")]
    {
        let mut worker = Worker::new(creating());
        let user = created(field, value);
        let callouts = worker.look_up(field, value, vec![list(&[]), response(201, &user)]);
        assert_eq!(callouts.len(), 2);
        let body = callouts[1].strip_prefix("POST /scim/v2/Users").unwrap();
        assert_eq!(serde_json::from_str::<Value>(body).unwrap(), user);
        let ScimResult::Known(known) = worker.find(field, value, now()) else { panic!("{field}") };
        assert_eq!(known.roles, ["external"]);
        let reports: Vec<_> = std::iter::from_fn(|| worker.lookups.next_report()).collect();
        let name = user["userName"].as_str().unwrap().to_owned();
        assert_eq!(reports, [LookupReport::Created { user: name, lacking: vec![] }]);
    }
}

#[test]
fn a_user_created_meanwhile_by_another_client_is_found() {
    let found = list(&[ada()]);
    for second in [response(409, &json!({})), response(201, &Value::Null)] {
        let mut worker = Worker::new(creating());
        let callouts = worker.look_up("user_name", "ada", vec![list(&[]), second, found.clone()]);
        assert_eq!(callouts[0], SEARCH);
        assert_eq!(callouts[2], SEARCH);
        assert!(matches!(worker.find("user_name", "ada", now()), ScimResult::Known(_)));
    }
}

#[test]
fn a_user_who_cannot_be_created_stays_unknown() {
    let mut worker = Worker::new(creating());
    worker.look_up("email", "ada@x", vec![list(&[]), response(409, &json!({})), list(&[])]);
    let expected = ScimResult::NotFound(Some(&NotFound::Conflict));
    assert_eq!(worker.find("email", "ada@x", now()), expected);

    worker.claims = worker.claims.retain(|name| name != "preferred_username");
    worker.look_up("email", "bob@x", vec![list(&[])]);
    let claim = ClaimPath::name("preferred_username");
    let expected = ScimResult::NotFound(Some(&NotFound::Nameless(claim)));
    assert_eq!(worker.find("email", "bob@x", now()), expected);
}

#[test]
fn no_user_is_created_under_the_name_of_a_record() {
    for (field, value) in [("email", "ada@y"), ("user_name", "of-a-record")] {
        let mut worker = Worker::new(creating());
        let claims = json!({"preferred_username": "of-a-record"});
        worker.claims = claims.as_object().unwrap().into();
        assert_eq!(worker.look_up(field, value, vec![list(&[])]).len(), 1);
        let expected =
            ScimResult::NotFound(Some(&NotFound::NameOfRecord("of-a-record".to_owned())));
        assert_eq!(worker.find(field, value, now()), expected);
    }
}

#[test]
fn services_are_not_created_and_block_no_other_look_up() {
    let mut worker = Worker::new(creating());
    worker.is_service = true;
    assert_eq!(worker.look_up("user_name", "ada", vec![list(&[])]), [SEARCH]);
    assert_eq!(worker.find("user_name", "ada", now()), ScimResult::NotFound(None));
    worker.is_service = false;
    assert_eq!(worker.find("user_name", "ada", now()), ScimResult::Await);
}

#[test]
fn a_creation_that_fails_or_returns_another_user_is_a_failure() {
    for second in [
        response(201, &json!({"userName": "Ada"})),
        response(201, &json!({"userName": "bob"})),
        response(400, &json!({})),
        response(403, &json!({})),
        response(500, &json!({})),
    ] {
        let said = format!("{second:?}");
        let mut worker = Worker::new(creating());
        worker.look_up("user_name", "ada", vec![list(&[]), second]);
        let found = worker.find("user_name", "ada", now());
        assert!(matches!(found, ScimResult::Unavailable(_)), "{said}: {found:?}");
    }
}

#[test]
fn a_directory_that_drops_roles_is_reported() {
    let mut worker = Worker::new(creating());
    let kept = response(201, &json!({"userName": "ada"}));
    worker.look_up("user_name", "ada", vec![list(&[]), kept]);
    let report = worker.lookups.next_report().unwrap();
    assert!(report.to_string().contains("did not store these roles: external"), "{report}");
}
