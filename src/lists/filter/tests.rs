use proptest::prelude::*;
use serde_json::value::RawValue;

use super::*;
use crate::lists::kind::ListKind;

const HIDDEN: &str = r#"{"id":1,"result":{"tools":[{"name":"a"},{"name":"hidden"}]}}"#;
const SHOWN: &str = r#"{"id":1,"result":{"tools":[{"name":"a"}]}}"#;

fn id() -> Option<MessageId> {
    MessageId::from_value(&RawValue::from_string("1".to_owned()).unwrap())
}

fn list() -> Asked {
    Asked::List(ListKind::Tools, id())
}

fn call() -> Asked {
    Asked::Call(id())
}

fn shows(item: &Listed) -> bool {
    let (Listed::Call(call) | Listed::Template(call)) = item;
    call.name.as_deref() != Some("hidden")
}

fn error(id: Option<&MessageId>) -> Vec<u8> {
    format!("error {}", serde_json::to_string(&id).unwrap()).into_bytes()
}

fn plan(asked: Asked, fields: &[(&str, &str)]) -> HeadPlan {
    let fields: Vec<_> =
        fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    ListFilter::on_head(asked, ResponseHead::new(&fields), 1000)
}

fn message_filter(asked: Asked) -> ListFilter {
    let fields = [(":status", "200"), ("content-type", "application/json")];
    let HeadPlan::Hold(filter) = plan(asked, &fields) else { panic!("the body is not held") };
    filter
}

fn event_filter(asked: Asked) -> ListFilter {
    let fields = [(":status", "200"), ("content-type", "text/event-stream")];
    let HeadPlan::Stream(filter) = plan(asked, &fields) else { panic!("the body is not a stream") };
    filter
}

fn judge() -> Judge<'static> {
    Judge { shows: &shows, error: &error }
}

/// The forwarded part of a body that arrives in these parts; `None` if it is refused.
fn forwarded<'a>(filter: ListFilter, parts: impl IntoIterator<Item = &'a [u8]>) -> Option<String> {
    forwarded_bytes(filter, parts).map(|bytes| String::from_utf8(bytes).unwrap())
}

/// The same, where a part may end inside a character.
fn forwarded_bytes<'a>(
    mut filter: ListFilter,
    parts: impl IntoIterator<Item = &'a [u8]>,
) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let parts = parts.into_iter().map(|part| (part, false)).chain([(&b""[..], true)]);
    for (part, is_last) in parts {
        match filter.on_body(part.to_vec(), is_last, &judge()) {
            BodyPlan::Hold => {}
            BodyPlan::Forward { filtered, is_read } => {
                bytes.extend(filtered.changed.unwrap_or(filtered.arrived));
                if !is_read {
                    bytes.extend(b"|");
                    break;
                }
            }
            BodyPlan::Refuse(_) => return None,
            BodyPlan::Cut => {
                bytes.extend(b"CUT");
                break;
            }
        }
    }
    Some(bytes)
}

/// The forwarded part of a stream that arrives in these chunks.
fn streamed<'a>(asked: Asked, chunks: impl IntoIterator<Item = &'a [u8]>) -> String {
    let streamed = forwarded(event_filter(asked), chunks).unwrap();
    streamed.trim_end_matches('|').to_owned()
}

/// The forwarded part of a body without a media type.
fn sent<'a>(asked: Asked, parts: impl AsRef<[&'a str]>) -> Option<String> {
    let parts = parts.as_ref().iter().map(|part| part.as_bytes());
    forwarded(message_filter(asked), parts)
}

#[test]
fn the_head_says_whether_a_response_is_filtered() {
    let json = ("content-type", "application/json");
    let gzip = ("content-encoding", "gzip");
    let is = |plan: HeadPlan| match plan {
        HeadPlan::Pass => "pass",
        HeadPlan::Refuse => "refuse",
        HeadPlan::Hold(_) => "hold",
        HeadPlan::Stream(_) => "stream",
    };
    for (fields, of_list, of_call, of_get) in [
        (&[(":status", "200"), json][..], "hold", "hold", "hold"),
        (&[(":status", "206")], "hold", "hold", "hold"),
        (&[(":status", "200"), ("content-length", "1001")], "refuse", "hold", "hold"),
        (&[(":status", "200"), ("content-length", "1000")], "hold", "hold", "hold"),
        (
            &[(":status", "200"), ("content-type", "text/event-stream")],
            "stream",
            "stream",
            "stream",
        ),
        (
            &[(":status", "200"), ("content-type", "application/json, text/event-stream")],
            "refuse",
            "refuse",
            "refuse",
        ),
        (&[(":status", "200"), json, gzip], "refuse", "pass", "refuse"),
        (&[(":status", "200"), ("content-encoding", "identity")], "hold", "hold", "hold"),
        (&[(":status", "400"), json, gzip], "pass", "pass", "pass"),
        (&[(":status", "302")], "pass", "pass", "pass"),
    ] {
        assert_eq!(is(plan(list(), fields)), of_list, "{fields:?}");
        assert_eq!(is(plan(call(), fields)), of_call, "{fields:?}");
        assert_eq!(is(plan(Asked::Other(None), fields)), of_get, "{fields:?}");
    }
}

#[test]
fn a_message_is_filtered_or_refused() {
    for (body, expected) in [
        (HIDDEN, Some(format!("{SHOWN}|"))),
        (SHOWN, Some(format!("{SHOWN}|"))),
        (&format!(" \n{HIDDEN}"), Some(format!("{SHOWN}|"))),
        ("", Some("|".to_owned())),
        ("\n", Some("\n|".to_owned())),
        ("no JSON", None),
        ("{no JSON", None),
        (r#"{"id":1,"result":{"Tools":[]}}"#, None),
        (r#"{"tools":[{"name":"hidden"}]}"#, None),
    ] {
        assert_eq!(sent(list(), [body]), expected, "{body}");
        // Byte by byte.
        let bytes = body.as_bytes().chunks(1);
        assert_eq!(forwarded(message_filter(list()), bytes), expected, "{body}");
    }
    assert_eq!(sent(call(), ["no JSON"]).unwrap(), "no JSON|");
    let refused = message_filter(list()).on_body(b"x".to_vec(), false, &judge());
    assert_eq!(refused, BodyPlan::Refuse(id()));
}

#[test]
fn a_list_is_held_to_its_end_up_to_the_maximum_size() {
    let mut filter = message_filter(list());
    let start = &HIDDEN.as_bytes()[..40];
    assert_eq!(filter.on_body(start.to_vec(), false, &judge()), BodyPlan::Hold);
    assert_eq!(filter.on_body(vec![b' '; 960], false, &judge()), BodyPlan::Hold);
    assert_eq!(filter.on_body(b" ".to_vec(), false, &judge()), BodyPlan::Refuse(id()));
}

#[test]
fn the_response_to_a_call_passes_as_soon_as_it_is_known_to_be_one() {
    for (beginning, expected) in [
        (r#"{"id":1,"result":"#, true),
        ("<html>", true),
        ("{not JSON}", true),
        (" \n", true),
        ("{\"a\":1}\n", true),
        (r#"{"result":"#, false),
        (r#"{"id":2,"result":"#, false),
    ] {
        let plan = message_filter(call()).on_body(beginning.into(), false, &judge());
        let is_forwarded = matches!(plan, BodyPlan::Forward { .. });
        assert_eq!(is_forwarded, expected, "{beginning}");
    }
}

#[test]
fn a_long_message_passes_unless_it_is_a_list() {
    let long = "a".repeat(1000);
    let list_first = r#"{"result":{"tools":["#;
    for (parts, expected) in [
        // The order of members of the official TypeScript SDK.
        ([&*format!(r#"{{"result":{{"content":"{long}"#), r#""},"id":1}"#], true),
        ([&*format!(r#"{{"id":1,"result":{{"content":"{long}"#), r#"","tools":[]}}"#], true),
        ([&*format!(r#"{{"rows":["{long}"#), r#"","tools":[]]}"#], true),
        ([&*format!(r#"[["{long}"],"#), r#"{"tools":[]}]"#], true),
        ([&*format!("{{ {long}"), r#"{"result":{"tools":["#], true),
        // The part before the list was already forwarded.
        ([&*format!(r#"{{"result":{{"a":"{long}"#), r#"","tools":["#], false),
        ([&*format!(r#"{{"id":1,"a":"{long}"#), r#"","id":9,"#], false),
    ] {
        for asked in [call(), Asked::Other(None)] {
            let is_known = parts[0].starts_with("{\"id\"");
            if is_known && !asked.is_call() {
                continue;
            }
            let sent = sent(asked, parts).unwrap();
            let whole = [parts[0], if expected { parts[1] } else { "CUT" }].concat();
            assert!(sent.trim_end_matches('|') == whole || sent == format!("{}|", parts[0]));
            assert_eq!(sent.contains("CUT"), !expected, "{parts:?}");
        }
    }
    for text in [list_first, r#"{"result":{},"result":"#, r#"{"id":1,"Id":"#] {
        assert_eq!(sent(call(), [text, &long]), None, "{text}");
        assert_eq!(sent(Asked::Other(None), [text, &long]), None, "{text}");
    }
    assert_eq!(sent(list(), ["{", &long]), None);
}

#[test]
fn a_second_id_is_found_however_the_message_is_split() {
    let text = r#"{"id":1,"id":9,"result":{"tools":[{"name":"hidden"}]}}"#;
    for cut in 0..text.len() {
        let (first, second) = text.split_at(cut);
        let sent = sent(call(), [first, second]);
        assert!(sent.is_none_or(|sent| !sent.contains("hidden")), "{first}");
    }
}

#[test]
fn events_are_found_under_any_media_type() {
    let stream = format!("event: message\ndata: {HIDDEN}\n\n");
    let expected = format!("event: message\ndata: {SHOWN}\n\n|");
    for asked in [list(), Asked::Other(None)] {
        for cut in [1, 3, 5, 6, 20, stream.len()] {
            let (first, second) = stream.split_at(cut);
            assert_eq!(sent(asked.clone(), [first, second]).as_ref(), Some(&expected), "{cut}");
        }
        let after_mark = format!("data: x\ndata: {HIDDEN}\n\n");
        let sent = sent(asked.clone(), ["\u{feff}", &after_mark]).unwrap();
        assert!(sent.starts_with("\u{feff}data: error "), "{sent}");
        // These parts are forwarded without waiting for more.
        for begun in ["\n: c\n\n", "\u{feff}data: x\n\n"] {
            let plan = message_filter(asked.clone()).on_body(begun.into(), false, &judge());
            assert!(matches!(plan, BodyPlan::Forward { is_read: true, .. }), "{begun}: {plan:?}");
        }
    }
}

#[test]
fn a_byte_order_mark_hides_no_list() {
    let other = |data: &str| streamed(Asked::Other(None), [data.as_bytes()]);
    // A client that does not know the field reads the line after it.
    let list = format!(": c\n\n\u{feff}data: x\ndata: {HIDDEN}\n\n");
    assert_eq!(other(&list), list.replace(HIDDEN, SHOWN));
    // At the beginning of a stream, clients differ.
    let marked = format!("\u{feff}data: {HIDDEN}\n\n");
    assert_eq!(other(&marked), marked.replace(HIDDEN, SHOWN));
    let two_lines = format!("\u{feff}data: x\ndata: {HIDDEN}\n\n");
    assert_eq!(other(&two_lines), "\u{feff}data: error null\n\n");
    let long = format!("\u{feff}data: x\ndata: {HIDDEN}{}\n\n", " ".repeat(1000));
    assert_eq!(other(&long), "\u{feff}data: error null\n\n");
    let harmless = "\u{feff}data: {\ndata: \"a\":1}\n\n";
    assert_eq!(other(harmless), harmless);
}

#[test]
fn events_are_filtered_one_by_one() {
    let stream = format!("id: 1\ndata:\n\n: ping\n\nevent: message\ndata: {HIDDEN}\n\ndata: a\n\n");
    let expected =
        format!("id: 1\ndata:\n\n: ping\n\nevent: message\ndata: {SHOWN}\n\ndata: error 1\n\n");
    assert_eq!(streamed(list(), [stream.as_bytes()]), expected);
}

#[test]
fn an_unreadable_event_becomes_an_error_with_its_id() {
    let event = "data: {\"id\":5,\"result\":{\"Tools\":[]}}\n\n";
    for asked in [list(), call(), Asked::Other(None)] {
        assert_eq!(streamed(asked, [event.as_bytes()]), "data: error 5\n\n");
    }
}

#[test]
fn what_cannot_be_read_answers_the_request_for_a_list_on_its_stream() {
    for unreadable in [
        format!("data: [{HIDDEN}]\n\n").into_bytes(),
        b"data: {\"id\":1,\"id\":2,\"result\":{\"tools\":[]}}\n\n".to_vec(),
        b"data: {\"id\":1,\"result\":{\"tools\":[\xff]}}\n\n".to_vec(),
    ] {
        assert_eq!(streamed(list(), [&*unreadable]), "data: error 1\n\n");
        // On another stream, it may answer another request.
        assert_eq!(streamed(Asked::Other(id()), [&*unreadable]), "data: error null\n\n");
    }
}

#[test]
fn what_only_lenient_clients_read_shows_no_list() {
    for dressed in [
        HIDDEN.replace('"', "'"),
        HIDDEN.replace('"', ""),
        HIDDEN.replace("\"result\"", "/*\"*/\"result\""),
        HIDDEN.replace("[", "[NaN,"),
        format!("/* a */\n{}", HIDDEN.replace("{\"id\"", "{/**/\"id\"")),
        format!("// a\n{}", HIDDEN.replace("1", "1//\n")),
        format!("# a\n# b\r\n{}", HIDDEN.replace("1", "1#\n")),
        format!(" \u{b}\u{feff} {HIDDEN}"),
        format!("\n\u{feff}{}", HIDDEN.replace('"', "'")),
        format!("\u{a0}\u{3000}{}", HIDDEN.replace('{', "{\u{c}")),
    ] {
        let dressed =
            dressed.replace("id\":1", "id\":7").replace("id:1", "id:7").replace("id':1", "id':7");
        for asked in [list(), call(), Asked::Other(None)] {
            for cut in [1, 3, 5, 20, dressed.len() - 2, dressed.len()] {
                let (first, second) = dressed.as_bytes().split_at(cut);
                let shown = forwarded(message_filter(asked.clone()), [first, second]);
                assert!(shown.is_none_or(|shown| !shown.contains("hidden")), "{dressed} {cut}");
            }
            let event: String = dressed.lines().map(|line| format!("data: {line}\n")).collect();
            let shown = streamed(asked, [event.as_bytes(), b"\n"]);
            assert!(!shown.contains("hidden"), "{shown}");
        }
        // The twin: another array.
        let other = dressed.replace("tools", "tolls");
        for cut in [1, 3, 5, 20, other.len() - 2, other.len()] {
            let (first, second) = other.as_bytes().split_at(cut);
            assert_passes(&other, [first, second]);
        }
        let event: String = other.lines().map(|line| format!("data: {line}\n")).collect();
        assert_eq!(streamed(call(), [event.as_bytes(), b"\n"]), format!("{event}\n"));
    }
    for text in [
        "/path/to/tools {a}",
        "// tools",
        "/* tools",
        "{% block %}",
        "{'a': 1}",
        "# tools",
        "# tools\n\n[prompts](/a) {tools}",
        "\u{a0}{% block %}",
    ] {
        for cut in [1, 5, text.len()] {
            let (first, second) = text.as_bytes().split_at(cut);
            assert_passes(text, [first, second]);
        }
    }
}

/// The parts of a text reach a caller of a method: both, or the first, after which nothing is read.
#[track_caller]
fn assert_passes(text: &str, [first, second]: [&[u8]; 2]) {
    let shown = forwarded_bytes(message_filter(call()), [first, second]);
    let passes =
        [text.as_bytes(), first].iter().any(|begun| shown == Some([begun, &b"|"[..]].concat()));
    assert!(passes, "{text} {}: {shown:?}", first.len());
}

#[test]
fn white_space_that_trickles_in_is_read_once() {
    // What is known to be blank is not read: here it is not even blank.
    let mut filter = message_filter(list());
    filter.form = Form::Unknown { held: b"}".to_vec(), blank: 1 };
    assert_eq!(filter.on_body(b" ".to_vec(), false, &judge()), BodyPlan::Hold);
    let (mark, blank) = ("\u{feff}", " ".repeat(200_000));
    for (asked, before) in [(list(), ""), (list(), mark), (call(), mark)] {
        let mut filter = message_filter(asked);
        filter.limit(1 << 20);
        let (mut forwarded, mut held_back) = (String::new(), 0);
        let body = format!("{before}{blank}{}", HIDDEN.replace("\"id\":1", "\"id\":1.0"));
        for byte in body.bytes() {
            match filter.on_body(vec![byte], false, &judge()) {
                BodyPlan::Forward { filtered, .. } => {
                    forwarded.push_str(&String::from_utf8_lossy(&filtered.arrived));
                }
                BodyPlan::Hold => {}
                BodyPlan::Cut | BodyPlan::Refuse(_) => break,
            }
            if let Form::Unknown { held, blank } = &filter.form {
                // All of it is known to be blank, except a character that has only begun.
                assert!(held.len() - blank < 3, "{} {blank}", held.len());
                held_back = held.len();
            }
        }
        assert!(!forwarded.contains("hidden"));
        assert_eq!(held_back, before.len() + blank.len());
    }
}

#[test]
fn a_list_behind_more_white_space_than_is_read_is_refused() {
    let blank = " ".repeat(1001);
    let marked = format!("\u{feff}{blank}");
    let begun = [&*b" ".repeat(1001), &[0xc2]].concat();
    for (asked, before) in [
        (list(), blank.as_bytes()),
        (list(), marked.as_bytes()),
        (list(), &*begun),
        (call(), marked.as_bytes()),
        (call(), &*begun),
    ] {
        let after: &[u8] = if before.ends_with(&[0xc2]) { &[0xa0] } else { b"" };
        let hidden = HIDDEN.replace("\"id\":1", "\"id\":7");
        let shown = forwarded_bytes(message_filter(asked), [before, after, hidden.as_bytes()]);
        assert_eq!(shown, None);
    }
    // The twins: white space alone, and white space that passes as it arrives.
    assert_eq!(sent(list(), [&*" ".repeat(1000)]), Some(format!("{}|", " ".repeat(1000))));
    assert_eq!(sent(call(), [&*blank, SHOWN]), Some(format!("{blank}{SHOWN}|")));
}

#[test]
fn an_event_without_an_empty_line_is_filtered_too() {
    assert_eq!(streamed(list(), [format!("data: {HIDDEN}").as_bytes()]), format!("data: {SHOWN}"));
}

#[test]
fn an_event_is_forwarded_as_soon_as_it_is_complete() {
    let mut filter = event_filter(call());
    let mut forwarded = |chunk: &str| match filter.on_body(chunk.into(), false, &judge()) {
        BodyPlan::Forward { filtered, is_read: true } => {
            String::from_utf8(filtered.changed.unwrap_or(filtered.arrived)).unwrap()
        }
        plan => panic!("{plan:?}"),
    };
    assert_eq!(forwarded("data: 1\n"), "");
    assert_eq!(forwarded("\ndata: 2"), "data: 1\n\n");
    assert_eq!(forwarded("\n\n"), "data: 2\n\n");
}

#[test]
fn a_long_event_of_a_call_passes_and_another_becomes_an_error() {
    let long = format!("data: {{\"id\":1,\"result\":{{\"a\":\"{}\"}}}}\n\n", "a".repeat(1000));
    let after = "data: 1\n\n";
    let stream = [&long, after].concat();
    for split in [10, 1005, 1010, stream.len()] {
        let (first, second) = stream.as_bytes().split_at(split);
        assert_eq!(streamed(call(), [first, second]), stream);
        let error = |id: &str| format!("data: error {id}\n\n{after}");
        assert_eq!(streamed(Asked::Other(None), [first, second]), error("null"));
    }
    // The forwarded part is not a whole message.
    let begun = format!("data: {{\"result\":{{\"a\":\"{}", "a".repeat(1000));
    let rest = format!("\",\"tools\":[1]}}}}\n\n{after}");
    let expected = format!("{begun}\n\ndata: error 1\n\n{after}");
    assert_eq!(streamed(call(), [begun.as_bytes(), rest.as_bytes()]), expected);
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_split_of_a_stream_gives_the_same_result(
        ends in prop::sample::select(vec!["\n", "\r", "\r\n"]),
        cuts in prop::collection::vec(0_usize..300, 0..8),
    ) {
        let lines = ["data: {\"id\":2,", "data: \"result\":{\"tools\":[{\"name\":\"hidden\"}]}}", "",
            ": c", "", "id: 5", "data: x", "", "data: {\"id\":3,\"result\":{\"Tools\":[]}}", ""];
        let stream = lines.join(ends) + ends;
        let whole = streamed(call(), [stream.as_bytes()]);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let chunks = cuts.windows(2).map(|cut| &stream.as_bytes()[cut[0]..cut[1]]);
        prop_assert_eq!(streamed(call(), chunks), whole);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_filtered_stream_is_unchanged_when_filtered_again(
        lines in prop::collection::vec(
            r#"(data:|data: |: |id: |\x{feff}data: |event: )?(\{"id":1,|"result":|\{"tools":\[|\{"name":"a"\}|\]\}\}|\[|[a-z]|,)?(\n|\r|\r\n)?"#,
            0..30,
        ),
        choice in 0_u8..3,
        split in any::<u8>(),
    ) {
        let stream = lines.concat();
        fuzz_lists(&[&[choice, split], stream.as_bytes()].concat());
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_split_of_a_body_shows_a_hidden_item(
        members in Just(vec![
            r#""jsonrpc":"2.0""#,
            r#""id":7"#,
            r#""result":{"tools":[{"name":"hidden"}],"nextCursor":"c"}"#,
            r#""x":[{"id":1},"\"]}",{"result":{}}]"#,
        ]).prop_shuffle(),
        before in prop::sample::select(vec![
            "", " \n", "\u{feff}", " \u{feff}", "\u{b}\u{a0}", "data: ", ": c\n\ndata:", "\ndata: ",
        ]),
        cuts in prop::collection::vec(0_usize..200, 0..6),
    ) {
        let body = format!("{before}{{{}}}\n\n", members.join(","));
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(body.len())).collect();
        cuts.extend([0, body.len()]);
        cuts.sort_unstable();
        for asked in [list(), call(), Asked::Other(None)] {
            let parts = cuts.windows(2).map(|cut| &body.as_bytes()[cut[0]..cut[1]]);
            let shown = forwarded(message_filter(asked), parts).unwrap_or_default();
            prop_assert!(!shown.contains("hidden"), "{}", shown);
            // The other members are kept, if what is before them is not for lenient clients only.
            let is_lenient = before.starts_with([' ', '\u{b}']) && before != " \n";
            prop_assert!(shown.contains("nextCursor") || is_lenient, "{}", shown);
        }
    }
}
