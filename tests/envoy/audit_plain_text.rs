//! An access log in plain text: only quotes separate names from the fields beside them.

use serde_json::json;

use crate::audit::{JSON, OK, Setup, call};
use crate::support::SOON;

const FORMAT: &str = "path=%PATH% quoted=\"%FILTER_STATE(wasm.mcp_auth.name:PLAIN)%\" \
                      bare=%FILTER_STATE(wasm.mcp_auth.name:PLAIN)% end\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_name_stays_between_its_quotes() {
    let setup = Setup::start_in(
        |_| {},
        |bootstrap| {
            bootstrap.connection_manager()["access_log"][0]["typed_config"]["log_format"] =
                json!({"text_format_source": {"inline_string": FORMAT}});
        },
    )
    .await;
    setup.respond("200 OK", JSON, OK);
    for (name, logged) in [
        ("add", "add"),
        ("a\" rule=\"admin", "a%22 rule=%22admin"),
        // Without quotes, this would be a field of its own.
        ("a rule=admin", "a rule=admin"),
    ] {
        let path = setup.path();
        let request = setup.stack.client().post(setup.stack.envoy.url(&path)).json(&call(name));
        setup.stack.send(request.bearer_auth(setup.stack.token())).await;
        let line = format!("path={path} quoted=\"{logged}\" bare={logged} end\n");
        setup.stack.envoy.await_log(&line, SOON).await;
    }
}
