//! The cost of filtering a list of tools.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use testbed::{Bootstrap, IdentityProvider, native_module_path};

use crate::builds;
use crate::filters;
use crate::listeners::Listeners;
use crate::options::Options;
use crate::requests::{Requests, list, token};
use crate::results;
use crate::rounds::{WARM_UP, in_any_order};
use crate::sample::{self, Sample, Samples};
use crate::statistics::Spread;

const ROUNDS: usize = 100;
const REQUESTS_IN_ROUND: usize = 25;
const TOOLS: usize = 100;
const DESCRIPTION: &str = "Lists the incidents of a group, the latest first, with their numbers, \
    states (\"open\" or \"closed\"), owners and short descriptions.";

pub async fn run(options: &Options) {
    let rounds = options.rounds(ROUNDS);
    let provider = IdentityProvider::start().await;
    let mut names = vec!["no filter".to_owned(), "plugin".to_owned(), "native module".to_owned()];
    let mut filters = vec![
        vec![],
        vec![filters::plugin_with(|configuration| configure(configuration, &provider))],
        vec![native(&provider, &native_module_path())],
    ];
    for module in builds::others().into_iter().filter(|module| builds::is_native(module)) {
        filters.push(vec![native(&provider, &module)]);
        names.push(module.display().to_string());
    }
    let mut listeners = start(&filters, &provider).await;
    let mut results = Vec::new();
    for form in Form::ALL {
        eprintln!("lists, {}", form.name());
        let requests = form.requests(&provider);
        let mut samples = vec![Samples::new(); names.len()];
        for round in 0..WARM_UP + rounds {
            for index in in_any_order(names.len()) {
                let client = &mut listeners.clients[index];
                let sample = Sample::take(&listeners.envoy, client, &requests, 200).await;
                if round >= WARM_UP {
                    samples[index].push(sample);
                }
            }
        }
        print(form, &names, &samples);
        results.push(to_json(form, &names, &samples));
    }
    results::save("lists", &json!(results));
}

/// Sends the requests through this native module, and measures nothing.
pub async fn exercise(module: &Path, rounds: usize) {
    let provider = IdentityProvider::start().await;
    let filters = [vec![], vec![native(&provider, module)]];
    let mut listeners = start(&filters, &provider).await;
    for form in Form::ALL {
        let requests = form.requests(&provider);
        for _ in 0..rounds {
            Sample::take(&listeners.envoy, &mut listeners.clients[1], &requests, 200).await;
        }
    }
    listeners.envoy.quit().await;
}

/// How a server sends a list.
#[derive(Clone, Copy)]
enum Form {
    Json,
    Events,
}

impl Form {
    const ALL: [Self; 2] = [Self::Json, Self::Events];

    fn name(self) -> &'static str {
        match self {
            Self::Json => "as JSON",
            Self::Events => "as an event stream",
        }
    }

    fn path(self) -> &'static str {
        match self {
            Self::Json => "/list/json",
            Self::Events => "/list/events",
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Events => "text/event-stream",
        }
    }

    /// A list in which every second tool is hidden from the caller.
    fn body(self) -> String {
        let tool = |number: usize| {
            let group = if number.is_multiple_of(2) { "open" } else { "closed" };
            json!({
                "name": format!("{group}_{number}"),
                "description": DESCRIPTION,
                "inputSchema": {
                    "type": "object",
                    "properties": {
                        "state": {"type": "string", "enum": ["open", "closed"]},
                        "limit": {"type": "integer", "minimum": 1, "maximum": 100},
                    },
                    "required": ["state"],
                },
            })
        };
        let tools: Vec<Value> = (0..TOOLS).map(tool).collect();
        let list = json!({"jsonrpc": "2.0", "id": 1, "result": {"tools": tools}});
        match self {
            Self::Json => list.to_string(),
            Self::Events => format!("event: message\ndata: {list}\n\n"),
        }
    }

    fn requests(self, provider: &IdentityProvider) -> Arc<Requests> {
        let request = list(self.path(), &token(provider));
        Arc::new(Requests::new(vec![request], REQUESTS_IN_ROUND))
    }

    /// Makes Envoy itself respond with the list.
    fn respond(self, bootstrap: &mut Bootstrap) {
        let body = self.body();
        let routes = &mut bootstrap.connection_manager()["route_config"];
        routes["max_direct_response_body_size_bytes"] = json!(body.len());
        let route = json!({
            "match": {"path": self.path()},
            "direct_response": {"status": 200, "body": {"inline_string": body}},
            "response_headers_to_add": [{
                "header": {"key": "content-type", "value": self.media_type()},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }],
        });
        routes["virtual_hosts"][0]["routes"].as_array_mut().unwrap().insert(0, route);
    }
}

fn native(provider: &IdentityProvider, module: &Path) -> Value {
    filters::native_with(module, |configuration| configure(configuration, provider))
}

fn configure(configuration: &mut Value, provider: &IdentityProvider) {
    filters::set_provider(configuration, provider);
    configuration["access"] = json!({
        "default": "allow",
        "rules": [
            {"name": "open", "match": {"mcp_methods": ["tools/call"], "mcp_names": ["open_*"]}},
            {
                "name": "others",
                "match": {"mcp_methods": ["tools/call"]},
                "require": {"roles": ["admin"]},
            },
        ],
    });
}

/// The first of `filters` lets everything pass, the others filter lists.
async fn start(filters: &[Vec<Value>], provider: &IdentityProvider) -> Listeners {
    let buffered: Vec<_> =
        filters.iter().map(|own| [own.clone(), vec![filters::buffer()]].concat()).collect();
    let mut listeners = Listeners::start(&buffered, |bootstrap| {
        bootstrap.set_cluster("identity_provider", provider.address());
        for form in Form::ALL {
            form.respond(bootstrap);
        }
    })
    .await;
    for form in Form::ALL {
        let requests = form.requests(provider);
        let request = requests.iter().next().unwrap();
        for (index, client) in listeners.clients.iter_mut().enumerate() {
            let response = client.send_one(request).await;
            assert!(response.contains("\"open_98\""), "{response}");
            assert_eq!(response.contains("\"closed_99\""), index == 0, "{response}");
        }
    }
    listeners
}

fn print(form: Form, names: &[String], samples: &[Samples]) {
    println!(
        "\nA list of {TOOLS} tools, {} bytes {}: CPU time, and beyond no filter",
        form.body().len(),
        form.name()
    );
    let bare = processor(&samples[0]);
    for (name, own) in names.iter().zip(samples) {
        let own = processor(own);
        let beyond = Spread::from_differences(&own, &bare);
        println!("{:22.0} µs/request {beyond:22.0}  {name}", Spread::new(own));
    }
}

fn to_json(form: Form, names: &[String], samples: &[Samples]) -> Value {
    let listeners = names.iter().zip(samples);
    let listeners: Vec<_> = listeners
        .map(|(name, own)| json!({"name": name, "rounds": sample::to_json(own)}))
        .collect();
    json!({"form": form.name(), "listeners": listeners})
}

fn processor(samples: &[Sample]) -> Vec<f64> {
    sample::values(samples, |own| own.processor)
}
