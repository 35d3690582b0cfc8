//! Look-ups, response by response.

mod creation;
mod responses;

use std::time::Duration;

use serde_json::{Value, json};

use super::lookups::ScimResult;
use super::not_found::{Nearness, OtherUsers};
use super::*;
use crate::callout::{BodyLimit, CalloutFault, CalloutRequest, CalloutResponse, Clusters};
use crate::claim::ClaimPath;
use crate::identity::{Difference, UnknownUser, User, UserLookup, UserRecord, UserSelector, Users};
use crate::json::Object;
use crate::refusal::{AccountStatus, DirectoryFault};
use crate::time::UnixTime;

const NOW: u64 = 1_800_000_000;

fn now() -> UnixTime {
    UnixTime::from_secs(NOW)
}

fn after(seconds: u64) -> UnixTime {
    UnixTime::from_secs(NOW + seconds)
}

fn directory() -> ScimSettings {
    let clusters = Clusters::Any("directory".to_owned());
    ScimSettings {
        base: clusters.endpoint("https://directory.example.com/scim/v2/").unwrap(),
        bearer_token: Secret::bearer_token("s3cret".to_owned()),
        cache_ttl: Duration::from_secs(300),
        timeout: Duration::from_secs(5),
        max_body: BodyLimit { bytes: 10_000, setting: "users.scim.max_body" },
        provisioning: None,
        tolerates_unknown: false,
    }
}

fn creating() -> ScimSettings {
    let fields = [("user_name", "preferred_username"), ("email", "email"), ("given_name", "given")];
    let fields =
        fields.map(|(field, claim)| (Attribute::from_field(field), ClaimPath::name(claim))).into();
    let roles = vec!["external".to_owned()];
    ScimSettings { provisioning: Some(Provisioning { roles, fields }), ..directory() }
}

/// A worker's lookups, and the query for a token with these claims.
struct Worker {
    lookups: ScimLookups,
    directory: ScimSettings,
    claims: Object,
    is_service: bool,
}

impl Worker {
    fn new(directory: ScimSettings) -> Self {
        let claims = json!({"preferred_username": "ada", "email": "ada@x", "given": "Ada"});
        Self {
            lookups: ScimLookups::new(directory.clone()),
            directory,
            claims: claims.as_object().unwrap().into(),
            is_service: false,
        }
    }

    fn query(&self, field: &str, value: &str) -> UserQuery {
        let is_service = self.is_service;
        let selector =
            UserSelector { field, value, provider: "p", is_service, claims: &self.claims };
        self.directory.query(self.directory.key(selector), selector, |name| name == "of-a-record")
    }

    fn find(&self, field: &str, value: &str, now: UnixTime) -> ScimResult<'_> {
        self.lookups.find(&self.query(field, value).key, now)
    }

    fn want(&mut self, field: &str, value: &str) {
        let query = self.query(field, value);
        self.lookups.want(query);
    }

    /// Looks the user up and responds to the callouts; returns these callouts.
    fn look_up(
        &mut self,
        field: &str,
        value: &str,
        responses: Vec<CalloutResponse>,
    ) -> Vec<String> {
        self.want(field, value);
        let mut callouts = Vec::new();
        for response in responses {
            let (id, call) = self.lookups.next_callout().expect("a callout is due");
            callouts.push(line(&call));
            self.lookups.on_response(id, Ok(Some(response)), now());
        }
        assert!(!self.lookups.has_callouts());
        callouts
    }
}

/// Method, path and body of a callout.
fn line(call: &CalloutRequest) -> String {
    let field =
        |selector| call.fields.iter().find(|(name, _)| *name == selector).unwrap().1.as_str();
    assert_eq!(call.cluster, "directory");
    assert_eq!(field(":authority"), "directory.example.com");
    assert_eq!(field("authorization"), "Bearer s3cret");
    let body = call.body.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
    format!("{} {}{body}", field(":method"), field(":path"))
}

fn response(status: u16, body: &Value) -> CalloutResponse {
    let body = body.to_string().into_bytes();
    let body_length = body.len();
    CalloutResponse { status: Some(status), body_length, body, ..CalloutResponse::default() }
}

fn list(users: &[Value]) -> CalloutResponse {
    response(200, &json!({"totalResults": users.len(), "Resources": users}))
}

fn ada() -> Value {
    json!({
        "userName": "ada", "emails": [{"value": "ada@x"}], "roles": [{"value": "itil"}],
        "groups": [{"value": "7", "display": "ops"}],
    })
}

fn user(user_name: &str, roles: &[&str]) -> User {
    User {
        user_name: user_name.to_owned(),
        roles: roles.iter().map(|&role| role.to_owned()).collect(),
        groups: Vec::new(),
        account_status: AccountStatus::Active,
        web_service_access_only: false,
    }
}

const SEARCH: &str = "GET /scim/v2/Users?filter=userName%20eq%20%22ada%22";

#[test]
fn a_user_is_looked_up_once_while_the_result_is_cached() {
    let mut worker = Worker::new(directory());
    assert_eq!(worker.find("user_name", "ada", now()), ScimResult::Await);
    worker.want("user_name", "ada");
    assert_eq!(worker.look_up("user_name", "ada", vec![list(&[ada()])]), [SEARCH]);
    let known = User { groups: vec!["ops".to_owned()], ..user("ada", &["itil"]) };
    for seconds in [0, 299] {
        assert_eq!(
            worker.find("user_name", "ada", after(seconds)),
            ScimResult::Known(&known),
            "{seconds}"
        );
    }
    assert_eq!(worker.find("user_name", "ada", after(300)), ScimResult::Await);
    assert_eq!(worker.find("user_name", "bob", now()), ScimResult::Await);
    assert_eq!(worker.find("email", "ada", now()), ScimResult::Await);
}

#[test]
fn an_unknown_user_is_cached_for_less_time_than_a_known_one_and_a_failure_for_the_least() {
    let mut worker = Worker::new(directory());
    worker.look_up("user_name", "eve", vec![list(&[])]);
    assert_eq!(worker.find("user_name", "eve", after(29)), ScimResult::NotFound(None));
    assert_eq!(worker.find("user_name", "eve", after(30)), ScimResult::Await);
    worker.look_up("user_name", "bob", vec![response(503, &json!("down"))]);
    assert!(matches!(worker.find("user_name", "bob", now()), ScimResult::Unavailable(_)));
    assert_eq!(worker.find("user_name", "bob", after(1)), ScimResult::Await);
    let short = ScimSettings { cache_ttl: Duration::from_secs(2), ..directory() };
    let mut worker = Worker::new(short);
    worker.look_up("user_name", "eve", vec![list(&[])]);
    assert_eq!(worker.find("user_name", "eve", after(2)), ScimResult::Await);
}

#[test]
fn a_different_user_in_the_response_is_reported() {
    let other = |value: Value| json!({"userName": "Ada", "emails": value});
    for (field, value, users, said) in [
        ("user_name", "ada", vec![ada(), json!({"userName": "bob"})], None),
        ("user_name", "Ada", vec![ada()], Some("\"ada\", whose userName differs only in upper")),
        (
            "user_name",
            r"CORP\ada",
            vec![ada()],
            Some("\"ada\", whose userName differs only by a domain"),
        ),
        (
            "email",
            "Ada@x",
            vec![json!({"userName": "bob", "emails": [{"value": "bob@x"}]}), ada()],
            Some("\"ada\", whose emails.value differs only in upper"),
        ),
        ("email", "ada@y", vec![ada()], Some("returned \"ada\", whose emails.value is different")),
        ("email", "ada@x", vec![other(Value::Null)], Some("\"Ada\", who has no emails.value")),
        ("email", "ada@x", vec![other(json!(["ada@x"]))], Some("\"Ada\", who has no emails.value")),
        (
            "email",
            "ada@y",
            vec![ada(), other(json!([]))],
            Some("returned 2 users, none of whom has exactly this emails.value"),
        ),
    ] {
        let mut worker = Worker::new(directory());
        worker.look_up(field, value, vec![list(&users)]);
        match (worker.find(field, value, now()), said) {
            (ScimResult::Known(_), None) => {}
            (ScimResult::NotFound(Some(not_found)), Some(said)) => {
                assert!(not_found.to_string().contains(said), "{value}: {not_found}");
            }
            (found, _) => panic!("{value}: {found:?}"),
        }
    }
}

#[test]
fn no_unknown_user_is_allowed_under_the_name_of_another_user() {
    let tolerant = || ScimSettings { tolerates_unknown: true, ..directory() };
    let named = |name: &str| list(&[json!({"userName": name, "active": false})]);
    for (second, expected) in [
        (named("root"), ScimResult::NotFound(Some(&NotFound::NameOfUser))),
        (
            list(&[json!({"userName": "root"}), json!({"userName": "root"})]),
            ScimResult::NotFound(Some(&NotFound::Ambiguous)),
        ),
        (
            response(200, &json!({"totalResults": 1, "Resources": []})),
            ScimResult::NotFound(Some(&NotFound::Hidden { counted: 1 })),
        ),
        // Names are compared exactly, so this is another user; but see below.
        (list(&[json!({"userName": "Root"})]), ScimResult::NotFound(None)),
        (list(&[]), ScimResult::NotFound(None)),
    ] {
        let mut worker = Worker::new(tolerant());
        let callouts = worker.look_up("email", "root", vec![list(&[]), second]);
        assert!(callouts[1].ends_with("filter=userName%20eq%20%22root%22"), "{callouts:?}");
        assert_eq!(worker.find("email", "root", now()), expected);
    }
    let mut worker = Worker::new(tolerant());
    worker.look_up("email", "root", vec![list(&[]), response(500, &Value::Null)]);
    assert!(matches!(worker.find("email", "root", now()), ScimResult::Unavailable(_)));
    // Names were already searched, and unknown users are not allowed.
    assert_eq!(Worker::new(tolerant()).look_up("UserName", "root", vec![list(&[])]).len(), 1);
    assert_eq!(Worker::new(directory()).look_up("email", "root", vec![list(&[])]).len(), 1);
}

#[test]
fn a_result_is_valid_only_while_it_is_cached() {
    let claims = Object::default();
    let (field, value, is_service) = ("user_name", "ada", false);
    let selector = UserSelector { field, value, provider: "p", is_service, claims: &claims };
    let directory = Users::allow_all().with_scim(Some(directory()));
    let mut lookups = directory.lookups().unwrap();
    let (UserLookup::Await(query), None) = directory.find(selector, Some(&lookups), now()) else {
        panic!("no look-up was needed")
    };
    lookups.want(query);
    let (id, _) = lookups.next_callout().unwrap();
    lookups.on_response(id, Ok(Some(list(&[ada()]))), now());
    let (UserLookup::Known(_), Some(basis)) = directory.find(selector, Some(&lookups), now())
    else {
        panic!("the user should be known")
    };
    assert!(basis.still_holds(Some(&lookups), after(299)));
    assert!(!basis.still_holds(Some(&lookups), after(300)));
    let (UserLookup::Await(query), None) = directory.find(selector, Some(&lookups), after(300))
    else {
        panic!("the look-up should be repeated")
    };
    lookups.want(query);
    assert!(lookups.has_callouts());
}

#[test]
fn refused_and_failed_callouts_are_failures() {
    for response in [Ok(None), Err(CalloutFault::Dispatch { cluster: "directory".to_owned() })] {
        let mut worker = Worker::new(directory());
        worker.want("user_name", "ada");
        let (id, _) = worker.lookups.next_callout().unwrap();
        worker.lookups.on_response(id, response, now());
        assert!(matches!(worker.find("user_name", "ada", now()), ScimResult::Unavailable(_)));
        // A late response changes nothing.
        worker.lookups.on_response(id, Ok(Some(list(&[ada()]))), now());
        assert!(matches!(worker.find("user_name", "ada", now()), ScimResult::Unavailable(_)));
    }
}

#[test]
fn only_faults_of_the_directory_itself_are_an_outage() {
    let status = |status| Ok(Some(response(status, &json!({}))));
    let odd = json!({"userName": "ada", "active": "perhaps"});
    for (response, is_outage) in [
        (Err(CalloutFault::NoResponse), true),
        (status(503), true),
        (status(401), true),
        // Of this user alone.
        (status(400), false),
        (Ok(Some(list(&[odd]))), false),
    ] {
        let mut worker = Worker::new(directory());
        worker.want("user_name", "ada");
        let (id, _) = worker.lookups.next_callout().unwrap();
        worker.lookups.on_response(id, response, now());
        assert!(matches!(worker.find("user_name", "ada", now()), ScimResult::Unavailable(_)));
        assert_eq!(worker.lookups.outage(now()).is_some(), is_outage);
        assert_eq!(worker.lookups.outage(after(5)), None);
    }
}

#[test]
fn the_number_of_simultaneous_lookups_is_bounded() {
    let mut worker = Worker::new(directory());
    for number in 0..1024 {
        assert_eq!(worker.find("user_name", &number.to_string(), now()), ScimResult::Await);
        worker.want("user_name", &number.to_string());
    }
    let crowded = ScimResult::Unavailable(&DirectoryFault::Crowded);
    assert_eq!(worker.find("user_name", "ada", now()), crowded);
    assert_eq!(worker.find("user_name", "7", now()), ScimResult::Await);
    let (id, _) = worker.lookups.next_callout().unwrap();
    worker.lookups.on_response(id, Ok(None), now());
    assert_eq!(worker.find("user_name", "ada", now()), ScimResult::Await);
}

#[test]
fn the_cache_is_bounded_and_evicts_the_oldest_first() {
    let mut worker = Worker::new(directory());
    for number in 0..2500 {
        let name = format!("user-{}", number % 2000);
        let user = json!({"userName": name, "roles": ["r".repeat(8000)]});
        worker.look_up("user_name", &name, vec![list(&[user])]);
        assert!(worker.lookups.remembered_bytes() <= 8 * 1024 * 1024);
    }
    assert!(worker.lookups.remembered_bytes() > 7 * 1024 * 1024);
    let is_known =
        |name: &str| matches!(worker.find("user_name", name, now()), ScimResult::Known(_));
    assert!(is_known("user-499") && is_known("user-1999"));
    assert!(!is_known("user-500"));
}

#[test]
fn a_repeated_lookup_of_a_user_takes_no_more_room() {
    let mut worker = Worker::new(directory());
    worker.look_up("user_name", "ada", vec![list(&[])]);
    let once = worker.lookups.remembered_bytes();
    for _ in 0..10 {
        worker.look_up("user_name", "ada", vec![list(&[])]);
        assert_eq!(worker.lookups.remembered_bytes(), once);
    }
}

#[test]
fn only_a_user_unknown_everywhere_is_allowed() {
    let claims = Object::default();
    let (field, value, is_service) = ("user_name", "ada", false);
    let selector = UserSelector { field, value, provider: "p", is_service, claims: &claims };
    let directory = Users::allow_all().with_scim(Some(directory()));
    for (response, is_tolerated) in
        [(list(&[]), true), (list(&[ada(), ada()]), false), (response(500, &Value::Null), false)]
    {
        let mut lookups = directory.lookups().unwrap();
        let (UserLookup::Await(query), _) = directory.find(selector, Some(&lookups), now()) else {
            panic!("no look-up was needed")
        };
        lookups.want(query);
        let (id, _) = lookups.next_callout().unwrap();
        lookups.on_response(id, Ok(Some(response)), now());
        let (finding, _) = directory.find(selector, Some(&lookups), now());
        assert_eq!(matches!(finding, UserLookup::Tolerated), is_tolerated, "{finding:?}");
    }
}

/// The directory may ignore case or white space, and so return a locked user for another spelling.
#[test]
fn a_locked_user_is_not_allowed_in_another_spelling() {
    let claims = Object::default();
    let directory =
        Users::allow_all().with_scim(Some(ScimSettings { tolerates_unknown: true, ..directory() }));
    let found = |field, responses: &[&Value]| {
        let (value, is_service) = ("root", false);
        let selector = UserSelector { field, value, provider: "p", is_service, claims: &claims };
        let mut lookups = directory.lookups().unwrap();
        let (UserLookup::Await(query), _) = directory.find(selector, Some(&lookups), now()) else {
            panic!("the directory was not asked")
        };
        lookups.want(query);
        for response in responses {
            let (id, _) = lookups.next_callout().unwrap();
            let users = response.as_array().unwrap();
            lookups.on_response(id, Ok(Some(list(users))), now());
        }
        matches!(directory.find(selector, Some(&lookups), now()).0, UserLookup::Tolerated)
    };
    let none = json!([]);
    for (user, is_tolerated) in [
        (json!({"userName": "Root"}), true),
        (json!({"userName": "Root", "active": false}), false),
        (json!({"userName": " root", "locked": true}), false),
        (json!({"userName": "ROOT", "active": "no"}), false),
        (json!({"userName": "CORP\\root", "active": false}), true),
        (json!({"userName": "ruth", "active": false}), true),
    ] {
        assert_eq!(found("user_name", &[&json!([user])]), is_tolerated, "{user}");
        assert_eq!(found("email", &[&none, &json!([user])]), is_tolerated, "{user}");
    }
    let mail = json!([{"userName": "a", "active": false, "emails": [{"value": "Root"}]}]);
    assert!(!found("email", &[&mail, &none]));
}

#[test]
fn a_user_of_the_directory_cannot_have_the_name_of_a_record() {
    let record = |user_name: &str, email: &str| UserRecord {
        user: User { account_status: AccountStatus::Locked, ..user(user_name, &[]) },
        fields: [("user_name", user_name), ("email", email)]
            .map(|(field, value)| (field.to_owned(), value.to_owned()))
            .into(),
        providers: None,
    };
    let claims = Object::default();
    let (field, value, is_service) = ("email", "ada@x", false);
    let selector = UserSelector { field, value, provider: "p", is_service, claims: &claims };
    for (name_of_record, is_known) in [("ada", false), ("Ada", true), ("bob", true)] {
        let records = vec![record(name_of_record, "other@x")];
        let records = Users::new(records, ["email"], UnknownUser::Allow).unwrap();
        let directory = records.with_scim(Some(directory()));
        let mut lookups = directory.lookups().unwrap();
        let (UserLookup::Await(query), _) = directory.find(selector, Some(&lookups), now()) else {
            panic!("no look-up was needed")
        };
        lookups.want(query);
        let (id, _) = lookups.next_callout().unwrap();
        lookups.on_response(id, Ok(Some(list(&[ada()]))), now());
        let (finding, _) = directory.find(selector, Some(&lookups), now());
        assert_eq!(
            matches!(finding, UserLookup::Known(_)),
            is_known,
            "{name_of_record}: {finding:?}"
        );
        let is_refused = matches!(&finding, UserLookup::Unknown(why) if why.cause().is_some());
        assert_eq!(is_refused, !is_known, "{finding:?}");
    }
}

#[test]
fn the_secret_is_in_no_log() {
    let secret = Secret::bearer_token("s3cret".to_owned()).unwrap();
    assert_eq!(format!("{secret:?}"), "Secret");
    assert!(!format!("{:?}", directory()).contains("s3cret"));
    for text in ["", "a b", "a\r\nx: y", "é"] {
        assert!(Secret::bearer_token(text.to_owned()).is_none(), "{text:?}");
    }
}
