//! The test bed: real Envoy with the plugin, an identity provider that tests control,
//! and a real MCP server. One harness for `make demo`, `make up` and the tests.
//!
//! [`Stack`] is the entry point:
//!
//! ```no_run
//! # use testbed::Stack;
//! # async fn example() {
//! let stack = Stack::builder().start().await;
//! let token = stack.provider.token(&stack.claims());
//! let response = stack.call(&token).await;
//! assert_eq!(response.status, 200);
//! assert_eq!(response.whoami()["x-mcp-provider"], "demo");
//! # }
//! ```
//!
//! Everything runs in the caller's tokio runtime and on free loopback ports, and ends when dropped.

mod bootstrap;
mod browser;
mod child;
mod conformance;
mod envoy;
mod fault;
mod fleet_store;
mod gateway;
mod identity_provider;
mod kept_connection;
mod kubernetes;
mod load;
mod login_browser;
mod login_client;
mod login_provider;
mod login_shape;
mod mcp_server;
mod mcp_session;
mod native;
mod official_sdk;
mod open_id_provider;
mod port;
mod program;
mod prometheus;
mod raw_exchange;
mod raw_http2;
mod raw_server;
mod redis;
mod registry;
mod response;
mod rust_sdk;
mod scim_directory;
mod shared_envoy;
mod stack;
mod tls;
mod webdis;
mod worker_counts;

pub use bootstrap::{Bootstrap, ConfigurationForm};
pub use browser::{Colours, LoginByPage, SeenPage, log_in_by_page, look_at_page, visit_mcp_page};
pub use conformance::{
    ConformanceCheck, ConformanceServer, conformance_checks, conformance_checks_of,
    conformance_checks_of_login,
};
pub use envoy::{Envoy, EnvoyBuilder};
pub use fault::Fault;
pub use fleet_store::FleetStore;
pub use gateway::{Gateway, GatewayRequest};
pub use identity_provider::{Document, IdentityProvider, ProviderRequest};
pub use kept_connection::KeptConnection;
pub use kubernetes::{faults_of_kubernetes_resources, rendered_chart};
pub use load::{Load, LoadPlan, LoadReport};
pub use login_browser::{LoginBrowser, SeenLogin};
pub use login_client::LoginClient;
pub use login_provider::{LoginProvider, LoginRequest};
pub use login_shape::{AccessToken, LoginPaths, LoginShape, Refresh, ScopeClaim};
pub use mcp_server::{McpServer, RecordedRequest};
pub use mcp_session::McpSession;
pub use official_sdk::{ClientReport, OfficialSdk, SdkServer};
pub use open_id_provider::{OpenIdProvider, OpenIdProviderBuilder};
pub use port::Port;
pub use prometheus::Prometheus;
pub use raw_exchange::{OpenRequest, RawResponse, raw_exchange};
pub use raw_http2::{raw_http2_exchange, raw_http2_fields};
pub use raw_server::{RawRequest, RawServer};
pub use redis::Redis;
pub use registry::Registry;
pub use response::Response;
pub use rust_sdk::{ReadChallenge, log_in_by_rust_sdk, refresh_by_rust_sdk};
pub use scim_directory::ScimDirectory;
pub use stack::{Stack, StackBuilder};
pub use testkit::{
    Algorithm, SigningKey, claims, code_blocks, documented_reasons, form, form_of, module_path,
    native_module_path, now, pages, panicking_module_path, plugin_configurations, prose, random_id,
    repository_root, s256, verify_signature, verify_signature_arguments, verify_signature_result,
    yaml, yaml_documents, yaml_files,
};
pub use tls::{CertificateAuthority, TlsEntrance, TlsTunnel};
pub use webdis::Webdis;
pub use worker_counts::with_one_worker_and_with_four;
