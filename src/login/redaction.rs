//! A provider's message for developers, without the secrets that it got: some providers quote the
//! code or the token that they refuse, perhaps clipped.

/// Stands for what is left out.
const MARK: &str = "[…]";
/// Shortest beginning of a secret that counts as the secret, in characters.
const MIN_BEGINNING: usize = 8;

/// The string, clipped, without these secrets and without words that could be others.
pub(super) fn redacted(string: &str, secrets: &[&str]) -> String {
    const MAX_LENGTH: usize = 240;
    /// Longer than a GUID, with which providers name applications and requests.
    const MAX_WORD: usize = 40;
    let named = secrets.iter().filter(|secret| !secret.is_empty());
    let string = named.fold(string.to_owned(), |string, secret| without(&string, secret));
    let is_separator = |character: char| character.is_whitespace() || "'\"(),;".contains(character);
    let words = string
        .split_inclusive(is_separator)
        .map(|word| if word.chars().count() > MAX_WORD { "[…] " } else { word });
    words.flat_map(str::chars).take(MAX_LENGTH).collect()
}

/// The string without a secret and its beginnings.
fn without(string: &str, secret: &str) -> String {
    let beginning: String = secret.chars().take(MIN_BEGINNING).collect();
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

    #[test]
    fn a_secret_and_its_prefixes_are_removed() {
        const SECRET: &str = "s3cret:+é-and-more";
        for (string, left) in [
            ("bad s3cret:+é-and-more!", "bad […]!"),
            ("bad 's3cret:+é-and...'", "bad '[…]...'"),
            ("bad s3cret:+", "bad […]"),
            ("s3cret:+s3cret:+é", "[…][…]"),
            ("s3cret: is too short to tell", "s3cret: is too short to tell"),
            ("AADSTS7000215: Invalid client secret", "AADSTS7000215: Invalid client secret"),
        ] {
            assert_eq!(redacted(string, &[SECRET]), left);
        }
        // A short secret counts as a whole.
        assert_eq!(redacted("code abc, ab", &["abc", ""]), "code […], ab");
    }
}
