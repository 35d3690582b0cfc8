mod paths;
mod refusals;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};
use testkit::{Algorithm, SigningKey};

use super::configuration_status::Level;
use super::history::Record;
use super::{VERSION as VERSION_OF_FILTER, *};
use crate::config::{Config, StatusConfig};
use crate::keys::{KeySource, SharedNames};
use crate::login::{LoginResult, LoginStage};
use crate::refusal::Reason;
use crate::request::RequestHead;
use crate::time::UnixTime;

/// Shared data and counters of a process.
#[derive(Default)]
struct TestBoard {
    values: RefCell<BTreeMap<String, (Vec<u8>, u32)>>,
    counts: HashMap<Counter, u64>,
    writes: RefCell<usize>,
}

impl Board for TestBoard {
    fn read(&self, name: &str) -> SharedValue {
        self.values.borrow().get(name).cloned().unzip()
    }

    fn replace(&self, name: &str, bytes: &[u8], version: Option<u32>) -> bool {
        let mut values = self.values.borrow_mut();
        let present = values.get(name).map(|(_, version)| *version);
        // As in the host, the version is ignored while there is no value.
        if present.is_some() && present != version {
            return false;
        }
        values.insert(name.to_owned(), (bytes.to_vec(), present.unwrap_or(0) + 1));
        *self.writes.borrow_mut() += 1;
        true
    }

    fn count(&self, counter: &Counter) -> Option<u64> {
        self.counts.get(counter).copied()
    }
}

impl TestBoard {
    fn set(&self, name: String, bytes: Vec<u8>) {
        self.values.borrow_mut().insert(name, (bytes, 1));
    }

    /// Sets the shared state and key set of a source.
    fn set_keys(&self, config: &Config, state: &Value, keys: &[SigningKey]) {
        let KeySource::Remote(source) = &config.providers.iter().next().unwrap().key_source else {
            panic!("no source")
        };
        let names = SharedNames::new(source);
        self.set(names.state, state.to_string().into_bytes());
        let keys: Vec<Value> = keys.iter().map(SigningKey::public_jwk).collect();
        let document = json!({"keys": keys}).to_string();
        self.set(names.key_set, [&VERSION.to_be_bytes()[..], document.as_bytes()].concat());
    }
}

const VERSION: u64 = 7;

const START: u64 = 1_800_000_000;

fn at(seconds: u64) -> UnixTime {
    UnixTime::from_secs(START + seconds)
}

fn millis(seconds: u64) -> u64 {
    at(seconds).as_millis()
}

fn configuration(resource: &str) -> Config {
    let document = json!({
        "resource": {"url": resource},
        "providers": [
            {
                "name": "demo", "issuer": "https://id.example.com", "client_ids": ["mcp"],
                "jwks_url": "https://id.example.com/keys", "cluster": "id",
            },
            {
                "name": "own", "issuer": "https://own.example.com", "client_ids": ["mcp"],
                "jwks": {"keys": [SigningKey::generate(Algorithm::Es256, "mine").public_jwk()]},
            },
        ],
    });
    Config::from_bytes(document.to_string().as_bytes()).unwrap()
}

fn example() -> Config {
    configuration("https://mcp.example.com/mcp")
}

fn run(
    heartbeat_writer: &mut HeartbeatWriter,
    board: &TestBoard,
    counters: &[Counter],
    now: UnixTime,
) -> bool {
    heartbeat_writer.run(board, counters.len(), || counters.to_vec(), now)
}

fn counter(provider: &str, outcome: &str, reason: &str) -> Counter {
    Counter {
        resource: None,
        provider: provider.to_owned(),
        outcome: outcome.to_owned(),
        reason: reason.to_owned(),
    }
}

fn record(
    heartbeat_writer: &HeartbeatWriter,
    provider: Option<&str>,
    details: Value,
    now: UnixTime,
) -> RefusalRecord {
    let Value::Object(details) = details else { panic!("no object") };
    RefusalRecord::new(heartbeat_writer.configuration(), None, provider, false, details, now)
}

fn published() -> Value {
    json!({"version": VERSION, "at": millis(0), "stated_lifetime": 600, "jitter": 0})
}

fn state(failure: Value, published: Value) -> Value {
    json!({
        "lease": null, "failure": failure, "unknown_key_fetch": null, "discovered": null,
        "published": published,
    })
}

fn failure(cause: &str) -> Value {
    json!({
        "count": 3, "since": millis(570), "at": millis(580), "retry_at": millis(600),
        "why": {"code": "no_response", "cause": cause},
    })
}

/// The board with this configuration and these keys.
fn board_with(config: &Config, state: &Value, keys: &[SigningKey], now: UnixTime) -> TestBoard {
    let board = TestBoard::default();
    board.set_keys(config, state, keys);
    run(&mut HeartbeatWriter::new(config), &board, &[], now);
    board
}

fn key(kid: &str) -> SigningKey {
    SigningKey::generate(Algorithm::Es256, kid)
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn each_provider_is_shown_with_the_state_of_its_keys_in_a_sentence() {
    let config = example();
    let no_set = Value::Null;
    let cause = "fetching keys from https://id.example.com/keys failed: no response";
    for (state_value, seconds, level, word, summary) in [
        (
            state(Value::Null, no_set.clone()),
            1,
            Level::Warning,
            "waiting",
            "The first fetch of keys is in progress.",
        ),
        (
            state(failure(cause), no_set),
            590,
            Level::Bad,
            "no keys",
            "Fetching keys has failed 3 times since 08:09:30 UTC (20 s); next attempt in 10 s \
             (08:10:00 UTC). There are no keys yet: tokens get 503 keys_unavailable.",
        ),
        (
            state(Value::Null, published()),
            120,
            Level::Good,
            "fresh",
            "2 keys, fetched 2 min ago; next fetch in 7 min 30 s.",
        ),
        (
            state(failure(cause), published()),
            590,
            Level::Warning,
            "failing",
            "Fetching keys has failed 3 times since 08:09:30 UTC (20 s); next attempt in 10 s \
             (08:10:00 UTC). 2 keys, fetched 9 min 50 s ago, usable until 2027-01-16 08:10:00 UTC \
             (in 1 d); tokens signed with newer keys get 503 keys_unavailable.",
        ),
        (
            state(failure(cause), published()),
            700,
            Level::Warning,
            "stale",
            "Fetching keys has failed 3 times since 08:09:30 UTC (2 min 10 s); the next attempt is due \
             now. 2 keys, fetched 11 min ago, expired, usable until 2027-01-16 08:10:00 UTC (in \
             23 h 58 min); tokens signed with newer keys get 503 keys_unavailable.",
        ),
        (
            state(failure(cause), published()),
            100_000,
            Level::Bad,
            "too old",
            "Fetching keys has failed 3 times since 2027-01-15 08:09:30 UTC (1 d 3 h); the next attempt \
             is due now. 2 keys, fetched 1 d 3 h ago, too old to use: tokens get 503 \
             keys_unavailable.",
        ),
    ] {
        let board = board_with(&config, &state_value, &[key("a"), key("b")], at(seconds));
        let status = Status::gather(&board, at(seconds));
        let provider = &status.configurations[0].providers[0];
        assert_eq!((provider.level, provider.state.as_str()), (level, word));
        assert_eq!(provider.summary, summary);
        assert_eq!(status.level, level);
        let is_failing = !state_value["failure"].is_null();
        assert_eq!(
            provider.failure.as_ref().map(|value| value.cause.as_str()),
            is_failing.then_some(cause)
        );
        let fix = crate::keys::FetchFaultCode::NoResponse.fix();
        assert_eq!(provider.advice, is_failing.then_some(fix));
        let inline = &status.configurations[0].providers[1];
        assert_eq!(
            (inline.level, inline.summary.as_str()),
            (Level::Good, "1 key is in the configuration.")
        );
        assert_eq!(inline.keys[0].kid.as_deref(), Some("mine"));
    }
}

#[test]
fn a_configuration_is_shown_as_long_as_a_worker_reports_it() {
    let config = example();
    let board = TestBoard::default();
    let mut heartbeat_writer = HeartbeatWriter::new(&config);
    for second in 0..30 {
        run(&mut heartbeat_writer, &board, &[], at(second));
        assert_eq!(Status::gather(&board, at(second)).configurations.len(), 1);
    }
    assert_eq!(Status::gather(&board, at(44)).configurations.len(), 1);
    let status = Status::gather(&board, at(45));
    assert_eq!((status.configurations.len(), status.level), (0, Level::Warning));
    // A clock that was set back does not stop the heartbeat.
    run(&mut heartbeat_writer, &board, &[], at(0) - Duration::from_secs(3600));
    let earlier = Status::gather(&board, at(0) - Duration::from_secs(3600));
    assert_eq!(earlier.configurations.len(), 1);
}

#[test]
fn workers_of_one_configuration_write_as_often_as_one_of_them() {
    let config = example();
    let board = TestBoard::default();
    let mut workers: Vec<HeartbeatWriter> = (0..8).map(|_| HeartbeatWriter::new(&config)).collect();
    for tick in 0..600 {
        for worker in &mut workers {
            run(worker, &board, &[], at(0) + Duration::from_millis(100 * tick));
        }
    }
    // Every five seconds in a minute.
    assert_eq!((*board.writes.borrow(), board.values.borrow().len()), (12, 1));
}

#[test]
fn one_worker_of_a_configuration_writes_its_first_heartbeat() {
    let board = TestBoard::default();
    let (config, changed) = (example(), configuration("https://mcp.example.com/changed"));
    let firsts = |config: &Config, second: u64| -> usize {
        let workers = (0..8).map(|_| HeartbeatWriter::new(config));
        workers.map(|mut worker| usize::from(run(&mut worker, &board, &[], at(second)))).sum()
    };
    assert_eq!((firsts(&config, 0), firsts(&config, 1)), (1, 0));
    assert_eq!((firsts(&changed, 2), firsts(&config, 3)), (1, 0));
    // No worker has used the configuration for a while.
    assert_eq!(firsts(&config, 60), 1);
}

#[test]
fn two_versions_of_the_filter_with_one_configuration_are_shown_separately() {
    let board = TestBoard::default();
    let config = example();
    let mut older = serde_json::to_value(Heartbeat::new(&config)).unwrap();
    older["version"] = json!("0.0.9");
    older["seen"] = json!(millis(0));
    board.set(Heartbeat::name_of_place(0), older.to_string().into_bytes());
    assert!(run(&mut HeartbeatWriter::new(&config), &board, &[], at(1)));
    let status = Status::gather(&board, at(1));
    let versions: Vec<&str> =
        status.configurations.iter().map(|configuration| configuration.version.as_str()).collect();
    assert_eq!(versions, ["0.0.9", VERSION_OF_FILTER]);
    let page = page::html(&status);
    for version in versions {
        assert!(page.contains(&format!("</code> · version {version} · in use at ")), "{version}");
    }
}

#[test]
fn there_is_a_fixed_number_of_places_and_unused_configurations_free_theirs() {
    let board = TestBoard::default();
    let configs: Vec<Config> =
        (0..20).map(|index| configuration(&format!("https://mcp.example.com/{index}"))).collect();
    let mut all: Vec<HeartbeatWriter> = configs.iter().map(HeartbeatWriter::new).collect();
    for heartbeat_writer in &mut all {
        run(heartbeat_writer, &board, &[], at(0));
    }
    assert_eq!(Status::gather(&board, at(0)).configurations.len(), 16);
    for seconds in (5..30).step_by(5) {
        for heartbeat_writer in &mut all[16..] {
            run(heartbeat_writer, &board, &[], at(seconds));
        }
    }
    let status = Status::gather(&board, at(25));
    let shown: Vec<&str> =
        status.configurations.iter().map(|value| value.digest.as_str()).collect();
    assert_eq!(shown.len(), 4);
    assert!(configs[16..].iter().all(|config| shown.contains(&config.digest.as_str())));
    assert_eq!(board.values.borrow().len(), 16);
}

#[test]
fn counters_of_all_workers_are_shown_once_they_are_not_zero() {
    let config = example();
    let allowed = counter("demo", "allowed", "none");
    let refused = counter("none", "refused", "unknown_issuer");
    let zero = counter("demo", "refused", "expired");
    let board = TestBoard {
        counts: HashMap::from([(allowed.clone(), 5), (refused.clone(), 2), (zero.clone(), 0)]),
        ..TestBoard::default()
    };
    let (mut one, mut other) = (HeartbeatWriter::new(&config), HeartbeatWriter::new(&config));
    run(&mut one, &board, &[allowed], at(0));
    run(&mut other, &board, &[refused, zero], at(1));
    let shown: Vec<Value> = Status::gather(&board, at(1))
        .requests
        .iter()
        .map(|request| json!([request.provider, request.outcome, request.reason, request.count]))
        .collect();
    let expected =
        [json!(["demo", "allowed", null, 5]), json!([null, "refused", "unknown_issuer", 2])];
    assert_eq!(shown, expected);
    let reasons = Status::gather(&board, at(1)).refusals;
    assert_eq!((reasons[0].reason, reasons[0].count), (Reason::UnknownIssuer, 2));
}

#[test]
fn the_last_refused_calls_are_shown_with_their_tools() {
    let hostile = "<b>\"&'\u{202e}";
    let config = example();
    let board = TestBoard::default();
    let mut writer = HeartbeatWriter::new(&config);
    let details = |name: &str| json!({"rule": "r", "mcp_method": "tools/call", "mcp_name": name});
    for (second, reason, details) in [
        (0, Reason::AccessDenied, details("first")),
        (1, Reason::InsufficientScope, details(hostile)),
        (2, Reason::AccessDenied, details("first")),
        (3, Reason::AccessDenied, json!({"rule": null, "mcp_method": "ping"})),
        (4, Reason::AccessDenied, json!({"rule": "r"})),
        (5, Reason::Expired, json!({"seconds_ago": 1})),
    ] {
        writer.note(reason, record(&writer, Some("demo"), details, at(second)));
    }
    run(&mut writer, &board, &[], at(5));
    let status = Status::gather(&board, at(5));
    let json: Value = serde_json::to_value(&status.refused_calls).unwrap();
    let shown = json.as_array().unwrap().iter().map(|call| {
        (
            call["method"].clone(),
            call["name"].clone(),
            call["reason"].clone(),
            call["times"].clone(),
        )
    });
    let expected = [
        (json!("ping"), Value::Null, json!("access_denied"), json!(1)),
        (json!("tools/call"), json!("first"), json!("access_denied"), json!(2)),
        (json!("tools/call"), json!(hostile), json!("insufficient_scope"), json!(1)),
    ];
    assert_eq!(shown.collect::<Vec<_>>(), expected);
    let page = page::html(&status);
    assert!(page.contains("<td><code>&lt;b&gt;&quot;&amp;&#39;\\u{202e}</code></td>"), "{page}");
}

#[test]
fn only_the_last_ten_refused_calls_are_shown() {
    let config = example();
    let board = TestBoard::default();
    let mut writer = HeartbeatWriter::new(&config);
    let reasons = [Reason::AccessDenied, Reason::InsufficientScope, Reason::TokenReplayed];
    for second in 0..30 {
        let details = json!({"mcp_method": "tools/call", "mcp_name": second.to_string()});
        let reason = reasons[usize::try_from(second % 3).unwrap()];
        writer.note(reason, record(&writer, None, details, at(second)));
    }
    run(&mut writer, &board, &[], at(30));
    let calls = Status::gather(&board, at(30)).refused_calls;
    let names: Vec<_> = calls.into_iter().filter_map(|call| call.name).collect();
    let expected: Vec<_> = (20..30).rev().map(|number| number.to_string()).collect();
    assert_eq!(names, expected);
}

/// A configuration in which people log in at the first provider.
fn with_login() -> Config {
    let document = json!({
        "resource": {"url": "https://mcp.example.com/mcp"},
        "secret": {"env": "SECRET"},
        "login": {},
        "providers": [{
            "name": "demo", "issuer": "https://id.example.com", "client_ids": ["mcp"],
            "metadata_url": "https://id.example.com/.well-known/openid-configuration",
            "cluster": "id", "login": {"client_id": "gateway"},
        }],
    });
    Config::without_secrets(document.to_string().as_bytes()).unwrap()
}

#[test]
fn a_login_is_shown_with_its_redirect_uris_and_the_last_fault_of_each_step() {
    let config = with_login();
    let board = TestBoard::default();
    let mut heartbeat_writer = HeartbeatWriter::new(&config);
    run(&mut heartbeat_writer, &board, &[], at(0));
    let page = page::html(&Status::gather(&board, at(0)));
    for shown in [
        "<dt>Issuer</dt><dd><code>https://mcp.example.com</code></dd>",
        "<td>demo</td><td><code>https://mcp.example.com/oauth/callback/demo</code></td>",
        "No client has registered or logged in yet.",
    ] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    let hostile = "<script>alert(1)</script>\u{1b}";
    let digest = heartbeat_writer.configuration().to_owned();
    for (configuration, result, fault, second) in [
        (digest.as_str(), LoginResult::Ok, None, 1),
        (&digest, LoginResult::Failed, Some(hostile), 2),
        ("another", LoginResult::Refused, Some("not of this configuration"), 3),
    ] {
        let record = LoginRecord::new(configuration, Some("demo"), result, fault, at(second));
        heartbeat_writer.note_login(LoginStage::Token, record);
    }
    run(&mut heartbeat_writer, &board, &[], at(4));
    let status = Status::gather(&board, at(4));
    let steps = &status.configurations[0].login.as_ref().unwrap().steps;
    assert_eq!(steps.len(), 1, "{steps:?}");
    assert_eq!((steps[0].step, steps[0].ok), ("token", Some(at(1))));
    assert_eq!(steps[0].failed.as_ref().map(|failed| failed.at), Some(at(2)));
    assert!(steps[0].refused.is_none());
    let page = page::html(&status);
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;\\u{1b}"), "{page}");
    assert!(!page.contains("<script") && !page.contains("not of this configuration"));
    let plain =
        page::html(&Status::gather(&board_with(&example(), &Value::Null, &[], at(0)), at(0)));
    assert!(!plain.contains("Login"), "{plain}");
}

#[test]
fn results_of_logins_written_meanwhile_by_another_worker_are_kept() {
    let config = with_login();
    let board = TestBoard::default();
    let mut writers = [HeartbeatWriter::new(&config), HeartbeatWriter::new(&config)];
    for (index, result) in [LoginResult::Failed, LoginResult::Ok].into_iter().enumerate() {
        let writer = &mut writers[index];
        let record = LoginRecord::new(writer.configuration(), Some("demo"), result, None, at(1));
        writer.note_login(LoginStage::Approve, record);
    }
    for writer in &mut writers {
        run(writer, &board, &[], at(2));
    }
    let status = Status::gather(&board, at(2));
    let steps = &status.configurations[0].login.as_ref().unwrap().steps;
    assert!(steps[0].ok.is_some() && steps[0].failed.is_some(), "{steps:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_shared_data_is_shown_or_ignored(
        values in vec(any::<Vec<u8>>(), 20),
        strings in vec(any::<String>(), 6),
        now in any::<u64>(),
        seen in any::<u64>(),
    ) {
        let board = TestBoard::default();
        for (place, bytes) in values.iter().take(16).enumerate() {
            board.set(Heartbeat::name_of_place(place), bytes.clone());
        }
        for (reason, bytes) in Reason::ALL.iter().zip(values.iter().skip(16)) {
            board.set(RefusalRecord::name(*reason), bytes.clone());
        }
        for (stage, bytes) in LoginStage::ALL.iter().zip(values.iter().skip(18)) {
            board.set(LoginRecord::name(*stage), bytes.clone());
        }
        let mut foreign = serde_json::to_value(Heartbeat::new(&with_login())).unwrap();
        foreign["login_issuer"] = strings[2].clone().into();
        foreign["providers"][0]["redirect_uri"] = strings[3].clone().into();
        foreign["seen"] = seen.into();
        foreign["version"] = strings[2].clone().into();
        foreign["resource"] = strings[0].clone().into();
        foreign["providers"][0]["name"] = strings[1].clone().into();
        foreign["providers"][0]["issuers"] = json!(strings);
        for number in foreign["providers"][0]["keys"]["Fetched"].as_object_mut().unwrap().values_mut() {
            if number.is_u64() {
                *number = seen.into();
            }
        }
        board.set(Heartbeat::name_of_place(3), foreign.to_string().into_bytes());
        for now in [UnixTime::from_secs(now), UnixTime::from_secs(seen / 1000)] {
            let page = page::html(&Status::gather(&board, now));
            prop_assert!(!page.contains("<script"));
            prop_assert!(page.ends_with("</html>\n"));
        }
    }
}
