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

fn shows(call: McpCall) -> bool {
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
    let HeadPlan::Hold(filter) = plan(asked, &fields) else { panic!("it is not held") };
    filter
}

fn event_filter(asked: Asked) -> ListFilter {
    let fields = [(":status", "200"), ("content-type", "text/event-stream")];
    let HeadPlan::Stream(filter) = plan(asked, &fields) else { panic!("it is no stream") };
    filter
}

/// What is forwarded of a stream that arrives in these chunks.
fn streamed<'a>(asked: Asked, chunks: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut filter = event_filter(asked);
    let mut bytes = Vec::new();
    for chunk in chunks {
        bytes.extend(filter.on_events(chunk, false, &shows, &error).bytes);
    }
    bytes.extend(filter.on_events(&[], true, &shows, &error).bytes);
    String::from_utf8(bytes).unwrap()
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
        (&[(":status", "200"), json, gzip], "refuse", "pass", "refuse"),
        (&[(":status", "200"), ("content-encoding", "identity")], "hold", "hold", "hold"),
        (&[(":status", "400"), json, gzip], "pass", "pass", "pass"),
        (&[(":status", "302")], "pass", "pass", "pass"),
    ] {
        assert_eq!(is(plan(list(), fields)), of_list, "{fields:?}");
        assert_eq!(is(plan(call(), fields)), of_call, "{fields:?}");
        assert_eq!(is(plan(Asked::Nothing, fields)), of_get, "{fields:?}");
    }
}

#[test]
fn a_message_is_filtered_or_refused() {
    let replaced = BodyPlan::Replace { body: SHOWN.into(), hidden: 1 };
    let refused = || BodyPlan::Refuse(id());
    for (body, expected) in [
        (HIDDEN, replaced),
        (SHOWN, BodyPlan::Pass),
        ("", BodyPlan::Pass),
        ("no JSON", refused()),
        (r#"{"id":1,"result":{"Tools":[]}}"#, refused()),
    ] {
        assert_eq!(
            message_filter(list()).on_message(body.as_bytes(), true, &shows),
            expected,
            "{body}"
        );
    }
    assert_eq!(message_filter(call()).on_message(b"no JSON", true, &shows), BodyPlan::Pass);
}

#[test]
fn a_long_message_passes_only_if_it_answers_a_call() {
    let long = format!(r#"{{"id":1,"result":{{"content":"{}"#, "a".repeat(1000));
    assert_eq!(message_filter(call()).on_message(long.as_bytes(), false, &shows), BodyPlan::Pass);
    for (asked, id) in [(list(), id()), (Asked::Nothing, None)] {
        let plan = message_filter(asked).on_message(long.as_bytes(), false, &shows);
        assert_eq!(plan, BodyPlan::Refuse(id));
    }
}

#[test]
fn the_response_to_a_call_passes_as_soon_as_it_is_known_to_be_one() {
    for (beginning, plan) in [
        (r#"{"id":1,"result":"#, BodyPlan::Pass),
        ("<html>", BodyPlan::Pass),
        (r#"{"result":"#, BodyPlan::Wait),
        (r#"{"id":2,"result":"#, BodyPlan::Wait),
    ] {
        let mut filter = message_filter(call());
        assert!(filter.reads(beginning.len(), false));
        assert_eq!(filter.on_message(beginning.as_bytes(), false, &shows), plan, "{beginning}");
        // Reading on would cost more with each part.
        assert!(!filter.reads(900, false) && filter.reads(1001, false) && filter.reads(900, true));
    }
    assert!(!message_filter(list()).reads(900, false));
}

#[test]
fn events_are_filtered_one_by_one() {
    let stream = format!("id: 1\ndata:\n\n: ping\n\nevent: message\ndata: {HIDDEN}\n\ndata: a\n\n");
    let expected =
        format!("id: 1\ndata:\n\n: ping\n\nevent: message\ndata: {SHOWN}\n\ndata: error 1\n\n");
    assert_eq!(streamed(list(), [stream.as_bytes()]), expected);
}

#[test]
fn an_event_without_an_empty_line_is_filtered_too() {
    assert_eq!(streamed(list(), [format!("data: {HIDDEN}").as_bytes()]), format!("data: {SHOWN}"));
}

#[test]
fn an_event_goes_on_as_soon_as_it_is_complete() {
    let mut filter = event_filter(call());
    let mut forwarded = |chunk: &str| {
        let filtered = filter.on_events(chunk.as_bytes(), false, &shows, &error);
        String::from_utf8(filtered.bytes).unwrap()
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
        assert_eq!(streamed(Asked::Nothing, [first, second]), error("null"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_split_of_a_stream_gives_the_same(
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
    fn a_filtered_stream_stays_as_it_is(
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
