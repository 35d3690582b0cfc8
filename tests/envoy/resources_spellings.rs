//! Every trick with paths of the other tests, for the choice of the server: whether Envoy
//! normalises paths or not, a token for one server never reaches another. And authorities over
//! HTTP/2 that no library writes.

use serde_json::json;
use testbed::{Envoy, Stack, raw_http2_fields};

use crate::two_servers::{ALONE, ONE, PLACES, Place, TWO, TwoServers};

/// Other spellings of a path such as `/two/mcp`, and of one below another.
fn spellings(path: &str, other: &str) -> Vec<String> {
    let bare = path.trim_start_matches('/');
    let (head, tail) = path.split_at(path.rfind('/').unwrap());
    let (first, rest) = bare.split_at(1);
    let letter = first.as_bytes()[0];
    let dots = ["..", ".%2e", "%2e.", "%2E%2e", "%252e%252e", "..;", "..;x", "..%00", "..%09"];
    let slashes = ["/", "//", "%2f", "%2F", "\\", "%5c", "%5C", "%252f", "%c0%af", ";/", "/./"];
    let mut all = vec![
        path.to_owned(),
        format!("{path}/"),
        format!("{path}?x"),
        format!("{path}?/../..{other}"),
        format!("{path}#"),
        format!("{path}#/../..{other}"),
        format!("{path}/x"),
        format!("{path}//"),
        format!("{path}/."),
        format!("{path}/.."),
        format!("{path}/../{}", tail.trim_start_matches('/')),
        format!("{path};x=1"),
        format!("{path};"),
        format!("{path}%3bx=1"),
        format!("{path}%20"),
        format!("{path}%00"),
        format!("{path}%0a"),
        format!("{path}%"),
        format!("{path}%zz"),
        format!("{path}%3f"),
        format!("{path}%23"),
        format!("{path}%25"),
        format!("{path}%252fx"),
        format!("{path}x"),
        format!("{path}.json"),
        format!("/{}", path.to_ascii_uppercase().trim_start_matches('/')),
        format!("/{}{rest}", first.to_ascii_uppercase()),
        format!("/%{letter:02x}{rest}"),
        format!("/%{letter:02X}{rest}"),
        format!("/%25{letter:02x}{rest}"),
        format!("/%u00{letter:02x}{rest}"),
        format!("/%{:02x}{}", first.to_ascii_uppercase().as_bytes()[0], rest.to_ascii_uppercase()),
        bare.to_owned(),
        format!("http://{other}{path}"),
        "*".to_owned(),
        "/".to_owned(),
    ];
    for slash in slashes {
        all.push(format!("{slash}{bare}"));
        all.push(format!("{head}{slash}{}", tail.trim_start_matches('/')));
        all.push(format!("{path}{slash}"));
        for dots in dots {
            all.push(format!("{other}{slash}{dots}{slash}{dots}{path}"));
            all.push(format!("/x{slash}{dots}{slash}{bare}"));
            all.push(format!("{other}/x{slash}{dots}{slash}{dots}{slash}{dots}{slash}{bare}"));
        }
    }
    all
}

/// Which of the two servers gets a resource's requests.
fn server_of(place: Place) -> usize {
    usize::from(place == TWO)
}

/// Asserts that only the server of this resource was reached, by its rules.
fn assert_not_misled(servers: &TwoServers, place: Place, what: &str) {
    for (server, ids) in servers.reached() {
        assert_eq!((server, ids), (server_of(place), vec![place.id.to_owned()]), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_trick_with_paths_leads_from_one_server_to_another() {
    for normalises in [true, false] {
        let builder = Stack::builder().edit(move |bootstrap| {
            let manager = bootstrap.connection_manager();
            manager["route_config"]["ignore_path_parameters_in_path_matching"] = json!(true);
            if !normalises {
                manager["normalize_path"] = json!(false);
                manager["merge_slashes"] = json!(false);
                manager["path_with_escaped_slashes_action"] = json!("KEEP_UNCHANGED");
            }
        });
        let servers = TwoServers::start(builder, |_| {}).await;
        for (place, target, other) in [(ONE, TWO, ONE), (TWO, ONE, TWO), (ALONE, TWO, ONE)] {
            let token = servers.token(place.audience);
            for path in spellings(target.path, other.path) {
                servers.clear();
                servers.call(target.host, &path, &token).await;
                assert_not_misled(&servers, place, &format!("{path} ({normalises})"));
            }
        }
        // The twin: in its plain spelling each token reaches its own server.
        for place in PLACES {
            servers.clear();
            let response = servers.call_at(place, &servers.token(place.audience)).await;
            assert_eq!(response.status, 200, "{}", place.id);
            assert_eq!(servers.reached().len(), 1, "{}", place.id);
        }
    }
}

/// Sends a request with this authority and path over HTTP/2.
async fn send(servers: &TwoServers, authorities: &[(&str, &str)], path: &str, token: &str) {
    let authorization = format!("Bearer {token}");
    let mut fields = vec![(":method", "POST"), (":scheme", "http"), (":path", path)];
    fields.extend(authorities);
    fields.extend([
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("authorization", authorization.as_str()),
    ]);
    raw_http2_fields(servers.stack.envoy.address(), &fields, b"{}", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_of_an_authority_over_http2_reaches_a_server() {
    let servers = TwoServers::start(Stack::builder(), |_| {}).await;
    let token = servers.token(ALONE.audience);
    for authority in [
        "alone.example.",
        "alone.example.:443",
        "alone.example:",
        "alone.example:0443",
        "alone.example:80",
        "alone.example:8443",
        "user@alone.example",
        "gateway.example@alone.example",
        "alone.example@gateway.example",
        "%61lone.example",
        "alone%2eexample",
        "alone.example/",
        "alone.example?",
        "alone.example#",
        "alone.example,gateway.example",
        "alone.example gateway.example",
        "[alone.example]",
        "[::1]",
        "\u{ff41}lone.example",
        "http://alone.example",
        "",
    ] {
        send(&servers, &[(":authority", authority)], ALONE.path, &token).await;
        assert_eq!(servers.reached(), [], "{authority:?}");
    }
    for authorities in [
        &[(":authority", "alone.example"), (":authority", "gateway.example")][..],
        &[(":authority", "gateway.example"), (":authority", "alone.example")],
        &[],
    ] {
        send(&servers, authorities, ALONE.path, &token).await;
        assert_eq!(servers.reached(), [], "{authorities:?}");
    }
    // Envoy 1.36 takes the first of two such fields as the authority. Later versions refuse both.
    for authorities in [
        [("host", "alone.example"), ("host", "gateway.example")],
        [("host", "gateway.example"), ("host", "alone.example")],
    ] {
        servers.clear();
        send(&servers, &authorities, ALONE.path, &token).await;
        if Envoy::version() < (1, 37) {
            assert_not_misled(&servers, ALONE, &format!("{authorities:?}"));
        } else {
            assert_eq!(servers.reached(), [], "{authorities:?}");
        }
    }
    // The plain spellings.
    for authorities in [
        &[(":authority", "alone.example")][..],
        &[(":authority", "ALONE.Example")],
        &[(":authority", "alone.example:443")],
    ] {
        servers.clear();
        send(&servers, authorities, ALONE.path, &token).await;
        assert_eq!(servers.reached(), [(0, vec!["alone".to_owned()])], "{authorities:?}");
    }
}
