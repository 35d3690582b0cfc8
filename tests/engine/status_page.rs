use std::time::Duration;

use serde_json::{Value, json};

use crate::host::{LocalResponse, Outcome, SharedData, Vm};
use crate::login_support::{Gateway, code_request, with_login};
use crate::provider::{assert_accepted, configuration, fetch, key, request, start, token};

fn start_page(configuration: &str, shared: &SharedData) -> Option<Vm> {
    Vm::start_status_page(configuration.as_bytes(), shared)
}

fn get(vm: &Vm, path: &str, authority: &str) -> LocalResponse {
    let (_, outcome) = vm.request(&[
        (":method", b"GET"),
        (":path", path.as_bytes()),
        (":authority", authority.as_bytes()),
    ]);
    match outcome {
        Outcome::Refused(response) => response,
        other => panic!("no response: {other:?}"),
    }
}

fn status(shared: &SharedData) -> Value {
    let page = start_page("", shared).unwrap();
    get(&page, "/status.json", "localhost").json()
}

fn status_names(shared: &SharedData) -> Vec<String> {
    let mut names = shared.names();
    names.retain(|name| name.contains("/status/"));
    names
}

#[test]
fn a_configuration_that_is_only_validated_is_not_on_the_page() {
    let shared = SharedData::default();
    // As in Envoy's canary VM, whose timers never fire.
    let vm = start(&configuration(), &shared);
    assert_eq!(status_names(&shared), [""; 0]);
    vm.tick();
    assert_eq!(status_names(&shared).len(), 1);
    assert_eq!(status(&shared)["configurations"][0]["resource"], "https://mcp.example.com/mcp");
}

#[test]
fn one_vm_shows_the_fetches_and_refusals_of_another() {
    let shared = SharedData::default();
    let vm = start(&configuration(), &shared);
    fetch(&vm, &[&key("one")]);
    request(&vm, "a.b");
    vm.advance(Duration::from_secs(1));
    vm.tick();
    let status = status(&shared);
    assert_eq!(status["configurations"][0]["providers"][0]["keys"][0]["kid"], "one");
    assert_eq!(status["refusals"][0]["reason"], "malformed_token");
    assert_eq!(status["refusals"][0]["last"][0]["times"], 1);
}

#[test]
fn a_request_that_is_allowed_changes_nothing_that_is_shared() {
    let shared = SharedData::default();
    let vm = start(&configuration(), &shared);
    let key = key("one");
    fetch(&vm, &[&key]);
    let all = |shared: &SharedData| {
        let mut names = shared.names();
        names.sort_unstable();
        names.iter().map(|name| (name.clone(), shared.value(name))).collect::<Vec<_>>()
    };
    let before = all(&shared);
    for _ in 0..10 {
        assert_accepted(&vm, &token(&key));
    }
    assert_eq!(all(&shared), before);
}

#[test]
fn a_flood_of_refusals_is_written_once_at_the_next_tick() {
    let shared = SharedData::default();
    let vm = start(&configuration(), &shared);
    vm.tick();
    vm.advance(Duration::from_secs(1));
    for index in 0..1000 {
        request(&vm, &format!("a.{index}"));
    }
    assert_eq!(status_names(&shared).len(), 1);
    vm.tick();
    let mut names = status_names(&shared);
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "mcp-federated-auth/1/status/configuration/0",
            "mcp-federated-auth/1/status/refusals/malformed_token",
        ]
    );
    // As many as are logged in a second.
    assert_eq!(status(&shared)["refusals"][0]["last"][0]["times"], 100);
}

#[test]
fn only_the_first_fifty_servers_are_listed() {
    let shared = SharedData::default();
    let mut configuration = configuration();
    configuration.as_object_mut().unwrap().remove("resource");
    let server = |index: usize| serde_json::json!({"id": format!("s{index}"), "url": format!("https://a.example/{index}")});
    configuration["resources"] = (0..60).map(server).collect();
    start(&configuration, &shared).tick();
    let listed = &status(&shared)["configurations"][0];
    assert_eq!(listed["resources"].as_array().unwrap().len(), 50);
    assert_eq!(listed["resources"][49]["id"], "s49");
    assert_eq!(listed["more_resources"], 10);
    let page = start_page("", &shared).unwrap();
    let text = String::from_utf8(get(&page, "/", "localhost").body).unwrap();
    assert!(text.contains("And 10 resources more, not shown."), "{text}");
}

#[test]
fn the_page_has_a_configuration_of_its_own() {
    let shared = SharedData::default();
    for refused in ["{\"host\": 1}", &configuration().to_string(), "x"] {
        assert!(start_page(refused, &shared).is_none(), "{refused}");
    }
    let page = start_page("{\"hosts\": [\"status.internal\"]}", &shared).unwrap();
    assert_eq!(get(&page, "/", "status.internal:80").status, 200);
    assert_eq!(get(&page, "/", "elsewhere.internal").status, 403);
    // Without its root id it is an authenticating filter, whose required fields are missing.
    assert!(Vm::start(b"", &shared).is_none());
}

#[test]
fn each_step_of_a_login_is_shown_with_its_last_results() {
    let shared = SharedData::default();
    let gateway = Gateway::start_sharing(&with_login(), &shared);
    gateway.vm.tick();
    let login = |shared| status(shared)["configurations"][0]["login"].clone();
    assert_eq!(
        login(&shared),
        json!({
            "issuer": "https://mcp.example.com",
            "providers": [{
                "name": "example",
                "redirect_uri": "https://mcp.example.com/oauth/callback/example",
            }],
            "steps": [],
        })
    );
    let client_id = gateway.register();
    let code = gateway.code(&client_id);
    gateway.exchange(&client_id, &code, &json!({"access_token": gateway.token()}));
    let other_code = gateway.code(&client_id);
    gateway.exchange(&client_id, &other_code, &json!({"token_type": "Bearer"}));
    gateway.token_request(&code_request(&client_id, "forged"));
    gateway.vm.advance(Duration::from_secs(1));
    gateway.vm.tick();
    let shown = login(&shared);
    let steps: Vec<Value> = shown["steps"].as_array().unwrap().clone();
    let outcomes: Vec<Value> = steps
        .iter()
        .map(|step| {
            let has = |kind: &str| !step[kind].is_null();
            json!([step["step"], step["provider"], has("ok"), has("refused"), has("failed")])
        })
        .collect();
    assert_eq!(
        outcomes,
        [
            json!(["register", null, true, false, false]),
            json!(["authorize", null, true, false, false]),
            json!(["approve", "example", true, false, false]),
            json!(["callback", "example", true, false, false]),
            json!(["token", null, false, true, false]),
            json!(["token", "example", true, false, true]),
        ]
    );
    let fault = |index: usize, kind: &str| steps[index][kind]["fault"].as_str().unwrap().to_owned();
    assert!(fault(4, "refused").starts_with("invalid_grant: "), "{shown:#}");
    assert!(fault(5, "failed").contains("access_token"), "{shown:#}");
    for secret in [client_id.as_str(), &code, &other_code, "p-code", "forged", "client-state"] {
        assert!(!shown.to_string().contains(secret), "{secret}: {shown:#}");
    }
}

#[test]
fn a_flood_of_registrations_is_one_small_record() {
    let shared = SharedData::default();
    let gateway = Gateway::start_sharing(&with_login(), &shared);
    gateway.vm.tick();
    gateway.vm.advance(Duration::from_secs(1));
    for _ in 0..1000 {
        gateway.register();
    }
    let is_of_logins = |name: &String| name.contains("/logins/");
    assert_eq!(shared.names().iter().filter(|name| is_of_logins(name)).count(), 0, "no tick yet");
    gateway.vm.tick();
    let names: Vec<String> = shared.names().into_iter().filter(is_of_logins).collect();
    assert_eq!(names, ["mcp-federated-auth/1/status/logins/register"]);
    assert!(shared.value(&names[0]).len() < 300);
}
