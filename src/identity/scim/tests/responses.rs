//! How responses of the directory are read.

use super::*;

#[test]
fn no_value_changes_the_meaning_of_the_filter() {
    for (value, filter) in [
        ("ada", "userName%20eq%20%22ada%22"),
        (r#"a" or userName ne ""#, r"userName%20eq%20%22a%5C%22%20or%20userName%20ne%20%5C%22%22"),
        (r"a\", r"userName%20eq%20%22a%5C%5C%22"),
        ("a&b=c#d?/%22+é", "userName%20eq%20%22a%26b%3Dc%23d%3F%2F%2522%2B%C3%A9%22"),
        ("a\r\n\0", "userName%20eq%20%22a%5Cr%5Cn%5Cu0000%22"),
    ] {
        let mut worker = Worker::new(directory());
        let callouts = worker.look_up("user_name", value, vec![list(&[])]);
        assert_eq!(callouts, [format!("GET /scim/v2/Users?filter={filter}")], "{value}");
    }
}

#[test]
fn only_a_user_with_exactly_this_value_is_found() {
    let other = json!({"userName": "Ada", "emails": [{"value": "ada@x"}]});
    let others = NotFound::Others(Box::new(OtherUsers {
        count: 1,
        attribute: "userName".to_owned(),
        nearest: "Ada".to_owned(),
        nearness: Nearness::Differs(Difference::Case),
        is_barred: false,
    }));
    for (name, users, total, expected) in [
        ("no user", vec![], 0, ScimResult::NotFound(None)),
        ("another case", vec![other.clone()], 1, ScimResult::NotFound(Some(&others))),
        ("one of two", vec![other, ada()], 2, ScimResult::Known(&user("ada", &["itil"]))),
        ("two", vec![ada(), ada()], 2, ScimResult::NotFound(Some(&NotFound::Ambiguous))),
        (
            "a count above the number of users",
            vec![ada()],
            2,
            ScimResult::NotFound(Some(&NotFound::Ambiguous)),
        ),
        (
            "none of several users",
            vec![],
            2,
            ScimResult::NotFound(Some(&NotFound::Hidden { counted: 2 })),
        ),
        (
            "a user that is counted and not returned",
            vec![],
            1,
            ScimResult::NotFound(Some(&NotFound::Hidden { counted: 1 })),
        ),
    ] {
        let mut worker = Worker::new(directory());
        let mut users = json!({"totalResults": total, "Resources": users});
        for user in users["Resources"].as_array_mut().unwrap() {
            user.as_object_mut().unwrap().remove("groups");
        }
        worker.look_up("user_name", "ada", vec![response(200, &users)]);
        assert_eq!(worker.find("user_name", "ada", now()), expected, "{name}");
    }
}

#[test]
fn a_value_that_is_too_long_for_a_filter_belongs_to_no_user() {
    let worker = Worker::new(directory());
    let value = "a".repeat(1025);
    let found = worker.find("user_name", &value, now());
    assert_eq!(found, ScimResult::NotFound(Some(&NotFound::TooLong)));
    assert_eq!(worker.find("user_name", &value[1..], now()), ScimResult::Await);
}

#[test]
fn account_status_and_kind_are_read_from_every_known_place() {
    let extension = "urn:example:1.0:User";
    for (attributes, account_status, is_service) in [
        (json!({}), AccountStatus::Active, false),
        (json!({"active": true, "locked": null}), AccountStatus::Active, false),
        (json!({"active": false}), AccountStatus::Inactive, false),
        (json!({"Active": false}), AccountStatus::Inactive, false),
        (json!({"locked": true}), AccountStatus::Locked, false),
        (json!({extension: {"locked": true}}), AccountStatus::Locked, false),
        (json!({"webServiceAccessOnly": true}), AccountStatus::Active, true),
        (json!({extension: {"web_service_access_only": true}}), AccountStatus::Active, true),
        (json!({"other": {"webServiceAccessOnly": true}}), AccountStatus::Active, false),
    ] {
        let mut resource = json!({"userName": "ada"});
        resource.as_object_mut().unwrap().extend(attributes.as_object().unwrap().clone());
        let mut worker = Worker::new(directory());
        worker.look_up("user_name", "ada", vec![list(&[resource])]);
        let expected =
            User { account_status, web_service_access_only: is_service, ..user("ada", &[]) };
        let found = worker.find("user_name", "ada", now());
        assert_eq!(found, ScimResult::Known(&expected), "{attributes}");
    }
}

#[test]
fn a_partly_unreadable_user_is_not_used() {
    for attributes in [
        json!({"active": "false"}),
        json!({"active": 0}),
        json!({"locked": "yes"}),
        json!({"webServiceAccessOnly": 1}),
        json!({"urn:x": {"active": false}, "active": true}),
        json!({"roles": "admin"}),
        json!({"roles": [7]}),
        json!({"groups": [{"name": "ops"}]}),
        json!({"groups": [{"$ref": "https://directory.example.com/Groups/7"}]}),
        json!({"roles": [{"value": 7, "display": "admin"}]}),
        json!({"roles": {"value": "admin"}}),
    ] {
        let mut resource = json!({"userName": "ada"});
        resource.as_object_mut().unwrap().extend(attributes.as_object().unwrap().clone());
        let mut worker = Worker::new(directory());
        worker.look_up("user_name", "ada", vec![list(&[resource])]);
        let found = worker.find("user_name", "ada", now());
        assert!(
            matches!(found, ScimResult::Unavailable(DirectoryFault::NotAUser(_))),
            "{attributes}: {found:?}"
        );
    }
    let nameless = json!({"emails": [{"value": "ada@x"}]});
    let mut worker = Worker::new(directory());
    worker.look_up("email", "ada@x", vec![list(&[nameless])]);
    let expected = ScimResult::Unavailable(&DirectoryFault::NotAUser("userName"));
    assert_eq!(worker.find("email", "ada@x", now()), expected);
}

#[test]
fn a_response_that_is_not_a_list_says_nothing_about_the_user() {
    let mut responses: Vec<CalloutResponse> = [
        json!(null),
        json!([]),
        json!({}),
        json!({"Resources": []}),
        json!({"totalResults": 0, "Resources": {}}),
        json!({"totalResults": 1}),
        json!({"totalResults": 1, "Resources": null}),
        json!({"totalResults": 1, "Resources": ["ada"]}),
        json!({"totalResults": null, "Resources": []}),
        json!({"totalResults": "0", "Resources": []}),
    ]
    .iter()
    .map(|body| response(200, body))
    .collect();
    let twice = br#"{"totalResults": 1, "totalResults": 0, "Resources": []}"#.to_vec();
    let plain = response(200, &json!(null));
    responses.push(CalloutResponse { body_length: twice.len(), body: twice, ..plain.clone() });
    responses.push(CalloutResponse { body_length: 9, ..plain.clone() });
    responses.push(CalloutResponse { status: None, ..plain });
    responses
        .extend([201, 204, 301, 400, 401, 404, 500].map(|status| response(status, &json!({}))));
    responses.push(list(&vec![ada(); 1000]));
    for response in responses {
        let said = format!("{response:?}");
        let mut worker = Worker::new(directory());
        worker.look_up("user_name", "ada", vec![response]);
        let found = worker.find("user_name", "ada", now());
        assert!(matches!(found, ScimResult::Unavailable(_)), "{said}: {found:?}");
    }
}

/// A response with these bytes.
fn text(body: &str) -> CalloutResponse {
    CalloutResponse { body: body.into(), body_length: body.len(), ..response(200, &Value::Null) }
}

#[test]
fn attribute_names_are_case_insensitive_and_null_is_absent() {
    let known = user("ada", &["itil"]);
    for (body, expected) in [
        (r#"{"totalResults": 0, "Resources": null}"#, ScimResult::NotFound(None)),
        (r#"{"totalResults": 0}"#, ScimResult::NotFound(None)),
        (r#"{"TOTALRESULTS": 0, "resources": []}"#, ScimResult::NotFound(None)),
        (
            r#"{"totalResults": 1, "Resources": [null]}"#,
            ScimResult::NotFound(Some(&NotFound::Hidden { counted: 1 })),
        ),
        (
            "\u{feff}{\"totalresults\": 1, \"RESOURCES\": [{\"UserName\": \"ada\", \"ROLES\": \
             [{\"Value\": \"itil\"}]}, null]}",
            ScimResult::Known(&known),
        ),
        (
            r#"{"totalResults": 1, "Resources": [{"username": "ada", "Roles": [null, {"value": null,
            "DISPLAY": "itil"}, {}, {"value": null, "type": "direct", "primary": true}],
            "active": null, "locked": null, "groups": null, "emails": null}]}"#,
            ScimResult::Known(&known),
        ),
    ] {
        let mut worker = Worker::new(directory());
        worker.look_up("user_name", "ada", vec![text(body)]);
        assert_eq!(worker.find("user_name", "ada", now()), expected, "{body}");
    }
    for (member, account_status) in [
        (r#""ACTIVE": false"#, AccountStatus::Inactive),
        (r#""URN:Example:1.0:User": {"Locked": true}"#, AccountStatus::Locked),
        (r#""urn:example:1.0:User:locked": true"#, AccountStatus::Locked),
        (r#""urn:example:locked": {"other": true}"#, AccountStatus::Active),
        (r#""urn:example:1.0:User": null"#, AccountStatus::Active),
    ] {
        let mut worker = Worker::new(directory());
        let body =
            format!(r#"{{"totalResults": 1, "Resources": [{{"userName": "ada", {member}}}]}}"#);
        worker.look_up("user_name", "ada", vec![text(&body)]);
        let expected = User { account_status, ..user("ada", &[]) };
        let found = worker.find("user_name", "ada", now());
        assert_eq!(found, ScimResult::Known(&expected), "{member}");
    }
}

#[test]
fn a_duplicate_attribute_makes_a_response_unusable() {
    for (name, body) in [
        ("TotalResults", r#"{"totalResults": 0, "TotalResults": 1, "Resources": []}"#),
        (
            "resources",
            r#"{"totalResults": 1, "Resources": [], "resources": [{"userName": "ada"}]}"#,
        ),
        (
            "userName",
            r#"{"totalResults": 1, "Resources": [{"UserName": "ada", "userName": "bob"}]}"#,
        ),
        (
            "active",
            r#"{"totalResults": 1, "Resources": [{"userName": "ada", "Active": true, "active": true}]}"#,
        ),
        (
            "value",
            r#"{"totalResults": 1, "Resources": [{"userName": "ada", "roles": [{"Value": "a", "value": null}]}]}"#,
        ),
        (
            "userName",
            r#"{"totalResults": 1, "Resources": [{"userName": "ada", "userName": "ada"}]}"#,
        ),
    ] {
        let mut worker = Worker::new(directory());
        worker.look_up("user_name", "ada", vec![text(body)]);
        let ScimResult::Unavailable(DirectoryFault::Repeated(found)) =
            worker.find("user_name", "ada", now())
        else {
            panic!("{body}")
        };
        let found = found.to_ascii_lowercase();
        assert!(found.ends_with(&name.to_ascii_lowercase()), "{found}: {body}");
    }
}
