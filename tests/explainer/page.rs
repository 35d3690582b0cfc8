//! docs/explainer.md shows exactly what the program prints.

use std::fs;

use serde_json::{Value, json};
use testbed::{Algorithm, IdentityProvider, SigningKey, code_blocks, repository_root, yaml};

use crate::support::{Run, file, mcp_auth};

/// The time for which the page shows its output.
const AT: u64 = 1_800_000_000;

fn page() -> String {
    fs::read_to_string(repository_root().join("docs/explainer.md")).unwrap()
}

/// The output that the page shows below this command.
fn shown(command: &str) -> String {
    let blocks = code_blocks(&page(), "text");
    let begin = format!("$ {command}\n");
    let block = blocks.iter().find_map(|block| block.strip_prefix(&begin));
    block.unwrap_or_else(|| panic!("the page does not show {command:?}")).to_owned()
}

/// Asserts that the page shows this run. Durations of callouts may differ.
fn assert_shown(command: &str, run: &Run) {
    let settled = |text: &str| {
        let lines = text.trim_end().lines().map(|line| {
            let mut line = line.to_owned();
            if line.contains(" ms, ") || line.contains("fetched again") {
                line.retain(|character| !character.is_ascii_digit());
            }
            line
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    assert_eq!(run.stderr, "");
    let prints = &run.stdout;
    assert_eq!(settled(prints), settled(&shown(command)), "the program prints:\n{prints}");
}

/// The README's configuration, in a file.
fn of_readme(edit: impl Fn(&mut Value)) -> String {
    let readme = fs::read_to_string(repository_root().join("README.md")).unwrap();
    let mut configuration = yaml(&code_blocks(&readme, "yaml")[0]);
    edit(&mut configuration);
    file(".json", &configuration.to_string())
}

#[test]
fn the_page_shows_the_real_output_for_a_token() {
    let tenant = "8d5c1f2e-0000-4000-8000-000000000000";
    let claims = json!({
        "iss": format!("https://login.microsoftonline.com/{tenant}/v2.0"),
        "aud": "c11e0000-0000-4000-8000-000000000000",
        "exp": AT + 3600,
        "iat": AT - 60,
        "nonce": "n-0S6",
        "preferred_username": "ada@contoso.com",
        "sub": "pairwise-subject-of-ada",
        "ver": "2.0",
    });
    let key = SigningKey::generate(Algorithm::Rs256, "k1");
    let header = json!({"typ": "JWT", "alg": "RS256", "kid": "k1"});
    let config = of_readme(|_| ());
    let at = AT.to_string();
    let run = mcp_auth(&["explain", &config, "--at", &at], &key.sign(&header, &claims));
    assert_eq!(run.code, Some(1));
    assert_shown("xclip -o | mcp-auth explain plugin.yaml", &run);
}

#[test]
fn the_page_shows_the_real_output_for_a_faulty_configuration() {
    let example = repository_root().join("envoy/envoy.yaml");
    let text = fs::read_to_string(example).unwrap();
    let text = text.replace("cluster: identity_provider\n", "cluster: identity\n");
    let run = mcp_auth(&["check", &file(".yaml", &text)], "");
    assert_eq!(run.code, Some(1));
    assert_shown("mcp-auth check envoy.yaml", &run);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_the_real_output_for_keys() {
    let provider = IdentityProvider::start().await;
    let small = SigningKey::generate_rsa(Algorithm::Rs256, "2019", 1024);
    provider.set_keys([SigningKey::generate(Algorithm::Es256, "2027"), small]);
    provider.set_cache_control("max-age=3600");
    let example = repository_root().join("envoy/envoy.yaml");
    let address = provider.address().to_string();
    let text = fs::read_to_string(example).unwrap().replace("127.0.0.1:9001", &address);
    let mut run = mcp_auth(&["keys", &file(".yaml", &text)], "");
    assert_eq!(run.code, Some(0));
    run.stdout = run.stdout.replace(&address, "127.0.0.1:9001");
    assert_shown("mcp-auth keys envoy.yaml", &run);
}

#[test]
fn the_reference_names_every_option() {
    let page = page();
    for command in ["check", "explain", "keys", "schema"] {
        assert!(page.contains(&format!("`{command}")), "{command}");
        let help = mcp_auth(&[command, "--help"], "").stdout;
        let options = help.split_whitespace().filter(|word| word.starts_with("--"));
        for option in
            options.map(|option| option.trim_end_matches(|last: char| !last.is_alphabetic()))
        {
            let is_known = ["--help", "--version"].contains(&option) || page.contains(option);
            assert!(is_known, "{command} {option}");
        }
    }
}
