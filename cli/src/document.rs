//! Files as people write them.

use mcp_federated_auth::explain::read_reporting;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A JSON or YAML document.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    /// Its content. A duplicated member has its last value.
    pub(crate) value: Value,
    /// The paths of members that their object names more than once.
    pub(crate) duplicates: Vec<String>,
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        let (value, duplicates) = read_reporting(reader)?;
        Ok(Self { value, duplicates })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicates_in_a_document_are_reported_together_with_its_value() {
        let Document { value, duplicates } =
            serde_saphyr::from_multiple_with_options::<Document>(TWICE, options())
                .unwrap()
                .remove(0);
        assert_eq!(value, serde_json::json!({"a": [{"b": 2, "c": null}], "d": {"e": 1, "f": 3}}));
        assert_eq!(duplicates, ["a[0].b"]);
    }

    /// A merged member (`<<`) may be overridden without being a duplicate.
    const TWICE: &str = "a: [{b: 1, b: 2, c: }]\nd: {<<: {e: 1, f: 2}, f: 3}\n";

    fn options() -> serde_saphyr::Options {
        serde_saphyr::options! {
            duplicate_keys: serde_saphyr::DuplicateKeyPolicy::PassThrough,
        }
    }
}
