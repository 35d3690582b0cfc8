use crate::host::{HostCrypto, Outcome, SharedData, Vm};

const ROOT_ID: &str = "mcp_auth_status";

#[test]
fn no_request_for_the_page_is_forwarded() {
    let page = Vm::start_as(ROOT_ID, HostCrypto::Works, b"{}", &SharedData::default()).unwrap();
    let (id, _) =
        page.open(&[(":method", b"POST"), (":path", b"/mcp"), (":authority", b"localhost")]);
    assert_eq!(page.send_body(id, b"{}", false), b"");
    assert_eq!(page.send_body(id, b"{}", true), b"");
    assert_eq!(page.send_trailers(id), b"");
    match page.outcome(id) {
        Outcome::Refused(response) => assert_eq!(response.status, 404),
        other => panic!("{other:?}"),
    }
    // Whatever its bytes are.
    let (_, outcome) =
        page.request(&[(":method", b"\xff"), (":path", b"/\xff\0"), (":authority", b"\xff")]);
    assert!(matches!(outcome, Outcome::Refused(response) if response.status == 403));
}
