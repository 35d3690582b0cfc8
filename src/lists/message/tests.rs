use super::*;

fn asked(id: &str, list: Option<ListKind>) -> Asked {
    let id = MessageId::from_value(&RawValue::from_string(id.to_owned()).unwrap());
    match list {
        Some(kind) => Asked::List(kind, id),
        None => Asked::Call(id),
    }
}

/// Shows items whose names do not contain "hidden".
fn shows(item: &Listed) -> bool {
    let (Listed::Call(call) | Listed::Template(call)) = item;
    !call.name.as_deref().unwrap_or_default().contains("hidden")
}

fn screened(text: &str, asked: &Asked) -> Screened {
    screen(text.as_bytes(), asked, &shows)
}

#[track_caller]
fn assert_filtered(text: &str, asked: &Asked, expected: &str) {
    match screened(text, asked) {
        Screened::Filtered { message, .. } => assert_eq!(message, expected),
        other => panic!("{text}: {other:?}"),
    }
}

#[track_caller]
fn assert_unchanged(text: &str, asked: &Asked) {
    let screened = screened(text, asked);
    assert!(matches!(screened, Screened::Unchanged), "{text}: {screened:?}");
}

#[track_caller]
fn assert_unreadable(text: &str, asked: &Asked) {
    let screened = screened(text, asked);
    assert!(matches!(screened, Screened::Unreadable(_)), "{text}: {screened:?}");
}

fn tools() -> Asked {
    asked("1", Some(ListKind::Tools))
}

fn call() -> Asked {
    asked("1", None)
}

#[test]
fn hidden_items_are_removed_and_the_rest_is_kept() {
    assert_filtered(
        r#"{"jsonrpc":"2.0","id":1,"result":{"nextCursor":"c","tools":[{"name":"a","x":1.50},
           {"name":"hidden"},{"name":"b","inputSchema":{"a":1,"a":2}}],"n":123456789012345678901}}"#,
        &tools(),
        r#"{"jsonrpc":"2.0","id":1,"result":{"nextCursor":"c","tools":[{"name":"a","x":1.50},{"name":"b","inputSchema":{"a":1,"a":2}}],"n":123456789012345678901}}"#,
    );
    assert_filtered(
        r#"{"id":1,"result":{"tools":[{"name":"hidden"}]}}"#,
        &tools(),
        r#"{"id":1,"result":{"tools":[]}}"#,
    );
}

#[test]
fn a_list_without_hidden_items_is_unchanged() {
    assert_unchanged(r#" { "id" : 1, "result": {"tools": [ {"name": "a"} ]} } "#, &tools());
    assert_unchanged(r#"{"id":1,"result":{"tools":[]}}"#, &tools());
}

#[test]
fn each_kind_of_list_is_filtered_by_its_own_key() {
    for (kind, member, item) in [
        (ListKind::Tools, "tools", r#"{"name":"hidden"}"#),
        (ListKind::Prompts, "prompts", r#"{"name":"hidden"}"#),
        (ListKind::Resources, "resources", r#"{"name":"a","uri":"file:///hidden"}"#),
        (
            ListKind::Templates,
            "resourceTemplates",
            r#"{"name":"a","uriTemplate":"file:///hidden/{id}"}"#,
        ),
    ] {
        let text = format!(r#"{{"id":1,"result":{{"{member}":[{item}]}}}}"#);
        let expected = format!(r#"{{"id":1,"result":{{"{member}":[]}}}}"#);
        assert_filtered(&text, &asked("1", Some(kind)), &expected);
        // By its form, if it is a response to another request.
        assert_filtered(&text, &asked("2", None), &expected);
        assert_filtered(&text, &Asked::Other(None), &expected);
    }
}

#[test]
fn a_template_is_judged_by_its_literal_prefix() {
    let text = r#"{"id":1,"result":{"resourceTemplates":[{"uriTemplate":"file:///{hidden}"}]}}"#;
    assert_unchanged(text, &asked("1", Some(ListKind::Templates)));
}

#[test]
fn the_response_to_a_call_is_not_a_list() {
    let text = r#"{"id":1,"result":{"tools":[{"name":"hidden"}]}}"#;
    assert_unchanged(text, &call());
    assert_filtered(text, &asked("2", None), r#"{"id":1,"result":{"tools":[]}}"#);
    assert_filtered(text, &asked("\"1\"", None), r#"{"id":1,"result":{"tools":[]}}"#);
}

#[test]
fn messages_without_a_list_are_unchanged() {
    for text in [
        r#"{"method":"notifications/progress","params":{"tools":[{"name":"hidden"}]}}"#,
        r#"{"id":1,"error":{"code":-32601,"message":"tools"}}"#,
        r#"{"id":2,"result":{"content":[]}}"#,
        r#"{"id":2,"result":{"tools":{"name":"hidden"}}}"#,
        r#"{"id":2,"result":"tools"}"#,
        r#"{"id":1,"result":{}}"#,
        "5",
    ] {
        assert_unchanged(text, &tools());
    }
}

#[test]
fn a_result_inside_a_request_is_a_result_to_some_client() {
    assert_filtered(
        r#"{"id":1,"method":"a","result":{"tools":[{"name":"hidden"}]}}"#,
        &tools(),
        r#"{"id":1,"method":"a","result":{"tools":[]}}"#,
    );
}

#[test]
fn items_without_a_name_are_hidden() {
    for item in ["{}", r#"{"name":1}"#, r#"{"name":null}"#, "5", "[]", r#""hidden""#] {
        let text = format!(r#"{{"id":1,"result":{{"tools":[{item},{{"name":"a"}}]}}}}"#);
        assert_filtered(&text, &tools(), r#"{"id":1,"result":{"tools":[{"name":"a"}]}}"#);
    }
}

#[test]
fn a_list_that_clients_could_read_in_several_ways_is_unreadable() {
    for text in [
        r#"{"id":1,"result":{"tools":[]},"result":{"tools":[{"name":"hidden"}]}}"#,
        r#"{"id":1,"Result":{"tools":[{"name":"hidden"}]}}"#,
        r#"{"id":1,"id":2,"result":{"tools":[]}}"#,
        r#"{"id":1,"x":1,"x":2,"result":{"tools":[]}}"#,
        r#"{"id":1,"result":{"tools":[],"tools":[{"name":"hidden"}]}}"#,
        r#"{"id":1,"result":{"Tools":[{"name":"hidden"}]}}"#,
        r#"{"id":1,"result":{"tools":[],"x":1,"x":2}}"#,
        r#"{"id":1,"result":{"tools":[{"name":"a","name":"hidden"}]}}"#,
        r#"{"id":1,"result":{"tools":[{"name":"a","Name":"hidden"}]}}"#,
        r#"{"id":1,"result":{"tools":[{"name":"\ud800"}]}}"#,
        r#"{"id":1,"result":{"tools":{"0":{"name":"hidden"}}}}"#,
        r#"{"id":1,"result":[{"name":"hidden"}]}"#,
        r#"{"id":1,"\ud800":1,"result":{"tools":[{"name":"hidden"}]}}"#,
        r#"{"id":1,"result":{"tools":[{"name":"hidden"}]"#,
        r#"{'id':1,'result':{'tools':[{'name':'hidden'}]}}"#,
    ] {
        assert_unreadable(text, &tools());
    }
    // Where the request does not determine the response, as on a stream opened by a GET.
    let list = r#"{"id":9,"result":{"Tools":[{"name":"hidden"}]}}"#;
    assert_unreadable(list, &Asked::Other(None));
    assert_unreadable(list, &call());
    assert_unchanged(&list.replace("Tools", "content"), &Asked::Other(None));
}

#[test]
fn a_batch_passes_unless_it_holds_a_list() {
    assert_unchanged(r#"[{"id":1,"result":{}},{"method":"a"}]"#, &call());
    assert_unreadable(r#"[{"id":2,"result":{"tools":[{"name":"a"}]}}]"#, &call());
    assert_unreadable(r#"[[{"id":2,"result":{"tools":[]}}]]"#, &call());
}

#[test]
fn what_only_lenient_parsers_skip_hides_no_list() {
    let list = r#"{"id":2,"result":{"tools":[{"name":"a"}]}}"#;
    for text in [
        format!("# a\n{list}"),
        format!(" \u{feff}{list}"),
        format!("\u{b}\u{a0}{list}"),
        format!("// a\n# b\n{list}"),
    ] {
        assert_unreadable(&text, &call());
        let other = text.replace("tools", "tolls");
        assert!(matches!(screened(&other, &call()), Screened::NotJson), "{text}");
    }
}

#[test]
fn text_that_is_not_json_is_recognised() {
    for text in ["hello", "{not json", "[not json", "# tools\n[tools](/a)", ""] {
        let screened = screened(text, &call());
        assert!(matches!(screened, Screened::NotJson), "{text}: {screened:?}");
    }
}

#[test]
fn a_byte_order_mark_is_kept() {
    assert_filtered(
        "\u{feff}{\"id\":1,\"result\":{\"tools\":[{\"name\":\"hidden\"}]}}",
        &tools(),
        "\u{feff}{\"id\":1,\"result\":{\"tools\":[]}}",
    );
}

#[test]
fn a_filtered_result_is_cached_only_for_its_caller() {
    assert_filtered(
        r#"{"id":1,"result":{"tools":[],"cacheScope":"public","ttlMs":5}}"#,
        &tools(),
        r#"{"id":1,"result":{"tools":[],"cacheScope":"private","ttlMs":5}}"#,
    );
    assert_unchanged(r#"{"id":1,"result":{"tools":[],"cacheScope":"private"}}"#, &tools());
}

#[test]
fn bytes_that_are_not_utf_8_pass_only_without_a_list() {
    let list = b"{\"id\":2,\"result\":{\"tools\":[{\"name\":\"a\",\"title\":\"\xff\"}]}}";
    assert!(matches!(screen(list, &call(), &shows), Screened::Unreadable(_)));
    let other = b"{\"id\":2,\"result\":{\"content\":\"\xff\"}}";
    assert!(matches!(screen(other, &call(), &shows), Screened::Unchanged));
    assert!(matches!(screen(other, &tools(), &shows), Screened::Unreadable(_)));
}

#[test]
fn a_list_may_be_in_the_response_to_an_unknown_method() {
    let other = Asked::Other(call().id().cloned());
    assert_filtered(
        r#"{"id":1,"result":{"tools":[{"name":"hidden"}]}}"#,
        &other,
        r#"{"id":1,"result":{"tools":[]}}"#,
    );
    assert_unchanged(r#"{"id":1,"result":{"content":[]}}"#, &other);
}

#[test]
fn every_kind_of_list_in_a_response_is_filtered() {
    assert_filtered(
        r#"{"id":1,"result":{"prompts":[{"name":"hidden"}],"tools":[{"name":"a"}]}}"#,
        &tools(),
        r#"{"id":1,"result":{"prompts":[],"tools":[{"name":"a"}]}}"#,
    );
}

#[test]
fn messages_are_distinguished_from_other_json() {
    for (text, expected) in [
        (r#"{"id":1,"result":{"tools":[]}}"#, true),
        ("\u{feff}{\"id\":1,\"result\":{}}", true),
        (r#"{"id":1,"error":{"code":1}}"#, true),
        (r#"[{"method":"a"},{"id":1,"result":5}]"#, true),
        (r#"{"tools":[{"name":"hidden"}]}"#, false),
        (r#"{"id":1,"params":{"tools":[]}}"#, false),
        (r#"[{"name":"hidden"}]"#, false),
        (r#"[5]"#, false),
        ("5", false),
        (r#"{"id":"1","result":{"tools":{"hidden":{}}}}"#, false),
    ] {
        assert_eq!(is_message(text.as_bytes()), expected, "{text}");
    }
}
