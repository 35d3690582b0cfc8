//! Requests for the page.

use super::*;

fn ask(method: &str, path: &str, authority: &str) -> crate::response::Response {
    let page = StatusPage::new(StatusConfig { hosts: vec!["status.internal".to_owned()] });
    let fields = [(":method", method), (":path", path), (":authority", authority)]
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    page.response(RequestHead::new(&fields, false), &TestBoard::default(), at(0))
}

#[test]
fn the_page_has_two_paths() {
    for (method, path, status) in [
        ("GET", "/", 200),
        ("HEAD", "/", 200),
        ("GET", "/?from=here", 200),
        ("GET", "/status.json", 200),
        ("POST", "/", 405),
        ("DELETE", "/status.json", 405),
        ("OPTIONS", "/", 405),
        ("GET", "/mcp", 404),
        ("POST", "/mcp", 404),
        ("GET", "/status.json/more", 404),
        ("GET", "", 404),
        ("", "/", 405),
    ] {
        let response = ask(method, path, "127.0.0.1:9902");
        assert_eq!(response.status, status, "{method} {path}");
        let header = |name| {
            response.headers.iter().find(|(header, _)| *header == name).map(|(_, value)| &**value)
        };
        assert_eq!(header("allow"), (status == 405).then_some("GET, HEAD"));
        assert_eq!(header("cache-control"), Some("no-store"));
        assert_eq!(header("x-content-type-options"), Some("nosniff"));
        let policy = header("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none'; ") && policy.contains("frame-ancestors 'none'")
        );
        assert!(!policy.contains("unsafe"));
    }
}

#[test]
fn the_page_is_shown_under_its_own_names_only() {
    for (authority, status) in [
        ("127.0.0.1:9902", 200),
        ("127.0.0.1", 200),
        ("[::1]:9902", 200),
        ("[::1]", 200),
        ("10.1.2.3:80", 200),
        ("localhost:8080", 200),
        ("LOCALHOST", 200),
        ("status.internal:9902", 200),
        ("", 403),
        ("attacker.example:9902", 403),
        ("localhost.attacker.example", 403),
        ("127.0.0.1.attacker.example", 403),
    ] {
        assert_eq!(ask("GET", "/", authority).status, status, "{authority}");
    }
}

#[test]
fn the_style_sheet_has_the_hash_in_the_content_security_policy() {
    use base64::Engine;
    use sha2::Digest;
    let response = ask("GET", "/", "localhost");
    let page = String::from_utf8(response.body).unwrap();
    let (_, rest) = page.split_once("<style>").unwrap();
    let (style, rest) = rest.split_once("</style>").unwrap();
    let digest = base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(style));
    let policy = response.headers.iter().find(|(name, _)| *name == "content-security-policy");
    assert!(policy.unwrap().1.contains(&format!("style-src 'sha256-{digest}'")));
    assert!(!rest.contains("style") && !page.contains("<script") && !page.contains("http-equiv"));
}
