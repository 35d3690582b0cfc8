//! A provider's message for developers, without the secrets that it got: some providers quote the
//! code or the token that they refuse, perhaps clipped.

use std::collections::BTreeSet;

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
        /// Bounds the time for undoing escapes, in characters.
        const MAX_READ: usize = 4096;
        const MAX_LENGTH: usize = 240;
        /// Longer than a GUID, with which providers name applications and requests.
        const MAX_WORD: usize = 40;
        let message: String = message.chars().take(MAX_READ).collect();
        if self.are_escaped_in(&message) {
            return MARK.to_owned();
        }
        let message = self.0.iter().fold(message, |message, secret| without(&message, secret));
        let is_separator =
            |character: char| character.is_whitespace() || "'\"(),;".contains(character);
        let words = message
            .split_inclusive(is_separator)
            .map(|word| if word.chars().count() > MAX_WORD { "[…] " } else { word });
        words.flat_map(str::chars).take(MAX_LENGTH).collect()
    }

    /// Whether a secret appears once escapes are undone, also escapes of escapes.
    fn are_escaped_in(&self, message: &str) -> bool {
        /// How many times a message may have been escaped.
        const MAX_DEPTH: usize = 3;
        let beginnings: Vec<String> = self.0.iter().map(|secret| beginning(secret)).collect();
        let mut seen = BTreeSet::from([message.to_owned()]);
        let mut latest = vec![message.to_owned()];
        for _ in 0..MAX_DEPTH {
            let mut next = Vec::new();
            for plain in latest.iter().flat_map(|string| UNESCAPE.map(|unescape| unescape(string)))
            {
                if seen.contains(&plain) {
                    continue;
                }
                if beginnings.iter().any(|beginning| plain.contains(beginning)) {
                    return true;
                }
                seen.insert(plain.clone());
                next.push(plain);
            }
            latest = next;
        }
        false
    }
}

fn beginning(secret: &str) -> String {
    secret.chars().take(MIN_BEGINNING).collect()
}

/// Each undoes one kind of escapes: those of HTML, JSON, URLs and forms.
const UNESCAPE: [fn(&str) -> String; 4] =
    [without_entities, without_json_escapes, without_percent_encoding, without_form_encoding];

fn without_form_encoding(string: &str) -> String {
    without_percent_encoding(&string.replace('+', " "))
}

fn without_percent_encoding(string: &str) -> String {
    percent_decode_str(string).decode_utf8_lossy().into_owned()
}

/// The string with characters in the place of their character references in HTML.
fn without_entities(string: &str) -> String {
    const NAMED: [(&str, char); 5] =
        [("amp", '&'), ("lt", '<'), ("gt", '>'), ("quot", '"'), ("apos", '\'')];
    let mut parts = string.split('&');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let numeric = part.strip_prefix('#').and_then(numeric_entity);
        let named = || {
            NAMED.iter().find_map(|(name, character)| {
                Some((*character, part.strip_prefix(name)?.strip_prefix(';')?))
            })
        };
        if let Some((character, rest)) = numeric.or_else(named) {
            plain.push(character);
            plain.push_str(rest);
        } else {
            plain.push('&');
            plain.push_str(part);
        }
    }
    plain
}

/// The character whose number follows `&#`, and what follows it. As in browsers, the semicolon may
/// be missing.
fn numeric_entity(string: &str) -> Option<(char, &str)> {
    let (digits, radix) = match string.strip_prefix(['x', 'X']) {
        Some(digits) => (digits, 16),
        None => (string, 10),
    };
    let end = digits.find(|digit: char| !digit.is_digit(radix)).unwrap_or(digits.len());
    let (number, rest) = digits.split_at(end);
    let character = char::from_u32(u32::from_str_radix(number, radix).ok()?)?;
    Some((character, rest.strip_prefix(';').unwrap_or(rest)))
}

/// The string with characters in the place of their escapes in JSON (RFC 8259 §7).
fn without_json_escapes(string: &str) -> String {
    let mut plain = String::new();
    let mut rest = string;
    while let Some((before, escape)) = rest.split_once('\\') {
        plain.push_str(before);
        let code = escape.strip_prefix('u').and_then(|rest| rest.split_at_checked(4));
        let coded = code.and_then(|(code, rest)| {
            Some((char::from_u32(u32::from_str_radix(code, 16).ok()?)?, rest))
        });
        let mut literal = escape.chars();
        let (character, after) = match coded {
            Some((character, rest)) => (Some(character), rest),
            None => (literal.next(), literal.as_str()),
        };
        plain.extend(character);
        rest = after;
    }
    plain.push_str(rest);
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
        let secrets = Secrets::new([
            SECRET,
            "a b/c\"d-and-more",
            "longer than that: and more",
            "abcdefgh'ijklmnop",
            r"back\slash-and-more",
        ]);
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
            r"got back\\slash-and-more",
            "invalid secret abcdefgh&#39;ijklmnop here",
            "invalid secret abcdefgh&#x27;ijklmnop here",
            "invalid secret abcdefgh&#039;ijklmnop here",
            "invalid secret abcdefgh&apos;ijklmnop here",
            "invalid secret abcdefgh&#39ijklmnop here",
            "got s3cret&#58;+é-and-more",
            "s3cret&#58;+and-more",
            "s3cret%253A%252Band-more",
            "got s3cret&#X3a;+é-and-more",
            "got s3cret%253A%252B%25C3%25A9-and-more",
            "got s3cret%25253A%25252B%2525C3%2525A9-and-more",
            "got s3cret&amp;amp;#58;+é-and-more",
            "got s3cret%26%2358%3B+é-and-more",
            r"got s3cret\\u003a+é-and-more",
            r"got s3cret\u0026#58;+é-and-more",
            "got a&#32;b/c&quot;d-and-more",
        ] {
            assert_eq!(secrets.redact(string), "[…]", "{string}");
        }
        for string in [
            "100 % of 1 + 1: AADSTS7000215",
            r"C:\u\users\u12 %zz",
            "%",
            "\\",
            "R&D &#; &#x; &#1114112; &nbsp; & &#",
        ] {
            assert_eq!(secrets.redact(string), string);
        }
    }

    #[test]
    fn the_end_of_a_very_long_message_is_not_read() {
        let secrets = Secrets::new([SECRET]);
        let read = |length| secrets.redact(&format!("{} end", "x".repeat(length)));
        assert_eq!(read(4000), "[…] end");
        assert_eq!(read(4096), "[…] ");
    }
}
