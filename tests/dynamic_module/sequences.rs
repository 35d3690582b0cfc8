//! Sequences of callbacks in any order that Envoy could choose, and some that it could not: each
//! byte of an input selects the next step. For the fuzz target `hooks`, the test below, and Miri.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::envoy::{Envoy, schedulers};

/// The tokens and keys that a sequence may use.
pub struct World {
    pub configuration: Value,
    /// The response to fetches of keys, if they succeed.
    pub key_set: String,
    /// Tokens, each of which is sent at most twice.
    pub valid_tokens: Vec<String>,
    pub forged_tokens: Vec<String>,
    /// How long a sequence waits for the timer in all.
    pub patience: Duration,
}

/// The bytes that select steps.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn below(&mut self, count: usize) -> usize {
        usize::from(self.next().unwrap_or_default()) % count.max(1)
    }

    /// One of these items; `None` if there are none.
    fn select<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        let index = self.below(from.len());
        from.get(index).copied()
    }

    /// The next bytes of the input.
    fn bytes(&mut self) -> &'a [u8] {
        let length = self.below(64).min(self.0.len());
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        bytes
    }
}

#[derive(Clone, Copy)]
struct Config {
    id: usize,
    /// Whether it lets requests pass without a valid token.
    is_lenient: bool,
}

#[derive(Clone, Copy)]
struct OpenStream {
    id: usize,
    config: usize,
    may_pass: bool,
}

struct Sequence<'a> {
    input: Input<'a>,
    world: &'a World,
    envoy: Envoy,
    configs: Vec<Config>,
    streams: Vec<OpenStream>,
    routes: Vec<usize>,
    /// The rest of the time to wait.
    patience: Duration,
    outcome: Outcome,
}

/// The result of a sequence.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The number of requests that were forwarded.
    pub passed: usize,
}

/// The maximum of streams that are open at the same time.
const MAX_OPEN: usize = 8;

/// Runs a sequence.
///
/// # Panics
///
/// If the module has panicked, let a request pass that it must refuse or with a forged identity, or
/// leaves a scheduler behind.
pub fn run(world: &World, input: &[u8]) -> Outcome {
    let envoy = Envoy::start();
    let mut sequence = Sequence {
        input: Input(input),
        world,
        envoy,
        configs: Vec::new(),
        streams: Vec::new(),
        routes: Vec::new(),
        patience: world.patience,
        outcome: Outcome::default(),
    };
    sequence.configure();
    while sequence.step() {
        sequence.check();
    }
    sequence.end()
}

impl Sequence<'_> {
    fn step(&mut self) -> bool {
        let Some(selected) = self.input.next() else { return false };
        match selected % 16 {
            0 => self.configure(),
            1 => self.remove_config(),
            2..=5 => self.open(),
            6 => self.send_body(),
            7 => self.send_trailers(),
            8 => self.close(),
            9 => self.await_timer(),
            10 => self.envoy.run_main(),
            11 => self.respond(),
            12 => self.configure_route(),
            13 => self.remove_route(),
            14 => self.let_something_happen(),
            _ => self.envoy.call_with_null(),
        }
        true
    }

    fn await_timer(&mut self) {
        let started = Instant::now();
        self.envoy.run_soon(self.patience);
        self.patience = self.patience.saturating_sub(started.elapsed());
    }

    fn configure(&mut self) {
        if self.configs.len() >= MAX_OPEN {
            return;
        }
        let mut configuration = self.world.configuration.clone();
        let mut is_lenient = false;
        let mut name = "mcp-federated-auth";
        match self.input.below(8) {
            0..=2 => {}
            3 => {
                configuration["users"] = json!({"scim": {
                    "url": "https://directory.example.com/scim/v2", "cluster": "directory",
                }});
            }
            4 => {
                configuration["providers"][0]["jti"] = json!("single_use");
                configuration["replay_store"] = json!({"redis": {"cluster": "webdis"}});
            }
            5 => {
                configuration["mode"] = json!("report");
                is_lenient = true;
            }
            6 => {
                name = "mcp_auth_status";
                configuration = json!({});
            }
            _ => configuration = Value::Null,
        }
        configuration_with_rules(&mut configuration, self.input.below(2) == 1);
        let text = match configuration {
            Value::Null => String::from_utf8_lossy(self.input.bytes()).into_owned(),
            other => other.to_string(),
        };
        if let Some(id) = self.envoy.configure(name, &text) {
            self.configs.push(Config { id, is_lenient });
        }
    }

    /// Envoy removes a configuration after its streams.
    fn remove_config(&mut self) {
        let Some(Config { id, .. }) = self.input.select(&self.configs) else { return };
        let (of_config, others) = self.streams.iter().partition(|stream| stream.config == id);
        self.streams = others;
        let of_config: Vec<OpenStream> = of_config;
        of_config.iter().for_each(|stream| self.envoy.close(stream.id));
        self.envoy.remove(id);
        self.configs.retain(|config| config.id != id);
    }

    fn open(&mut self) {
        let Some(config) = self.input.select(&self.configs) else { return };
        if self.streams.len() >= MAX_OPEN {
            self.close();
        }
        let selected = self.input.below(256);
        let valid = self.world.valid_tokens.get(selected % 8);
        let token = valid.cloned().or_else(|| {
            let forged = &self.world.forged_tokens;
            forged.get(selected % forged.len().max(1)).cloned()
        });
        let authorization = format!("Bearer {}", token.unwrap_or_default());
        let (name, value) = (self.input.bytes(), self.input.bytes());
        let name = String::from_utf8_lossy(name).to_lowercase();
        let fields: [(&str, &[u8]); 7] = [
            (":method", if selected & 16 == 0 { b"POST" } else { b"GET" }),
            (":path", if selected & 32 == 0 { b"/mcp" } else { b"/other" }),
            ("content-type", b"application/json"),
            ("authorization", authorization.as_bytes()),
            ("x-mcp-user", b"mallory"),
            ("connection", b"x-mcp-user"),
            (&name, value),
        ];
        let count = if selected & 64 == 0 { 6 + usize::from(!name.is_empty()) } else { 3 };
        let fields = &fields[..count];
        if selected & 128 != 0 {
            self.envoy.end_next_with_response();
        }
        let route = if self.input.below(3) == 0 { self.input.select(&self.routes) } else { None };
        let is_end = self.input.below(2) == 0;
        let id = self.envoy.open(config.id, fields, is_end, route.unwrap_or_default());
        // A status page forwards nothing, and a route has the configuration of the world.
        let may_pass = valid.is_some() || config.is_lenient;
        self.streams.push(OpenStream { id, config: config.id, may_pass });
    }

    /// An open stream without a response.
    fn undecided(&mut self) -> Option<usize> {
        let streams: Vec<usize> = self.streams.iter().map(|stream| stream.id).collect();
        let id = self.input.select(&streams)?;
        (self.envoy.is_there(id) && self.envoy.response(id).is_none()).then_some(id)
    }

    fn send_body(&mut self) {
        const MESSAGE: &[u8] =
            br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"denied"}}"#;
        let Some(stream) = self.undecided() else { return };
        let part = if self.input.below(2) == 0 { MESSAGE } else { self.input.bytes() };
        let is_end = self.input.below(2) == 0;
        self.envoy.send_body(stream, part, is_end);
    }

    fn send_trailers(&mut self) {
        let Some(stream) = self.undecided() else { return };
        let value = String::from_utf8_lossy(self.input.bytes()).into_owned();
        self.envoy.send_trailers(stream, &[("x-mcp-user", "mallory"), ("x-other", &value)]);
    }

    fn close(&mut self) {
        let streams: Vec<usize> = self.streams.iter().map(|stream| stream.id).collect();
        if let Some(id) = self.input.select(&streams) {
            self.envoy.close(id);
            self.streams.retain(|stream| stream.id != id);
        }
    }

    fn respond(&mut self) {
        let callouts = self.envoy.callouts();
        let index = self.input.below(callouts.len());
        let Some(callout) = callouts.get(index) else { return };
        let body = match self.input.below(6) {
            0 => return self.envoy.respond(callout, None),
            1 => self.input.bytes().to_vec(),
            2 => br#"{"SET":[true,"OK"]}"#.to_vec(),
            3 => json!({
                "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
                "totalResults": 1,
                "Resources": [{"id": "1", "userName": "ada", "active": true}],
            })
            .to_string()
            .into_bytes(),
            _ => self.world.key_set.as_bytes().to_vec(),
        };
        let status = match self.input.below(4) {
            0 => String::from_utf8_lossy(self.input.bytes()).into_owned(),
            _ => "200".to_owned(),
        };
        self.envoy.respond(callout, Some((&status, &body)));
    }

    fn configure_route(&mut self) {
        if self.routes.len() < MAX_OPEN {
            let text = match self.input.below(4) {
                0 => String::from_utf8_lossy(self.input.bytes()).into_owned(),
                _ => self.world.configuration.to_string(),
            };
            self.routes.extend(self.envoy.configure_route(&text));
        }
    }

    /// Envoy removes a route's configuration while streams may still be open.
    fn remove_route(&mut self) {
        if let Some(route) = self.input.select(&self.routes) {
            self.envoy.remove_route(route);
            self.routes.retain(|known| *known != route);
        }
    }

    /// Runs an action while a later callback has not returned.
    fn let_something_happen(&mut self) {
        let key_set = self.world.key_set.clone();
        let respond_to_all = move |envoy: &Envoy| {
            envoy.run_main();
            for callout in envoy.callouts() {
                envoy.respond(&callout, Some(("200", key_set.as_bytes())));
            }
        };
        if self.input.below(2) == 0 {
            return self.envoy.before_next_scheduler(respond_to_all);
        }
        let streams: Vec<usize> = self.streams.iter().map(|stream| stream.id).collect();
        let closed = self.input.select(&streams);
        let config = self.input.select(&self.configs);
        self.envoy.at_next_resumption(move |envoy| {
            respond_to_all(envoy);
            if let Some(closed) = closed {
                envoy.close(closed);
            }
            if let Some(config) = config.filter(|config| envoy.has(config.id)) {
                let stream = envoy.open(config.id, &[(":method", b"GET")], true, 0);
                envoy.close(stream);
            }
        });
    }

    fn check(&mut self) {
        self.streams.retain(|stream| self.envoy.is_there(stream.id));
        for stream in &self.streams {
            let has_passed =
                self.envoy.response(stream.id).is_none() && self.envoy.has_passed(stream.id);
            assert!(stream.may_pass || !has_passed, "it passed: {:?}", self.envoy.log());
            if has_passed {
                let request = self.envoy.request(stream.id);
                let is_forged = |value: &[u8]| value == b"mallory";
                assert!(!request.iter().any(|(_, value)| is_forged(value)), "{request:?}");
            }
        }
    }

    fn end(mut self) -> Outcome {
        self.envoy.run();
        self.check();
        let has_passed = |stream: &&OpenStream| self.envoy.has_passed(stream.id);
        self.outcome.passed = self.streams.iter().filter(has_passed).count();
        assert_eq!(self.envoy.metrics().get("mcp_auth_panics{}"), None, "{:?}", self.envoy.log());
        for route in std::mem::take(&mut self.routes) {
            self.envoy.remove_route(route);
        }
        while !self.configs.is_empty() {
            self.remove_config();
        }
        assert_eq!(schedulers(), 0);
        self.outcome
    }
}

/// A configuration with or without rules that read messages.
fn configuration_with_rules(configuration: &mut Value, has_rules: bool) {
    if has_rules && configuration["providers"].is_array() {
        configuration["access"] = json!({"default": "allow", "rules": [{
            "name": "denied",
            "match": {"mcp_methods": ["tools/call"], "mcp_names": ["denied"]},
            "require": {"roles": ["absent"]},
        }]});
    }
}
