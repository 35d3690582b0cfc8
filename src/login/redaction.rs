//! A provider's message for developers, without the secrets that it got: some providers quote the
//! code or the token that they refuse, perhaps clipped.

use percent_encoding::percent_decode_str;

/// Stands for what is left out.
const MARK: &str = "[…]";
/// Shortest beginning of a secret that counts as the secret, in characters.
const MIN_BEGINNING: usize = 8;

/// What a message must not repeat.
pub(super) struct Secrets<'a>(Vec<&'a str>);

impl<'a> Secrets<'a> {
    pub(super) fn new(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        Self(secrets.into_iter().filter(|secret| !secret.is_empty()).collect())
    }

    /// The message, clipped, without the secrets and without words that could be others. Nothing is
    /// left of a message that holds a secret with escapes.
    pub(super) fn redact(&self, message: &str) -> String {
        const MAX_LENGTH: usize = 240;
        /// Longer than a GUID, with which providers name applications and requests.
        const MAX_WORD: usize = 40;
        if self.are_escaped_in(message) {
            return MARK.to_owned();
        }
        let message =
            self.0.iter().fold(message.to_owned(), |message, secret| without(&message, secret));
        let is_separator =
            |character: char| character.is_whitespace() || "'\"(),;".contains(character);
        let words = message
            .split_inclusive(is_separator)
            .map(|word| if word.chars().count() > MAX_WORD { "[…] " } else { word });
        words.flat_map(str::chars).take(MAX_LENGTH).collect()
    }

    /// Whether a secret appears once the escapes of JSON, URLs and forms are undone.
    fn are_escaped_in(&self, message: &str) -> bool {
        let of_json = without_json_escapes(message);
        let decoded = |string: &str| percent_decode_str(string).decode_utf8_lossy().into_owned();
        let plain = [decoded(&of_json), decoded(&of_json.replace('+', " ")), of_json];
        let beginnings = self.0.iter().map(|secret| beginning(secret));
        beginnings.into_iter().any(|beginning| {
            plain.iter().any(|plain| plain != message && plain.contains(&beginning))
        })
    }
}

fn beginning(secret: &str) -> String {
    secret.chars().take(MIN_BEGINNING).collect()
}

/// The string with characters in the place of their escapes in JSON (RFC 8259 §7).
fn without_json_escapes(string: &str) -> String {
    let mut parts = string.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.strip_prefix('u').and_then(|rest| rest.split_at_checked(4));
        let character = code.and_then(|(code, rest)| {
            Some((char::from_u32(u32::from_str_radix(code, 16).ok()?)?, rest))
        });
        match character {
            Some((character, rest)) => {
                plain.push(character);
                plain.push_str(rest);
            }
            None => plain.push_str(part),
        }
    }
    plain
}

/// The string without a secret and its beginnings.
fn without(string: &str, secret: &str) -> String {
    let beginning = beginning(secret);
    let mut left = String::new();
    let mut rest = string;
    while let Some((before, found)) = rest.split_once(beginning.as_str()) {
        left.push_str(before);
        left.push_str(MARK);
        let continued = secret.chars().skip(MIN_BEGINNING);
        let mut after = found.chars();
        for expected in continued {
            let mut next = after.clone();
            if next.next() != Some(expected) {
                break;
            }
            after = next;
        }
        rest = after.as_str();
    }
    left.push_str(rest);
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "s3cret:+é-and-more";

    #[test]
    fn a_secret_and_its_prefixes_are_removed() {
        for (string, left) in [
            ("bad s3cret:+é-and-more!", "bad […]!"),
            ("bad 's3cret:+é-and...'", "bad '[…]...'"),
            ("bad s3cret:+", "bad […]"),
            ("s3cret:+s3cret:+é", "[…][…]"),
            ("s3cret: is too short to tell", "s3cret: is too short to tell"),
            ("AADSTS7000215: Invalid client secret", "AADSTS7000215: Invalid client secret"),
        ] {
            assert_eq!(Secrets::new([SECRET]).redact(string), left);
        }
        // A short secret counts as a whole.
        assert_eq!(Secrets::new(["abc", ""]).redact("code abc, ab"), "code […], ab");
    }

    #[test]
    fn nothing_is_left_of_a_message_that_holds_a_secret_with_escapes() {
        let secrets = Secrets::new([SECRET, "a b/c\"d-and-more", "longer than that: and more"]);
        for string in [
            "got client_secret=s3cret%3A%2B%C3%A9-and-more&x",
            "got s3cret%3a%2b%c3%a9",
            "got code=a+b%2Fc%22d-and-more",
            "got a%20b%2Fc%22d-and",
            "got longer%20than that",
            "got longer than+that",
            "got longer than that%3A and more",
            r#"got "a b\/c\"d-and""#,
            r#"got "a b\u002fc\u0022d-and""#,
            r#"got "longer\u0020than"#,
        ] {
            assert_eq!(secrets.redact(string), "[…]", "{string}");
        }
        for string in ["100 % of 1 + 1: AADSTS7000215", r"C:\u\users\u12 %zz", "%", "\\"] {
            assert_eq!(secrets.redact(string), string);
        }
    }
}
