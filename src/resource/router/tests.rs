//! The choice of the resource, compared with a model that checks every resource.

use proptest::prelude::*;
use serde_json::json;

use crate::config::Config;
use crate::request::{Field, RequestHead};
use crate::resource::{Resources, Sought};

/// A resource as configured.
#[derive(Clone, Debug)]
struct Written {
    url: String,
    hosts: Vec<String>,
}

fn resources(written: &[Written]) -> Option<Resources> {
    let resources: Vec<_> = written
        .iter()
        .enumerate()
        .map(|(index, Written { url, hosts })| {
            json!({"id": index.to_string(), "url": url, "hosts": hosts})
        })
        .collect();
    let configuration = json!({
        "resources": resources,
        "providers": [{
            "name": "a", "issuer": "https://a.example", "client_ids": ["a"],
            "jwks_url": "https://a.example/keys", "cluster": "a",
        }],
    });
    let config = Config::from_bytes(configuration.to_string().as_bytes());
    config.ok().map(|config| config.resources)
}

/// The position of the resource that a request belongs to.
fn owner(resources: &Resources, authority: &str, path: &str) -> Option<usize> {
    let fields: [Field<'_>; 2] =
        [(b":authority", authority.as_bytes()), (b":path", path.as_bytes())];
    let head = RequestHead::new(&fields, false);
    let owner = resources.owner(head, &resources.address(head)).ok()??;
    resources[owner].label.as_ref().unwrap().id().parse().ok()
}

fn is_owned(written: &[(&str, &[&str])], authority: &str, path: &str) -> Option<usize> {
    let written = written.iter().map(|(url, hosts)| Written {
        url: (*url).to_owned(),
        hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
    });
    owner(&resources(&written.collect::<Vec<_>>()).unwrap(), authority, path)
}

#[test]
fn the_longest_path_wins_before_the_named_host() {
    const ALL: &[(&str, &[&str])] = &[
        ("https://a.example", &[]),
        ("https://a.example/mcp", &["*"]),
        ("https://a.example/mcp/deep", &["c.example:8443"]),
        ("https://b.example/mcp", &[]),
        ("https://b.example/x/y/z", &["*"]),
    ];
    for (authority, path, owner) in [
        ("a.example", "/", Some(0)),
        ("a.example", "/other", Some(0)),
        ("a.example", "/mcp", Some(1)),
        ("a.example", "/mcp/", Some(1)),
        ("a.example", "/mcp?a=b", Some(1)),
        ("a.example", "/mcp/x", Some(1)),
        ("a.example", "/mcpx", Some(0)),
        ("a.example", "/MCP", Some(0)),
        ("a.example", "/mcp/%78", Some(1)),
        ("a.example", "/m%63p", None),
        ("a.example", "/mcp/deep", Some(2)),
        ("a.example", "/mcp/deep/er", Some(2)),
        ("a.example", "/mcp/deeper", Some(1)),
        // A longer path under any host beats a shorter one of a named host.
        ("a.example", "/x/y/z", Some(4)),
        ("b.example", "/mcp/deep", Some(3)),
        ("b.example", "/", None),
        ("other.example", "/mcp/deep", Some(1)),
        ("other.example", "/x/y", None),
        ("c.example:8443", "/mcp/deep", Some(2)),
        ("c.example", "/mcp/deep", Some(1)),
    ] {
        assert_eq!(is_owned(ALL, authority, path), owner, "{authority} {path}");
    }
}

#[test]
fn the_default_port_is_that_of_the_urls_scheme() {
    const HTTPS: &[(&str, &[&str])] = &[("https://a.example/", &["b.example:8443"])];
    const HTTP: &[(&str, &[&str])] = &[("http://localhost:80/", &["b.example:80"])];
    for (written, authority, is_one) in [
        (HTTPS, "a.example", true),
        (HTTPS, "A.Example:443", true),
        (HTTPS, "a.example:80", false),
        (HTTPS, "b.example", false),
        (HTTPS, "b.example:8443", true),
        (HTTP, "localhost", true),
        (HTTP, "localhost:80", true),
        (HTTP, "localhost:443", false),
        (HTTP, "b.example", true),
    ] {
        assert_eq!(is_owned(written, authority, "/").is_some(), is_one, "{authority}");
    }
}

#[test]
fn another_spelling_of_a_host_belongs_to_no_resource_not_even_to_one_of_any_host() {
    const ALL: &[(&str, &[&str])] =
        &[("https://a.example/mcp", &[]), ("https://b.example/mcp", &["*"])];
    assert_eq!(is_owned(ALL, "c.example", "/mcp"), Some(1));
    for authority in [
        "a.example.",
        "a.example:",
        "a.example:0443",
        "user@a.example",
        "a%2eexample",
        "%61.example",
        "a.example/",
        "http://a.example",
        "[::1",
        "[0::1]",
        "",
    ] {
        assert_eq!(is_owned(ALL, authority, "/mcp"), None, "{authority}");
    }
}

#[test]
fn an_ambiguous_path_belongs_to_no_resource() {
    const ALL: &[(&str, &[&str])] =
        &[("https://a.example/", &[]), ("https://a.example/mcp", &["*"])];
    for path in
        ["/mcp/..", "/mcp//", "/mcp;x", "/mcp/%2e%2e", "/mcp%2fx", "/mcp%252fx", "/\\mcp", "*", ""]
    {
        assert_eq!(is_owned(ALL, "a.example", path), None, "{path}");
    }
}

/// The model: checks every resource, with paths as lists of plain segments.
fn model(written: &[Written], authority: &str, path: &[&str]) -> Option<usize> {
    let candidates = written.iter().enumerate().filter_map(|(index, written)| {
        let (own, own_path) = written.url.strip_prefix("https://")?.split_once('/')?;
        let own_path: Vec<&str> = own_path.split('/').filter(|part| !part.is_empty()).collect();
        let plain = |host: &str| host.strip_suffix(":443").unwrap_or(host).to_owned();
        let is_named = plain(own) == plain(authority)
            || written.hosts.iter().any(|host| plain(host) == plain(authority));
        let is_any = written.hosts.iter().any(|host| host == "*");
        ((is_named || is_any) && path.starts_with(&own_path)).then_some((
            own_path.len(),
            is_named,
            index,
        ))
    });
    candidates.max().map(|(_, _, index)| index)
}

const HOSTS: [&str; 4] = ["a.example", "b.example", "b.example:8443", "c.example:443"];
const SEGMENTS: [&str; 3] = ["mcp", "x", "MCP"];

fn path() -> impl Strategy<Value = Vec<&'static str>> {
    prop::collection::vec(prop::sample::select(&SEGMENTS[..]), 0..4)
}

fn written() -> impl Strategy<Value = Vec<Written>> {
    let hosts = prop::sample::subsequence(vec![HOSTS[0], HOSTS[1], HOSTS[2], HOSTS[3], "*"], 0..3);
    let one = (prop::sample::select(&HOSTS[..]), path(), hosts).prop_map(|(host, path, hosts)| {
        let hosts = hosts.into_iter().map(str::to_owned).collect();
        Written { url: format!("https://{host}/{}", path.join("/")), hosts }
    });
    prop::collection::vec(one, 1..6)
}

/// A character of a path or host, possibly in another spelling.
fn spelled(text: String, choices: &[u8], is_path: bool) -> String {
    let mut choices = choices.iter().copied().cycle();
    let mut next = || choices.next().unwrap_or_default();
    let spell = |character: char| match next() {
        1 if is_path && character.is_ascii_alphanumeric() => {
            format!("%{:02x}", u32::from(character))
        }
        2 if is_path && character.is_ascii_alphanumeric() => {
            format!("%{:02X}", u32::from(character))
        }
        1 if !is_path => character.to_ascii_uppercase().to_string(),
        _ => character.to_string(),
    };
    text.chars().map(spell).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_resource_is_that_of_the_model(
        written in written(),
        host in prop::sample::select(&["a.example", "b.example", "b.example:8443", "c.example",
                                       "a.example:443", "d.example"][..]),
        path in path(),
        choices in prop::collection::vec(0..4_u8, 1..20),
        end in prop::sample::select(&["", "/", "?x", "?/../x"][..]),
    ) {
        let Some(resources) = resources(&written) else { return Ok(()) };
        let expected = model(&written, host, &path);
        let text = format!("/{}", path.join("/"));
        // Two slashes at the end would be ambiguous.
        let end = if text == "/" { end.trim_start_matches('/') } else { end };
        let text = spelled(text, &choices, true) + end;
        // If an encoded segment belongs to the resource's own path, the request belongs to no
        // resource.
        let expected = expected.filter(|index| {
            let own = written[*index].url.split('/').skip(3).filter(|own| !own.is_empty()).count();
            text.split(['/', '?']).skip(1).take(own).all(|segment| !segment.contains('%'))
        });
        let host = spelled(host.to_owned(), &choices, false);
        prop_assert_eq!(owner(&resources, &host, &text), expected);
    }

    #[test]
    fn no_request_reaches_another_resource_than_its_plain_form(
        host in "[aA.:@%0-9e\\[\\]x-]{0,12}|a\\.example[.:/@%0-9]{0,5}",
        path in "[/mcp.%2;\\\\a-f]{0,14}",
    ) {
        let written = [
            Written { url: "https://a.example/mcp".to_owned(), hosts: vec![] },
            Written { url: "https://b.example/mcp".to_owned(), hosts: vec!["*".to_owned()] },
        ];
        let resources = resources(&written).unwrap();
        let owner = owner(&resources, &host, &path);
        let is_plain = ["a.example", "a.example:443"]
            .contains(&host.to_ascii_lowercase().as_str());
        prop_assert!(owner != Some(0) || is_plain, "{} {}", host, path);
        prop_assert!(owner != Some(1) || !is_plain, "{} {}", host, path);
        if owner.is_some() {
            let decoded: Vec<u8> = percent_encoding::percent_decode(path.as_bytes()).collect();
            let decoded = String::from_utf8_lossy(&decoded);
            prop_assert!(decoded == "/mcp" || decoded.starts_with("/mcp/"));
            prop_assert!(!decoded.contains("//") && !decoded.contains(";"));
        }
    }
}

#[test]
fn a_duplicate_url_is_refused() {
    let conflict = |first: (&str, &[&str]), second: (&str, &[&str])| {
        let written = [first, second].map(|(url, hosts)| Written {
            url: url.to_owned(),
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        });
        resources(&written).is_none()
    };
    for (first, second) in [
        (("https://a.example/mcp", &[][..]), ("https://a.example/mcp", &[][..])),
        (("https://a.example/mcp", &[]), ("https://A.example:443/mcp/", &[])),
        (("https://a.example/mcp", &[]), ("https://a.example/m%63p", &[])),
        (("https://a.example/mcp", &["*"]), ("https://b.example/mcp", &["*"])),
        (("https://a.example/mcp", &["c.example"]), ("https://c.example/mcp", &[])),
    ] {
        assert!(conflict(first, second), "{first:?} {second:?}");
    }
    for (first, second) in [
        (("https://a.example/mcp", &[][..]), ("https://a.example/mcp/x", &[][..])),
        (("https://a.example/mcp", &[]), ("https://a.example/MCP", &[])),
        (("https://a.example/mcp", &[]), ("https://a.example:8443/mcp", &[])),
        (("https://a.example/mcp", &[]), ("https://b.example/mcp", &["*"])),
    ] {
        assert!(!conflict(first, second), "{first:?} {second:?}");
    }
}

#[test]
fn a_resource_matches_its_url_exactly_as_written() {
    let written: &[(&str, &[&str])] = &[
        ("https://a.example", &[]),
        ("https://a.example/rep-orts:1/m", &[]),
        ("https://a.example/caf%C3%A9", &[]),
        ("https://a.example/%7Bid%7D", &[]),
        ("https://a.example/%40acme/mcp", &[]),
    ];
    for (path, owner) in [
        ("/rep-orts:1/m", Some(1)),
        ("/rep-orts:1/m/x%3ay", Some(1)),
        ("/caf%C3%A9", Some(2)),
        ("/%7Bid%7D/x", Some(3)),
        ("/%40acme/mcp/@x", Some(4)),
        ("/other%3a", Some(0)),
        // Envoy's routes compare bytes: these paths lead to the server of the root.
        ("/rep-orts%3a1/m", None),
        ("/rep%2Dorts:1/m/x", None),
        ("/%72ep-orts:1/m", None),
        ("/rep-orts:1/%6d/", None),
        ("/caf%c3%a9", None),
        ("/caf\u{e9}", None),
        ("/{id}", None),
        ("/%7bid%7d", None),
        ("/%7Bid}/x", None),
        ("/@acme/mcp", None),
        ("/@acme/mcp/x", None),
        ("/%40acme/%6Dcp", None),
    ] {
        assert_eq!(is_owned(written, "a.example", path), owner, "{path}");
    }
}

/// The position of the resource whose document is at this path below the well-known one.
fn described(written: &[(&str, &[&str])], authority: &str, path: &str) -> Option<usize> {
    let written = written.iter().map(|(url, hosts)| Written {
        url: (*url).to_owned(),
        hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
    });
    let resources = resources(&written.collect::<Vec<_>>()).unwrap();
    let path = format!("/.well-known/oauth-protected-resource{path}");
    let fields: [Field<'_>; 2] =
        [(b":authority", authority.as_bytes()), (b":path", path.as_bytes())];
    let head = RequestHead::new(&fields, false);
    let found = resources.described_at(head, &resources.address(head))?;
    resources[found].label.as_ref().unwrap().id().parse().ok()
}

#[test]
fn a_document_is_at_the_path_of_its_resource_and_at_the_root_of_a_host_with_one() {
    const SEVERAL: &[(&str, &[&str])] = &[
        ("https://a.example", &[]),
        ("https://a.example/mcp", &[]),
        ("https://b.example/mcp", &[]),
        ("https://c.example/x", &["*"]),
    ];
    const ONE: &[(&str, &[&str])] = &[("https://a.example/mcp", &[])];
    const ONE_FOR_ALL: &[(&str, &[&str])] = &[("https://a.example/mcp", &["*"])];
    for (written, authority, path, expected) in [
        (SEVERAL, "a.example", "", Some(0)),
        (SEVERAL, "a.example", "/mcp", Some(1)),
        (SEVERAL, "a.example", "/mcp/", Some(1)),
        (SEVERAL, "a.example", "/mcp/x", None),
        (SEVERAL, "b.example", "/mcp", Some(2)),
        (SEVERAL, "b.example", "/x", Some(3)),
        // The document of the resource under any host is a second one here.
        (SEVERAL, "b.example", "", None),
        (SEVERAL, "other.example", "/x", Some(3)),
        (SEVERAL, "other.example", "/mcp", None),
        (SEVERAL, "other.example", "", None),
        (SEVERAL, "a.example.", "/mcp", None),
        (ONE, "a.example", "", Some(0)),
        (ONE, "b.example", "", None),
        (ONE, "b.example", "/mcp", None),
        (ONE_FOR_ALL, "a.example", "", Some(0)),
        (ONE_FOR_ALL, "b.example", "", Some(0)),
    ] {
        assert_eq!(described(written, authority, path), expected, "{authority} {path}");
    }
}

#[test]
fn a_request_with_two_authorities_belongs_to_no_resource() {
    let written = Written { url: "https://a.example/mcp".to_owned(), hosts: vec!["*".to_owned()] };
    let resources = resources(&[written]).unwrap();
    let owner = |authorities: &[&str]| {
        let mut fields: Vec<Field<'_>> = vec![(b":path", b"/mcp")];
        fields.extend(authorities.iter().map(|own| (&b":authority"[..], own.as_bytes())));
        let head = RequestHead::new(&fields, false);
        resources.owner(head, &resources.address(head)).unwrap()
    };
    assert!(owner(&["a.example"]).is_some());
    for authorities in [&["a.example", "b.example"][..], &["a.example", "a.example"], &[]] {
        assert!(owner(authorities).is_none(), "{authorities:?}");
    }
}

#[test]
fn the_login_metadata_is_found_by_the_resource_in_the_inserted_path() {
    const WELL_KNOWN: [&str; 1] = ["/.well-known/openid-configuration"];
    let written = ["https://a.example/one", "https://a.example/two", "https://b.example/mcp"];
    let written = written.map(|url| Written { url: url.to_owned(), hosts: vec![] });
    let resources = resources(&written).unwrap();
    for (authority, path, expected) in [
        ("a.example", "", "any"),
        ("a.example", "/two", "1"),
        ("a.example", "/three", "any"),
        ("b.example", "", "2"),
        ("c.example", "", "none"),
        ("c.example", "/two", "none"),
    ] {
        let path = format!("{}{path}", WELL_KNOWN[0]);
        let fields: [Field<'_>; 2] =
            [(b":authority", authority.as_bytes()), (b":path", path.as_bytes())];
        let address = resources.address(RequestHead::new(&fields, false));
        let found = match resources.sought_at(&address, &WELL_KNOWN).unwrap() {
            Sought::AnyOfHost => "any",
            Sought::NoneOfHost => "none",
            Sought::Resource(id) => resources[id].label.as_ref().unwrap().id(),
        };
        assert_eq!(found, expected, "{authority} {path}");
    }
}
