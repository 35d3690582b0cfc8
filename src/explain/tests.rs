//! The steps have the engine's order: for a token with several faults, the failed step is the first
//! faulty one, and the authenticator refuses the token for the same fault.

use serde_json::{Value, json};
use testkit::{Algorithm, SigningKey, now};

use super::{
    Callout, CalloutError, CalloutReply, Check, Explanation, Outside, Question, Setup, StepStatus,
    Verdict,
};

/// An environment in which every request fails.
struct Nowhere;

impl Outside for Nowhere {
    fn now(&self) -> u64 {
        now() * 1000
    }

    fn call(&mut self, _: &Callout) -> Result<CalloutReply, CalloutError> {
        Err(CalloutError::TimedOut)
    }
}

fn explained(setup: &Setup, token: &str) -> Explanation {
    let question = Question {
        token: token.as_bytes(),
        method: "POST",
        url: None,
        path: None,
        message: None,
        key_set: None,
    };
    setup.explain(&question, &mut Nowhere).unwrap()
}

/// The faults in the order of the steps.
const FAULTS: [Check; 13] = [
    Check::Form,
    Check::Header,
    Check::Provider,
    Check::Algorithm,
    Check::Type,
    Check::Time,
    Check::Audience,
    Check::Key,
    Check::Signature,
    Check::RequiredClaims,
    Check::Binding,
    Check::TokenId,
    Check::UserClaim,
];

/// A token with exactly these faults.
fn token(faults: &[Check], good: &SigningKey, other: &SigningKey) -> String {
    let has = |check| faults.contains(&check);
    let or = |check, bad: Value, right: Value| if has(check) { bad } else { right };
    let claims = json!({
        "iss": or(Check::Provider, json!("https://other.example"), json!("https://id.example")),
        "aud": or(Check::Audience, json!("other"), json!("mcp")),
        "exp": or(Check::Time, json!(now() - 9000), json!(now() + 600)),
        "tid": or(Check::RequiredClaims, json!("other"), json!("own")),
        "jti": or(Check::TokenId, json!(5), json!("j")),
        "user": or(Check::UserClaim, json!(""), json!("bob")),
    });
    let mut claims = claims.as_object().unwrap().clone();
    if has(Check::Binding) {
        claims.insert("cnf".to_owned(), json!({"jkt": "t"}));
    }
    let key = if has(Check::Algorithm) { other } else { good };
    let mut header = key.header();
    if has(Check::Key) {
        header["kid"] = "unknown".into();
    }
    if has(Check::Type) {
        header["typ"] = "logout+jwt".into();
    }
    if has(Check::Header) {
        header["crit"] = json!(["exp"]);
    }
    let mut token = key.sign(&header, &Value::Object(claims));
    if has(Check::Signature) {
        let forger = SigningKey::generate(key.algorithm(), key.kid());
        token = token.rsplit_once('.').unwrap().0.to_owned();
        let signature = forger.sign(&header, &json!({}));
        token = format!("{token}.{}", signature.rsplit_once('.').unwrap().1);
    }
    if has(Check::Form) {
        token.push('=');
    }
    token
}

fn setup(good: &SigningKey, other: &SigningKey) -> Value {
    json!({
        "resource": {"url": "https://mcp.example/mcp"},
        "providers": [{
            "name": "own", "issuer": "https://id.example", "client_ids": ["mcp"],
            "jwks": {"keys": [good.public_jwk(), other.public_jwk()]},
            "algorithms": ["ES256"], "required_claims": {"tid": "own"}, "jti": "require",
            "user_claim": "user",
        }],
        "users": {"records": [{"user_name": "ada"}, {"user_name": "bob"}]},
        "access": {"rules": [{"name": "r", "match": {}, "require": {"scopes": ["s"]}}]},
    })
}

fn assert_fails_at(explanation: &Explanation, check: Check) {
    assert_eq!(explanation.verdict, Verdict::Refused);
    for step in &explanation.steps {
        let expected = match step.step.cmp(&check) {
            std::cmp::Ordering::Less => StepStatus::Passed,
            std::cmp::Ordering::Equal => StepStatus::Failed,
            std::cmp::Ordering::Greater => StepStatus::NotReached,
        };
        assert_eq!(step.status, expected, "{check:?}: {explanation:#?}");
    }
}

#[test]
fn with_several_faults_the_first_faulty_step_fails() {
    let good = SigningKey::generate(Algorithm::Es256, "a");
    let other = SigningKey::generate(Algorithm::Es384, "b");
    let mut document = setup(&good, &other);
    let read = |document: &Value| Setup::new(document.to_string().as_bytes()).unwrap();
    let strict = read(&document);
    // The loop shows that the list has the order of the engine, and so have the steps.
    assert!(FAULTS.is_sorted() && Check::ALL.is_sorted());
    for (index, check) in FAULTS.into_iter().enumerate() {
        let explanation = explained(&strict, &token(&FAULTS[index..], &good, &other));
        assert_fails_at(&explanation, check);
        // With only this fault it fails at the same step.
        assert_fails_at(&explained(&strict, &token(&[check], &good, &other)), check);
    }
    let sound = token(&[], &good, &other);
    assert_fails_at(&explained(&strict, &sound), Check::Access);
    document["users"]["records"][1]["active"] = json!(false);
    assert_fails_at(&explained(&read(&document), &sound), Check::User);
    document["users"] = Value::Null;
    document["access"] = json!({});
    document.as_object_mut().unwrap().remove("users");
    let explanation = explained(&read(&document), &sound);
    assert_eq!(explanation.verdict, Verdict::Accepted);
    assert!(explanation.steps.iter().all(|step| step.status == StepStatus::Passed));
    assert!(explanation.identity.contains(&("x-mcp-user".to_owned(), "bob".to_owned())));
}

#[test]
fn users_known_only_to_the_directory_are_undecided() {
    let key = SigningKey::generate(Algorithm::Es256, "a");
    let mut document = setup(&key, &SigningKey::generate(Algorithm::Es384, "b"));
    document["users"] = json!({"scim": {
        "url": "https://directory.example/scim", "cluster": "directory",
        "bearer_token_env": "NOT_SET_HERE",
    }});
    let setup = Setup::new(document.to_string().as_bytes()).unwrap();
    let explanation = explained(&setup, &token(&[], &key, &key));
    assert_eq!(explanation.verdict, Verdict::Undecided);
    assert!(explanation.notes[0].contains("\"bob\""), "{explanation:?}");
    let not_reached = |step: &&super::Step| step.status == StepStatus::NotReached;
    let first = explanation.steps.iter().find(not_reached).unwrap();
    assert_eq!(first.step, Check::User);
}
