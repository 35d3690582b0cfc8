//! Every way around a filter of lists that another gateway had to close, or that follows from the
//! protocol: hidden items never reach the client. The names refer to the source; `toolhive` is
//! github.com/stacklok/toolhive.

use serde_json::{Value, json};
use testbed::Response;

use crate::lists::{LIST, SHOWN, Setup, rules};

const JSON: &str = "content-type: application/json\r\n";
const EVENTS: &str = "content-type: text/event-stream\r\n";

/// The response that the client must get.
enum Expected {
    /// This body, with the status of the server.
    Body(String),
    /// 502, without any part of the list.
    Refused,
    /// An event stream whose only message is an error, without any part of the list.
    ErrorEvent,
}

use Expected::{Body, ErrorEvent, Refused};

struct Case {
    name: &'static str,
    status: &'static str,
    fields: String,
    body: Vec<u8>,
    expected: Expected,
}

fn case(
    name: &'static str,
    fields: impl Into<String>,
    body: impl Into<Vec<u8>>,
    expected: Expected,
) -> Case {
    let (fields, body) = (fields.into(), body.into());
    Case { name, status: "200 OK", fields, body, expected }
}

fn with_status(status: &'static str, case: Case) -> Case {
    Case { status, ..case }
}

/// The hidden and the shown form of the list, in a frame.
fn framed(frame: impl Fn(&str) -> String) -> (String, Expected) {
    (frame(LIST), Body(frame(SHOWN)))
}

fn media_types_and_statuses() -> Vec<Case> {
    let list = || (LIST.to_owned(), Body(SHOWN.to_owned()));
    let typed = |name, media: &str| {
        let (body, expected) = list();
        case(name, format!("content-type: {media}\r\n"), body, expected)
    };
    let events = |name, media: &str| {
        let (body, expected) = framed(|list| format!("data: {list}\n\n"));
        case(name, format!("content-type: {media}\r\n"), body, expected)
    };
    vec![
        typed("toolhive#6092: a media type in another case", "Application/JSON"),
        typed("toolhive#6092: a space before the parameters", "application/json ; charset=utf-8"),
        typed("toolhive#6092: an unknown media type", "application/octet-stream"),
        typed("toolhive#6092: HTML as the media type", "text/html"),
        events("toolhive#6092: events in another case", "Text/Event-Stream"),
        events("toolhive#6092: events with a space", "text/event-stream ;charset=utf-8"),
        with_status("201 Created", typed("toolhive#6092: status 201", "application/json")),
        with_status("206 Partial Content", typed("toolhive#6092: status 206", "application/json")),
        with_status("299 Odd", typed("toolhive#6092: status 299", "application/json")),
        with_status("202 Accepted", events("toolhive#6092: events with 202", "text/event-stream")),
    ]
}

fn encodings() -> Vec<Case> {
    let marked = framed(|list| format!("\u{feff}{list}"));
    let in_stream = framed(|list| format!("\u{feff}data: {list}\n\n"));
    let length = LIST.len();
    let wrong_length = format!("{JSON}content-length: {length}\r\n");
    vec![
        case("toolhive#6304: a byte order mark", JSON, marked.0, marked.1),
        case("toolhive#6304: a byte order mark of a stream", EVENTS, in_stream.0, in_stream.1),
        case(
            "toolhive#4092: the length of the original body",
            wrong_length,
            LIST,
            Body(SHOWN.into()),
        ),
        case(
            "compressed without being asked",
            format!("{JSON}content-encoding: gzip\r\n"),
            LIST,
            Refused,
        ),
        case("compressed twice", format!("{JSON}content-encoding: gzip, br\r\n"), LIST, Refused),
        case("a compressed stream", format!("{EVENTS}content-encoding: gzip\r\n"), LIST, Refused),
    ]
}

fn streams() -> Vec<Case> {
    let frame = |name, frame: &dyn Fn(&str) -> String| {
        let (body, expected) = framed(frame);
        case(name, EVENTS, body, expected)
    };
    let (first, second) = LIST.split_at(LIST.find("\"result\"").unwrap());
    let joined = format!("data: {first}\ndata: {second}\n\n");
    let broken = LIST.replace("tools", "Tools");
    let mut no_utf_8 = LIST.replace("closed", "closed?").into_bytes();
    no_utf_8.iter_mut().filter(|byte| **byte == b'?').for_each(|byte| *byte = 0xff);
    vec![
        frame("toolhive#6088: CRLF", &|list| format!("data: {list}\r\n\r\n")),
        // A rewritten line ends in CRLF, so that the empty line after it stays one line.
        case(
            "toolhive#6088: lone CR",
            EVENTS,
            format!("data: {LIST}\r\rdata: 1\r\r"),
            Body(format!("data: {SHOWN}\r\n\rdata: 1\r\r")),
        ),
        frame("toolhive#6088: a last event without an empty line", &|list| {
            format!("data: {list}\n")
        }),
        frame("toolhive#6088: a last event without an end of line", &|list| {
            format!("data: {list}")
        }),
        case(
            "toolhive#6088: lines of data that are joined",
            EVENTS,
            joined,
            Body(format!("data: {SHOWN}\n\n")),
        ),
        frame("an event after a long comment", &|list| {
            format!(": {}\n\ndata: {list}\n\n", "c".repeat(5000))
        }),
        case(
            "no space after the colon",
            EVENTS,
            format!("data:{LIST}\n\n"),
            Body(format!("data: {SHOWN}\n\n")),
        ),
        case(
            "toolhive#6087: an error in a stream is an event",
            EVENTS,
            format!("data: {broken}\n\n"),
            ErrorEvent,
        ),
        case("toolhive#5304: a line that is not JSON", EVENTS, "data: closed {\n\n", ErrorEvent),
        case("toolhive#5304: a body that is not JSON", JSON, "closed: {", Refused),
        case("toolhive#5304: bytes that are not UTF-8", JSON, no_utf_8, Refused),
    ]
}

fn messages() -> Vec<Case> {
    let other_id = framed(|list| list.replace("\"id\":1", "\"id\":\"other\""));
    let in_request = framed(|list| list.replace("\"id\":1", "\"id\":1,\"method\":\"a\""));
    let without_id = framed(|list| list.replace("\"id\":1,", ""));
    let twice = LIST.replace("\"result\":", "\"result\":{},\"result\":");
    let two_lists = LIST.replace("\"tools\":", "\"tools\":[],\"tools\":");
    let two_names =
        LIST.replace("{\"name\":\"open1\"}", "{\"name\":\"open1\",\"name\":\"closed\"}");
    vec![
        case("toolhive#5257: a list inside a request", JSON, in_request.0, in_request.1),
        case("toolhive#5257: a list inside a batch", JSON, format!("[{LIST}]"), Refused),
        case(
            "toolhive#5257: a batch in a stream",
            EVENTS,
            format!("data: [{LIST}]\n\n"),
            ErrorEvent,
        ),
        case("a list with another id", JSON, other_id.0, other_id.1),
        case("a list without id", JSON, without_id.0, without_id.1),
        case("a result that repeats", JSON, twice, Refused),
        case("a list that repeats", JSON, two_lists, Refused),
        case("a name that repeats", JSON, two_names, Refused),
        case("a list in another case", JSON, LIST.replace("tools", "TOOLS"), Refused),
        case("a list in an object", JSON, LIST.replace('[', "{\"a\":").replace(']', "}"), Refused),
        case(
            "an escape in the name of the list",
            JSON,
            LIST.replace("tools", "t\\u006fols"),
            Body(SHOWN.replace("tools", "t\\u006fols")),
        ),
        case(
            "an escape in the name of a tool",
            JSON,
            LIST.replace("closed", "cl\\u006fsed"),
            Body(SHOWN.to_owned()),
        ),
    ]
}

/// What is wrong with the client's response.
fn faults(case: &Case, response: &Response) -> Vec<String> {
    let mut faults = Vec::new();
    let mut expect = |is_right: bool, what: &str| {
        if !is_right {
            faults.push(format!("{}: {what}: {response:?}", case.name));
        }
    };
    let lowered = response.text.to_ascii_lowercase();
    expect(!lowered.contains("closed") && !lowered.contains("write"), "shows a hidden item");
    let length = response.header("content-length");
    let is_length_right = length.is_empty() || length == response.text.len().to_string();
    expect(is_length_right, "has another length");
    let status = case.status.split(' ').next().unwrap_or_default();
    match &case.expected {
        Body(body) => {
            // As in toolhive#6335: the status is the server's, even if the body was changed.
            expect(response.status.to_string() == status, "has another status");
            expect(unescaped(&response.text) == unescaped(body), "has another body");
        }
        Refused => {
            expect(response.status == 502, "is not refused");
            expect(response.reason() == "mcp_list_invalid", "has another reason");
        }
        ErrorEvent => {
            expect(response.status.to_string() == status, "has another status");
            let error = response.text.trim_end().strip_prefix("data: ").unwrap_or_default();
            let error: Value = serde_json::from_str(error).unwrap_or_default();
            let reason = &error["error"]["data"]["reason"];
            expect(*reason == json!("mcp_list_invalid"), "is not an error");
        }
    }
    faults
}

/// A member's name may be written with or without escapes.
fn unescaped(text: &str) -> String {
    text.replace("\\u006f", "o")
}

#[tokio::test(flavor = "multi_thread")]
async fn no_known_way_around_the_filter_shows_a_hidden_item() {
    let setup = Setup::start(rules()).await;
    let mut found = Vec::new();
    let groups = [media_types_and_statuses(), encodings(), streams(), messages()];
    let cases: Vec<Case> = groups.into_iter().flatten().collect();
    for case in &cases {
        let status = case.status;
        let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\n{}\r\n", case.fields);
        setup.server.respond_with(&[&[head.as_bytes(), &case.body].concat()]);
        found.extend(faults(case, &setup.ask("tools/list").await));
    }
    assert!(found.is_empty(), "{} of {} faults:\n{}", found.len(), cases.len(), found.join("\n"));
}

/// A list that is no response to a request: in resumed streams, and in the only stream of the older
/// transport.
#[tokio::test(flavor = "multi_thread")]
async fn no_stream_opened_by_a_get_shows_a_hidden_item() {
    let setup = Setup::start(rules()).await;
    let get = async |fields: &[(&str, &str)]| {
        let token = setup.stack.token();
        let mut request = setup.stack.client().get(setup.stack.url()).bearer_auth(token);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        setup.stack.send(request).await
    };
    let (hidden, shown) = (format!("id: 1\ndata: {LIST}\n\n"), format!("id: 1\ndata: {SHOWN}\n\n"));
    setup.respond_events(&hidden);
    for fields in [&[][..], &[("last-event-id", "0")], &[("accept", "text/event-stream")]] {
        assert_eq!(get(fields).await.text, shown, "{fields:?}");
    }
    // HTTP+SSE of 2024-11-05: first the endpoint, then all responses to POSTs.
    let endpoint = "event: endpoint\ndata: /messages?sessionId=1\n\n";
    setup.respond_events(&format!("{endpoint}event: message\n{hidden}"));
    assert_eq!(get(&[]).await.text, format!("{endpoint}event: message\n{shown}"));
    // A compressed body cannot be read.
    setup.respond(&format!("{EVENTS}content-encoding: gzip\r\n"), hidden.as_bytes());
    assert_eq!(get(&[]).await.status, 502);
    setup.respond_json(LIST);
    assert_eq!(get(&[]).await.text, SHOWN);
}

/// Order, cursor and the other members are kept, and the list may become empty.
#[tokio::test(flavor = "multi_thread")]
async fn a_filtered_list_is_still_a_list() {
    let setup = Setup::start(rules()).await;
    let list = |items: &str, rest: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"tools":[{items}]{rest}}}}}"#)
    };
    for (name, body, expected) in [
        (
            "the order",
            list(r#"{"name":"open2"},{"name":"closed"},{"name":"open1"}"#, ""),
            list(r#"{"name":"open2"},{"name":"open1"}"#, ""),
        ),
        (
            "an empty page with a cursor",
            list(r#"{"name":"closed"}"#, r#","nextCursor":"c""#),
            list("", r#","nextCursor":"c""#),
        ),
        (
            "the cache settings",
            list(r#"{"name":"open1"}"#, r#","cacheScope":"public","ttlMs":5"#),
            list(r#"{"name":"open1"}"#, r#","cacheScope":"private","ttlMs":5"#),
        ),
        (
            "exact numbers, and unknown members",
            list(
                r#"{"name":"open1","x":1.50},{"name":"closed"}"#,
                r#","n":12345678901234567890.10"#,
            ),
            list(r#"{"name":"open1","x":1.50}"#, r#","n":12345678901234567890.10"#),
        ),
        (
            "items whose name is no string",
            list(r#"{"name":1},{},5,{"name":"open1"},["closed"]"#, ""),
            list(r#"{"name":"open1"}"#, ""),
        ),
    ] {
        setup.respond_json(&body);
        assert_eq!(setup.ask("tools/list").await.text, expected, "{name}");
    }
}
