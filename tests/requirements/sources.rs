//! The tests, read from their sources.

use std::fs;
use std::path::{Path, PathBuf};

use testkit::repository_root;

/// A function with the attribute `test`.
pub(crate) struct TestFunction {
    /// As `cargo test` names it, behind its target: `envoy::challenge::the_challenge_…`.
    pub(crate) name: String,
    /// The ids in its comments `// Requirement: …`.
    pub(crate) requirements: Vec<String>,
    /// Whether it is not ignored, and a test target includes its file.
    pub(crate) runs: bool,
}

/// All tests of the library and of the test targets.
pub(crate) fn test_functions() -> Vec<TestFunction> {
    let root = repository_root();
    let manifests =
        ["Cargo.toml", "cli/Cargo.toml", "shells/proxy-wasm/Cargo.toml", "tests/Cargo.toml"];
    let manifests = manifests.map(|manifest| read(&root.join(manifest))).concat();
    let mut functions = Vec::new();
    let mut add = |file: &Path, target: &str, modules: &[String], is_part: bool| {
        let scope = Scope { target: target.to_owned(), modules: modules.to_vec(), is_part };
        functions.extend(read_functions(&read(file), &scope));
    };
    visit_modules(
        &root.join("src/lib.rs"),
        &root.join("src"),
        &mut vec![],
        &mut |file, modules| {
            add(file, "lib", modules, true);
        },
    );
    for entry in entries(&root.join("tests")) {
        let target = stem(&entry);
        let is_part = manifests.contains(&format!("[[test]]\nname = {target:?}\n"));
        if entry.is_file() && entry.extension().is_some_and(|extension| extension == "rs") {
            add(&entry, &target, &[], is_part);
        } else if entry.join("main.rs").is_file() {
            visit_modules(&entry.join("main.rs"), &entry, &mut vec![], &mut |file, modules| {
                add(file, &target, modules, is_part);
            });
        }
    }
    functions
}

/// The module whose functions are read.
struct Scope {
    target: String,
    modules: Vec<String>,
    is_part: bool,
}

/// Visits a file and those of the modules that it declares, whose files are in this folder.
fn visit_modules(
    file: &Path,
    folder: &Path,
    modules: &mut Vec<String>,
    visit: &mut impl FnMut(&Path, &[String]),
) {
    visit(file, modules);
    for line in read(file).lines() {
        let declaration = line.trim_start_matches("pub(crate) ").trim_start_matches("pub ");
        let module = declaration.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';'));
        let Some(module) = module else { continue };
        let inner = folder.join(module);
        let files = [folder.join(format!("{module}.rs")), inner.join("mod.rs")];
        let Some(file) = files.iter().find(|file| file.is_file()) else { continue };
        modules.push(module.to_owned());
        visit_modules(file, &inner, modules, visit);
        modules.pop();
    }
}

/// The tests in one file. The end of a module within it is the first line that is not indented.
fn read_functions(text: &str, scope: &Scope) -> Vec<TestFunction> {
    let mut functions = Vec::new();
    let mut inner_module = None;
    let (mut requirements, mut is_test, mut is_ignored) = (Vec::new(), false, false);
    for line in text.lines() {
        let declaration =
            ["pub(crate) ", "pub(super) "].iter().find_map(|prefix| line.strip_prefix(prefix));
        let module = declaration.unwrap_or(line).strip_prefix("mod ");
        if let Some(module) = module.and_then(|rest| rest.strip_suffix(" {")) {
            inner_module = Some(module.to_owned());
        }
        let line = line.trim_start();
        if let Some(id) = line.strip_prefix("// Requirement: ") {
            requirements.push(id.to_owned());
        } else if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if line.starts_with("#[ignore") {
            is_ignored = true;
        } else if let Some(function) = function_name(line) {
            let mut path = vec![scope.target.clone()];
            path.extend(scope.modules.iter().cloned().chain(inner_module.clone()));
            path.push(function.to_owned());
            let name = path.join("::");
            assert!(
                is_test || requirements.is_empty(),
                "{name} names {requirements:?}, but is no test"
            );
            if is_test {
                let runs = scope.is_part && !is_ignored;
                functions.push(TestFunction { name, requirements, runs });
            }
            (requirements, is_test, is_ignored) = (Vec::new(), false, false);
        } else {
            let between = line.is_empty() || line.starts_with("//") || line.starts_with("#[");
            assert!(
                requirements.is_empty() || between && !line.is_empty(),
                "{requirements:?} stand before no test but {line:?}"
            );
        }
    }
    functions
}

fn function_name(line: &str) -> Option<&str> {
    let line = line.strip_prefix("async ").unwrap_or(line);
    line.strip_prefix("fn ")?.split(['(', '<']).next()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder is there");
    entries.map(|entry| entry.expect("it can be listed").path()).collect()
}

fn stem(path: &Path) -> String {
    path.file_stem().expect("it has a name").to_string_lossy().into_owned()
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}
