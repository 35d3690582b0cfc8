//! `envoy/minimal.yaml`: the smallest configuration that is safe in production.

use super::{ENTRA, KeyHost, Site, assert_certificates_matter, employee};
use crate::support::{assert_refusal, with};

const FILE: &str = "minimal.yaml";

#[tokio::test(flavor = "multi_thread")]
async fn requests_pass_only_with_a_token() {
    let site = Site::new().await;
    let entra = site.entra().await;
    let gate = site.start(site.example(FILE)).await;
    gate.assert_is_closed(&site.server).await;
    let claims = employee(&entra);
    gate.assert_passes(&entra.token(&claims), "ada@example.com", "entra").await;
    let other = entra.token(&with(&claims, "aud", "another"));
    assert_refusal(&gate.call(&other).await, "audience_mismatch");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_with_an_invalid_certificate_is_not_trusted() {
    let site = Site::new().await;
    let entra = site.entra().await;
    let token = entra.token(&employee(&entra));
    let host = KeyHost { host: ENTRA, authority: &site.public, provider: &entra, token };
    assert_certificates_matter(&site, || site.example(FILE), &[host]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ambiguous_header_names_and_paths_are_refused() {
    let site = Site::new().await;
    let entra = site.entra().await;
    let gate = site.start(site.example(FILE)).await;
    let token = entra.token(&employee(&entra));
    let request = gate.request().bearer_auth(&token);
    let response = gate.send(request.header("x_mcp_user", "root")).await;
    assert_eq!(response.status, 400, "{response:?}");
    let escaped = gate.client.get(gate.url("/mcp%2Fadmin")).bearer_auth(&token);
    assert_eq!(gate.send(escaped).await.status, 400);
    assert_eq!(site.server.count(), 0);
}
