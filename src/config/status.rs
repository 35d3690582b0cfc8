//! The configuration of the status page, usually empty.

use serde::Deserialize;

use super::field::{Field, UnknownFields, in_words_of_json, refuse_unknown};
use super::{ConfigError, Faults, document};

/// The configuration of the status page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatusConfig {
    /// Host names under which the page may be requested, in addition to `localhost` and IP
    /// addresses.
    pub hosts: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, expecting = "an object")]
struct RawStatusConfig {
    hosts: Field<Vec<String>>,
    #[serde(flatten)]
    unknown: UnknownFields,
}

impl StatusConfig {
    /// Reads the configuration as Envoy passes it. No bytes are an empty configuration.
    ///
    /// # Errors
    ///
    /// All faults that were found.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ConfigError> {
        let mut faults = Faults::default();
        let config = match bytes {
            [] => Self::default(),
            bytes => Self::read(bytes, &mut faults).unwrap_or_default(),
        };
        if faults.0.is_empty() { Ok(config) } else { Err(ConfigError { faults: faults.0 }) }
    }

    fn read(bytes: &[u8], faults: &mut Faults) -> Option<Self> {
        let document = document::read(bytes, faults)?;
        let raw: RawStatusConfig = match serde_json::from_value(document) {
            Ok(raw) => raw,
            Err(fault) => {
                faults.add("configuration", in_words_of_json(&fault));
                return None;
            }
        };
        refuse_unknown("", &raw.unknown, faults);
        let hosts = raw.hosts.or_default("hosts", faults);
        for (index, host) in hosts.iter().enumerate() {
            let is_name = !host.is_empty()
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
            if !is_name {
                let path = format!("hosts[{index}]");
                faults.add(&path, "must be a host name, without a port");
            }
        }
        Some(Self { hosts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_required_and_nothing_unknown_is_accepted() {
        for (text, expected) in [
            ("", Ok(vec![])),
            ("{}", Ok(vec![])),
            (r#"{"hosts": ["status.internal"]}"#, Ok(vec!["status.internal".to_owned()])),
            (r#"{"host": "a"}"#, Err("host: unknown field")),
            (
                r#"{"hosts": ["a:80", ""]}"#,
                Err("hosts[0]: must be a host name, without a port\n\
                     hosts[1]: must be a host name, without a port"),
            ),
            (r#"{"hosts": "a"}"#, Err("hosts: invalid type: string \"a\", expected a list")),
            ("[]", Err("configuration: invalid type: list, expected an object")),
        ] {
            let read = StatusConfig::from_bytes(text.as_bytes());
            let hosts = read.map(|config| config.hosts).map_err(|error| error.to_string());
            assert_eq!(hosts, expected.map_err(str::to_owned), "{text}");
        }
    }
}
