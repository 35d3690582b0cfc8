//! The compact serialisation of a JWS (RFC 7515 §7.1): split, decoded and parsed strictly; the
//! signature is not verified here.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use memchr::{memchr, memrchr};

use super::malformed_token::Segment;
use super::{MalformedToken, ProtectedHeader};
use crate::json::{JsonFault, Object};

/// A well-formed JWS whose payload is a JSON object. Its signature has not been verified.
#[derive(Debug)]
pub(crate) struct CompactJws {
    token: Vec<u8>,
    header_length: usize,
    signing_input_length: usize,
    header: ProtectedHeader,
    signature: Vec<u8>,
}

impl CompactJws {
    /// The token as received.
    #[must_use]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.token
    }

    /// The token as received.
    #[must_use]
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.token
    }

    /// Parses a token. Returns it with the members of its payload, which are unverified.
    ///
    /// # Errors
    ///
    /// It is not three segments of base64url (without padding, without stray bits), the header or
    /// the payload is not a JSON object with unique member names, or a required header member has a
    /// wrong type.
    pub(crate) fn parse(token: &[u8]) -> Result<(Self, Object), MalformedToken> {
        // Any input that decodes has exactly three segments; count them only to pick the error.
        Self::read(token).map_err(|fault| match has_three_segments(token) {
            true => fault,
            false => MalformedToken::Segments,
        })
    }

    fn read(token: &[u8]) -> Result<(Self, Object), MalformedToken> {
        let (signing_input, signature) = memrchr(DOT, token)
            .and_then(|dot| around(token, dot))
            .ok_or(MalformedToken::Segments)?;
        let (header, payload) = memchr(DOT, signing_input)
            .and_then(|dot| around(signing_input, dot))
            .ok_or(MalformedToken::Segments)?;
        let jws = Self {
            header_length: header.len(),
            signing_input_length: signing_input.len(),
            header: ProtectedHeader::from_members(&object(Segment::Header, header)?)?,
            signature: decode(Segment::Signature, signature)?,
            token: token.to_owned(),
        };
        Ok((jws, object(Segment::Payload, payload)?))
    }

    /// Parses the payload again.
    ///
    /// # Errors
    ///
    /// Cannot fail, because the payload was parsed before.
    pub(crate) fn payload(&self) -> Result<Object, MalformedToken> {
        let (_, payload) = around(self.signing_input(), self.header_length).unwrap_or_default();
        object(Segment::Payload, payload)
    }

    /// The input of the signature (RFC 7515 §5.1).
    #[must_use]
    pub(crate) fn signing_input(&self) -> &[u8] {
        self.token.get(..self.signing_input_length).unwrap_or_default()
    }

    /// The signature in bytes; empty for an unsecured JWS.
    #[must_use]
    pub(crate) fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// The protected header.
    #[must_use]
    pub(crate) fn header(&self) -> &ProtectedHeader {
        &self.header
    }
}

const DOT: u8 = b'.';

/// The parts before and after the byte at this index.
fn around(bytes: &[u8], index: usize) -> Option<(&[u8], &[u8])> {
    let (before, rest) = bytes.split_at_checked(index)?;
    Some((before, rest.split_first()?.1))
}

fn has_three_segments(token: &[u8]) -> bool {
    str::from_utf8(token).is_ok_and(|token| token.split(char::from(DOT)).count() == 3)
}

fn decode(segment: Segment, text: &[u8]) -> Result<Vec<u8>, MalformedToken> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| base64_fault(segment, text))
}

/// Which other encoding a segment uses instead of base64url without padding.
fn base64_fault(segment: Segment, text: &[u8]) -> MalformedToken {
    let mut unpadded = text;
    while let [rest @ .., b'='] = unpadded {
        unpadded = rest;
    }
    let is_of = |others: [u8; 2]| {
        unpadded.iter().all(|byte| byte.is_ascii_alphanumeric() || others.contains(byte))
    };
    if is_of(*b"-_") && unpadded.len() < text.len() {
        MalformedToken::Padded(segment)
    } else if is_of(*b"+/") && !is_of(*b"-_") {
        MalformedToken::PlainBase64(segment)
    } else {
        MalformedToken::Base64(segment)
    }
}

fn object(segment: Segment, text: &[u8]) -> Result<Object, MalformedToken> {
    Object::read(decode(segment, text)?).map_err(|fault| match fault {
        JsonFault::NotAnObject => MalformedToken::NotAnObject(segment),
        JsonFault::Repeated(path) => MalformedToken::Repeated(segment, path),
        JsonFault::Syntax => MalformedToken::Json(segment),
    })
}

/// Whether a token can be read. If so, encoding it again yields the same bytes.
#[cfg(any(fuzzing, test))]
pub fn fuzz_jws(token: &[u8]) -> bool {
    let Ok((jws, claims)) = CompactJws::parse(token) else { return false };
    let signature = URL_SAFE_NO_PAD.encode(jws.signature());
    assert_eq!([jws.signing_input(), b".", signature.as_bytes()].concat(), token);
    assert_eq!(jws.payload().as_ref(), Ok(&claims));
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::json::Json;

    fn token(header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
        format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload))
    }

    fn parse(token: &[u8]) -> Result<(CompactJws, Object), MalformedToken> {
        CompactJws::parse(token)
    }

    #[test]
    fn a_token_is_split_and_decoded() {
        let token = token(r#"{"alg":"ES256","kid":"k","typ":"JWT"}"#, r#"{"iss":"i"}"#);
        let (jws, payload) = parse(token.as_bytes()).unwrap();
        assert_eq!(jws.signing_input(), &token.as_bytes()[..token.len() - 5]);
        assert_eq!(jws.signature(), b"sig");
        assert_eq!((jws.header().algorithm(), jws.header().kid()), ("ES256", Some("k")));
        assert_eq!(payload.get("iss").and_then(Json::as_str), Some("i"));
        assert_eq!(jws.payload().unwrap(), payload);
    }

    #[test]
    fn anything_but_a_compact_jws_is_malformed() {
        use MalformedToken::*;
        use Segment::*;
        let good = r#"{"alg":"ES256"}"#;
        let repeated = |segment, path: &str| Repeated(segment, path.to_owned());
        for (token, fault) in [
            (String::new(), Segments),
            ("a.b".to_owned(), Segments),
            ("a.b.c.d".to_owned(), Segments),
            ("a.b.c.d.e".to_owned(), Segments),
            ("..".to_owned(), Json(Header)),
            (format!("{}.", token(good, "{}")), Segments),
            (token(good, "{}").replace("c2ln", "c2l"), Base64(Signature)),
            (token(good, "{}").replace("c2ln", "c2ln="), Padded(Signature)),
            (token(good, "{}").replace("c2ln", "c2ln=="), Padded(Signature)),
            (token(good, "{}").replace(".c2ln", "=.c2ln"), Padded(Payload)),
            (token(good, "{}").replacen('.', "=.", 1), Padded(Header)),
            (token(good, "{}").replace("c2ln", "c2=n"), Base64(Signature)),
            (token(good, "{}").replace("c2ln", "c2ln=\n"), Base64(Signature)),
            (token(good, "{}").replace("c2ln", "c2l+"), PlainBase64(Signature)),
            (token(good, "{}").replace("c2ln", "c2l/c2k="), PlainBase64(Signature)),
            (token(good, "{}").replace("e30", "e/30"), PlainBase64(Payload)),
            (token(good, "{}").replace("c2ln", "c2l+_w"), Base64(Signature)),
            (token(good, "{}").replace("c2ln", "c2ln\n"), Base64(Signature)),
            (format!(" {}", token(good, "{}")), Base64(Header)),
            (token("", "{}"), Json(Header)),
            (token("{", "{}"), Json(Header)),
            (token("[]", "{}"), NotAnObject(Header)),
            (token("{}", "{}"), MissingAlgorithm),
            (token(r#"{"alg":null}"#, "{}"), HeaderMember("alg")),
            (token(r#"{"alg":1}"#, "{}"), HeaderMember("alg")),
            (token(r#"{"alg":"ES256","kid":1}"#, "{}"), HeaderMember("kid")),
            (token(r#"{"alg":"ES256","kid":null}"#, "{}"), HeaderMember("kid")),
            (token(r#"{"alg":"ES256","alg":"ES256"}"#, "{}"), repeated(Header, "alg")),
            (token(good, ""), Json(Payload)),
            (token(good, "{}{}"), Json(Payload)),
            (token(good, "null"), NotAnObject(Payload)),
            (token(good, b"{\"a\":\"\xff\"}"), Json(Payload)),
            (token(good, r#"{"aud":"a","a\u0075d":"b"}"#), repeated(Payload, "aud")),
            (token(good, r#"{"a":{"b":1,"b":1}}"#), repeated(Payload, "a.b")),
        ] {
            assert_eq!(parse(token.as_bytes()).unwrap_err(), fault, "{token}");
        }
    }

    #[test]
    fn input_without_three_segments_is_never_a_jws() {
        use MalformedToken::*;
        let good = token(r#"{"alg":"ES256"}"#, "{}");
        let not_utf_8 =
            |at: usize| [&good.as_bytes()[..at], b"\xff", &good.as_bytes()[at..]].concat();
        for (token, fault) in [
            (not_utf_8(0), Segments),
            (not_utf_8(good.len() - 6), Segments),
            (not_utf_8(good.len()), Segments),
            (format!("!.{good}").into(), Segments),
            (format!("{good}.!").into(), Segments),
            (good.replace('.', "..").into(), Segments),
            (format!("ü{good}").into(), Base64(Segment::Header)),
            (format!("{good}ü").into(), Base64(Segment::Signature)),
        ] {
            assert_eq!(parse(&token).unwrap_err(), fault, "{token:?}");
        }
    }

    proptest! {
        #[test]
        fn a_token_has_as_many_segments_as_its_string(parts in prop::collection::vec(
            prop::sample::select(vec![
                &b"."[..], b".", b".", b"eyJhbGciOiJFUzI1NiJ9", b"e30", b"c2ln", b"=", b"!",
                "\u{fc}".as_bytes(), b"\xff",
            ]),
            0..9,
        )) {
            let token = parts.concat();
            let text = str::from_utf8(&token);
            let has_three = text.is_ok_and(|text| text.split('.').collect::<Vec<_>>().len() == 3);
            let fault = parse(&token).err();
            prop_assert_eq!(fault == Some(MalformedToken::Segments), !has_three);
        }
    }

    #[test]
    fn a_last_character_with_stray_bits_is_not_a_second_spelling_of_a_signature() {
        let token = token(r#"{"alg":"ES256"}"#, "{}");
        assert!(parse(token.replace("c2ln", "c2k").as_bytes()).is_ok());
        assert!(parse(token.replace("c2ln", "c2l").as_bytes()).is_err());
    }

    #[test]
    fn unsupported_critical_extensions_are_found() {
        for (members, critical) in [
            (r#""crit":["exp"]"#, Some("exp")),
            (r#""crit":["b64"],"b64":true"#, Some("b64")),
            (r#""crit":[]"#, Some("crit")),
            (r#""crit":null"#, Some("crit")),
            (r#""b64":false"#, Some("b64")),
            (r#""b64":"true""#, Some("b64")),
            (r#""b64":true"#, None),
            (r#""jwk":{}"#, None),
        ] {
            let token = token(format!(r#"{{"alg":"ES256",{members}}}"#), "{}");
            assert_eq!(parse(token.as_bytes()).unwrap().0.header().critical(), critical);
        }
    }
}
