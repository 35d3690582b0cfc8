//! Envoy's routes that depend on the identity follow the plugin, never the client.

use serde_json::json;
use testbed::{Bootstrap, Response, Stack};

use crate::support::close_at_once;

/// The body of Envoy's own response on the route for administrators.
const FOR_ADMINS: u16 = 418;

/// Adds a route for requests with the role `admin` before the MCP server's.
fn route_admins(bootstrap: &mut Bootstrap) {
    close_at_once(bootstrap);
    let routes = &mut bootstrap.connection_manager()["route_config"]["virtual_hosts"][0]["routes"];
    let admins = json!({
        "match": {
            "prefix": "/",
            "headers": [{"name": "x-mcp-roles", "string_match": {"exact": "admin"}}],
        },
        "direct_response": {"status": FOR_ADMINS},
    });
    routes.as_array_mut().expect("it is an array").insert(0, admins);
}

/// Sends a token with these roles, and with `x-mcp-roles: admin` if `is_forged`.
async fn call(stack: &Stack, roles: &[&str], is_forged: bool) -> Response {
    let mut claims = stack.claims();
    claims["roles"] = json!(roles);
    let mut request = stack.request().bearer_auth(stack.provider.token(&claims));
    if is_forged {
        request = request.header("x-mcp-roles", "admin");
    }
    stack.send(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_follows_the_roles_of_the_token_and_not_the_clients_header() {
    let stack = Stack::builder().edit(route_admins).start().await;
    for (roles, is_forged, status) in [
        (&["reader"][..], false, 200),
        (&["reader"], true, 200),
        (&[], true, 200),
        (&["admin"], false, FOR_ADMINS),
        (&["admin"], true, FOR_ADMINS),
        // The second request uses the token cache.
        (&["reader"], true, 200),
        (&["admin"], false, FOR_ADMINS),
    ] {
        let response = call(&stack, roles, is_forged).await;
        assert_eq!(response.status, status, "{roles:?} {is_forged} {response:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_header_chooses_no_route_where_no_token_is_required() {
    for change in [json!({"exempt": [{"path": "/mcp"}]}), json!({"mode": "report"})] {
        let stack = Stack::builder()
            .configure(move |configuration| {
                for (field, value) in change.as_object().expect("it is an object") {
                    configuration[field] = value.clone();
                }
            })
            .edit(route_admins)
            .start()
            .await;
        for is_forged in [false, true] {
            let mut request = stack.request();
            if is_forged {
                request = request.header("x-mcp-roles", "admin");
            }
            let response = stack.send(request).await;
            assert_eq!(response.status, 200, "{is_forged} {response:?}");
        }
    }
}
