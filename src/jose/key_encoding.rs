//! Encodings of key values. Tokens use only base64url without padding (RFC 7515 §2); in keys,
//! publishers also use plain base64 and padding, and other implementations accept them.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Decodes base64url (RFC 4648 §5) or plain base64 (§4), padded or not.
///
/// # Errors
///
/// The string is neither.
pub(super) fn decode(text: &str) -> Result<Vec<u8>, EncodingFault> {
    URL_SAFE_NO_PAD.decode(url_safe(text)).map_err(|_| EncodingFault::new(text))
}

/// Normalises all encodings of the same bytes to base64url without padding.
pub(super) fn url_safe(text: &str) -> String {
    text.trim_end_matches('=').replace('+', "-").replace('/', "_")
}

/// Why a value of a key cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EncodingFault {
    /// It contains `+` or `/`, so it is meant as plain base64.
    is_plain: bool,
    problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Problem {
    /// A character outside both alphabets.
    Character { found: char, position: usize },
    /// The last character has bits that do not belong to a byte.
    LastCharacter(char),
    /// No number of bytes is encoded in this many characters.
    Length(usize),
}

impl EncodingFault {
    fn new(text: &str) -> Self {
        let digits = text.trim_end_matches('=');
        let is_digit = |found: char| found.is_ascii_alphanumeric() || "+/-_".contains(found);
        let foreign = digits.chars().zip(1..).find(|(found, _)| !is_digit(*found));
        let problem = match (foreign, digits.chars().next_back()) {
            (Some((found, position)), _) => Problem::Character { found, position },
            (None, Some(last)) if digits.len() % 4 != 1 => Problem::LastCharacter(last),
            (None, _) => Problem::Length(digits.len()),
        };
        Self { is_plain: text.contains(['+', '/']), problem }
    }
}

impl fmt::Display for EncodingFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_plain { "plain base64" } else { "base64url" })?;
        match self.problem {
            Problem::Character { found, position } => {
                write!(f, ": character {position} is {found:?}")
            }
            Problem::LastCharacter(last) => {
                write!(f, ": its last character {last:?} has bits set that belong to no byte")
            }
            Problem::Length(length) => {
                write!(f, ": {length} characters cannot be base64; one may be missing")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn both_base64_alphabets_give_the_same_bytes(bytes in any::<Vec<u8>>()) {
            for engine in [&URL_SAFE_NO_PAD, &URL_SAFE, &STANDARD, &STANDARD_NO_PAD] {
                let text = engine.encode(&bytes);
                prop_assert_eq!(decode(&text), Ok(bytes.clone()), "{}", text);
                prop_assert_eq!(url_safe(&text), URL_SAFE_NO_PAD.encode(&bytes));
            }
        }

        #[test]
        fn no_string_stops_the_decoder(text in any::<String>()) {
            let _ = decode(&text).map_err(|fault| fault.to_string());
        }
    }

    #[test]
    fn undecodable_values_name_the_wrong_character_and_the_alphabet() {
        for (text, expected) in [
            ("AA!A", "base64url: character 3 is '!'"),
            ("AA+A B", "plain base64: character 5 is ' '"),
            ("/AAA\nAAAA", "plain base64: character 5 is '\\n'"),
            ("AAAé", "base64url: character 4 is 'é'"),
            ("AA=AA", "base64url: character 3 is '='"),
            ("AAAAA", "base64url: 5 characters cannot be base64; one may be missing"),
            ("AB", "base64url: its last character 'B' has bits set that belong to no byte"),
        ] {
            assert_eq!(decode(text).unwrap_err().to_string(), expected, "{text:?}");
        }
    }
}
