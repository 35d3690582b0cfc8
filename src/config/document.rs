//! The two forms in which Envoy passes a configuration: plain YAML arrives as a protobuf-encoded
//! `google.protobuf.Struct`, a `google.protobuf.StringValue` as its string.

use prost::Message;
use prost_types::value::Kind;
use serde_json::{Map, Number, Value};

use super::Faults;
use crate::json;

/// Reads a configuration in either form.
///
/// No encoded `Struct` with a field is valid JSON, because the tag of the field's value is a
/// control character. So anything that parses as JSON is JSON.
pub(super) fn read(bytes: &[u8], faults: &mut Faults) -> Option<Value> {
    if bytes.is_empty() {
        faults.add("configuration", "is required");
        return None;
    }
    match json::parse_reporting(json::without_byte_order_mark(bytes)) {
        Ok((value, repeated)) => {
            for path in repeated {
                faults.add(&path, "is duplicated");
            }
            Some(value)
        }
        Err(fault) => match prost_types::Struct::decode(bytes) {
            Ok(fields) => Some(object(fields)),
            Err(_) => {
                faults.add("configuration", format!("is neither a Struct nor JSON: {fault}"));
                None
            }
        },
    }
}

fn object(fields: prost_types::Struct) -> Value {
    let members = fields.fields.into_iter().map(|(name, value)| (name, converted(value)));
    Value::Object(members.collect::<Map<_, _>>())
}

fn converted(value: prost_types::Value) -> Value {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(value),
        Some(Kind::NumberValue(value)) => number(value),
        Some(Kind::StringValue(value)) => Value::String(value),
        Some(Kind::ListValue(list)) => list.values.into_iter().map(converted).collect(),
        Some(Kind::StructValue(fields)) => object(fields),
    }
}

/// A `Struct` holds only doubles. Whole numbers become integers again, because they are compared
/// with integers in tokens.
fn number(value: f64) -> Value {
    let whole = (value.fract() == 0.0).then(|| format!("{value:.0}").parse::<i64>().ok()).flatten();
    whole.map_or_else(|| Number::from_f64(value).map_or(Value::Null, Value::Number), Value::from)
}
