use super::*;
use crate::access::{Pattern, Requirement};
use crate::refusal::BodyFault;

fn policy(conditions: Vec<Match>) -> AccessPolicy {
    let rule =
        |condition| Rule { name: String::new(), condition, requirement: Requirement::default() };
    let rules = conditions.into_iter().map(rule).collect();
    let hierarchy = ScopeHierarchy::default();
    let inspection = Inspection::Body { max_body: 100 };
    let lists = ListRules { are_filtered: true, show_if_scopes_missing: false, max_body: 100 };
    AccessPolicy::new(rules, DefaultAccess::Deny, hierarchy, inspection, lists, &[])
}

fn condition(path: &str, mcp_methods: &[&str], mcp_names: &[&str]) -> Match {
    let patterns =
        |strings: &[&str]| strings.iter().filter_map(|text| Pattern::parse(text)).collect();
    Match {
        paths: CanonicalPath::parse(path.as_bytes()).into_iter().collect(),
        mcp_methods: patterns(mcp_methods),
        mcp_names: patterns(mcp_names),
        ..Match::default()
    }
}

/// The matching rule for this path and content, or the denial.
fn find(policy: &AccessPolicy, path: &str, content: MessageView<'_>) -> Result<RuleMatch, Denial> {
    find_by(policy, "POST", path, content)
}

fn target(policy: &AccessPolicy, method: &str, path: &str) -> Target {
    let fields = [(":method", method), (":path", path)];
    let fields = fields.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    policy.target(RequestHead::new(&fields, true), CanonicalPath::parse(path.as_bytes()))
}

fn find_by(
    policy: &AccessPolicy,
    method: &str,
    path: &str,
    content: MessageView<'_>,
) -> Result<RuleMatch, Denial> {
    policy.find(&target(policy, method, path), content).map_err(|refusal| match refusal {
        Refusal::AccessDenied { denial, .. } => denial,
        other => panic!("{other}"),
    })
}

fn call(method: &str, name: Option<&str>) -> McpCall {
    McpCall { method: method.to_owned(), name: name.map(str::to_owned) }
}

#[test]
fn lists_are_filtered_where_any_rule_names_items() {
    let policy = policy(vec![
        condition("/mcp", &["ping"], &[]),
        condition("/mcp", &["tools/call"], &["a*"]),
        condition("/open", &["tools/call"], &[]),
    ]);
    for (path, is_filtered) in [("/mcp", true), ("/open", false), ("/elsewhere", false)] {
        let target = target(&policy, "POST", path);
        assert_eq!(policy.filters_lists(&target).is_some(), is_filtered, "{path}");
    }
}

#[test]
fn the_message_is_needed_only_once_a_rule_depends_on_it() {
    let policy = policy(vec![
        condition("/open", &[], &[]),
        condition("/mcp", &["tools/call"], &["a*"]),
        condition("/open", &["tools/call"], &[]),
        condition("/mcp", &[], &["note://*"]),
        condition("/mcp", &[], &[]),
        condition("", &["*"], &[]),
    ]);
    let (a, b) = (call("tools/call", Some("a1")), call("tools/call", Some("b")));
    let (note, nameless) = (call("resources/read", Some("note://a")), call("a", None));
    for (path, content, found) in [
        ("/open", MessageView::Unread, RuleMatch::Rule(0)),
        ("/mcp", MessageView::Unread, RuleMatch::DependsOnMessage),
        ("/mcp", MessageView::McpCall(&a), RuleMatch::Rule(1)),
        ("/mcp", MessageView::McpCall(&note), RuleMatch::Rule(3)),
        ("/mcp", MessageView::McpCall(&b), RuleMatch::Rule(4)),
        ("/mcp", MessageView::McpCall(&nameless), RuleMatch::Rule(4)),
        ("/mcp", MessageView::NotACall, RuleMatch::Rule(4)),
        ("/else", MessageView::Unread, RuleMatch::DependsOnMessage),
        ("/else", MessageView::McpCall(&nameless), RuleMatch::Rule(5)),
        ("/else", MessageView::NotACall, RuleMatch::NoRule),
    ] {
        assert_eq!(find(&policy, path, content), Ok(found), "{path}");
    }
}

#[test]
fn only_a_post_has_a_message() {
    let policy = policy(vec![condition("/mcp", &["ping"], &[]), condition("/mcp", &[], &[])]);
    let ping = call("ping", None);
    for (method, found) in [
        ("POST", Ok(RuleMatch::Rule(0))),
        ("GET", Ok(RuleMatch::Rule(1))),
        ("DELETE", Ok(RuleMatch::Rule(1))),
        ("PUT", Ok(RuleMatch::Rule(1))),
        ("post", Err(Denial::AmbiguousMethod)),
        ("Post", Err(Denial::AmbiguousMethod)),
    ] {
        assert_eq!(
            find_by(&policy, method, "/mcp", MessageView::McpCall(&ping)),
            found,
            "{method}"
        );
        let has_message = target(&policy, method, "/mcp").hints.is_some();
        assert_eq!(has_message, method == "POST", "{method}");
    }
}

#[test]
fn a_method_in_lower_case_is_ambiguous_where_rules_name_methods() {
    let named = Match { methods: vec!["DELETE".to_owned()], ..Match::default() };
    let by_method = policy(vec![named, condition("", &[], &[])]);
    let by_path = policy(vec![condition("/mcp", &[], &[])]);
    for (method, expected) in [
        ("DELETE", Ok(RuleMatch::Rule(0))),
        ("delete", Err(Denial::AmbiguousMethod)),
        ("GET", Ok(RuleMatch::Rule(1))),
        ("gET", Err(Denial::AmbiguousMethod)),
    ] {
        assert_eq!(
            find_by(&by_method, method, "/mcp", MessageView::NotACall),
            expected,
            "{method}"
        );
        let found = find_by(&by_path, method, "/mcp", MessageView::NotACall);
        assert_eq!(found, Ok(RuleMatch::Rule(0)), "{method}");
    }
}

#[test]
fn a_message_can_reach_the_message_rules_and_the_first_other_one() {
    let policy = policy(vec![
        condition("/mcp", &["tools/call"], &["a"]),
        condition("/else", &["tools/call"], &[]),
        condition("/mcp", &["ping"], &[]),
        condition("/mcp", &[], &[]),
        condition("", &["*"], &[]),
    ]);
    let reachable = |method, path| -> Vec<RuleMatch> {
        let target = target(&policy, method, path);
        policy.reachable(target.path.as_ref(), &target.method).collect()
    };
    let rules = |indices: &[usize]| -> Vec<RuleMatch> {
        indices.iter().map(|index| RuleMatch::Rule(*index)).collect()
    };
    assert_eq!(reachable("POST", "/mcp"), rules(&[0, 2, 3]));
    assert_eq!(reachable("POST", "/else"), [rules(&[1, 4]), vec![RuleMatch::NoRule]].concat());
    assert_eq!(reachable("POST", "/"), [rules(&[4]), vec![RuleMatch::NoRule]].concat());
}

#[test]
fn a_uri_that_servers_may_read_as_one_of_another_rule_is_ambiguous() {
    let policy = policy(vec![
        condition("/mcp", &["resources/read"], &["users://admin@corp", "https://example.com/a"]),
        condition("/mcp", &[], &["search://items?q=*"]),
        condition("/mcp", &[], &[]),
    ]);
    for (uri, expected) in [
        ("users://admin@corp", Ok(RuleMatch::Rule(0))),
        ("users://admin%40corp", Err(Denial::AmbiguousName)),
        ("users://ADMIN%40corp", Err(Denial::AmbiguousName)),
        ("users://admin@corp?x=1", Err(Denial::AmbiguousName)),
        ("https://u:p@example.com/a", Err(Denial::AmbiguousName)),
        ("https://example.com/a#x", Err(Denial::AmbiguousName)),
        ("users://ada%40corp", Ok(RuleMatch::Rule(2))),
        ("users://ada@corp?x=1", Ok(RuleMatch::Rule(2))),
        ("search://items?q=a", Ok(RuleMatch::Rule(1))),
    ] {
        let read = call("resources/read", Some(uri));
        assert_eq!(find(&policy, "/mcp", MessageView::McpCall(&read)), expected, "{uri}");
    }
}

#[test]
fn a_path_that_matches_another_rule_in_another_case_is_ambiguous() {
    let policy = policy(vec![
        condition("/mcp", &["tools/call"], &["secret", "note://secret/*"]),
        condition("", &[], &[]),
    ]);
    let secret = call("tools/call", Some("Secret"));
    let shout = call("TOOLS/CALL", Some("secret"));
    let other = call("resources/read", Some("note://open/x"));
    for (path, content, expected) in [
        ("/mcp", MessageView::McpCall(&secret), Err(Denial::AmbiguousName)),
        ("/mcp", MessageView::McpCall(&shout), Err(Denial::AmbiguousName)),
        ("/mcp", MessageView::McpCall(&other), Ok(RuleMatch::Rule(1))),
        ("/MCP", MessageView::Unread, Err(Denial::AmbiguousPath)),
        ("//mcp", MessageView::Unread, Err(Denial::AmbiguousPath)),
        ("/else", MessageView::McpCall(&secret), Ok(RuleMatch::Rule(1))),
    ] {
        assert_eq!(find(&policy, path, content), expected, "{path}");
    }
}

#[test]
fn a_message_whose_name_cannot_be_read_does_not_pass_a_rule_on_names() {
    let names = policy(vec![condition("/mcp", &[], &["secret"]), condition("", &[], &[])]);
    let methods = policy(vec![condition("/mcp", &["tools/*"], &[]), condition("", &[], &[])]);
    let shout = call("TOOLS/CALL", None);
    let (other, prompt) = (call("x/y", None), call("PROMPTS/GET", None));
    let uri = call("resources/read", Some("note://open/../secret"));
    let found = |policy: &AccessPolicy, call| find(policy, "/mcp", MessageView::McpCall(call));
    assert_eq!(found(&names, &shout), Err(Denial::AmbiguousName));
    assert_eq!(found(&names, &other), Ok(RuleMatch::Rule(1)));
    // Where no rule matches names, no name can be missed.
    assert_eq!(found(&methods, &prompt), Ok(RuleMatch::Rule(1)));
    assert_eq!(found(&methods, &uri), Ok(RuleMatch::Rule(1)));
    let fields = [(b":path".as_slice(), b"/mcp".as_slice())];
    let path = CanonicalPath::parse(b"/mcp");
    let target = names.target(RequestHead::new(&fields, true), path);
    let refused = names.find(&target, MessageView::McpCall(&uri));
    assert!(matches!(refused, Err(Refusal::McpBodyInvalid(BodyFault::Uri { .. }))));
}

#[test]
fn a_template_is_judged_by_its_literal_beginning() {
    let policy = policy(vec![
        condition("/mcp", &[], &["https://inner.example/*", "users://admin@corp"]),
        condition("/mcp", &[], &["https://*", "note://a"]),
    ]);
    let template = |uri: &str| {
        let call = call("resources/read", Some(uri));
        let target = target(&policy, "POST", "/mcp");
        policy.find(&target, MessageView::Beginning(&call)).map_err(|_| ())
    };
    for (beginning, expected) in [
        ("https://", Ok(RuleMatch::Rule(1))),
        ("https://a.exa", Ok(RuleMatch::Rule(1))),
        ("https://inner.example", Ok(RuleMatch::Rule(1))),
        ("https://inner.example/", Ok(RuleMatch::Rule(0))),
        ("note://a", Ok(RuleMatch::Rule(1))),
        ("https:", Ok(RuleMatch::NoRule)),
        ("", Ok(RuleMatch::NoRule)),
        // No URI that begins so can be read.
        ("HTTPS://", Err(())),
        ("https://inner.example/../", Err(())),
        ("https://inner.example:443/", Err(())),
        // Another rule names what a lenient server reads.
        ("https://a@inner.example/", Err(())),
        ("users://admin%40corp", Err(())),
    ] {
        assert_eq!(template(beginning), expected, "{beginning}");
        // A call needs a whole URI.
        if expected.is_ok() && !beginning.starts_with("note") && !beginning.ends_with("example/") {
            let call = call("resources/read", Some(beginning));
            let refused =
                policy.find(&target(&policy, "POST", "/mcp"), MessageView::McpCall(&call));
            assert!(matches!(refused, Err(Refusal::McpBodyInvalid(_))), "{beginning}");
        }
    }
}
