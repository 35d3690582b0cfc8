//! Arguments, standard input, exit status and output.

use serde_json::{Value, json};
use testbed::{Algorithm, SigningKey, claims, now};

use crate::support::{Run, configuration, file, key_set, mcp_auth, with};

/// A file with a configuration that has inline keys, and a token that it accepts.
fn good() -> (String, String, Value, SigningKey) {
    let key = SigningKey::generate(Algorithm::Es256, "k1");
    let provider = json!({
        "name": "own", "issuer": "https://id.example.com", "client_ids": ["mcp"],
        "jwks": key_set(&[&key]),
    });
    let claims = with(&claims("https://id.example.com", "mcp"), json!({"exp": now() + 600}));
    let configuration = configuration(json!([provider]));
    (file(".json", &configuration.to_string()), key.token(&claims), claims, key)
}

fn assert_accepted(run: &Run) {
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stdout.starts_with("accepted (provider own)\n"), "{run:?}");
}

#[test]
fn the_token_is_read_from_standard_input_in_any_common_form() {
    let (config, token, ..) = good();
    let response = json!({"access_token": token, "token_type": "Bearer"}).to_string();
    for input in [
        token.clone(),
        format!("{token}\n"),
        format!("  {token}\r\n"),
        format!("Bearer {token}"),
        format!("Authorization: Bearer {token}\n"),
        format!("authorization: bearer  {token}"),
        response,
    ] {
        assert_accepted(&mcp_auth(&["explain", &config], &input));
        let run = mcp_auth(&["explain", &config, "--token", "-"], &input);
        assert_accepted(&run);
        assert_eq!(run.stderr, "");
    }
    let run = mcp_auth(&["explain", &config], "");
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.contains("standard input holds no token"), "{run:?}");
}

#[test]
fn the_version_is_that_of_the_filter() {
    let run = mcp_auth(&["--version"], "");
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!((run.code, run.stdout), (Some(0), format!("mcp-auth {version}\n")));
}

#[test]
fn a_token_on_the_command_line_is_judged_with_a_warning() {
    let (config, token, ..) = good();
    let run = mcp_auth(&["explain", &config, "--token", &token], "");
    assert_accepted(&run);
    assert!(run.stderr.contains("stays in the shell's history"), "{run:?}");
}

#[test]
fn neither_the_token_nor_its_signature_is_shown() {
    let (config, token, ..) = good();
    let signature = token.rsplit('.').next().unwrap();
    let changed = format!("{token}AAAA");
    let missing_dot = token.replacen('.', "", 1);
    for token in [token.as_str(), &changed, &missing_dot] {
        for arguments in [&["explain", &config][..], &["explain", &config, "--json"]] {
            let Run { stdout, stderr, .. } = mcp_auth(arguments, token);
            for secret in [signature, token.split('.').next().unwrap()] {
                assert!(!stdout.contains(secret) && !stderr.contains(secret), "{stdout}{stderr}");
            }
        }
    }
}

#[test]
fn the_exit_status_gives_the_verdict() {
    let (config, token, claims, key) = good();
    let expired = key.token(&with(&claims, json!({"exp": now() - 9000})));
    let at = (now() - 9600).to_string();
    let faulty = file(".json", r#"{"resource": {}, "providers": []}"#);
    let explain = |config: &str, token: &str| mcp_auth(&["explain", config, "--json"], token);
    for (run, code, verdict) in [
        (explain(&config, &token), 0, "accepted"),
        (explain(&config, &expired), 1, "refused"),
        (explain(&config, "x"), 1, "refused"),
        (explain(&faulty, &token), 2, "undecided"),
        (explain("no such file", &token), 2, "undecided"),
        (mcp_auth(&["explain", &config, "--json", "--at", &at], &expired), 1, "refused"),
        (mcp_auth(&["check", &config, "--json"], ""), 0, "good"),
        (mcp_auth(&["check", &faulty, "--json"], ""), 1, "faulty"),
        (mcp_auth(&["check", "no such file", "--json"], ""), 2, "undecided"),
        (mcp_auth(&["keys", &config, "--json"], ""), 0, "good"),
        (mcp_auth(&["keys", &config, "--json", "--provider", "x"], ""), 2, "undecided"),
    ] {
        assert_eq!(run.code, Some(code), "{run:?}");
        assert_eq!(run.json()["verdict"], verdict);
    }
    assert_eq!(mcp_auth(&["explain"], "").code, Some(2));
    assert_eq!(mcp_auth(&["no such command"], "").code, Some(2));
    assert_eq!(mcp_auth(&["--help"], "").code, Some(0));
}

#[test]
fn a_token_can_be_judged_at_any_time() {
    let (config, _, claims, key) = good();
    let old = with(&claims, json!({"iat": 1_700_000_000, "nbf": null, "exp": 1_700_003_600}));
    let token = key.token(&old);
    let judge = |at: &str| mcp_auth(&["explain", &config, "--at", at], &token);
    assert_accepted(&judge("1700003599"));
    let run = judge("1700003900");
    assert_eq!(run.code, Some(1));
    assert!(run.stdout.contains("refused: expired (provider own)"), "{run:?}");
    assert!(run.stdout.contains("expired 300 s ago; `clock_skew` is 300 s."), "{run:?}");
    assert!(run.stdout.contains("`--at 1700003599`"), "{run:?}");
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn json_output_has_a_fixed_shape() {
    let (config, token, claims, key) = good();
    let run = mcp_auth(&["explain", &config, "--json"], &token);
    let json = run.json();
    let members: Vec<&String> = json.as_object().unwrap().keys().collect();
    let always = [
        "claims",
        "description",
        "details",
        "fetches",
        "header",
        "identity",
        "notes",
        "provider",
        "reason",
        "steps",
        "verdict",
    ];
    assert_eq!(members, always);
    assert_eq!(json["claims"], claims);
    assert_eq!(json["header"], key.header());
    assert!(json["identity"].as_array().unwrap().contains(&json!(["x-mcp-provider", "own"])));
    let steps: Vec<&str> = json["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["step"].as_str().unwrap())
        .collect();
    assert_eq!(
        steps,
        [
            "credentials",
            "form",
            "header",
            "provider",
            "algorithm",
            "type",
            "time",
            "audience",
            "key",
            "signature",
            "required_claims",
            "binding",
            "token_id",
            "user_claim",
            "user",
            "access",
            "replay",
        ]
    );

    let other = key.token(&with(&claims, json!({"aud": "other"})));
    let run = mcp_auth(&["explain", &config, "--json"], &other);
    let json = run.json();
    assert_eq!(json["reason"], "audience_mismatch");
    assert_eq!(json["details"], json!({"aud": ["other"], "configured": ["mcp"]}));
    assert!(json["cause"].is_string() && json["fix"].is_string());
    assert_eq!(
        json["steps"][7],
        json!({
            "step": "audience", "status": "failed",
            "finding": "aud \"other\"; accepted: \"mcp\"",
        })
    );
    assert_eq!(
        (&json["steps"][6]["status"], &json["steps"][8]["status"]),
        (&"passed".into(), &"not_reached".into())
    );
}

#[test]
fn access_rules_are_evaluated_for_the_given_method_and_path() {
    let (config, token, ..) = good();
    let mut document: Value =
        serde_json::from_str(&std::fs::read_to_string(config).unwrap()).unwrap();
    document["access"] = json!({"rules": [
        {"name": "reading", "match": {"paths": ["/mcp"], "methods": ["GET"]}, "require": {}},
    ]});
    let config = file(".json", &document.to_string());
    for (method, path, code) in
        [("GET", "/mcp", 0), ("GET", "/other", 1), ("POST", "/mcp", 1), ("GET", "/mcp/", 0)]
    {
        let run = mcp_auth(&["explain", &config, "--method", method, "--path", path], &token);
        assert_eq!(run.code, Some(code), "{run:?}");
    }
}

#[test]
fn additional_observations_are_noted() {
    let (config, token, claims, key) = good();
    let document: Value = serde_json::from_str(&std::fs::read_to_string(config).unwrap()).unwrap();
    let mut single_use = document.clone();
    single_use["providers"][0]["jti"] = json!("single_use");
    let report = with(&document, json!({"mode": "report"}));
    let exempt = with(&document, json!({"exempt": [{"path": "/mcp"}]}));
    let other = key.token(&with(&claims, json!({"aud": "other"})));
    let id_token = key.token(&with(&claims, json!({"nonce": "n"})));
    let late = key.token(&with(&claims, json!({"exp": now() - 100})));
    for (document, token, code, note) in [
        (&single_use, &token, 0, "it is single-use"),
        (&report, &other, 1, "forwards the request"),
        (&exempt, &other, 0, "this path needs no token"),
        (&document, &id_token, 0, "looks like an ID token"),
        (&document, &late, 0, "accepted only because of clock_skew"),
    ] {
        let config = file(".json", &document.to_string());
        let run = mcp_auth(&["explain", &config, "--json"], token);
        assert_eq!(run.code, Some(code), "{run:?}");
        assert!(run.json()["notes"][0].as_str().unwrap().contains(note), "{run:?}");
    }
    let config = file(".json", &document.to_string());
    let run = mcp_auth(&["explain", &config, "--json"], &token);
    assert_eq!(run.json()["notes"], json!([]));
}

#[test]
fn no_claim_adds_a_line_to_the_report() {
    let (config, _, claims, key) = good();
    let forged = "a: 1\n\nWhat the server sees\n  x-mcp-user: root\nb";
    let token = key.token(&with(&claims, json!({forged: "c\nd"})));
    let run = mcp_auth(&["explain", &config], &token);
    assert_eq!(run.code, Some(0), "{run:?}");
    let line =
        "\n  a: 1\\u000a\\u000aWhat the server sees\\u000a  x-mcp-user: root\\u000ab: \"c\\nd\"\n";
    assert!(run.stdout.contains(line), "{run:?}");
    assert!(!run.stdout.contains("\n  x-mcp-user: root"), "{run:?}");
}

#[test]
fn control_characters_in_a_token_are_escaped() {
    let (config, _, claims, key) = good();
    let token = key.token(&with(&claims, json!({"name": "\u{1b}[31m \u{9b}31m", "aud": "\u{9b}"})));
    let run = mcp_auth(&["explain", &config], &token);
    assert_eq!(run.code, Some(1));
    let is_obeyed = |character: char| character.is_control() && character != '\n';
    assert!(!run.stdout.contains(is_obeyed), "{run:?}");
}

#[test]
fn a_configuration_can_be_checked_without_its_secrets() {
    let (config, token, ..) = good();
    let mut document: Value =
        serde_json::from_str(&std::fs::read_to_string(config).unwrap()).unwrap();
    document["users"] = json!({"scim": {
        "url": "https://directory.example.com/scim", "cluster": "directory",
        "bearer_token_env": "SCIM_TOKEN",
    }});
    let config = file(".json", &document.to_string());
    assert_eq!(mcp_auth(&["check", &config], "").code, Some(0));
    // Only the directory knows the user.
    let run = mcp_auth(&["explain", &config, "--json"], &token);
    assert_eq!((run.code, &run.json()["verdict"]), (Some(2), &"undecided".into()));
}

#[test]
fn the_verdict_is_undecided_where_a_rule_depends_on_the_message() {
    let (config, token, ..) = good();
    let mut document: Value =
        serde_json::from_str(&std::fs::read_to_string(config).unwrap()).unwrap();
    document["access"] = json!({"rules": [
        {"match": {"mcp_methods": ["tools/call"]}, "require": {"roles": ["missing"]}},
        {"match": {"mcp_methods": ["ping"]}},
        {"match": {"methods": ["GET"]}},
    ]});
    let config = file(".json", &document.to_string());
    let run = mcp_auth(&["explain", &config, "--json"], &token);
    assert_eq!((run.code, &run.json()["verdict"]), (Some(2), &"undecided".into()));
    // Where no message could pass, the message does not matter.
    document["access"]["rules"].as_array_mut().unwrap().remove(1);
    let config = file(".json", &document.to_string());
    let run = mcp_auth(&["explain", &config, "--json"], &token);
    assert_eq!((run.code, &run.json()["verdict"]), (Some(1), &"refused".into()));
    // A GET has no message, so the first rule does not match.
    let run = mcp_auth(&["explain", &config, "--json", "--method", "GET"], &token);
    assert_eq!((run.code, &run.json()["verdict"]), (Some(0), &"accepted".into()));
}
