//! What the plugin logs of strings that clients and providers wrote.

use serde_json::{Value, json};
use testbed::{Algorithm, Document, Fault, IdentityProvider, SigningKey, Stack};

use crate::support::{SOON, with};

/// Characters that terminals obey, that end a line, or that are invisible.
const HOSTILE: &str =
    "a\r\nb\u{1b}[2J\u{7f}\u{85}c\u{9b}31m\u{2028}d\u{2029}e\u{202e}f\u{2066}g\u{61c}h\u{200b}";

/// Whether the log must escape this character.
fn is_hidden(character: char) -> bool {
    character.is_control() || HOSTILE.contains(character) && !character.is_ascii_graphic()
}

/// The details of the first log line with this reason.
async fn details(stack: &Stack, reason: &str) -> Value {
    let start = format!("reason={reason} ");
    stack.envoy.await_log(&start, SOON).await;
    let log = stack.envoy.log();
    let line = log.lines().find(|line| line.contains(&start)).expect("awaited");
    assert!(!line.contains(is_hidden), "{line:?}");
    let (_, details) = line.split_once("details=").expect("there are some");
    serde_json::from_str(details).unwrap_or_else(|error| panic!("{error}: {details}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn strings_of_clients_are_escaped_and_details_stay_valid_json() {
    let stack = Stack::builder().alone().start().await;
    let key = stack.provider.key();
    let stranger = SigningKey::generate(Algorithm::Es256, HOSTILE);
    stack.call_refused(&stranger.token(&stack.claims())).await;
    assert_eq!(details(&stack, "unknown_kid").await["kid"], HOSTILE);
    for (claim, reason) in [("iss", "unknown_issuer"), ("aud", "audience_mismatch")] {
        stack.call_refused(&key.token(&with(&stack.claims(), claim, HOSTILE))).await;
        let details = details(&stack, reason).await;
        assert!([&details["iss"], &details["aud"][0]].contains(&&json!(HOSTILE)), "{details}");
    }
    // Harmless text is logged unchanged.
    let plain = SigningKey::generate(Algorithm::Es256, "Zoë 漢 \\ \"");
    stack.call_refused(&plain.token(&stack.claims())).await;
    stack.envoy.await_log(r#""kid":"Zoë 漢 \\ \"""#, SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_string_of_a_provider_starts_a_line() {
    let provider = IdentityProvider::start().await;
    let other = format!("{}\nforged {HOSTILE}", provider.issuer());
    let document = json!({"issuer": other, "jwks_uri": "http://127.0.0.1:1/jwks"});
    provider.fail(Document::Discovery, Fault::Body(document.to_string().into_bytes()));
    let stack = Stack::builder().alone().provider(provider).start().await;
    stack.call_refused(&stack.token()).await;
    stack.envoy.await_log("forged ", SOON).await;
    let log = stack.envoy.log();
    for line in log.lines().filter(|line| line.contains("forged ")) {
        assert!(line.contains("the metadata document says issuer"), "{line:?}");
        assert!(!line.contains(is_hidden), "{line:?}");
    }
}
