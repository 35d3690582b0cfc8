//! `mcp-auth tools`: which items of a list the holder of a token sees and may use, as the plugin
//! decides.

use serde_json::{Value, json};
use testbed::{Algorithm, RawServer, SigningKey, Stack, claims, now};

use crate::support::{Run, configuration, file, key_set, mcp_auth, with};

const ISSUER: &str = "https://id.example.com";

fn rules() -> Value {
    json!({"default": "allow", "rules": [
        {"name": "reading", "match": {"mcp_names": ["get_*", "file:///open/*", "https://open.*"]}},
        {
            "name": "writing",
            "match": {"mcp_methods": ["tools/call"], "mcp_names": ["create_incident"]},
            "require": {"scopes": ["incident.write"]},
        },
        {
            "name": "the-rest",
            "match": {"mcp_methods": ["tools/call", "prompts/get", "resources/read"]},
            "require": {"roles": ["admin"]},
        },
    ]})
}

fn tools() -> Value {
    json!([
        {"name": "get_incident", "description": "d"}, {"name": "create_incident"},
        {"name": "drop_all"}, {"name": 5}, {"name": "get_others"},
    ])
}

/// A configuration with these rules, a token that it accepts, and the key that signs such tokens.
struct Case {
    configuration: Value,
    key: SigningKey,
    claims: Value,
}

impl Case {
    fn new(access: Value) -> Self {
        let key = SigningKey::generate(Algorithm::Es256, "k1");
        let provider = json!({
            "name": "own", "issuer": ISSUER, "client_ids": ["mcp"], "jwks": key_set(&[&key]),
        });
        let mut configuration = configuration(json!([provider]));
        configuration["access"] = access;
        let claims = with(&claims(ISSUER, "mcp"), json!({"exp": now() + 600}));
        Self { configuration, key, claims }
    }

    fn token(&self, members: Value) -> String {
        self.key.token(&with(&self.claims, members))
    }

    fn run(&self, list: &Value, token: &str, further: &[&str]) -> Run {
        let config = file(".json", &self.configuration.to_string());
        let list = file(".json", &list.to_string());
        let arguments = ["tools", &config, "--list", &list];
        mcp_auth(&[&arguments, further].concat(), token)
    }

    fn json(&self, list: &Value, token: &str) -> Value {
        self.run(list, token, &["--json"]).json()
    }
}

/// For each item: its name, whether it is shown, and whether it may be called.
fn items(list: &Value) -> Vec<(&str, bool, bool)> {
    let items = list["items"].as_array().unwrap_or_else(|| panic!("{list}"));
    let flag = |item: &Value, name: &str| item[name].as_bool().unwrap();
    let of = |item| (flag(item, "is_shown"), flag(item, "is_allowed"));
    items.iter().map(|item| (item["name"].as_str().unwrap(), of(item).0, of(item).1)).collect()
}

#[test]
fn each_tool_is_shown_or_hidden_with_the_reason() {
    let case = Case::new(rules());
    let report = case.json(&json!({"tools": tools()}), &case.token(json!({})));
    assert_eq!(
        (&report["verdict"], &report["token"]["verdict"]),
        (&json!("accepted"), &json!("accepted"))
    );
    let list = &report["lists"][0];
    assert_eq!(list["method"], "tools/list");
    assert_eq!(
        items(list),
        [
            ("get_incident", true, true),
            ("create_incident", false, false),
            ("drop_all", false, false),
            ("", false, false),
            ("get_others", true, true),
        ]
    );
    let [created, dropped] = [1, 2].map(|index| &list["items"][index]);
    assert_eq!(created["reason"], "insufficient_scope");
    assert_eq!(created["details"]["rule"], "writing", "{created}");
    assert_eq!(dropped["reason"], "access_denied");
    assert!(dropped["cause"].as_str().unwrap().contains("\"the-rest\" requires other roles"));
    assert!(dropped["fix"].is_string());
    assert!(list["items"][0].get("reason").is_none());
    // The twin: an administrator with the scope sees every item that has a name.
    let token = case.token(json!({"roles": ["admin"], "scope": "incident.write"}));
    let report = case.json(&json!({"tools": tools()}), &token);
    let seen = items(&report["lists"][0]).into_iter().filter(|(_, is_shown, _)| *is_shown).count();
    assert_eq!(seen, 4, "{report}");
}

#[test]
fn the_report_has_one_line_for_each_tool() {
    let case = Case::new(rules());
    let run = case.run(&tools(), &case.token(json!({})), &[]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(lines[0], "tools/list: 2 of 5 are shown");
    assert_eq!(lines[1], "  shown, allowed   get_incident");
    assert!(
        lines[2].starts_with("  hidden, refused  create_incident  insufficient_scope: The token "),
        "{run:?}"
    );
    assert!(lines[3].starts_with("  hidden, refused  drop_all         access_denied: "), "{run:?}");
}

#[test]
fn a_list_is_read_from_an_event_stream() {
    let case = Case::new(rules());
    let token = case.token(json!({}));
    let config = file(".json", &case.configuration.to_string());
    let response = json!({"jsonrpc": "2.0", "id": 2, "result": {"tools": tools()}}).to_string();
    let (begin, end) = response.split_at(response.find(',').unwrap());
    let progress = r#"{"jsonrpc":"2.0","method":"notifications/progress"}"#;
    for stream in [
        format!("event: message\ndata: {response}\n\n"),
        format!("data:{response}"),
        format!("\u{feff}id: 1\r\nevent: message\r\ndata: {response}\r\n\r\n"),
        format!(": ping\n\nid: 0\ndata: \n\ndata: {progress}\n\ndata: {begin}\ndata: {end}\n\n"),
    ] {
        let run = mcp_auth(&["tools", &config, "--list", &file("", &stream), "--json"], &token);
        let report = run.json();
        assert_eq!(items(&report["lists"][0])[0], ("get_incident", true, true), "{stream}");
    }
    let head = format!("HTTP/1.1 200 OK\r\n\r\ndata: {response}");
    for content in [head, "data: {".to_owned(), ": ping\n".to_owned()] {
        let list = file("", &content);
        let run = mcp_auth(&["tools", &config, "--list", &list], &token);
        assert_eq!(run.code, Some(2), "{run:?}");
        assert!(run.stderr.contains(&format!("{list} is not JSON: ")), "{run:?}");
        assert!(run.stderr.contains("what a server responds to tools/list"), "{run:?}");
    }
}

#[test]
fn a_list_is_read_as_response_result_or_array() {
    let case = Case::new(rules());
    let token = case.token(json!({}));
    let result = json!({"tools": tools(), "nextCursor": "c"});
    let response = json!({"jsonrpc": "2.0", "id": "x", "result": result});
    for list in [tools(), result, response] {
        let report = case.json(&list, &token);
        assert_eq!(items(&report["lists"][0])[0], ("get_incident", true, true), "{list}");
    }
    let run = case.run(&json!({"Tools": []}), &token, &["--json"]);
    assert_eq!((run.code, &run.json()["verdict"]), (Some(2), &json!("undecided")));
    assert!(run.stderr.contains("holds no list"), "{run:?}");
    let config = file(".json", &case.configuration.to_string());
    for list in ["no such file".to_owned(), file(".json", "{")] {
        let run = mcp_auth(&["tools", &config, "--list", &list], &token);
        assert_eq!(run.code, Some(2), "{run:?}");
    }
}

#[test]
fn prompts_resources_and_templates_are_judged_too() {
    let case = Case::new(rules());
    let list = json!({
        "prompts": [{"name": "get_report"}, {"name": "attack"}],
        "resources": [{"name": "a", "uri": "file:///open/a"}, {"name": "get_b", "uri": "file:///b"}],
        "resourceTemplates": [
            {"name": "a", "uriTemplate": "file:///open/{name}"},
            // No URI yet, without the values of the variables.
            {"name": "b", "uriTemplate": "https://open.{host}/a"},
            {"name": "c", "uriTemplate": "https://{host}/a"},
            {"name": "d", "uriTemplate": "https://open./../{a}"},
        ],
    });
    let report = case.json(&list, &case.token(json!({})));
    let found: Vec<_> = report["lists"].as_array().unwrap().iter().map(items).collect();
    assert_eq!(
        found,
        [
            vec![("get_report", true, true), ("attack", false, false)],
            vec![("file:///open/a", true, true), ("file:///b", false, false)],
            vec![
                ("file:///open/{name}", true, true),
                ("https://open.{host}/a", true, true),
                ("https://{host}/a", false, false),
                ("https://open./../{a}", false, false),
            ],
        ]
    );
    let reasons = |index: usize| &report["lists"][2]["items"][index]["reason"];
    assert_eq!((reasons(2), reasons(3)), (&json!("access_denied"), &json!("mcp_body_invalid")));
}

#[test]
fn a_shown_tool_may_still_be_refused() {
    let token = |case: &Case| case.token(json!({}));
    let of = |access: Value, edit: &dyn Fn(&mut Value)| {
        let mut case = Case::new(access);
        edit(&mut case.configuration);
        let report = case.json(&tools(), &token(&case));
        let items = items(&report["lists"][0]);
        (items[1].1, items[1].2, items[2].1, items[2].2)
    };
    let mut scopes = rules();
    scopes["mcp"] = json!({"show_if_scopes_missing": true});
    assert_eq!(of(scopes, &|_| {}), (true, false, false, false));
    let mut unfiltered = rules();
    unfiltered["mcp"] = json!({"filter_lists": false});
    assert_eq!(of(unfiltered, &|_| {}), (true, false, true, false));
    // In report mode the plugin forwards everything.
    assert_eq!(of(rules(), &|c| c["mode"] = json!("report")), (true, true, true, true));
    let by_headers = with(
        &rules(),
        json!({"mcp": {
            "inspect": "headers", "upstream_validates_headers": true,
            "protocol_versions": ["2027-01-01"],
        }}),
    );
    assert_eq!(of(by_headers, &|_| {}), (false, false, false, false));
    assert_eq!(of(json!({}), &|_| {}), (true, true, true, true));
    // Each decision would spend the token.
    let single_use = |c: &mut Value| c["providers"][0]["jti"] = json!("single_use");
    assert_eq!(of(rules(), &single_use), (false, false, false, false));
}

#[test]
fn no_item_is_shown_to_a_refused_token() {
    let case = Case::new(rules());
    let expired = case.token(json!({"exp": now() - 9000}));
    let run = case.run(&tools(), &expired, &["--json"]);
    let report = run.json();
    assert_eq!((run.code, &report["verdict"]), (Some(1), &json!("refused")));
    assert_eq!((&report["token"]["reason"], &report["lists"]), (&json!("expired"), &json!([])));
    let run = case.run(&tools(), &expired, &[]);
    assert!(run.stdout.starts_with("refused: expired (provider own)\n"), "{run:?}");
    let at = (now() - 9600).to_string();
    let run = case.run(
        &tools(),
        &case.token(json!({"exp": now() - 9000, "iat": now() - 9900})),
        &["--at", &at],
    );
    assert_eq!(run.code, Some(0), "{run:?}");
}

#[test]
fn a_refused_list_is_not_shown_although_its_tools_may_be_called() {
    let mut access = rules();
    access["rules"].as_array_mut().unwrap().insert(
        0,
        json!({"name": "lists", "match": {"mcp_methods": ["tools/list"]}, "require": {"roles": ["x"]}}),
    );
    let case = Case::new(access);
    let report = case.json(&tools(), &case.token(json!({})));
    let list = &report["lists"][0];
    assert_eq!(
        (&list["reason"], &list["details"]["rule"]),
        (&json!("access_denied"), &json!("lists"))
    );
    assert_eq!(items(list)[0], ("get_incident", false, true));
}

#[test]
fn one_of_several_servers_is_chosen_by_url() {
    let mut case = Case::new(rules());
    let resource = |id: &str, access: Value| {
        let url = format!("https://mcp.example.com/{id}");
        json!({"id": id, "url": url, "audiences": ["mcp"], "access": access})
    };
    let document = case.configuration.as_object_mut().unwrap();
    document.remove("resource");
    document.remove("access");
    document["providers"][0].as_object_mut().unwrap().remove("client_ids");
    let resources = json!([resource("strict", rules()), resource("open", json!({}))]);
    document.insert("resources".to_owned(), resources);
    let token = case.token(json!({}));
    let seen = |url: &str| {
        let report = case.run(&tools(), &token, &["--json", "--url", url]).json();
        items(&report["lists"][0]).iter().filter(|(_, is_shown, _)| *is_shown).count()
    };
    assert_eq!(seen("https://mcp.example.com/strict"), 2);
    assert_eq!(seen("https://mcp.example.com/open"), 5);
    let run = case.run(&tools(), &token, &[]);
    assert_eq!(run.code, Some(2));
    assert!(
        run.stderr.contains("several servers are configured; select one with --url"),
        "{run:?}"
    );
}

#[test]
fn the_token_is_never_shown() {
    let case = Case::new(rules());
    let token = case.token(json!({}));
    let changed = format!("{token}AAAA");
    for (token, further) in
        [(&token, &["--json"][..]), (&token, &[]), (&changed, &["--json"]), (&changed, &[])]
    {
        let Run { stdout, stderr, .. } = case.run(&tools(), token, further);
        for secret in [token.rsplit('.').next().unwrap(), token.split('.').next().unwrap()] {
            assert!(!stdout.contains(secret) && !stderr.contains(secret), "{stdout}{stderr}");
        }
    }
}

#[test]
fn control_characters_in_a_list_are_escaped() {
    let case = Case::new(rules());
    let list = json!([{"name": "get_\u{1b}[31m"}, {"name": "\u{9b}31m\n"}]);
    let run = case.run(&list, &case.token(json!({})), &[]);
    let is_obeyed = |character: char| character.is_control() && character != '\n';
    assert!(!run.stdout.contains(is_obeyed), "{run:?}");
}

#[test]
fn no_name_adds_a_line_to_the_report() {
    let case = Case::new(rules());
    let forged = "get_a\n  shown, allowed   drop_all";
    let list = json!([{"name": forged}, {"name": "get_b\r\n\u{2028}x"}, {"name": "get_c"}]);
    let run = case.run(&list, &case.token(json!({})), &[]);
    let lines: Vec<&str> = run.stdout.trim_end().lines().collect();
    assert_eq!(
        lines,
        [
            "tools/list: 3 of 3 are shown",
            r"  shown, allowed   get_a\u000a  shown, allowed   drop_all",
            r"  shown, allowed   get_b\u000d\u000a\u2028x",
            "  shown, allowed   get_c",
        ]
    );
    // The JSON output has the name unchanged.
    assert_eq!(case.json(&list, &case.token(json!({})))["lists"][0]["items"][0]["name"], forged);
}

/// Lists for which the plugin responds with 502, and twins of them that it reads.
fn unreadable_and_readable() -> [(&'static str, &'static str); 4] {
    [
        (
            r#"{"tools":[{"name":"get_a","name":"drop_all"}]}"#,
            r#"{"tools":[{"name":"get_a","title":"drop_all"}]}"#,
        ),
        (
            r#"{"tools":[{"name":"get_a","Name":"drop_all"}]}"#,
            r#"{"tools":[{"name":"get_a","names":"drop_all"}]}"#,
        ),
        (
            r#"{"tools":[{"name":"get_a"}],"tools":[{"name":"drop_all"}]}"#,
            r#"{"tools":[{"name":"get_a"}],"prompts":[{"name":"drop_all"}]}"#,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[]},"result":{"tools":[{"name":"get_a"}]}}"#,
            r#"{"jsonrpc":"2.0","id":7,"result":{"tools":[{"name":"get_a"}]}}"#,
        ),
    ]
}

#[test]
fn a_list_that_the_plugin_refuses_is_unreadable() {
    let case = Case::new(rules());
    let token = case.token(json!({}));
    let config = file(".json", &case.configuration.to_string());
    let run = |list: &str, further: &[&str]| {
        let list = file(".json", list);
        mcp_auth(&[&["tools", &*config, "--list", &*list], further].concat(), &token)
    };
    for (unreadable, readable) in unreadable_and_readable() {
        let report = run(unreadable, &["--json"]).json();
        let list = &report["lists"][0];
        assert_eq!(list["is_unreadable"], true, "{unreadable}: {report}");
        assert_eq!(list["reason"], "mcp_list_invalid", "{unreadable}: {report}");
        assert!(items(list).iter().all(|(_, is_shown, _)| !is_shown), "{unreadable}: {report}");
        let text = run(unreadable, &[]).stdout;
        let line = "  the list is unreadable, clients get 502: mcp_list_invalid: ";
        assert!(text.lines().any(|found| found.starts_with(line)), "{unreadable}: {text}");
        assert!(!text.contains("  shown, "), "{unreadable}: {text}");

        let report = run(readable, &["--json"]).json();
        let list = &report["lists"][0];
        assert_eq!(list["is_unreadable"], false, "{readable}: {report}");
        assert_eq!(items(list), [("get_a", true, true)], "{readable}: {report}");
    }
}

#[test]
fn an_item_without_a_name_cannot_be_called() {
    let case = Case::new(json!({"default": "allow", "rules": [
        {"match": {"mcp_names": ["admin_*"]}, "require": {"roles": ["admin"]}},
    ]}));
    let list = json!([{"name": 5}, {"title": "a"}, "get_a", {"name": "get_a"}]);
    let token = case.token(json!({}));
    let nothing = ("", false, false);
    let report = case.json(&list, &token);
    assert_eq!(items(&report["lists"][0]), [nothing, nothing, nothing, ("get_a", true, true)]);
    let run = case.run(&list, &token, &[]);
    assert_eq!(run.stdout.matches("  hidden, no name\n").count(), 3, "{run:?}");
}

/// The plugin in Envoy shows and allows exactly what the program says.
#[tokio::test(flavor = "multi_thread")]
async fn the_program_and_the_plugin_in_envoy_agree() {
    let server = RawServer::start().await;
    let mut access = rules();
    access["mcp"] = json!({"show_if_scopes_missing": true});
    let of_envoy = access.clone();
    let stack = Stack::builder()
        .configure(move |configuration| configuration["access"] = of_envoy)
        .cluster("mcp_server", server.address())
        .start()
        .await;
    let list = json!({"jsonrpc": "2.0", "id": 1, "result": {"tools": tools()}});
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json\r\n\r\n";
    server.respond_with(&[format!("{head}{list}").as_bytes()]);
    let config = json!({
        "resource": {"url": stack.url()},
        "providers": [{
            "name": "demo", "issuer": stack.provider.issuer(), "client_ids": [Stack::AUDIENCE],
            "jwks": key_set(&[&stack.provider.key()]),
        }],
        "access": access,
    });
    let (config, list) = (file(".json", &config.to_string()), file(".json", &list.to_string()));
    for members in [json!({}), json!({"roles": ["admin"]}), json!({"scope": "incident.write"})] {
        let token = stack.provider.token(&with(&stack.claims(), members));
        let send = async |method: &str, params: Value| {
            let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
            stack.send(stack.request().bearer_auth(&token).json(&message)).await
        };
        let report = mcp_auth(&["tools", &config, "--list", &list, "--json"], &token).json();
        let response = send("tools/list", json!({})).await;
        let shown = response.body["result"]["tools"].as_array().unwrap().clone();
        let shown: Vec<&str> = shown.iter().filter_map(|tool| tool["name"].as_str()).collect();
        let items = items(&report["lists"][0]);
        let expected = items.iter().filter(|(_, is_shown, _)| *is_shown);
        assert_eq!(shown, expected.map(|(name, ..)| *name).collect::<Vec<_>>(), "{report}");
        for (name, _, is_allowed) in items.into_iter().filter(|(name, ..)| !name.is_empty()) {
            let response = send("tools/call", json!({"name": name})).await;
            assert_eq!(response.status == 200, is_allowed, "{name}: {response:?}");
        }
    }
    let token = stack.token();
    for (unreadable, readable) in unreadable_and_readable() {
        for (list, expected) in [(unreadable, 502), (readable, 200)] {
            let response = match list.contains("result") {
                true => list.to_owned(),
                false => format!(r#"{{"jsonrpc":"2.0","id":1,"result":{list}}}"#),
            };
            server.respond_with(&[format!("{head}{response}").as_bytes()]);
            let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
            let sent = stack.request().bearer_auth(&token).json(&message);
            assert_eq!(stack.send(sent).await.status, expected, "{list}");
            let report =
                mcp_auth(&["tools", &config, "--list", &file(".json", list), "--json"], &token);
            let is_unreadable = &report.json()["lists"][0]["is_unreadable"];
            assert_eq!(*is_unreadable, expected == 502, "{list}");
        }
    }
}
