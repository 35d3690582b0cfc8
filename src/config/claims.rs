//! Claims that a token must have.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Faults;
use super::field::Field;
use crate::claim::RequiredClaim;

pub(super) fn required_claims(
    raw: Field<BTreeMap<String, Value>>,
    path: &str,
    faults: &mut Faults,
) -> Vec<RequiredClaim> {
    let mut claims = Vec::new();
    for (name, accepted) in raw.or_default(path, faults) {
        let accepted = match accepted {
            Value::Array(values) => values,
            value => vec![value],
        };
        let is_plain = |value: &Value| value.is_string() || value.is_number() || value.is_boolean();
        if accepted.is_empty() || !accepted.iter().all(is_plain) {
            faults.add(
                &format!("{path}.{name}"),
                "must be a string, number or boolean, or a list of them",
            );
        }
        claims.push(RequiredClaim { name, accepted, may_be_absent: false });
    }
    claims
}
