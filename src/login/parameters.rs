//! Parameters of a query or a form (application/x-www-form-urlencoded).

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

/// The parameters of a request by name. An empty value counts as absent (RFC 6749 §3.1).
#[derive(Debug, Default)]
pub(crate) struct Parameters {
    by_name: BTreeMap<String, Occurrence>,
}

/// How often a parameter occurs.
#[derive(Debug)]
enum Occurrence {
    Once(String),
    /// Its values may differ, and the recipients of a request must not choose different ones.
    Repeated,
}

/// The bytes are not a form in UTF-8, or hold too many parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotAForm;

/// A parameter occurs more than once (RFC 6749 §3.1 and §3.2 forbid it).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Repeated(pub &'static str);

impl Parameters {
    /// Maximum number of parameters in a request.
    const MAX_COUNT: usize = 64;

    /// Parses a query without its question mark, or a form.
    ///
    /// # Errors
    ///
    /// Something in it is not UTF-8, or there are too many.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, NotAForm> {
        let string = std::str::from_utf8(bytes).map_err(|_| NotAForm)?;
        let mut parameters = Self::default();
        let pairs = string.split('&').filter(|pair| !pair.is_empty());
        for (index, pair) in pairs.enumerate() {
            if index >= Self::MAX_COUNT {
                return Err(NotAForm);
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decoded(name)?, decoded(value)?);
            if value.is_empty() {
                continue;
            }
            let is_new = !parameters.by_name.contains_key(&name);
            let occurrence = if is_new { Occurrence::Once(value) } else { Occurrence::Repeated };
            parameters.by_name.insert(name, occurrence);
        }
        Ok(parameters)
    }

    /// The value of a parameter.
    ///
    /// # Errors
    ///
    /// It occurs more than once.
    pub(crate) fn get(&self, name: &'static str) -> Result<Option<&str>, Repeated> {
        match self.by_name.get(name) {
            None => Ok(None),
            Some(Occurrence::Once(value)) => Ok(Some(value)),
            Some(Occurrence::Repeated) => Err(Repeated(name)),
        }
    }

    /// Whether any parameter occurs more than once.
    pub(crate) fn repeats_any(&self) -> bool {
        self.by_name.values().any(|occurrence| matches!(occurrence, Occurrence::Repeated))
    }
}

fn decoded(string: &str) -> Result<String, NotAForm> {
    let spaces = string.replace('+', " ");
    percent_decode_str(&spaces).decode_utf8().map(|value| value.into_owned()).map_err(|_| NotAForm)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_and_empty_ones_are_absent() {
        let parameters = Parameters::parse(b"a=1+2%263&b=&c&d=%C3%A9&&e==").unwrap();
        for (name, value) in
            [("a", Some("1 2&3")), ("b", None), ("c", None), ("d", Some("é")), ("e", Some("="))]
        {
            assert_eq!(parameters.get(name), Ok(value), "{name}");
        }
        assert!(!parameters.repeats_any());
    }

    #[test]
    fn a_repeated_parameter_has_no_value_even_if_its_values_are_equal() {
        let parameters = Parameters::parse(b"state=1&%73tate=1&a=1").unwrap();
        assert_eq!(parameters.get("state"), Err(Repeated("state")));
        assert_eq!(parameters.get("a"), Ok(Some("1")));
        assert!(parameters.repeats_any());
    }

    #[test]
    fn bytes_that_are_not_utf_8_or_too_many_are_not_a_form() {
        for bytes in [&b"a=%ff"[..], b"%ff=1", b"a=\xff", "a=1&".repeat(65).as_bytes()] {
            assert!(Parameters::parse(bytes).is_err(), "{bytes:?}");
        }
        assert!(Parameters::parse("a=1&".repeat(64).as_bytes()).is_ok());
    }
}
