//! Which messages are read, and which are refused.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// Method and name; `None` for a response.
fn read(body: &str) -> Result<Option<(String, Option<String>)>, BodyFault> {
    let message = Message::read(body.as_bytes())?;
    Ok(message.call.map(|call| (call.method, call.name)))
}

fn call(method: &str, name: Option<&str>) -> Result<Option<(String, Option<String>)>, BodyFault> {
    Ok(Some((method.to_owned(), name.map(str::to_owned))))
}

#[test]
fn the_method_determines_which_member_is_the_name() {
    for (method, member) in [
        ("tools/call", "name"),
        ("prompts/get", "name"),
        ("resources/read", "uri"),
        ("resources/subscribe", "uri"),
        ("resources/unsubscribe", "uri"),
        ("tasks/get", "taskId"),
        ("tasks/update", "taskId"),
        ("tasks/cancel", "taskId"),
        ("tasks/result", "taskId"),
    ] {
        let params = json!({"name": "a name", "uri": "a uri", "taskId": "a taskId"});
        let body = json!({"id": 1, "method": method, "params": params}).to_string();
        assert_eq!(read(&body), call(method, Some(&format!("a {member}"))));
        let mut params = params;
        params.as_object_mut().unwrap().remove(member);
        let body = json!({"id": 1, "method": method, "params": params}).to_string();
        let name =
            |fault| matches!(fault, BodyFault::MissingName { member: found } if found == member);
        assert!(read(&body).is_err_and(name), "{body}");
    }
}

#[test]
fn methods_removed_from_a_revision_need_no_name_in_it() {
    const NO_URI: BodyFault = BodyFault::MissingName { member: "uri" };
    let body =
        |method: &str, params: Value| json!({"method": method, "params": params}).to_string();
    let of = |version: &str| json!({"io.modelcontextprotocol/protocolVersion": version});
    for method in ["resources/subscribe", "resources/unsubscribe"] {
        let new = body(method, json!({"_meta": of("2026-07-28")}));
        assert_eq!(read(&new), call(method, None));
        let named = body(method, json!({"_meta": of("2026-07-28"), "uri": "x"}));
        assert_eq!(read(&named), call(method, Some("x")));
        let list = body(method, json!({"_meta": of("2026-07-28"), "uri": ["x"]}));
        assert_eq!(read(&list), Err(NO_URI));
        let old = body(method, json!({"_meta": of("2025-11-25")}));
        assert_eq!(read(&old), Err(NO_URI));
    }
    let read_resource = body("resources/read", json!({"_meta": of("2026-07-28")}));
    assert_eq!(read(&read_resource), Err(NO_URI));
}

#[test]
fn messages_are_read_whatever_else_they_hold() {
    for (body, expected) in [
        (r#"{"method":"tools/list"}"#, call("tools/list", None)),
        (r#"{"method":"tools/list","params":{"name":"x","uri":[{}]}}"#, call("tools/list", None)),
        (r#"{"method":"tools/list","params":null}"#, call("tools/list", None)),
        (r#"{"method":"ping","params":{"_meta":null}}"#, call("ping", None)),
        (" \t\r\n{ \"method\" : \"ping\" } \n", call("ping", None)),
        (r#"{"\u006dethod":"to\u006fls\/list"}"#, call("tools/list", None)),
        (
            r#"{"params":{"arguments":{"name":"a","name":"b","Name":1e999,"x":"\ud800"},"name":"x"},
                "method":"tools/call"}"#,
            call("tools/call", Some("x")),
        ),
        (r#"{"id":1,"result":{}}"#, Ok(None)),
        (r#"{"id":1,"error":{"code":1}}"#, Ok(None)),
    ] {
        assert_eq!(read(body), expected, "{body}");
    }
}

#[test]
fn requests_notifications_and_versions_are_distinguished() {
    let meta = |version: Value| {
        json!({"method": "x", "params": {
            "_meta": {"io.modelcontextprotocol/protocolVersion": version, "other": 1},
        }})
    };
    let message = Message::read(meta(json!("2026-07-28")).to_string().as_bytes()).unwrap();
    assert_eq!((message.version.as_deref(), message.is_request), (Some("2026-07-28"), false));
    let mut request = meta(Value::Null);
    request["id"] = Value::Null;
    let message = Message::read(request.to_string().as_bytes()).unwrap();
    assert_eq!((message.version, message.is_request), (None, true));
    let version = "io.modelcontextprotocol/protocolVersion";
    assert_eq!(read(&meta(json!(1)).to_string()), Err(BodyFault::WrongType { member: version }));
}

#[test]
fn anything_but_a_single_message_is_refused() {
    let deep = |depth: usize| {
        let arguments = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        format!("{{\"method\":\"ping\",\"params\":{{\"a\":{arguments}}}}}")
    };
    let wrong_type = |member| BodyFault::WrongType { member };
    assert_eq!(read(&deep(126)), call("ping", None));
    let many: Vec<_> = (0..1001).map(|number| format!("\"m{number}\":0")).collect();
    let many = format!("{{\"method\":\"ping\",\"params\":{{{}}}}}", many.join(","));
    for (body, fault) in [
        ("", BodyFault::NotJson),
        ("{", BodyFault::NotJson),
        (r#"{"method":"ping"}x"#, BodyFault::NotJson),
        (r#"{"method":"ping"}{}"#, BodyFault::NotJson),
        (r#"{"method":"ping",}"#, BodyFault::NotJson),
        (r#"{'method':'ping'}"#, BodyFault::NotJson),
        (r#"{"method":"ping"}//"#, BodyFault::NotJson),
        (r#"{"method":"pi\ud800ng"}"#, BodyFault::NotJson),
        ("{\"method\":\"pi\nng\"}", BodyFault::NotJson),
        ("\u{feff}{\"method\":\"ping\"}", BodyFault::NotJson),
        ("m\0e\0", BodyFault::NotJson),
        (r#"{"method":"ping","params":{"a":01}}"#, BodyFault::NotJson),
        (r#"{"method":"ping","params":{"a":NaN}}"#, BodyFault::NotJson),
        ("[]", BodyFault::Batch),
        (r#" [{"method":"ping"}]"#, BodyFault::Batch),
        ("\"ping\"", BodyFault::NotAnObject),
        ("1", BodyFault::NotAnObject),
        ("null", BodyFault::Kind),
        ("{}", BodyFault::Kind),
        (r#"{"id":1}"#, BodyFault::Kind),
        (r#"{"method":"ping","result":{}}"#, BodyFault::Kind),
        (r#"{"method":null}"#, wrong_type("method")),
        (r#"{"method":["ping"]}"#, wrong_type("method")),
        (r#"{"method":{"a":1},"result":1}"#, wrong_type("method")),
        (r#"{"method":"ping","params":["x"]}"#, wrong_type("params")),
        (r#"{"method":"ping","params":"x"}"#, wrong_type("params")),
        (r#"{"method":"ping","params":{"_meta":[]}}"#, wrong_type("_meta")),
        (r#"{"method":"ping","id":{}}"#, wrong_type("id")),
        (r#"{"method":"ping","id":[1]}"#, wrong_type("id")),
        (r#"{"method":"ping","id":true}"#, wrong_type("id")),
        (r#"{"id":false,"result":{}}"#, wrong_type("id")),
        (r#"{"method":"tools/call"}"#, BodyFault::MissingName { member: "name" }),
        (
            r#"{"method":"tools/call","params":{"name":["x"]}}"#,
            BodyFault::MissingName { member: "name" },
        ),
        (&deep(127), BodyFault::Nesting),
        (&deep(1 << 20), BodyFault::Nesting),
        (&many, BodyFault::TooManyMembers),
    ] {
        assert_eq!(read(body), Err(fault), "{body:.200}");
    }
    assert_eq!(Message::read(b"{\"method\":\"pi\xffng\"}"), Err(BodyFault::NotUtf8));
    let utf_16: Vec<u8> = "{}".encode_utf16().flat_map(u16::to_be_bytes).collect();
    assert_eq!(Message::read(&utf_16), Err(BodyFault::NotJson));
}

#[test]
fn members_of_one_name_in_any_case_are_refused_at_each_level_that_is_read() {
    let repeated = |member: &str| Err(BodyFault::Repeated { member: member.to_owned() });
    let misspelt = |member: &str| Err(BodyFault::Misspelt { member: member.to_owned() });
    for (body, outcome) in [
        (r#"{"method":"a","method":"b"}"#, repeated("method")),
        (r#"{"method":"a","m\u0065thod":"b"}"#, repeated("method")),
        (r#"{"method":"a","params":{},"params":{}}"#, repeated("params")),
        (r#"{"method":"a","id":1,"id":2}"#, repeated("id")),
        (r#"{"method":"a","x":1,"X":2}"#, repeated("X")),
        (r#"{"method":"a","Method":"b"}"#, misspelt("Method")),
        (r#"{"Method":"a","result":1}"#, misspelt("Method")),
        ("{\"method\":\"a\",\"param\u{17f}\":{}}", misspelt("param\u{17f}")),
        (r#"{"method":"a","params":{"name":"x","name":"x"}}"#, repeated("name")),
        (r#"{"method":"a","params":{"NAME":"x"}}"#, misspelt("NAME")),
        (r#"{"method":"a","params":{"taskid":"x"}}"#, misspelt("taskid")),
        ("{\"method\":\"a\",\"params\":{\"tas\u{212a}Id\":1}}", misspelt("tas\u{212a}Id")),
        (r#"{"method":"a","params":{"_meta":{},"_meta":{}}}"#, repeated("_meta")),
        (r#"{"method":"a","params":{"_meta":{"a":1,"A":1}}}"#, repeated("A")),
        (r#"{"method":"a","params":{"arguments":1,"Arguments":1}}"#, repeated("Arguments")),
    ] {
        assert_eq!(read(body), outcome, "{body}");
    }
}

#[test]
fn an_id_is_a_string_a_number_or_null() {
    for id in ["1", "-1.5e3", "1e999", "\"a\"", "\"\"", "null"] {
        let message = Message::read(format!(r#"{{"method":"ping","id":{id}}}"#).as_bytes());
        assert!(message.is_ok_and(|message| message.is_request), "{id}");
    }
}

#[test]
fn only_methods_about_resources_name_a_uri() {
    let call = |method: &str, name: &str| McpCall {
        method: method.to_owned(),
        name: Some(name.to_owned()),
    };
    for method in ["resources/read", "resources/subscribe", "resources/unsubscribe"] {
        let found = "file:/etc/passwd".to_owned();
        assert_eq!(call(method, &found).check_uri(), Err(BodyFault::Uri { found }));
        assert_eq!(call(method, "file:///etc/passwd").check_uri(), Ok(()));
    }
    for method in ["tools/call", "prompts/get", "tasks/get", "x/y"] {
        assert_eq!(call(method, " no URI").check_uri(), Ok(()));
    }
}

#[test]
fn a_method_with_a_name_is_ambiguous_in_another_case() {
    for (method, is_ambiguous) in [
        ("tools/call", false),
        ("TOOLS/CALL", true),
        ("Tools/Call", true),
        ("tool\u{17f}/call", true),
        ("Resources/read", true),
        ("tasks/GET", true),
        ("tools/list", false),
        ("Tools/List", false),
        ("tools/call2", false),
        ("x/y", false),
    ] {
        let call = McpCall { method: method.to_owned(), name: None };
        assert_eq!(call.has_ambiguous_method(), is_ambiguous, "{method}");
    }
}

#[test]
fn a_fault_names_the_member_in_safe_characters_and_the_limit() {
    for (fault, text) in [
        (BodyFault::Repeated { member: "params".to_owned() }, "the member params is duplicated"),
        (
            BodyFault::Repeated { member: "a\"\\<b>\n\u{202e}\u{e9}%".to_owned() },
            "the member a???b????? is duplicated",
        ),
        (
            BodyFault::Misspelt { member: "Method".to_owned() },
            "the name of the member Method is in the wrong case",
        ),
        (BodyFault::WrongType { member: "id" }, "the member id has the wrong type"),
        (
            BodyFault::TooLarge { limit: 65_536 },
            "it is larger than access.mcp.max_body (65536 bytes)",
        ),
    ] {
        assert_eq!(fault.to_string(), text);
    }
    let long = BodyFault::Repeated { member: "a".repeat(10_000) };
    assert_eq!(long.to_string().len(), "the member  is duplicated".len() + 64);
}

/// The members of an object as written, possibly with duplicates.
type Members = Vec<(String, String)>;

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(500)
    })]

    #[test]
    fn accepted_messages_mean_the_same_to_serde_json(
        method in prop_oneof![Just("tools/call"), Just("resources/read"), Just("x/y")],
        name in any::<String>(),
        uri in any::<String>(),
        others in [members(), members(), members()],
        seed in any::<usize>(),
        escapes in any::<bool>(),
    ) {
        let text = |value: &str| written(value, escapes);
        let [outer, inner, meta] = others;
        let meta = shuffled(meta, vec![], seed);
        let params = shuffled(inner, vec![
            ("name".to_owned(), text(&name)),
            ("uri".to_owned(), text(&uri)),
            ("_meta".to_owned(), object(&meta, escapes)),
        ], seed);
        let message = shuffled(outer, vec![
            ("method".to_owned(), text(method)),
            ("params".to_owned(), object(&params, escapes)),
        ], seed);
        let body = object(&message, escapes);
        let value: Value = serde_json::from_str(&body).unwrap();
        prop_assert_eq!(value["params"]["name"].as_str(), Some(name.as_str()));
        let expected = match method {
            "tools/call" => value["params"]["name"].as_str(),
            "resources/read" => value["params"]["uri"].as_str(),
            _ => None,
        };
        // Random names are rarely ambiguous.
        match read(&body) {
            Ok(found) => prop_assert_eq!(found, call(method, expected).unwrap()),
            Err(fault) => {
                let is_about_names = matches!(
                    fault,
                    BodyFault::Repeated { .. }
                        | BodyFault::Misspelt { .. }
                        | BodyFault::Kind
                        | BodyFault::WrongType { member: "id" }
                );
                prop_assert!(is_about_names, "{:?}", fault);
            }
        }
    }

    #[test]
    fn a_member_in_two_spellings_is_always_refused(
        level in 0..3_usize,
        upper in vec(any::<bool>(), 8),
        others in members(),
        seed in any::<usize>(),
    ) {
        let names = [["method", "params"], ["name", "_meta"], ["other", "traceparent"]];
        let known = names[level][seed % 2];
        let spelt: String = known.chars().zip(upper.into_iter().cycle()).map(|(letter, upper)| {
            if upper { letter.to_ascii_uppercase() } else { letter }
        }).collect();
        let mut levels = [
            vec![("method".to_owned(), written("tools/call", false))],
            vec![("name".to_owned(), written("x", false))],
            vec![("other".to_owned(), "1".to_owned()), ("traceparent".to_owned(), "1".to_owned())],
        ];
        levels[level].retain(|(name, _)| name != known);
        levels[level].push((known.to_owned(), "{}".to_owned()));
        levels[level].push((spelt, "{}".to_owned()));
        let [message, params, meta] = levels;
        let with = |mut members: Members, name: &str, value: &Members| {
            // A duplicate in the outermost object is already a fault.
            if members.iter().all(|(known, _)| known != name) {
                members.push((name.to_owned(), object(value, false)));
            }
            members
        };
        let params = with(params, "_meta", &meta);
        let message = with(shuffled(others, message, seed), "params", &params);
        let outcome = read(&object(&message, seed.is_multiple_of(2)));
        prop_assert!(outcome.is_err(), "{:?}", outcome);
    }
}

/// Members with arbitrary names and values.
fn members() -> impl Strategy<Value = Members> {
    let value = prop_oneof![
        any::<i64>().prop_map(|number| json!(number)),
        any::<String>().prop_map(|text| json!({ "method": [text] })),
        Just(json!([null, {"a": [], "name": "z"}])),
    ];
    vec(("[a-zA-Z_/]{0,12}", value.prop_map(|value: Value| value.to_string())), 0..5)
}

/// Merges both lists in an order that depends on the seed.
fn shuffled(mut others: Members, known: Members, seed: usize) -> Members {
    for (index, member) in known.into_iter().enumerate() {
        let at = seed.wrapping_mul(index + 7) % (others.len() + 1);
        others.insert(at, member);
    }
    others
}

fn object(members: &Members, escapes: bool) -> String {
    let space = if escapes { " \n\t" } else { "" };
    let members: Vec<_> = members
        .iter()
        .map(|(name, value)| format!("{space}{}{space}:{space}{value}", written(name, escapes)))
        .collect();
    format!("{{{}{space}}}", members.join(","))
}

/// A string as JSON, with or without an escape for each character.
fn written(text: &str, escapes: bool) -> String {
    if !escapes {
        return json!(text).to_string();
    }
    let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    format!("\"{units}\"")
}
