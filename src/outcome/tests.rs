use proptest::prelude::*;
use serde_json::value::RawValue;

use super::*;
use crate::response_head::ResponseHead;

const MAX_BODY: usize = 200;

fn request() -> Sent {
    Sent::Request(MessageId::from_value(&RawValue::from_string("1".to_owned()).unwrap()))
}

/// A response with a body.
struct Response<'a> {
    sent: Sent,
    status: &'a str,
    media: &'a str,
    more: &'a [(&'a str, &'a str)],
}

impl Response<'_> {
    fn begin(&self) -> OutcomeReader {
        let fields = [(":status", self.status), ("content-type", self.media)];
        let fields: Vec<_> = fields
            .iter()
            .chain(self.more)
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
            .collect();
        OutcomeReader::new(self.sent.clone(), ResponseHead::new(&fields), true, MAX_BODY)
    }

    /// The outcome once all of the body has arrived.
    fn outcome(&self, body: &str) -> CallOutcome {
        let mut reader = self.begin();
        reader.read(body.as_bytes());
        reader.end();
        reader.outcome()
    }

    /// The outcome if the connection ends after this part of the body.
    fn cut_off(&self, body: &str) -> CallOutcome {
        let mut reader = self.begin();
        reader.read(body.as_bytes());
        reader.outcome()
    }
}

fn json(sent: Sent) -> Response<'static> {
    Response { sent, status: "200", media: "application/json", more: &[] }
}

fn events(sent: Sent) -> Response<'static> {
    Response { media: "text/event-stream", ..json(sent) }
}

const OK: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#;
const TOOL_ERROR: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"isError":true}}"#;
const ERROR: &str = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"no"}}"#;

#[test]
fn a_message_determines_the_outcome_of_a_call() {
    use CallOutcome::{Ok, RpcError, ToolError, Unknown};
    for (body, outcome) in [
        (OK, Ok),
        (TOOL_ERROR, ToolError),
        (ERROR, RpcError(-32602)),
        (r#"{"id":1,"result":{}}"#, Ok),
        (r#" {"result":{"isError" : false},"id" : 1} "#, Ok),
        ("\u{feff}{\"id\":1,\"result\":{}}", Ok),
        (r#"{"id":1,"result":{"a":{"isError":true}}}"#, Ok),
        (r#"{"id":1,"result":{"isError":true,"a":1}}"#, ToolError),
        (r#"{"id":1,"result":{"isErr\u006fr":true}}"#, ToolError),
        (r#"{"id":1,"error":{"code":0}}"#, RpcError(0)),
        (r#"{"id":null,"error":{"code":-32700}}"#, RpcError(-32700)),
        (r#"{"error":{"code":-32700}}"#, RpcError(-32700)),
        // A member that clients read differently, or that has another type.
        (r#"{"id":1,"result":{"isError":"true"}}"#, Unknown),
        (r#"{"id":1,"result":{"isError":1}}"#, Unknown),
        (r#"{"id":1,"result":{"isError":null}}"#, Unknown),
        (r#"{"id":1,"result":{"isError":true,"isError":false}}"#, Unknown),
        (r#"{"id":1,"result":{"iserror":true}}"#, Unknown),
        (r#"{"id":1,"result":[]}"#, Unknown),
        (r#"{"id":1,"result":null}"#, Unknown),
        (r#"{"id":1,"result":{},"result":{}}"#, Unknown),
        (r#"{"id":1,"Result":{}}"#, Unknown),
        (r#"{"id":1,"result":{},"error":{"code":1}}"#, Unknown),
        (r#"{"id":1,"result":{},"error":null}"#, Unknown),
        (r#"{"id":1,"error":{"code":"-32602"}}"#, Unknown),
        (r#"{"id":1,"error":{"code":1.5}}"#, Unknown),
        (r#"{"id":1,"error":{"code":99999999999999999999}}"#, Unknown),
        (r#"{"id":1,"error":{}}"#, Unknown),
        (r#"{"id":1,"error":"no"}"#, Unknown),
        (r#"{"jsonrpc":"1.0","id":1,"result":{}}"#, Unknown),
        // A response to another request.
        (r#"{"id":2,"result":{}}"#, Unknown),
        (r#"{"id":"1","result":{}}"#, Unknown),
        (r#"{"id":1.0,"result":{}}"#, Unknown),
        (r#"{"id":2,"error":{"code":1}}"#, Unknown),
        (r#"{"id":1,"id":2,"result":{}}"#, Unknown),
        (r#"{"result":{}}"#, Unknown),
        (r#"{"id":1,"method":"ping","result":{}}"#, Unknown),
        (r#"{"id":1,"method":"ping"}"#, Unknown),
        (r#"{"id":1}"#, Unknown),
        (r#"[{"id":1,"result":{}}]"#, Unknown),
        (r#"{"id":1,"result":{}} {}"#, Unknown),
        (r#"{"id":1,"result":{}"#, Unknown),
        ("no JSON", Unknown),
        ("", Unknown),
    ] {
        assert_eq!(json(request()).outcome(body), outcome, "{body}");
        assert_eq!(events(request()).outcome(&format!("data: {body}\n\n")), outcome, "{body}");
    }
}

#[test]
fn a_status_of_an_error_is_the_outcome_unless_a_message_says_more() {
    use CallOutcome::{HttpError, RpcError};
    for status in ["301", "307", "400", "401", "404", "429", "500", "503"] {
        let http_error = HttpError(status.parse().unwrap());
        for (body, outcome) in [
            (ERROR, RpcError(-32602)),
            (r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000}}"#, RpcError(-32000)),
            ("", http_error),
            ("<html>", http_error),
            (OK, http_error),
            (TOOL_ERROR, http_error),
            // As OAuth and many APIs do.
            (r#"{"error":"invalid_token"}"#, http_error),
            (r#"{"error":{"code":404,"message":"no"}}"#, http_error),
            (r#"{"jsonrpc":"2.0","id":2,"error":{"code":1}}"#, http_error),
            (r#"{"jsonrpc":"2.0","error":{"code":1},"error":{"code":2}}"#, http_error),
        ] {
            let response = Response { status, ..json(request()) };
            assert_eq!(response.outcome(body), outcome, "{status} {body}");
            assert_eq!(response.cut_off(body), http_error, "{status} {body}");
            for sent in [Sent::Unread, Sent::Notification, Sent::Nothing] {
                let response = Response { status, ..json(sent) };
                let is_other = body.contains("\"id\":2");
                let outcome = if is_other { RpcError(1) } else { outcome };
                assert_eq!(response.outcome(body), outcome, "{status} {body}");
            }
        }
        let long = format!("{ERROR}{}", " ".repeat(MAX_BODY));
        assert_eq!(Response { status, ..json(request()) }.outcome(&long), http_error);
    }
}

#[test]
fn only_a_notification_is_ok_without_a_result() {
    use CallOutcome::{Ok, RpcError, Unknown};
    for (sent, status, body, outcome) in [
        (Sent::Notification, "202", "", Ok),
        (Sent::Notification, "202", ERROR, Ok),
        (Sent::Notification, "200", "", Unknown),
        (Sent::Notification, "204", "", Unknown),
        (Sent::Notification, "200", OK, Unknown),
        (Sent::Notification, "200", ERROR, RpcError(-32602)),
        (request(), "202", "", Unknown),
        (request(), "204", "", Unknown),
        (Sent::Unread, "202", "", Unknown),
        (Sent::Nothing, "200", OK, Unknown),
        (Sent::Nothing, "200", ERROR, Unknown),
        (Sent::Nothing, "202", "", Unknown),
    ] {
        let response = Response { status, ..json(sent.clone()) };
        assert_eq!(response.outcome(body), outcome, "{sent:?} {status} {body}");
    }
}

#[test]
fn the_response_is_found_among_the_events_of_a_stream() {
    use CallOutcome::{Ok, RpcError, ToolError, Unknown};
    let notification = "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}\n\n";
    let other = "data: {\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"isError\":true}}\n\n";
    let null = "data: {\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":1}}\n\n";
    let unreadable = "data: [1]\n\n";
    let long = format!("data: {{\"id\":1,\"result\":{{\"a\":\"{}\"}}}}\n\n", "a".repeat(MAX_BODY));
    let [ok, tool_error, error] =
        [OK, TOOL_ERROR, ERROR].map(|message| format!(": hi\r\nid: 4\r\ndata: {message}\r\n\r\n"));
    let streams = [
        (vec![&*ok], Ok, Ok),
        (vec![notification, &*tool_error], ToolError, ToolError),
        (vec![unreadable, &*ok], Ok, Unknown),
        (vec![other, &*ok], Ok, Unknown),
        (vec![&*ok, other], Ok, Unknown),
        (vec![null, &*ok], Ok, Unknown),
        (vec![null], RpcError(1), RpcError(1)),
        (vec![null, null], Unknown, Unknown),
        (vec![&*long], Unknown, Unknown),
        (vec![&*long, &*ok], Ok, Unknown),
        (vec![&*ok, &*error], Ok, Unknown),
        (vec![notification], Unknown, Unknown),
        (vec!["data: ping\n\n", &*error], RpcError(-32602), RpcError(-32602)),
        (vec!["data: {\"jsonrpc\":\"2.0\",\"id\":1,\n", "data: \"result\":{}}\n\n"], Ok, Ok),
        (vec!["data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}"], Ok, Ok),
    ];
    for (stream, outcome, without_id) in streams {
        let stream = stream.concat();
        assert_eq!(events(request()).outcome(&stream), outcome, "{stream}");
        for sent in [Sent::Unread, Sent::Request(None)] {
            assert_eq!(events(sent).outcome(&stream), without_id, "{stream}");
        }
    }
}

#[test]
fn a_response_that_is_cut_off_has_an_outcome_only_if_that_is_certain() {
    let event = format!("data: {OK}\n\n");
    for split in 0..event.len() {
        assert_eq!(events(request()).cut_off(&event[..split]), CallOutcome::Unknown, "{split}");
    }
    assert_eq!(events(request()).cut_off(&event), CallOutcome::Ok);
    // Another response may follow.
    assert_eq!(events(Sent::Unread).cut_off(&event), CallOutcome::Unknown);
    assert_eq!(json(request()).cut_off(OK), CallOutcome::Unknown);
}

#[test]
fn an_unreadable_response_has_the_outcome_unknown() {
    let length = MAX_BODY.to_string();
    let too_long = (MAX_BODY + 1).to_string();
    for (more, outcome) in [
        (&[][..], CallOutcome::Ok),
        (&[("content-encoding", "identity")], CallOutcome::Ok),
        (&[("content-encoding", "gzip")], CallOutcome::Unknown),
        (&[("content-length", &*length)], CallOutcome::Ok),
        (&[("content-length", &*too_long)], CallOutcome::Unknown),
        (&[("content-type", "text/event-stream")], CallOutcome::Unknown),
    ] {
        let response = Response { more, ..json(request()) };
        assert_eq!(response.outcome(OK), outcome, "{more:?}");
        assert_eq!(response.begin().reads(), outcome == CallOutcome::Ok, "{more:?}");
    }
    let padded = |length: usize| format!("{OK}{}", " ".repeat(length - OK.len()));
    assert_eq!(json(request()).outcome(&padded(MAX_BODY)), CallOutcome::Ok);
    assert_eq!(json(request()).outcome(&padded(MAX_BODY + 1)), CallOutcome::Unknown);
    let broken = [b"data: {\"id\":1,\"result\":{\"a\":\"", &[0xff][..], b"\"}}\n\n"].concat();
    let mut reader = events(request()).begin();
    reader.read(&broken);
    assert_eq!(reader.outcome(), CallOutcome::Unknown);
}

#[test]
fn nothing_is_kept_once_the_outcome_is_certain() {
    let mut stream = events(request()).begin();
    assert!(stream.reads());
    stream.read(format!("data: {OK}\n\n").as_bytes());
    assert!(!stream.reads());
    let mut long = json(request()).begin();
    long.read(&[b' '; MAX_BODY]);
    assert!(long.reads());
    long.read(b" ");
    assert!(!long.reads());
    assert!(!json(Sent::Nothing).begin().reads());
    assert!(!Response { status: "202", ..json(Sent::Notification) }.begin().reads());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_outcome_does_not_depend_on_how_a_stream_is_split(
        events in prop::collection::vec(prop_oneof![
            Just(OK), Just(TOOL_ERROR), Just(ERROR), Just("no JSON"), Just("[1]"),
            Just(r#"{"method":"ping","id":1}"#),
        ], 0..4),
        end in prop_oneof!["\n", "\r", "\r\n"],
        form: u8,
        split: u8,
    ) {
        let stream: String =
            events.iter().map(|event| format!("data: {event}{end}{end}")).collect();
        fuzz_outcomes(&[&[form, split], stream.as_bytes()].concat());
    }

    #[test]
    fn no_bytes_cause_a_panic(bytes in any::<Vec<u8>>()) {
        fuzz_outcomes(&bytes);
    }
}
