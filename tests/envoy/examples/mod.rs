//! The examples in `envoy/` that are meant for production: real Envoy runs these very files. The
//! folders of a production machine are laid out in a temporary one, with certificates of
//! authorities made here, and the clusters lead to this machine. Everything else is as in the file.

mod chart;
mod company;
mod docker_compose;
mod ecds;
mod full;
mod gateway_api;
mod istio;
mod login;
mod minimal;
mod providers;
mod waypoint;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::{
    Bootstrap, CertificateAuthority, Document, Envoy, IdentityProvider, McpServer, Response,
    ScimDirectory, TlsEntrance, TlsTunnel, module_path, plugin_configurations, repository_root,
    yaml, yaml_documents, yaml_files,
};

use crate::login_support::SECRET;
use crate::support::assert_refusal;

/// The host that the examples protect.
const HOST: &str = "mcp.example.com";
/// Of Entra ID in the examples.
const TENANT: &str = "8d5c1f2e-0000-4000-8000-000000000000";
const ENTRA: &str = "login.microsoftonline.com";
const ENTRA_CLIENT_ID: &str = "6a7f0000-0000-4000-8000-000000000000";
/// Of the company's Keycloak.
const SSO: &str = "sso.example.com";

#[test]
fn no_example_lets_requests_pass_when_the_plugin_fails() {
    /// The plugin runs in a Wasm VM that is restarted, in one that Envoy Gateway never bypasses, or
    /// as a library in Envoy's own process.
    const CLOSED: [&str; 3] = ["\"FAIL_RELOAD\"", "\"failOpen\":false", "\"filter_config\""];
    const OPEN: [&str; 5] =
        ["FAIL_OPEN", "fail_open", "\"failOpen\":true", "default_config", "\"remote\""];
    for path in yaml_files("envoy") {
        let documents = yaml_documents(&fs::read_to_string(&path).unwrap());
        if documents.iter().any(|document| !plugin_configurations(document).is_empty()) {
            let text = json!(documents).to_string();
            let is_closed = CLOSED.iter().any(|setting| text.contains(setting));
            let is_of_gateway = text.contains("dynamicModule");
            assert!(is_closed || is_of_gateway, "{}", path.display());
            for way_through in OPEN {
                assert!(!text.contains(way_through), "{}: {way_through}", path.display());
            }
        }
    }
}

/// A machine on which an example is installed, and the hosts that it calls.
struct Site {
    directory: TempDir,
    /// The authority that the system trusts.
    public: CertificateAuthority,
    /// The authority that only the company trusts.
    company: CertificateAuthority,
    /// Serves all hosts that are called over TLS.
    entrance: TlsEntrance,
    server: McpServer,
}

impl Site {
    async fn new() -> Self {
        let directory = TempDir::with_prefix("mcp-federated-auth-site-").unwrap();
        let (public, company) = (CertificateAuthority::new(), CertificateAuthority::new());
        let tls = directory.path().join("envoy/tls");
        fs::create_dir_all(&tls).unwrap();
        fs::create_dir_all(directory.path().join("ssl/certs")).unwrap();
        fs::write(directory.path().join("ssl/certs/ca-certificates.crt"), public.pem()).unwrap();
        fs::write(tls.join("company-ca.crt"), company.pem()).unwrap();
        for (name, host) in [("tls", HOST), ("client", "envoy.internal")] {
            let (certificate, key) = company.certify(host);
            fs::write(tls.join(format!("{name}.crt")), certificate).unwrap();
            fs::write(tls.join(format!("{name}.key")), key).unwrap();
        }
        let module = directory.path().join("envoy/mcp-federated-auth.wasm");
        symlink(module_path().canonicalize().unwrap(), module).unwrap();
        let (entrance, server) = (TlsEntrance::start().await, McpServer::start().await);
        entrance.serve("mcp-server.internal", &company, server.address());
        Self { directory, public, company, entrance, server }
    }

    /// A path below `/etc/envoy`.
    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("envoy").join(name)
    }

    /// A file of the repository's folder `envoy`, with the paths that it has on this machine.
    fn installed(&self, name: &str) -> Value {
        let text = fs::read_to_string(repository_root().join("envoy").join(name)).unwrap();
        let etc = self.directory.path().to_str().unwrap();
        let text =
            text.replace(" /etc/", &format!(" {etc}/")).replace("\"/etc/", &format!("\"{etc}/"));
        yaml(&text)
    }

    /// The example with this name, with its clusters led to this site.
    fn example(&self, name: &str) -> Bootstrap {
        let mut tree = self.installed(name);
        let resources = &mut tree["static_resources"];
        if let Some(clusters) = resources.get_mut("clusters") {
            self.lead_here(clusters);
        }
        resources["listeners"][0]["address"]["socket_address"]["address"] = json!("127.0.0.1");
        let file = self.directory.path().join("example.json");
        fs::write(&file, tree.to_string()).unwrap();
        Bootstrap::from_file(&file)
    }

    /// Leads clusters to this machine: over TLS to the entrance, in plain text to the MCP server.
    fn lead_here(&self, clusters: &mut Value) {
        for cluster in clusters.as_array_mut().unwrap() {
            let address = match (cluster["name"].as_str(), cluster.get("transport_socket")) {
                (_, Some(_)) => self.entrance.address(),
                (Some("mcp_server"), None) => self.server.address(),
                _ => continue,
            };
            lead_to(cluster, address);
        }
    }

    /// Starts Envoy with this configuration, and a client for it.
    async fn start(&self, bootstrap: Bootstrap) -> TlsEnvoy {
        let envoy = Envoy::builder().bootstrap(bootstrap);
        let envoy = envoy
            .environment("SCIM_TOKEN", ScimDirectory::BEARER_TOKEN)
            .environment("MCP_AUTH_SECRET", SECRET);
        TlsEnvoy::before(envoy.start().await, &self.company).await
    }

    /// A real-world provider, at its own URLs.
    async fn provider(&self, vendor: Vendor<'_>) -> IdentityProvider {
        let provider = IdentityProvider::start().await;
        provider.set_issuer(vendor.issuer);
        let (metadata_host, metadata_path) = host_and_path(vendor.metadata_url);
        let (keys_host, keys_path) = host_and_path(vendor.jwks_url);
        provider.serve_at(Document::Discovery, metadata_path);
        provider.serve_at(Document::KeySet, keys_path);
        let jwks_url = vendor.jwks_url.to_owned();
        provider.edit(Document::Discovery, move |document| {
            document["jwks_uri"] = json!(jwks_url);
        });
        for host in [metadata_host, keys_host] {
            self.entrance.serve(host, vendor.authority, provider.address());
        }
        provider
    }

    async fn entra(&self) -> IdentityProvider {
        let base = format!("https://{ENTRA}/{TENANT}");
        self.provider(Vendor {
            issuer: &format!("{base}/v2.0"),
            metadata_url: &format!("{base}/v2.0/.well-known/openid-configuration"),
            jwks_url: &format!("{base}/discovery/v2.0/keys"),
            authority: &self.public,
        })
        .await
    }

    async fn keycloak(&self, realm: &str) -> IdentityProvider {
        let issuer = format!("https://{SSO}/realms/{realm}");
        self.provider(Vendor {
            issuer: &issuer,
            metadata_url: &format!("{issuer}/.well-known/openid-configuration"),
            jwks_url: &format!("{issuer}/protocol/openid-connect/certs"),
            authority: &self.company,
        })
        .await
    }
}

/// The hosts of a real-world provider, and the authority of their certificates.
struct Vendor<'a> {
    issuer: &'a str,
    metadata_url: &'a str,
    jwks_url: &'a str,
    authority: &'a CertificateAuthority,
}

/// A running Envoy, and a client that reaches it over TLS.
struct TlsEnvoy {
    envoy: Envoy,
    tunnel: TlsTunnel,
    client: Client,
}

impl TlsEnvoy {
    /// Envoy's certificate must be issued by this authority.
    async fn before(envoy: Envoy, authority: &CertificateAuthority) -> Self {
        let tunnel = TlsTunnel::start(envoy.address(), HOST, authority).await;
        let client = Client::builder().no_proxy().pool_max_idle_per_host(0).build().unwrap();
        Self { envoy, tunnel, client }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.tunnel.address())
    }

    /// A call to `whoami`, without a token.
    fn request(&self) -> RequestBuilder {
        Response::mcp_call(&self.client, &self.url("/mcp")).header("host", HOST)
    }

    async fn send(&self, request: RequestBuilder) -> Response {
        Response::read(request.send().await.expect("Envoy responds")).await
    }

    async fn call(&self, token: &str) -> Response {
        self.send(self.request().bearer_auth(token)).await
    }

    /// Asserts that this token passes, and that the server sees this user and provider.
    async fn assert_passes(&self, token: &str, user: &str, provider: &str) {
        let response = self.call(token).await;
        let who = response.whoami();
        assert_eq!(
            (response.status, &who["x-mcp-user"], &who["x-mcp-provider"]),
            (200, &json!(user), &json!(provider)),
            "{response:?}\n{}",
            self.envoy.log()
        );
    }

    /// Asserts that no request passes without a token, and that no identity can be forged.
    async fn assert_is_closed(&self, server: &McpServer) {
        let before = server.count();
        let response = self.send(self.request().header("x-mcp-user", "root")).await;
        assert_refusal(&response, "missing_token");
        let metadata = "https://mcp.example.com/.well-known/oauth-protected-resource/mcp";
        assert!(response.header("www-authenticate").contains(metadata), "{response:?}");
        assert_eq!(server.count(), before);
    }
}

/// The usual claims of an employee in Entra ID.
fn employee(provider: &IdentityProvider) -> Value {
    let mut claims = provider.claims(ENTRA_CLIENT_ID);
    claims["preferred_username"] = json!("ada@example.com");
    claims["scp"] = json!("mcp.tools incidents.read");
    claims
}

/// Certificates that Envoy must not accept, each with the failure that it counts: one of the right
/// authority for another host, and one of an untrusted authority.
fn false_certificates(
    host: &str,
    authority: &CertificateAuthority,
) -> [((String, String), &'static str); 2] {
    [
        (authority.certify("evil.example.com"), "fail_verify_san"),
        (CertificateAuthority::new().certify(host), "fail_verify_error"),
    ]
}

/// The clusters whose handshakes failed for this reason.
async fn failures(envoy: &Envoy, count: &str) -> Vec<String> {
    let end = format!(".ssl.{count}");
    let stats = envoy.stats().await.into_iter();
    stats
        .filter(|(name, value)| name.starts_with("cluster.") && name.ends_with(&end) && *value > 0)
        .map(|(name, _)| name)
        .collect()
}

/// Makes a cluster call this address, and changes nothing else.
fn lead_to(cluster: &mut Value, address: SocketAddr) {
    let endpoint = &mut cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
    let socket_address = &mut endpoint["address"]["socket_address"];
    assert!(socket_address["address"].is_string(), "{cluster}");
    *socket_address = json!({"address": address.ip(), "port_value": address.port()});
}

fn host_and_path(url: &str) -> (&str, &str) {
    let rest = url.strip_prefix("https://").unwrap();
    rest.split_at(rest.find('/').unwrap())
}

/// Replaces a file in one step, which is how Envoy notices a change.
fn put(path: &Path, content: &Value) {
    let draft = path.with_extension("draft");
    fs::write(&draft, content.to_string()).unwrap();
    fs::rename(draft, path).unwrap();
}

/// A host that keys come from, and a token that these keys verify.
struct KeyHost<'a> {
    host: &'a str,
    authority: &'a CertificateAuthority,
    provider: &'a IdentityProvider,
    token: String,
}

/// Asserts that these hosts are trusted only with valid certificates.
async fn assert_certificates_matter(
    site: &Site,
    example: impl Fn() -> Bootstrap,
    hosts: &[KeyHost<'_>],
) {
    for round in 0..2 {
        let mut expected = "";
        for KeyHost { host, authority, provider, .. } in hosts {
            let (certificate, count) = false_certificates(host, authority)[round].clone();
            site.entrance.serve_with(host, certificate, provider.address());
            provider.clear_log();
            expected = count;
        }
        let gate = site.start(example()).await;
        for KeyHost { host, provider, token, .. } in hosts {
            assert_refusal(&gate.call(token).await, "keys_unavailable");
            // The request does not even reach that server.
            let is_of_host = |(name, value): &(String, String)| name == "host" && value == host;
            let asked =
                provider.requests().iter().any(|request| request.headers.iter().any(is_of_host));
            assert!(!asked, "{host} got a request over TLS with an invalid certificate");
        }
        let failed = failures(&gate.envoy, expected).await;
        assert!(failed.len() >= hosts.len(), "{expected}: {failed:?}");
    }
    for KeyHost { host, authority, provider, .. } in hosts {
        site.entrance.serve(host, authority, provider.address());
    }
    let gate = site.start(example()).await;
    for KeyHost { token, .. } in hosts {
        assert_eq!(gate.call(token).await.status, 200);
    }
}
