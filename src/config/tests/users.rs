//! Users: records, and a SCIM directory.

use super::*;

/// Faults of the configuration with these users. `TOKEN` holds a secret, and `SPACES` only spaces.
fn user_faults(user_field: &str, users: Value) -> Vec<String> {
    let document = edited(|document| {
        document["providers"][0]["user_field"] = json!(user_field);
        document["users"] = users;
    });
    let environment = |name: &str| match name {
        "TOKEN" => Some("s3cret".to_owned()),
        "SPACES" => Some("s3 cret".to_owned()),
        _ => None,
    };
    match Config::with_environment(document.to_string().as_bytes(), &environment) {
        Ok(_) => Vec::new(),
        Err(error) => error.faults().map(ToString::to_string).collect(),
    }
}

#[test]
fn a_scim_directory_is_read_with_and_without_records_and_provisioning() {
    let smallest = json!({"url": "https://directory.example.com/scim/v2", "cluster": "directory"});
    let whole = json!({
        "url": "http://127.0.0.1:8080/", "cluster": "directory", "bearer_token_env": "TOKEN",
        "cache_ttl": "1s", "timeout": "500ms", "max_body": "8KiB",
    });
    let provision = json!({
        "roles": ["snc_external"],
        "fields": {
            "user_name": "preferred_username", "email": ["contact", "email"], "title": "title",
            "urn:example:1.0:User:badge.number": "badge",
        },
    });
    for users in [
        json!({"scim": smallest}),
        json!({"scim": whole, "records": [{"user_name": "ada"}]}),
        json!({"scim": whole, "unknown": "allow"}),
        json!({"scim": smallest, "unknown": "provision", "provision": provision}),
        // Kept for the comparison below.
        json!({"scim": smallest, "unknown": "reject", "provision": provision}),
    ] {
        for user_field in ["user_name", "email", "employee_number", "title"] {
            assert_eq!(user_faults(user_field, users.clone()), [""; 0], "{user_field} {users}");
        }
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn faults_of_a_scim_directory_are_named_with_their_paths() {
    let smallest = json!({"url": "https://directory.example.com", "cluster": "directory"});
    for (user_field, users, expected) in [
        (
            "user_name",
            json!({"scim": {"uri": "x"}, "unknown": "provision", "provision": {"role": "x"}}),
            vec![
                "users.provision.role: unknown field",
                "users.scim.uri: unknown field",
                "users.scim.url: is required",
                "users.scim.cluster: is required",
            ],
        ),
        (
            "user_name",
            json!({"scim": {
                "url": "http://directory.example.com", "cluster": "", "bearer_token_env": "OTHER",
                "cache_ttl": "999ms", "timeout": "61s", "max_body": "0B",
            }}),
            vec![
                "users.scim.cluster: must not be empty",
                "users.scim.bearer_token_env: the environment variable \"OTHER\" is not set or not \
                 passed to the plugin: set it in Envoy's environment and name it in \
                 vm_config.environment_variables.host_env_keys; the native module needs no such \
                 list",
                "users.scim.cache_ttl: must be between 1s and 24h",
                "users.scim.timeout: must be between 10ms and 60s",
                "users.scim.max_body: must be at least 1B",
                "users.scim.url: must be https (http only for loopback hosts)",
            ],
        ),
        (
            "user_name",
            json!({"scim": {
                "url": "https://directory.example.com/?x", "cluster": "directory",
                "bearer_token_env": "SPACES",
            }}),
            vec![
                "users.scim.bearer_token_env: \"SPACES\" does not hold a bearer token \
                 (RFC 6750 §2.1)",
                "users.scim.url: must have no query",
            ],
        ),
        (
            "user_name",
            json!({"unknown": "provision"}),
            vec![
                "users.unknown: provision needs users.scim, where users are created",
                "users.records: must hold at least one record unless there is users.scim, or \
                 no user could be accepted",
            ],
        ),
        (
            "email",
            json!({"scim": smallest, "unknown": "provision"}),
            vec![
                "users.provision.fields: must name the claim for user_name, because provider \
                 \"example\" finds its users by \"email\"",
            ],
        ),
        (
            "a b",
            json!({"scim": smallest}),
            vec![
                "users.scim: \"a b\", user_field of provider \"example\", must be a field of users \
                 or an attribute of SCIM such as title, name.middleName or \
                 urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department",
            ],
        ),
        (
            "user_name",
            json!({"scim": smallest, "unknown": "provision", "provision": {"fields": {
                "userName": "x", "user_name": "x", "x y": "x", "email": [],
            }}}),
            vec!["users.provision.fields: a claim name must not be empty"],
        ),
        (
            "user_name",
            json!({"scim": smallest, "unknown": "provision", "provision": {"fields": {
                "userName": "x", "user_name": "x", "x y": "x",
            }}}),
            vec![
                "users.provision.fields.user_name: sets userName, which another field sets too",
                "users.provision.fields.x y: must be a field of users or an attribute of SCIM such \
                 as title, name.middleName or \
                 urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department",
            ],
        ),
    ] {
        assert_eq!(user_faults(user_field, users.clone()), expected, "{users}");
    }
}

#[test]
fn user_records_are_read_with_any_field() {
    for users in [
        json!({"unknown": "allow"}),
        json!({"records": [
            {
                "user_name": "ada", "email": "ada@example.com", "badge": "7", "roles": ["itil"],
                "groups": ["ops"], "active": true, "locked": false,
                "web_service_access_only": false,
            },
            // No user is found by this field, so no two can be confused.
            {"user_name": "bob", "badge": "7"},
        ]}),
    ] {
        assert_eq!(faults(&edited(|document| document["users"] = users)), [""; 0]);
    }
}

#[test]
fn faults_of_user_records_are_named_with_their_paths() {
    let document = edited(|document| {
        document["providers"][0]["user_field"] = json!("email");
        document["users"] = json!({
            "unknown": "maybe",
            "record": [],
            "records": [
                {"email": "ada@example.com", "employee_number": 5},
                {"user_name": "ada", "email": "ada@example.com", "active": "yes", "roles": "itil"},
                {"user_name": "ada", "email": "ada@example.com", "room": ""},
                "eve",
            ],
        });
    });
    assert_eq!(
        faults(&document),
        [
            "users.record: unknown field",
            "users.unknown: unknown variant `maybe`, expected one of `allow`, `provision`, `reject`",
            "users.records[0].user_name: is required",
            "users.records[0].employee_number: must be a string",
            "users.records[1].roles: invalid type: string \"itil\", expected a list",
            "users.records[1].active: invalid type: string \"yes\", expected a boolean",
            "users.records[2].room: must not be empty",
            "users.records[3]: invalid type: string \"eve\", expected an object",
            "users.records[2].email: is also that of users.records[1]",
            "users.records[2].user_name: is also that of users.records[1]",
        ]
    );
}

#[test]
fn a_record_can_be_limited_to_some_providers() {
    let with_records = |records: Value| {
        edited(|document| {
            let mut off = document["providers"][0].clone();
            off["name"] = json!("off");
            off["active"] = json!(false);
            document["providers"].as_array_mut().unwrap().push(off);
            document["users"] = json!({ "records": records });
        })
    };
    let ada = |provider: Value| json!({"user_name": "ada", "provider": provider});
    for (records, expected) in [
        (json!([ada(json!("example"))]), vec![]),
        // An inactive provider leaves its records valid.
        (json!([ada(json!(["example", "off"]))]), vec![]),
        (json!([ada(json!("example")), ada(json!("off"))]), vec![]),
        (
            json!([ada(json!("example")), ada(json!(["off", "example"]))]),
            vec!["users.records[1].user_name: is also that of users.records[0]"],
        ),
        (
            json!([ada(json!(["example", "absent"]))]),
            vec!["users.records[0].provider: there is no provider \"absent\""],
        ),
        (
            json!([ada(json!(["off", "off"]))]),
            vec!["users.records[0].provider: \"off\" is duplicated"],
        ),
        (json!([ada(json!([]))]), vec!["users.records[0].provider: must hold at least one name"]),
        (
            json!([ada(json!({"name": "example"}))]),
            vec!["users.records[0].provider: expected a name, or a list of names"],
        ),
        (
            json!([ada(json!(7))]),
            vec!["users.records[0].provider: expected a name, or a list of names"],
        ),
    ] {
        assert_eq!(faults(&with_records(records.clone())), expected, "{records}");
    }
}

#[test]
fn a_field_need_not_be_in_records_of_other_providers() {
    let document = |records: Value| {
        edited(|document| {
            let mut other = document["providers"][0].clone();
            other["name"] = json!("other");
            other["issuer"] = json!("https://other.example.com");
            other["user_field"] = json!("email");
            document["providers"].as_array_mut().unwrap().push(other);
            document["users"] = json!({"unknown": "allow", "records": records});
        })
    };
    let bob = json!({"user_name": "bob", "email": "bob@example.com", "provider": "example"});
    let faults_of = |records: Value| faults(&document(records));
    assert_eq!(faults_of(json!([bob])), [""; 0]);
    assert_eq!(
        faults_of(json!([bob, {"user_name": "ada"}])),
        ["users.records: no record has the field \"email\", which is user_field of provider \
        \"other\""]
    );
}

#[test]
fn a_users_section_that_admits_no_user_is_refused() {
    assert_eq!(
        faults(&edited(|document| document["users"] = json!({}))),
        ["users.records: must hold at least one record unless there is users.scim, or no user \
             could be accepted"]
    );
    let many: Vec<Value> =
        (0..10_001).map(|number| json!({"user_name": number.to_string()})).collect();
    assert_eq!(
        faults(&edited(|document| document["users"] = json!({"records": many}))),
        ["users.records: must hold at most 10000 records"]
    );
    for unknown in ["reject", "allow"] {
        let document = edited(|document| {
            document["providers"][0]["user_field"] = json!("mail");
            let ada = json!({"user_name": "ada", "email": "ada@example.com"});
            document["users"] = json!({"unknown": unknown, "records": [ada]});
        });
        assert_eq!(
            faults(&document),
            ["users.records: no record has the field \"mail\", which is user_field of provider \
                \"example\""]
        );
    }
}
