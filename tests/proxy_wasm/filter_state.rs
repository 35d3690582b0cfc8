use crate::host::SharedData;
use crate::provider::{configuration, fetch, key, request, start, token};

#[test]
fn access_logs_can_print_the_caller_and_the_reason_of_a_refusal() {
    let vm = start(&configuration(), &SharedData::default());
    let key = key("one");
    fetch(&vm, &[&key]);
    let (id, _) = request(&vm, &token(&key));
    assert_eq!(
        vm.filter_state(id),
        ["mcp_auth.client=demo-agent", "mcp_auth.provider=example", "mcp_auth.user=ada"]
    );
    let (id, _) = request(&vm, "x");
    assert_eq!(vm.filter_state(id), ["mcp_auth.reason=malformed_token"]);
}
