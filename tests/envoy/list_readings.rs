//! Bodies that servers and clients read as a list or a stream although they are not quite valid;
//! and bodies that the filter of lists must not change.

use serde_json::{Value, json};
use testbed::Response;

use crate::lists::{LIST, SHOWN, Setup, rules};

const JSON: &str = "content-type: application/json\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
/// More than `max_body`, in an ordinary result.
const LONG: usize = 1_200_000;

impl Setup {
    async fn get(&self, path: &str) -> Response {
        let url = self.stack.envoy.url(path);
        let request = self.stack.client().get(url).bearer_auth(self.stack.token());
        self.stack.send(request).await
    }

    /// The first bytes that arrive while the server has not ended its response.
    async fn first_chunk(&self, message: Option<&Value>) -> String {
        let client = self.stack.client();
        let request = match message {
            Some(message) => client.post(self.stack.url()).json(message),
            None => client.get(self.stack.url()),
        };
        let mut response = request.bearer_auth(self.stack.token()).send().await.unwrap();
        let chunk = response.chunk().await.unwrap().unwrap_or_default();
        self.server.go_on();
        String::from_utf8(chunk.to_vec()).unwrap()
    }
}

fn message(method: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": {"name": "open1"}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_that_only_some_servers_read_as_a_list_shows_no_hidden_item() {
    let setup = Setup::start(rules()).await;
    setup.respond_json(LIST);
    for method in [
        "Tools/List",
        "TOOLS/LIST",
        "tools/list ",
        "tools/list\n",
        "tools/list\0",
        "tools/list/",
        "tools.list",
        "tool\u{17f}/list",
        "tasks/result",
        "made/up",
    ] {
        let response = setup.ask(method).await;
        assert!(!response.text.contains("closed"), "{method:?}: {response:?}");
        let is_list = response.status == 200;
        assert!(!is_list || response.text == SHOWN, "{method:?}: {response:?}");
    }
    setup.respond("content-encoding: gzip\r\n", LIST.as_bytes());
    assert_eq!(setup.ask("made/up").await.status, 502);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_filtered_under_any_media_type() {
    let setup = Setup::start(rules()).await;
    let other = LIST.replace("\"id\":1", "\"id\":9");
    let shown = SHOWN.replace("\"id\":1", "\"id\":9");
    let event = |list: &str| format!("event: message\ndata: {list}\n\n");
    for media in [
        "",
        "content-type: text/plain\r\n",
        JSON,
        "content-type: application/octet-stream\r\n",
        "content-type: text/event-streamx\r\n",
        "content-type: text/event-stream charset=utf-8\r\n",
    ] {
        setup.respond(media, event(&other).as_bytes());
        assert_eq!(setup.get("/mcp").await.text, event(&shown), "{media}");
        assert_eq!(setup.call("open1").await.text, event(&shown), "{media}");
        setup.respond(media, event(LIST).as_bytes());
        assert_eq!(setup.ask("tools/list").await.text, event(SHOWN), "{media}");
    }
    // Only some clients read this as a stream.
    setup.respond("content-type: application/json; x=text/event-stream\r\n", LIST.as_bytes());
    assert_eq!(setup.ask("tools/list").await.status, 502);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_under_another_media_type_does_not_hang() {
    let setup = Setup::start(rules()).await;
    for media in ["", "content-type: text/plain\r\n"] {
        let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n{media}\r\n");
        for (begun, request) in [
            (format!("data: {LIST}\n\n"), Some(message("tools/list"))),
            (format!("data: {LIST}\n\n"), None),
            ("\n: ping\n\n".to_owned(), None),
        ] {
            setup.server.respond_with(&[format!("{head}{begun}").as_bytes(), b"data: 1\n\n"]);
            let first = setup.first_chunk(request.as_ref()).await;
            assert_eq!(first, begun.replace(LIST, SHOWN), "{media}");
        }
        // A log, line by line.
        setup.server.respond_with(&[format!("{head}{{\"a\":1}}\n").as_bytes(), b"{\"a\":2}\n"]);
        assert_eq!(setup.first_chunk(None).await, "{\"a\":1}\n");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_order_mark_hides_no_list() {
    let setup = Setup::start(rules()).await;
    for (stream, expected) in [
        (": hi\n\n\u{feff}data: x\ndata: LIST\n\n", ": hi\n\n\u{feff}data: x\ndata: SHOWN\n\n"),
        ("\u{feff}data: LIST\n\n", "\u{feff}data: SHOWN\n\n"),
    ] {
        setup.respond_events(&stream.replace("LIST", LIST));
        assert_eq!(setup.get("/mcp").await.text, expected.replace("SHOWN", SHOWN));
    }
    setup.respond_events(&format!("\u{feff}data: x\ndata: {LIST}\n\n"));
    assert!(setup.get("/mcp").await.text.contains("mcp_list_invalid"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_not_a_message_is_refused_as_a_list() {
    let setup = Setup::start(rules()).await;
    for body in [
        r#"{"tools":[{"name":"closed"}]}"#,
        r#"[{"name":"closed"}]"#,
        r#"{"id":1,"params":{"tools":[{"name":"closed"}]}}"#,
        r#"{"id":"1","result":{"tools":{"closed":{}}}}"#,
        r#"{"id":1,"result":{"Prompts":[{"name":"closed"}]}}"#,
    ] {
        setup.respond_json(body);
        assert_eq!(setup.ask("tools/list").await.status, 502, "{body}");
    }
    setup.respond_json(r#"{"id":1,"result":{"tools":[],"prompts":[{"name":"closed"}]}}"#);
    let filtered = r#"{"id":1,"result":{"tools":[],"prompts":[]}}"#;
    assert_eq!(setup.ask("tools/list").await.text, filtered);
    setup.respond_json(r#"{"id":1,"id":9,"result":{"tools":[{"name":"closed"}]}}"#);
    assert!(!setup.call("open1").await.text.contains("closed"));
}

/// What strict parsers refuse and some clients read.
#[tokio::test(flavor = "multi_thread")]
async fn what_only_lenient_clients_read_shows_no_list() {
    let setup = Setup::start(rules()).await;
    let other = LIST.replace("\"id\":1", "\"id\":7");
    for dressed in [
        other.replace('"', "'"),
        other.replace('"', ""),
        other.replace("\"id\"", "/*\"*/\"id\""),
        other.replace("\"tools\"", "\"x\":NaN,\"tools\""),
        format!("// a\n{}", other.replace("7", "7//\n")),
        format!("# a\n{}", other.replace("7", "7#\n")),
        format!(" \u{feff}{}", other.replace('{', "{\u{c}")),
    ] {
        // The twin, with another array, arrives to the byte.
        for (body, passes) in [(&dressed, false), (&dressed.replace("tools", "tolls"), true)] {
            let is_right = |shown: &str, sent: &str| match passes {
                true => shown == sent,
                false => !shown.contains("closed"),
            };
            // Cut, so that no part is a whole message.
            let (first, second) = body.as_bytes().split_at(body.len() - 5);
            for fields in [JSON, ""] {
                let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n{fields}\r\n");
                setup.server.respond_with(&[&[head.as_bytes(), first].concat(), second]);
                let go_on = async { setup.server.go_on() };
                let (response, ()) = tokio::join!(setup.get("/mcp"), go_on);
                assert!(is_right(&response.text, body), "{body}: {response:?}");
            }
            let lines: String = body.lines().map(|line| format!("data: {line}\n")).collect();
            let event = format!("{lines}\n");
            setup.respond_events(&event);
            let response = setup.call("open1").await;
            assert!(is_right(&response.text, &event), "{body}: {response:?}");
        }
    }
    // Other text arrives too.
    for text in ["/path/to/tools {a}", "// tools", "# tools\n[a]", "{% if a %}", "{'a': 1}"] {
        setup.respond("content-type: text/plain\r\n", text.as_bytes());
        assert_eq!(setup.get("/files/a").await.text, text);
    }
}

/// The order of members in responses of the official TypeScript SDK: `id` comes last.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_result_of_a_call_passes_wherever_its_id_is() {
    for inspect in ["body", "headers"] {
        let mut access = rules();
        access["mcp"] = json!({"inspect": inspect, "upstream_validates_headers": true});
        let setup = Setup::start(access).await;
        let data = "x".repeat(LONG);
        for result in [
            format!(r#"{{"result":{{"content":[{{"data":"{data}"}}]}},"jsonrpc":"2.0","id":1}}"#),
            format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"content":[{{"data":"{data}"}}]}}}}"#),
        ] {
            let length = result.len();
            let call = || {
                let request = setup.stack.request().bearer_auth(setup.stack.token());
                let request = request.header("mcp-protocol-version", "2026-07-28");
                let request = request.header("mcp-method", "tools/call");
                request.header("mcp-name", "open1").json(&message("tools/call"))
            };
            setup.respond(&format!("{JSON}content-length: {length}\r\n"), result.as_bytes());
            let response = setup.stack.send(call()).await;
            assert!(response.status == 200 && response.text == result, "{inspect}");
            let length_found = response.header("content-length");
            assert!(length_found.is_empty() || length_found == length.to_string());
            let event = format!("data: {result}\n\n");
            setup.respond_events(&event);
            let response = setup.stack.send(call()).await;
            assert!(response.text == event, "{inspect}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_on_the_same_host_pass_whatever_they_begin_with() {
    let setup = Setup::start(rules()).await;
    let rest = "x".repeat(LONG);
    for (media, begun) in [
        ("application/json", "{\"rows\":[\""),
        ("application/json", "[1,\""),
        ("text/html", "{% a %}"),
        ("text/plain", "{ "),
        ("image/png", "\u{89}PNG\r\n"),
        ("application/zip", "PK\u{3}\u{4}"),
    ] {
        let file = format!("{begun}{rest}");
        let length = file.len();
        let fields = format!("content-type: {media}\r\ncontent-length: {length}\r\n");
        setup.respond(&fields, file.as_bytes());
        let response = setup.get("/files/a").await;
        assert!(response.status == 200 && response.text == file, "{media} {begun}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_after_a_long_result_is_cut_off() {
    let setup = Setup::start(rules()).await;
    let data = "x".repeat(LONG);
    let list = format!(r#"{{"result":{{"a":"{data}","tools":[{{"name":"closed"}}]}},"id":9}}"#);
    for fields in [String::new(), format!("content-length: {}\r\n", list.len())] {
        let (begun, rest) = list.split_at(LONG + 10);
        let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n{JSON}{fields}\r\n{begun}");
        setup.server.respond_with(&[head.as_bytes(), rest.as_bytes()]);
        let request = setup.stack.client().get(setup.stack.url()).bearer_auth(setup.stack.token());
        let mut response = request.send().await.unwrap();
        let mut body = Vec::new();
        while body.len() < begun.len() {
            body.extend(response.chunk().await.unwrap().expect("more of it passes"));
        }
        setup.server.go_on();
        // The response is cut off.
        while let Ok(Some(chunk)) = response.chunk().await {
            body.extend(chunk);
        }
        assert!(body == begun.as_bytes(), "{}", body.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_with_trailers_is_filtered() {
    let setup = Setup::start(rules()).await;
    for (body, expected, status) in [(LIST, SHOWN, 200), ("closed", "mcp_list_invalid", 502)] {
        let chunk = format!("{:x}\r\n{body}\r\n0\r\nx-checksum: 1\r\n\r\n", body.len());
        setup.server.respond_with(&[CHUNKED.as_bytes(), chunk.as_bytes()]);
        setup.server.go_on();
        let response = setup.ask("tools/list").await;
        assert_eq!(response.status, status, "{response:?}");
        assert!(response.text.contains(expected), "{response:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filtered_list_has_no_digest_of_the_original() {
    let setup = Setup::start(rules()).await;
    let digests = "content-digest: sha-256=:AAAA:\r\nrepr-digest: sha-256=:AAAA:\r\ncontent-md5: \
                   AAAA\r\ndigest: sha-256=AAAA\r\netag: \"a\"\r\n";
    for name in ["content-digest", "repr-digest", "content-md5", "digest", "etag"] {
        setup.respond(&format!("{JSON}{digests}"), LIST.as_bytes());
        assert_eq!(setup.ask("tools/list").await.header(name), "", "{name}");
        setup.respond(&format!("{JSON}{digests}"), SHOWN.as_bytes());
        assert_ne!(setup.ask("tools/list").await.header(name), "", "{name}");
    }
}

/// A list that depends on the caller's permissions may be cached only for the caller.
#[tokio::test(flavor = "multi_thread")]
async fn a_filtered_list_is_not_cached_for_others() {
    let setup = Setup::start(rules()).await;
    let events = "content-type: text/event-stream\r\n";
    for (given, forwarded) in [
        ("public, max-age=60", "private, max-age=60"),
        ("s-maxage=60", "private"),
        ("no-store", "no-store"),
        ("private, max-age=60", "private, max-age=60"),
    ] {
        let field = format!("cache-control: {given}\r\n");
        for list in [LIST, SHOWN] {
            setup.respond(&format!("{JSON}{field}"), list.as_bytes());
            assert_eq!(setup.ask("tools/list").await.header("cache-control"), forwarded);
            // The twin: caching the result of a call is the server's decision.
            assert_eq!(setup.call("open1").await.header("cache-control"), given);
            setup.respond(&format!("{events}{field}"), format!("data: {list}\n\n").as_bytes());
            assert_eq!(setup.ask("tools/list").await.header("cache-control"), forwarded);
        }
    }
    // Some caches obey fields of their own instead (RFC 9213).
    for name in ["cdn-cache-control", "cloudflare-cdn-cache-control", "surrogate-control"] {
        setup.respond(
            &format!("{JSON}cache-control: private\r\n{name}: max-age=60\r\n"),
            SHOWN.as_bytes(),
        );
        let response = setup.ask("tools/list").await;
        assert_eq!((response.header(name), response.header("cache-control")), ("", "private"));
        assert_eq!(setup.call("open1").await.header(name), "max-age=60");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn report_mode_holds_no_response_back_and_changes_none() {
    let setup = Setup::start_with(|configuration| {
        configuration["access"] = rules();
        configuration["mode"] = json!("report");
    })
    .await;
    let data = "x".repeat(LONG);
    let long = LIST.replace("\"c\"", &format!("\"{data}\""));
    let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n{JSON}\r\n");
    for body in [&*long, &format!(r#"{{"result":{{"a":"{data}"}},"id":1}}"#), "no JSON", "{no"] {
        setup.respond_json(body);
        assert!(setup.ask("tools/list").await.text == body, "{body:.80}");
        assert!(setup.call("open1").await.text == body, "{body:.80}");
        assert!(setup.get("/files/a").await.text == body, "{body:.80}");
    }
    // Complete except for its end.
    setup.server.respond_with(&[format!("{head}{LIST}").as_bytes(), b" "]);
    assert_eq!(setup.first_chunk(Some(&message("tools/list"))).await, LIST);
    setup.respond(&format!("{JSON}content-length: {}\r\n", LIST.len()), LIST.as_bytes());
    let response = setup.ask("tools/list").await;
    assert_eq!(response.header("content-length"), LIST.len().to_string());
    assert!(setup.stack.envoy.log_of_all().contains("2 items in a list from"));
}
