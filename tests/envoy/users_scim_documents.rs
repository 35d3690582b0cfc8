//! Responses of SCIM directories as they really are: names in another case, `null` for absent
//! values, users that are counted but not returned. Unreadable responses admit no user, and the log
//! says why.

use serde_json::{Value, json};
use testbed::{Fault, ScimDirectory, Stack};

use crate::support::{
    assert_none, assert_refusal, assert_vm_lives, faults_of_refusal, named, with, with_directory,
};

async fn start(directory: &ScimDirectory) -> Stack {
    let by_name = |configuration: &mut Value| {
        configuration["providers"][0]["user_claim"] = json!("sub");
    };
    let users = json!({"unknown": "reject"});
    with_directory(Stack::builder().alone().configure(by_name), directory, users).start().await
}

fn token(stack: &Stack, user: &str) -> String {
    stack.provider.token(&with(&stack.claims(), "sub", user))
}

/// A list with one user, whose name is `USER` and who has these additional attributes.
fn one(attributes: &str) -> String {
    format!(r#"{{"totalResults": 1, "Resources": [{{"userName": "USER"{attributes}}}]}}"#)
}

#[tokio::test(flavor = "multi_thread")]
async fn attribute_names_are_read_in_any_case_and_null_is_absent() {
    let directory = ScimDirectory::start().await;
    let stack = start(&directory).await;
    let cases = [
        (
            r#"{"TotalResults": 1, "RESOURCES": [{"UserName": "USER", "Roles": ["itil"]}]}"#
                .to_owned(),
            "itil",
        ),
        (one(r#", "ROLES": [{"VALUE": "itil"}]"#), "itil"),
        (one(r#", "roles": [{"display": "itil"}]"#), "itil"),
        (
            one(
                r#", "roles": [{"value": null, "display": "itil"}, null, {"value": "admin", "display": "Admin"}]"#,
            ),
            "itil,admin",
        ),
        (one(r#", "roles": [{"value": null, "primary": false}, {}]"#), ""),
        (
            one(
                r#", "active": null, "locked": null, "roles": null, "groups": null, "emails": null"#,
            ),
            "",
        ),
        (one(r#", "urn:example:1.0:User": null, "roles": []"#), ""),
        (format!("\u{feff}{}", one("")), ""),
    ];
    for (index, (body, roles)) in cases.into_iter().enumerate() {
        let user = format!("user-{index}");
        let body = body.replace("USER", &user);
        directory.gateway.fail(Fault::Body(body.clone().into_bytes()));
        let response = stack.call(&token(&stack, &user)).await;
        assert_eq!(response.status, 200, "{body}: {response:?}\n{}", stack.envoy.log_of_all());
        let seen = json!(stack.server.requests().pop().unwrap().identity());
        assert_eq!(seen["x-mcp-user"], user, "{body}");
        assert_eq!(seen["x-mcp-roles"].as_str().unwrap_or_default(), roles, "{body}");
    }
    assert_vm_lives(&stack).await;
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
async fn a_user_that_the_directory_hides_is_unknown_and_the_cause_is_logged() {
    let directory = ScimDirectory::start().await;
    let stack = start(&directory).await;
    let mut faults = Vec::new();
    let cases = [
        (r#"{"totalResults": 0, "Resources": null}"#, "user_unknown", ""),
        (r#"{"totalResults": 0}"#, "user_unknown", ""),
        (
            r#"{"totalResults": 1, "Resources": []}"#,
            "user_unknown",
            "counts 1 with this value but returns none: its token may lack the right",
        ),
        (
            r#"{"totalResults": 1, "Resources": [null]}"#,
            "user_unknown",
            "counts 1 with this value but returns none",
        ),
        (
            r#"{"totalResults": 1, "Resources": null}"#,
            "directory_unavailable",
            "it counts 1 and has no Resources",
        ),
        (
            r#"{"totalResults": 1, "Resources": ["USER"]}"#,
            "directory_unavailable",
            "not a SCIM list of users",
        ),
        (
            r#"{"totalResults": 1, "Resources": [{"userName": "User-X"}]}"#,
            "user_unknown",
            r#"returned \"User-X\", whose userName is different"#,
        ),
        (
            r#"{"totalResults": 1, "Resources": [{"userName": "CAPITALS"}]}"#,
            "user_unknown",
            "differs only in upper and lower case",
        ),
        (
            r#"{"totalResults": 1, "Resources": [{"userName": "CORP\\USER"}]}"#,
            "user_unknown",
            "differs only by a domain before or after the name",
        ),
        (
            r#"{"totalResults": 1, "Resources": [{"userName": "USER@corp.example"}]}"#,
            "user_unknown",
            "differs only by a domain before or after the name",
        ),
        (
            r#"{"totalResults": 1, "Resources": [{"userName": "USER "}]}"#,
            "user_unknown",
            "differs only by white space",
        ),
        (
            r#"{"totalResults": 1, "Resources": [{"displayName": "USER"}]}"#,
            "user_unknown",
            "has no userName",
        ),
        (
            r#"{"totalResults": 1, "totalresults": 0, "Resources": []}"#,
            "directory_unavailable",
            r#"the attribute \"totalresults\" twice"#,
        ),
        (
            r#"{"totalResults": 1, "Resources": [{"userName": "USER", "username": "root"}]}"#,
            "directory_unavailable",
            r#"the attribute \"username\" twice"#,
        ),
        (
            r#"{"totalResults": 1, "Resources": [{"userName": "USER", "active": true, "Active": false}]}"#,
            "directory_unavailable",
            r#"the attribute \"active\" twice"#,
        ),
        (
            r#"{"totalResults": 1, "Resources": [{"userName": "USER", "active": true, "active": false}]}"#,
            "directory_unavailable",
            r#"active\" twice"#,
        ),
        (
            r#"{"totalResults": 1, "Resources": [{"userName": "USER", "Active": false}]}"#,
            "user_inactive",
            "",
        ),
        (
            r#"{"totalResults": 1, "Resources": [{"userName": "USER", "URN:x:User": {"LOCKED": true}}]}"#,
            "user_inactive",
            "",
        ),
        (
            r#"{"totalResults": 1, "Resources": [{"userName": "USER", "urn:x:User:locked": true}]}"#,
            "user_inactive",
            "",
        ),
        (
            r#"{"totalResults": 1, "Resources": [{"userName": "USER", "roles": [{"value": 7, "display": "admin"}]}]}"#,
            "directory_unavailable",
            "has no roles, or one of the wrong type",
        ),
        (
            r#"{"totalResults": 1, "Resources": [{"userName": "USER", "groups": [{"$ref": "https://x/Groups/7"}]}]}"#,
            "directory_unavailable",
            "has no groups, or one of the wrong type",
        ),
    ];
    for (index, (body, reason, cause)) in cases.into_iter().enumerate() {
        let user = format!("user-{index}");
        let body = body.replace("USER", &user).replace("CAPITALS", &user.to_uppercase());
        directory.gateway.fail(Fault::Body(body.clone().into_bytes()));
        let logged = stack.envoy.log().len();
        let response = stack.call(&token(&stack, &user)).await;
        faults.extend(named(&body, faults_of_refusal(&response, reason)));
        let log = stack.envoy.log().split_off(logged);
        if !log.contains(cause) || (cause.is_empty() && log.contains("cause")) {
            faults.push(format!("{body}: {cause:?} is not the cause: {log}"));
        }
        if response.text.contains("cause") || response.text.contains("User-X") {
            faults.push(format!("{body}: the client learns it: {}", response.text));
        }
    }
    assert_none(&faults);
    assert_eq!(stack.server.count(), 0);
    // A directory whose responses are readable again admits users.
    directory.gateway.heal();
    directory.add_user(json!({"userName": "ada"})).await;
    assert_eq!(stack.call(&token(&stack, "ada")).await.status, 200);
    assert_refusal(&stack.call_refused(&token(&stack, "Ada")).await, "user_unknown");
}
