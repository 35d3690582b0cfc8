//! From the URL alone to a tool call.

use testbed::OfficialSdk;

use crate::support::Scene;

/// The requests of each client before the first one that passes: RFC 9728 finds the provider, RFC
/// 8414 its endpoints, RFC 7591 registers.
const DANCE: [&str; 5] = [
    "POST /mcp 401",
    "GET /.well-known/oauth-protected-resource/mcp 200",
    "GET /.well-known/oauth-authorization-server 200",
    "POST /reg 201",
    "authorization_code /token 200",
];

async fn assert_every_client_can_call(server: OfficialSdk) {
    let scene = Scene::before(server).await;
    scene.assert_every_client_gets_to_a_tool(&DANCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_gets_from_the_url_to_a_tool_of_a_typescript_v1_server() {
    assert_every_client_can_call(OfficialSdk::TypeScriptV1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_gets_from_the_url_to_a_tool_of_a_typescript_v2_server() {
    assert_every_client_can_call(OfficialSdk::TypeScriptV2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_gets_from_the_url_to_a_tool_of_a_python_v1_server() {
    assert_every_client_can_call(OfficialSdk::PythonV1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_gets_from_the_url_to_a_tool_of_a_python_v2_server() {
    assert_every_client_can_call(OfficialSdk::PythonV2).await;
}
