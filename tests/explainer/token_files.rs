//! Tokens with extra characters around them: unambiguous ones are read, and all others are named.

use serde_json::{Value, json};
use testbed::{Algorithm, SigningKey, claims};

use crate::support::{Run, configuration, file, key_set, mcp_auth, mcp_auth_on_bytes, with};

/// A configuration in a file, and a token that it accepts.
fn good() -> (String, String) {
    let key = SigningKey::generate(Algorithm::Es256, "k1");
    let provider = json!({
        "name": "own", "issuer": "https://id.example.com", "client_ids": ["mcp"],
        "jwks": key_set(&[&key]),
    });
    let configuration = configuration(json!([provider]));
    (file(".json", &configuration.to_string()), key.token(&claims("https://id.example.com", "mcp")))
}

fn explain(config: &str, input: &[u8]) -> (Run, Value) {
    let run = mcp_auth_on_bytes(&["explain", config, "--json"], input);
    let json = run.json();
    (run, json)
}

fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(bytes).collect()
}

#[test]
fn a_byte_order_mark_at_the_beginning_is_ignored() {
    let (config, token) = good();
    let response = json!({"access_token": token, "token_type": "Bearer"}).to_string();
    for text in [
        token.clone(),
        format!("{token}\r\n"),
        format!("Bearer {token}"),
        format!("Authorization: Bearer {token}\n"),
        response,
    ] {
        let (run, json) = explain(&config, format!("\u{feff}{text}").as_bytes());
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{text}: {run:?}");
        let note = json["notes"][0].as_str().unwrap();
        assert!(
            note.contains("a byte order mark (EF BB BF) before the token was ignored"),
            "{note}"
        );
        // A file without one gets no note.
        let (run, json) = explain(&config, text.as_bytes());
        assert_eq!((run.code, &json["notes"]), (Some(0), &json!([])), "{run:?}");
    }
    let run = mcp_auth(&["explain", &config], "\u{feff}\r\n");
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.contains("standard input holds no token"), "{run:?}");
}

#[test]
fn a_token_in_utf_16_is_named() {
    let (config, token) = good();
    for text in [token.clone(), format!("{token}\r\n"), format!("Bearer {token}\n")] {
        for mark in ["\u{feff}", ""] {
            let text = format!("{mark}{text}");
            for bytes in [u16::to_le_bytes, u16::to_be_bytes] {
                let (run, json) = explain(&config, &utf16(&text, bytes));
                assert_eq!(run.code, Some(1), "{run:?}");
                let cause = json["cause"].as_str().unwrap();
                assert!(cause.starts_with("The token is in UTF-16"), "{cause}");
                assert!(json["fix"].as_str().unwrap().contains("as UTF-8"), "{json}");
                let start = token.get(..8).unwrap();
                assert!(!run.stdout.contains(start), "{run:?}");
            }
        }
    }
    // A zero byte alone does not mean UTF-16.
    let (_, json) = explain(&config, format!("{token}\0").as_bytes());
    assert!(!json["cause"].as_str().unwrap().contains("UTF-16"), "{json}");
}

#[test]
fn extra_characters_around_a_token_are_named() {
    let (config, token) = good();
    let twice = "`Bearer` occurs twice";
    for (input, cause) in [
        (format!("Bearer Bearer {token}"), twice),
        (format!("Authorization: Bearer bearer {token}\n"), twice),
        (format!("bearer BEARER\t{token}"), twice),
        (json!({"access_token": format!("Bearer {token}")}).to_string(), twice),
        (format!("Bearer \u{feff}{token}"), "a byte order mark (EF BB BF) between `Bearer` and"),
        (format!("\"{token}\""), "in quotes"),
        (format!("Bearer '{token}'"), "in quotes"),
        (format!("“{token}”"), "in quotes"),
        (format!("'Bearer {token}'"), "in quotes"),
        (format!("{token} {token}"), "more than one set of credentials"),
    ] {
        let (run, json) = explain(&config, input.as_bytes());
        assert_eq!(run.code, Some(1), "{run:?}");
        assert!(json["cause"].as_str().unwrap().contains(cause), "{json}");
        let failed = json["steps"].as_array().unwrap().iter();
        let failed = failed.filter(|step| step["status"] == "failed").count();
        assert_eq!(failed, 1, "{json}");
    }
    let run = mcp_auth(&["explain", &config, "--token", &format!("Bearer {token}")], "");
    assert_eq!(run.code, Some(0), "{run:?}");
    for nothing in ["Bearer", "Authorization: Bearer \n"] {
        let run = mcp_auth(&["explain", &config], nothing);
        assert!(run.stderr.contains("standard input holds no token"), "{run:?}");
    }
}

#[test]
fn a_token_that_envoy_itself_refuses_is_noted() {
    let key = SigningKey::generate(Algorithm::Es256, "k1");
    let provider = json!({
        "name": "own", "issuer": "https://id.example.com", "client_ids": ["mcp"],
        "jwks": key_set(&[&key]),
    });
    let wide = with(&configuration(json!([provider])), json!({"max_token_size": "1MiB"}));
    let mut bootstrap = testbed::Bootstrap::example();
    *bootstrap.plugin_configuration() = wide.clone();
    let default = file(".json", &bootstrap.tree().to_string());
    bootstrap.connection_manager()["max_request_headers_kb"] = json!(96);
    let raised = file(".json", &bootstrap.tree().to_string());
    let alone = file(".json", &wide.to_string());
    let narrow = file(".json", &with(&wide, json!({"max_token_size": null})).to_string());
    let token = |size: usize| {
        let claims = claims("https://id.example.com", "mcp");
        let of = |length: usize| key.token(&with(&claims, json!({"x": "x".repeat(length)})));
        // Base64url turns three bytes into four.
        let token = of((size - of(0).len()) * 3 / 4);
        assert!(token.len() <= size && token.len() + 4 > size, "{}", token.len());
        token
    };
    const NAME_AND_SCHEME: usize = "authorizationBearer ".len();
    let fits = token(60 * 1024 - NAME_AND_SCHEME);
    let too_large = token(60 * 1024 + 4);
    let code = |code| Some(code);
    for (config, token, exit, limit) in [
        (&alone, &fits, code(0), None),
        (&alone, &too_large, code(0), Some("61,440")),
        (&default, &too_large, code(0), Some("61,440")),
        (&raised, &too_large, code(0), None),
        (&raised, &token(96 * 1024 + 4), code(0), Some("98,304")),
        (&narrow, &fits, code(1), None),
        (&narrow, &too_large, code(1), Some("61,440")),
    ] {
        let (run, json) = explain(config, token.as_bytes());
        assert_eq!(run.code, exit, "{run:?}");
        let notes: Vec<&str> =
            json["notes"].as_array().unwrap().iter().map(|note| note.as_str().unwrap()).collect();
        assert_eq!(notes.len(), usize::from(limit.is_some()), "{notes:?}");
        assert!(notes.iter().all(|note| note.contains(limit.unwrap())), "{notes:?}");
        assert!(notes.iter().all(|note| note.contains("responds with 431")), "{notes:?}");
    }
}
