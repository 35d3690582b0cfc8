//! As with Istio: several plugins of one module have no `vm_id`, and so share a VM in each thread,
//! and shared data.

use serde_json::{Value, json};
use testbed::{Document, Port, Response, Stack};

/// Two listeners: the first accepts the demo's audience, the second another one.
async fn start_two(vm_id: Option<&str>) -> (Stack, Port) {
    let second_port = Port::free();
    let number = second_port.number();
    let vm_id = vm_id.map(str::to_owned);
    let stack = Stack::builder()
        .workers(2)
        .edit(move |bootstrap| {
            match vm_id {
                Some(vm_id) => bootstrap.plugin()["vm_config"]["vm_id"] = vm_id.into(),
                None => {
                    drop(bootstrap.plugin()["vm_config"].as_object_mut().unwrap().remove("vm_id"))
                }
            }
            let mut second = bootstrap.clone();
            second.set_listener_port(number);
            second.plugin_configuration()["providers"][0]["client_ids"] = json!(["second"]);
            let mut listener = second.tree()["static_resources"]["listeners"][0].clone();
            listener["name"] = "second".into();
            let listeners = &mut bootstrap.tree()["static_resources"]["listeners"];
            listeners.as_array_mut().unwrap().push(listener);
        })
        .start()
        .await;
    (stack, second_port)
}

async fn call(stack: &Stack, port: u16, claims: &Value) -> Response {
    let url = format!("http://127.0.0.1:{port}/mcp");
    let request =
        Response::mcp_call(stack.client(), &url).bearer_auth(stack.provider.token(claims));
    stack.send(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn configurations_that_share_a_vm_do_not_mix() {
    for vm_id in [None, Some("shared")] {
        let (stack, second) = start_two(vm_id).await;
        let first = stack.envoy.address().port();
        let second = second.number();
        let (for_first, mut for_second) = (stack.claims(), stack.claims());
        for_second["aud"] = "second".into();
        for _ in 0..8 {
            assert_eq!(call(&stack, first, &for_first).await.status, 200);
            assert_eq!(call(&stack, second, &for_second).await.status, 200);
            let response = call(&stack, first, &for_second).await;
            assert_eq!((response.status, response.reason()), (401, "audience_mismatch"));
            let response = call(&stack, second, &for_first).await;
            assert_eq!((response.status, response.reason()), (401, "audience_mismatch"));
        }
        assert_eq!(stack.server.count(), 16);
        // Both fetch the same key set with the same settings, so they may share it.
        assert_eq!(stack.provider.count(Document::KeySet), 1);
    }
}
