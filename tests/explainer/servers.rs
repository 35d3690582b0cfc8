//! Several MCP servers: `explain --url` judges a token at one of them, and `check` warns if they
//! accept the same tokens.

use serde_json::{Value, json};
use testbed::{Algorithm, SigningKey, claims};

use crate::support::{Run, file, key_set, mcp_auth, with};

const INCIDENTS: &str = "https://gateway.example/incidents/mcp";
const REPORTS: &str = "https://gateway.example/reports/mcp";
const STAFF: &str = "https://staff.example";
const PARTNERS: &str = "https://partners.example";

/// Two servers and two providers. `staff` is accepted at both servers, `partners` at `reports`.
fn configuration(keys: [&SigningKey; 2]) -> Value {
    let provider = |name: &str, issuer: &str, key| json!({"name": name, "issuer": issuer, "jwks": key_set(&[key])});
    json!({
        "resources": [
            {"id": "incidents", "url": INCIDENTS, "audiences": ["for-incidents"], "providers": ["staff"]},
            {
                "id": "reports", "url": REPORTS, "audiences": ["for-reports"],
                "access": {"rules": [{"name": "all", "require": {"scopes": ["report.read"]}}]},
            },
        ],
        "providers": [
            provider("staff", STAFF, keys[0]),
            provider("partners", PARTNERS, keys[1]),
        ],
    })
}

fn keys() -> [SigningKey; 2] {
    ["staff", "partners"].map(|name| SigningKey::generate(Algorithm::Es256, name))
}

fn explain(config: &str, url: &[&str], token: &str) -> (Run, Value) {
    let arguments = [&["explain", config, "--json"], url].concat();
    let run = mcp_auth(&arguments, token);
    let json = run.json();
    (run, json)
}

#[test]
fn a_token_is_judged_at_the_server_of_the_url() {
    let keys = keys();
    let config = file(".json", &configuration(keys.each_ref()).to_string());
    let staff = |audience: Value| {
        keys[0].token(&with(&claims(STAFF, "x"), json!({"aud": audience, "scope": "report.read"})))
    };
    let one = staff(json!("for-incidents"));
    let both = staff(json!(["for-incidents", "for-reports"]));
    let narrow = keys[0].token(&claims(STAFF, "for-reports"));
    let partner = keys[1].token(&claims(PARTNERS, "for-incidents"));
    let elsewhere = "https://gateway.example/elsewhere";
    for (url, token, resource, reason) in [
        (INCIDENTS, &one, json!("incidents"), Value::Null),
        (REPORTS, &one, json!("reports"), json!("audience_mismatch")),
        (INCIDENTS, &both, json!("incidents"), Value::Null),
        (REPORTS, &both, json!("reports"), Value::Null),
        (REPORTS, &narrow, json!("reports"), json!("insufficient_scope")),
        (INCIDENTS, &partner, json!("incidents"), json!("unknown_issuer")),
        (REPORTS, &partner, json!("reports"), json!("audience_mismatch")),
        ("https://GATEWAY.example:443/incidents/mcp/x?y", &one, json!("incidents"), Value::Null),
        (elsewhere, &one, Value::Null, json!("unknown_resource")),
        ("https://gateway.example./incidents/mcp", &one, Value::Null, json!("unknown_resource")),
        ("https://gateway.example/incidents/mcp;x", &one, Value::Null, json!("unknown_resource")),
    ] {
        let (run, json) = explain(&config, &["--url", url], token);
        let found = (&json["resource"], &json["reason"]);
        assert_eq!(found, (&resource, &reason), "{url}: {json}");
        assert_eq!(run.code, Some(i32::from(!reason.is_null())), "{url}");
        // The program does not know what Envoy would do to the URL before.
        let notes = json["notes"].to_string();
        let is_noted = notes.contains("give the URL in the form that Envoy forwards");
        assert_eq!(is_noted, reason == json!("unknown_resource"), "{url}: {json}");
    }
    // The fix names the field that is compared at that server.
    for (url, token, field) in [
        (INCIDENTS, &narrow, "resources[0].audiences"),
        (REPORTS, &partner, "resources[1].audiences"),
    ] {
        let (_, json) = explain(&config, &["--url", url], token);
        let fix = json["fix"].as_str().unwrap_or_else(|| panic!("{json}"));
        assert!(fix.contains(&format!("add their `aud` to `{field}`.")), "{fix}");
        assert!(!fix.contains("client_ids"), "{fix}");
    }
    // The report for people has it too.
    let run = mcp_auth(&["explain", &config, "--url", INCIDENTS], &one);
    assert!(run.stdout.starts_with("accepted (resource incidents, provider staff)\n"), "{run:?}");
    assert!(run.stdout.contains("x-mcp-resource: incidents\n"), "{run:?}");
}

#[test]
fn the_url_is_required_where_there_are_several_servers() {
    let keys = keys();
    let config = file(".json", &configuration(keys.each_ref()).to_string());
    let token = keys[0].token(&claims(STAFF, "for-incidents"));
    for (url, expected) in [
        (
            &[][..],
            format!(
                "several servers are configured; select one with --url: {INCIDENTS} or \
                           {REPORTS}"
            ),
        ),
        (&["--url", "gateway.example"], "gateway.example: is not a URL".to_owned()),
    ] {
        let run = mcp_auth(&[&["explain", &config], url].concat(), &token);
        assert_eq!(run.code, Some(2), "{run:?}");
        assert!(run.stderr.contains(&expected), "{run:?}");
    }
}

#[test]
fn a_token_of_a_provider_that_another_server_accepts_is_explained() {
    let keys = keys();
    let config = file(".json", &configuration(keys.each_ref()).to_string());
    let partner = keys[1].token(&claims(PARTNERS, "for-incidents"));
    let (_, json) = explain(&config, &["--url", INCIDENTS], &partner);
    let (cause, fix) = (json["cause"].as_str(), json["fix"].as_str());
    assert_eq!(
        cause,
        Some(
            "The token is from the provider \"partners\", whose tokens are not accepted at the resource \
             \"incidents\"."
        ),
        "{json}"
    );
    assert!(fix.unwrap().contains("add \"partners\" to `resources[0].providers`"), "{json}");
    // The twin: a token of an issuer that no server accepts.
    let stranger = keys[1].token(&claims("https://stranger.example", "for-incidents"));
    let (_, json) = explain(&config, &["--url", INCIDENTS], &stranger);
    let cause = json["cause"].as_str().unwrap();
    assert!(cause.starts_with("The token was issued by \"https://stranger.example\""), "{json}");
}

/// The edit with its name, and the audience in the warning.
type Case = (&'static str, fn(&mut Value), Option<&'static str>);

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn servers_that_accept_the_same_audience_cause_a_warning() {
    let keys = keys();
    let good = configuration(keys.each_ref());
    let warnings = |edit: fn(&mut Value)| -> Vec<String> {
        let mut configuration = good.clone();
        edit(&mut configuration);
        let run = mcp_auth(&["check", &file(".json", &configuration.to_string()), "--json"], "");
        let report = run.json();
        assert_eq!(report["verdict"], "good", "{report}");
        let warnings = report["plugins"][0]["warnings"].as_array().unwrap();
        warnings.iter().map(|warning| warning.as_str().unwrap().to_owned()).collect()
    };
    let shared = "resources incidents and reports accept tokens of staff with the same audience, ";
    let cases: [Case; 8] = [
        ("as it is", |_| {}, None),
        (
            "one of two audiences",
            |c| c["resources"][1]["audiences"] = json!(["for-reports", "for-incidents"]),
            Some("\"for-incidents\""),
        ),
        (
            "by provider",
            |c| {
                c["resources"][1]["audiences"] =
                    json!({"staff": ["for-incidents"], "partners": ["p"]})
            },
            Some("\"for-incidents\""),
        ),
        (
            "the same audience of different providers",
            |c| {
                c["resources"][1]["providers"] = json!(["partners"]);
                c["resources"][1]["audiences"] = json!(["for-incidents"]);
            },
            None,
        ),
        (
            "two spellings of one application of Entra ID",
            |c| {
                c["providers"][0]["template"] = json!("entra_id");
                c["providers"][0]["algorithms"] = json!(["ES256"]);
                c["providers"][0]["tenant"] = json!("8d5c1f2e-0000-4000-8000-000000000000");
                c["resources"][0]["audiences"] = json!(["6a7f0000-0000-4000-8000-000000000000"]);
                c["resources"][1]["audiences"] =
                    json!(["api://6a7f0000-0000-4000-8000-000000000000"]);
            },
            Some(
                "\"6a7f0000-0000-4000-8000-000000000000\" or \
                 \"api://6a7f0000-0000-4000-8000-000000000000\"",
            ),
        ),
        (
            "by different providers of one issuer",
            |c| {
                c["providers"][1]["issuer"] = json!(STAFF);
                c["resources"][1]["providers"] = json!(["partners"]);
                c["resources"][1]["audiences"] = json!(["for-incidents"]);
            },
            Some("\"for-incidents\""),
        ),
        (
            "client_ids for both",
            |c| {
                for resource in c["resources"].as_array_mut().unwrap() {
                    resource.as_object_mut().unwrap().remove("audiences");
                }
                for index in [0, 1] {
                    c["providers"][index]["client_ids"] = json!(["mcp"]);
                }
            },
            Some("\"mcp\""),
        ),
        (
            "audiences that differ only in case",
            |c| c["resources"][1]["audiences"] = json!(["For-Incidents"]),
            None,
        ),
    ];
    for (name, edit, expected) in cases {
        let found = warnings(edit);
        match expected {
            None => assert_eq!(found, [""; 0], "{name}"),
            Some(audience) => {
                assert_eq!(found.len(), 1, "{name}: {found:?}");
                if name.ends_with("of one issuer") {
                    let both = "accept tokens of staff and partners with the same audience, ";
                    assert!(found[0].contains(both), "{found:?}");
                    continue;
                }
                let starts = found[0].starts_with(&format!("{shared}{audience}: a token for one"));
                assert!(starts, "{name}: {found:?}");
            }
        }
    }
}

#[test]
fn settings_that_apply_to_no_request_of_a_server_cause_a_warning() {
    let keys = keys();
    let mut configuration = configuration(keys.each_ref());
    configuration["resources"][0]["exempt"] = json!([
        {"path": "/incidents/mcp/open"}, {"path": "/incidents/mcp/"}, {"path": "/healthz"},
    ]);
    configuration["resources"][0]["access"] = json!({"rules": [
        {"match": {"paths": ["/incidents/mcp", "/reports/mcp"]}},
        {"match": {"path_prefixes": ["/", "/incidents", "/incidents/mcp/x", "/incidents/mcpx"]}},
        {"require": {"providers": ["staff", "partners"]}},
    ]});
    let run = mcp_auth(&["check", &file(".json", &configuration.to_string()), "--json"], "");
    let report = run.json();
    let elsewhere = |field: &str, path: &str| {
        format!(
            "resources[0].{field}: {path} is not at or below the path of `url`, so no request for \
             this server matches it"
        )
    };
    assert_eq!(
        report["plugins"][0]["warnings"],
        json!([
            elsewhere("exempt[2].path", "/healthz"),
            elsewhere("access.rules[0].match.paths[1]", "/reports/mcp"),
            elsewhere("access.rules[1].match.path_prefixes[3]", "/incidents/mcpx"),
            "resources[0].access.rules[2].require.providers[1]: tokens of \"partners\" are not accepted here, \
             see resources[0].providers",
        ]),
        "{report}"
    );
}
