//! The list of tests that the run with the native module leaves out.

use std::collections::BTreeSet;
use std::env;
use std::process::Command;

/// Lines with a name and a reason, and comments. The Makefile reads the file as well.
const LIST: &str = include_str!("plugin_only.txt");

#[test]
fn each_line_of_the_list_names_a_test_and_a_reason() {
    let run = Command::new(env::current_exe().unwrap()).arg("--list").output().unwrap();
    let listed = String::from_utf8(run.stdout).unwrap();
    let tests: BTreeSet<&str> =
        listed.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    assert!(tests.contains("plugin_only::each_line_of_the_list_names_a_test_and_a_reason"));
    for line in LIST.lines().filter(|line| !line.starts_with('#')) {
        let (name, reason) = line.split_once(": ").unwrap_or_else(|| panic!("{line}"));
        assert!(tests.contains(name), "{name} is not a test");
        assert!(!reason.trim().is_empty(), "{name} has no reason");
    }
}
