//! What the README shows is true: its YAML is what Envoy and the plugin accept, and its commands
//! are there.
#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::fs;

use testbed::{Bootstrap, Envoy, module_path, repository_root, yaml};

fn readme() -> String {
    fs::read_to_string(repository_root().join("README.md")).unwrap()
}

/// The code blocks of this language.
fn blocks(readme: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let blocks = readme.split(&fence).skip(1);
    blocks.map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_yaml_of_a_provider_is_accepted() {
    let blocks = blocks(&readme(), "yaml");
    let [plugin, cluster] = blocks.as_slice() else { panic!("two blocks, not {}", blocks.len()) };
    let envoy = Envoy::builder().edit(|bootstrap: &mut Bootstrap| {
        bootstrap.set_module(&module_path());
        *bootstrap.plugin_configuration() = yaml(plugin);
        let clusters = &mut bootstrap.tree()["static_resources"]["clusters"];
        let added = yaml(cluster).as_array().unwrap().clone();
        clusters.as_array_mut().unwrap().extend(added);
    });
    envoy.validate().await;
}

#[test]
fn the_commands_are_targets_of_the_makefile() {
    let makefile = fs::read_to_string(repository_root().join("Makefile")).unwrap();
    let blocks = blocks(&readme(), "sh");
    let commands = blocks.iter().flat_map(|block| block.lines());
    let targets: Vec<&str> =
        commands.filter_map(|line| line.strip_prefix("make ")?.split_whitespace().next()).collect();
    assert!(targets.contains(&"demo") && targets.contains(&"test"), "{targets:?}");
    for target in targets {
        assert!(makefile.contains(&format!("\n{target}: ")), "make {target}");
    }
}
