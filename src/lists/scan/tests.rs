use super::*;

fn id() -> Option<MessageId> {
    MessageId::from_value(&RawValue::from_string("1".to_owned()).unwrap())
}

fn sight(text: &str) -> Sight {
    let mut scan = ListScan::new(id());
    scan.read(text.as_bytes());
    // However it is split.
    let mut bytewise = ListScan::new(id());
    text.as_bytes().chunks(1).for_each(|byte| bytewise.read(byte));
    assert_eq!(bytewise.sight(), scan.sight(), "{text}");
    scan.sight()
}

#[test]
fn the_id_of_the_call_identifies_its_response() {
    for (text, expected) in [
        (r#"{"jsonrpc":"2.0","id":1,"result":{"con"#, Sight::Response),
        (r#"{"result":{"content":[{"id":2}]},"id": 1 "#, Sight::Response),
        (r#"{"i\u0064":1}"#, Sight::Response),
        (r#"{"id":1"#, Sight::Nothing),
        (r#"{"a":{"id":1},"#, Sight::Nothing),
        // Different clients may use different ids.
        (r#"{"ID":1,"#, Sight::List),
        (r#"{"id":1,"id":"#, Sight::List),
        (r#"{"id":1,"\u0049d":"#, Sight::List),
    ] {
        assert_eq!(sight(text), expected, "{text}");
    }
}

#[test]
fn the_id_of_another_request_is_distinguished_from_none() {
    for (text, expected) in [
        (r#"{"id":12,"#, true),
        (r#"{"id":"1","#, true),
        (r#"{"id":null}"#, true),
        (r#"[{"id":1,"#, true),
        (r#"{"id":1,"#, false),
        (r#"{"id":1"#, false),
        (r#"{"method":"a","params":{"id":2}}"#, false),
    ] {
        let mut scan = ListScan::new(id());
        scan.read(text.as_bytes());
        assert_eq!(scan.has_other_id(), expected, "{text}");
    }
}

#[test]
fn a_list_is_a_member_of_the_result_of_a_message() {
    for (text, expected) in [
        (r#"{"result":{"tools":["#, Sight::List),
        (r#"{"id":2,"result":{"a":[{"b":"}"}],"resourceTemplates" : [ "#, Sight::List),
        (r#"{"result" : {"_meta":{"a":[1]},"tool\u0073":["#, Sight::List),
        (r#"[{"id":3},{"result":{"prompts":["#, Sight::List),
        (r#"{"result":{"Tools":{"#, Sight::List),
        (r#"{"Result":"#, Sight::List),
        (r#"{"result":{},"result":"#, Sight::List),
        ("{}\n{\"result\":{\"resources\":[", Sight::List),
        // Not a list, or absent.
        (r#"{"result":{"tools":{"a":["#, Sight::Nothing),
        (r#"{"result":{"content":[{"tools":["#, Sight::Nothing),
        (r#"{"result":{"a":{"tools":["#, Sight::Nothing),
        (r#"{"result":[{"tools":["#, Sight::Nothing),
        (r#"{"params":{"tools":["#, Sight::Nothing),
        (r#"{"tools":["#, Sight::Nothing),
        (r#"{"result":{"a":"tools","b":["#, Sight::Nothing),
        (r#"{"result":{"a":"\"tools\":[","#, Sight::Nothing),
        (r#"{"result":{"tools"#, Sight::Nothing),
        // The response to a call may have such members.
        (r#"{"id":1,"result":{"tools":["#, Sight::Response),
    ] {
        assert_eq!(sight(text), expected, "{text}");
    }
    let long = "a".repeat(ListScan::MAX_TEXT);
    for text in [
        format!(r#"{{"result":{{"{long}":1,"tools":["#),
        format!(r#"{{"id":"{long}","result":{{"tools":["#),
        format!(r#"{{"id":1{},"result":{{"tools":["#, "0".repeat(ListScan::MAX_TEXT)),
    ] {
        assert_eq!(sight(&text), Sight::List);
    }
    // A long word is no name of a list, unless some parsers skip parts of it.
    assert_eq!(sight(&format!("{{ {long}{long}")), Sight::Nothing);
    let blank = "\u{a0}".repeat(ListScan::MAX_TEXT);
    assert_eq!(sight(&format!("{{{blank}\"result\":{{\"tools\":[")), Sight::List);
}

#[test]
fn whole_values_and_data_that_is_not_json_are_distinguished() {
    for (text, expected) in [
        ("{\"a\":1}\n", Sight::Whole),
        ("{\"a\":1}\n{\"b\":[]}", Sight::Whole),
        (r#"[[1,2],{"id":3}] "#, Sight::Whole),
        (r#"{"id":1,"result":{}}"#, Sight::Response),
        ("{hello}", Sight::Whole),
        ("{a/b}", Sight::NotJson),
        ("{% if tools %}[tools]", Sight::Whole),
        ("/path", Sight::NotJson),
        ("// a\ntext", Sight::NotJson),
        ("# title\n", Sight::Nothing),
        ("# title\n\ntools: {", Sight::NotJson),
        ("# title\n\n[tools](/a)", Sight::NotJson),
        ("{} text", Sight::NotJson),
        (r#"{"result":{{"#, Sight::NotJson),
        ("", Sight::Nothing),
        ("{", Sight::Nothing),
    ] {
        assert_eq!(sight(text), expected, "{text}");
    }
}

#[test]
fn what_only_lenient_parsers_accept_hides_no_list() {
    for text in [
        r#"{"id":9,"result":{"a":NaN,"b":-Infinity,"tools":["#,
        r#"{'id':9,'result':{'tools':["#,
        r#"{id:9,result:{tools:["#,
        r#"{id=9;result={tools=["#,
        r#"{"id"=>9;"result"=>{"tools"=>["#,
        r#"{"id":9/*"*/,"result":{"tools":["#,
        "{\"id\":9,//\"\n\"result\":{\"tools\":[",
        "{\"id\":9,#\"\r\"result\":{\"tools\":[",
        r#"/* a ** / */{"result":{"tools":["#,
        "// a\n{\"result\":{\"tools\":[",
        r#"{"a":don't,"b":it"s,"result":{"tools":["#,
        r#"{'a"':'it\'s "','result':{"tools":["#,
        r#"{"result":{"a":1,,"tools":["#,
        "# a\n{\"result\":{\"tools\":[",
        "{}# {\n{\"result\":{\"tools\":[",
        "\u{b}\u{a0}\u{feff}{\"result\":{\"tools\":[",
        "{\"id\":9,\u{c}\"result\"\u{b}:\u{1}{\u{c}\"tools\":\u{c}[",
        "{\"result\":{\u{b}tools\u{b}:[",
        "{\"result\":{\u{a0}\"tools\":[",
        "{\"result\":{\u{2003}tools:[",
        "{\"result\":{tools\u{feff}:[",
        "{\"result\":\u{a0}{\"a\":1,\u{85}'tools':[",
        "{\u{3000}\"result\":",
        r#"{"result":{`tools`:["#,
        // The name may be that of a list.
        r#"{"result":{"t\ools":1"#,
        r#"{"result":{'\x74ools':1"#,
        r#"{"res\ult":"#,
    ] {
        assert_eq!(sight(text), Sight::List, "{text}");
    }
    for text in [
        r#"{'result':{'a':"'tools':[","b":'"tools":[', c: tools, d:["#,
        r#"{"result":{/*"tools":[*/"a":"#,
        r#"{"result":{"a":/ /"#,
        r#"{"x":{'tools':[1],"#,
        r#"{!größe:1,"#,
    ] {
        assert!(matches!(sight(text), Sight::Nothing | Sight::NotJson), "{text}");
    }
}
