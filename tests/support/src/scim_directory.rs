use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use reqwest::{Client, Method};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::repository_root;

use crate::child::{KilledChild, await_that};
use crate::gateway::Gateway;
use crate::port::Port;

/// A directory of users: the real SCIM server `scim2-server`, which keeps them in memory, and a
/// [`Gateway`] in front of it.
#[derive(Debug)]
pub struct ScimDirectory {
    /// The address that Envoy calls.
    pub gateway: Gateway,
    server: Server,
    client: Client,
}

impl ScimDirectory {
    /// The bearer token that the directory requires.
    pub const BEARER_TOKEN: &str = "directory-s3cret";

    /// An extension of the schema: users may have `webServiceAccessOnly` and `locked`.
    pub const EXTENSION: &str = "urn:example:params:scim:schemas:extension:account:1.0:User";

    /// Starts an empty directory.
    pub async fn start() -> Self {
        Self::before(Server::start(None).await).await
    }

    /// Starts an empty directory whose users may have [`EXTENSION`](Self::EXTENSION), and whose
    /// `groups` can be set, since this server does not list them by itself.
    pub async fn start_extended() -> Self {
        let plain = Self::start().await;
        let mut schemas = plain.list("/Schemas").await;
        let_groups_be_set(&mut schemas);
        schemas.push(extension_schema());
        let mut kinds = plain.list("/ResourceTypes").await;
        let user = kinds.iter_mut().find(|kind| kind["id"] == "User").expect("there are users");
        let extensions = user["schemaExtensions"].as_array_mut().expect("it has extensions");
        extensions.push(json!({"schema": Self::EXTENSION, "required": false}));
        let files = Files::new(&json!(schemas), &json!(kinds));
        Self::before(Server::start(Some(files)).await).await
    }

    async fn before(server: Server) -> Self {
        let client = Client::builder().no_proxy().build().expect("nothing is wrong with that");
        Self { gateway: Gateway::before(server.address).await, server, client }
    }

    /// Where the gateway listens.
    pub fn address(&self) -> SocketAddr {
        self.gateway.address()
    }

    /// Adds a user with these attributes, and returns the resource.
    pub async fn add_user(&self, attributes: Value) -> Value {
        let mut schemas = vec!["urn:ietf:params:scim:schemas:core:2.0:User"];
        let attributes = attributes.as_object().expect("they are an object").clone();
        schemas
            .extend(attributes.keys().map(String::as_str).filter(|name| name.starts_with("urn:")));
        let mut user = json!({ "schemas": schemas });
        user.as_object_mut().expect("it is an object").extend(attributes);
        self.ask(Method::POST, "/Users", user).await
    }

    /// Sets one attribute of a user.
    pub async fn set(&self, user: &Value, attribute: &str, value: Value) {
        let path = format!("/Users/{}", user["id"].as_str().expect("it has an id"));
        let patch = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": [{"op": "replace", "path": attribute, "value": value}],
        });
        self.ask(Method::PATCH, &path, patch).await;
    }

    /// All users.
    pub async fn users(&self) -> Vec<Value> {
        self.list("/Users").await
    }

    async fn list(&self, path: &str) -> Vec<Value> {
        let mut list = self.ask(Method::GET, path, Value::Null).await;
        serde_json::from_value(list["Resources"].take()).expect("it is a list")
    }

    /// Sends a request past the gateway.
    async fn ask(&self, method: Method, path: &str, body: Value) -> Value {
        let url = format!("http://{}{path}", self.server.address);
        let mut request = self.client.request(method, url).bearer_auth(Self::BEARER_TOKEN);
        if !body.is_null() {
            let request_body = body.to_string();
            request = request.header("content-type", "application/scim+json").body(request_body);
        }
        let response = request.send().await.expect("the directory answers");
        let status = response.status();
        let text = response.text().await.expect("its responses are text");
        assert!(status.is_success(), "{path}: {status} {text}");
        if text.is_empty() {
            return Value::Null;
        }
        serde_json::from_str(&text).expect("its responses are JSON")
    }
}

#[derive(Debug)]
struct Server {
    address: SocketAddr,
    _process: KilledChild,
    _files: Option<Files>,
}

impl Server {
    /// It does not share its port, so another process may take it first: then it exits, and another
    /// port is tried.
    async fn start(files: Option<Files>) -> Self {
        let client = Client::builder().no_proxy().build().expect("nothing is wrong with that");
        loop {
            let address = Port::free().address();
            let mut process = Self::process(address, files.as_ref());
            let url = format!("http://{address}/ServiceProviderConfig");
            await_that("the directory answers", || {
                let request = client.get(&url).bearer_auth(ScimDirectory::BEARER_TOKEN);
                let has_ended = process.has_ended();
                async move {
                    let response = request.send().await;
                    has_ended || response.is_ok_and(|response| response.status().is_success())
                }
            })
            .await;
            if !process.has_ended() {
                return Self { address, _process: process, _files: files };
            }
        }
    }

    fn process(address: SocketAddr, files: Option<&Files>) -> KilledChild {
        let mut command = Command::new(program());
        command.args(["--bearer-token", ScimDirectory::BEARER_TOKEN]);
        command.arg("--port").arg(address.port().to_string());
        if let Some(files) = files {
            command.arg("--schema").arg(files.path("schemas.json"));
            command.arg("--resource-type").arg(files.path("resource-types.json"));
        }
        KilledChild::start(&mut command)
    }
}

/// The server's initial configuration.
#[derive(Debug)]
struct Files(TempDir);

impl Files {
    fn new(schemas: &Value, resource_types: &Value) -> Self {
        let directory = TempDir::with_prefix("mcp-federated-auth-scim-")
            .expect("the temporary directory is writable");
        let files = Self(directory);
        for (name, content) in [("schemas.json", schemas), ("resource-types.json", resource_types)]
        {
            fs::write(files.path(name), content.to_string()).expect("the directory is ours");
        }
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// `scim2-server` in `.venv`, or the program that `SCIM2_SERVER` names.
fn program() -> PathBuf {
    match env::var_os("SCIM2_SERVER") {
        Some(path) => Path::new(&path).to_owned(),
        None => repository_root().join(".venv/bin/scim2-server"),
    }
}

fn extension_schema() -> Value {
    let attributes = ["webServiceAccessOnly", "locked"].map(|name| {
        json!({
            "name": name, "type": "boolean", "multiValued": false, "description": name,
            "required": false, "caseExact": false, "mutability": "readWrite",
            "returned": "default", "uniqueness": "none",
        })
    });
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"],
        "id": ScimDirectory::EXTENSION,
        "name": "Account",
        "description": "What kind of account a user is",
        "attributes": attributes,
    })
}

fn let_groups_be_set(schemas: &mut [Value]) {
    let user = schemas.iter_mut().find(|schema| schema["name"] == "User");
    let attributes = user.and_then(|user| user["attributes"].as_array_mut());
    let groups = attributes.and_then(|all| all.iter_mut().find(|entry| entry["name"] == "groups"));
    let groups = groups.expect("users have groups");
    groups["mutability"] = json!("readWrite");
    for part in groups["subAttributes"].as_array_mut().expect("groups have parts") {
        part["mutability"] = json!("readWrite");
    }
}
