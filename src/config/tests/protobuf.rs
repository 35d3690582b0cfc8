//! Configurations that are not written as JSON.

use super::*;

#[test]
fn a_protobuf_struct_means_the_same_as_json() {
    let document = edited(|document| {
        document["providers"][0]["required_claims"] = json!({"tid": [1, "b", true, 1.5]});
    });
    let config = Config::from_bytes(&as_struct(&document).encode_to_vec()).unwrap();
    let provider = config.providers.iter().next().unwrap();
    assert_eq!(
        provider.required_claims[0].accepted,
        [json!(1), json!("b"), json!(true), json!(1.5)]
    );
    assert!(matches!(provider.key_source, KeySource::Remote(_)));
}

#[test]
fn the_digest_does_not_depend_on_the_form() {
    let digest = |bytes: &[u8]| Config::from_bytes(bytes).unwrap().digest;
    let document = edited(|_| {});
    let text = document.to_string();
    let expected = digest(text.as_bytes());
    assert_eq!(expected.len(), 64);
    assert_eq!(digest(&as_struct(&document).encode_to_vec()), expected);
    assert_eq!(digest(format!("{document:#}").as_bytes()), expected);
    let other = edited(|document| document["mode"] = "report".into());
    assert_ne!(digest(other.to_string().as_bytes()), expected);
}

fn as_struct(object: &Value) -> prost_types::Struct {
    let fields = object.as_object().unwrap().iter();
    prost_types::Struct {
        fields: fields
            .map(|(name, value)| (name.clone(), as_value(value)))
            .collect::<BTreeMap<_, _>>(),
    }
}

fn as_value(value: &Value) -> prost_types::Value {
    use prost_types::value::Kind;
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(*value),
        Value::Number(value) => Kind::NumberValue(value.as_f64().unwrap()),
        Value::String(value) => Kind::StringValue(value.clone()),
        Value::Array(values) => Kind::ListValue(prost_types::ListValue {
            values: values.iter().map(as_value).collect(),
        }),
        Value::Object(_) => Kind::StructValue(as_struct(value)),
    };
    prost_types::Value { kind: Some(kind) }
}
