//! Caches protected headers: all tokens signed with one key have the same one.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::ProtectedHeader;

/// A few protected headers by their encoded segments. Callers add only those of tokens with a
/// verified signature, so that forged tokens evict none. Only parsing is saved: each token is still
/// judged by its header.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownHeaders(RefCell<VecDeque<KnownHeader>>);

#[derive(Clone, Debug)]
struct KnownHeader {
    segment: Box<[u8]>,
    header: Rc<ProtectedHeader>,
}

impl KnownHeaders {
    /// Maximum number of headers.
    const MAX_HEADERS: usize = 8;
    /// Maximum length of a segment in bytes.
    const MAX_LENGTH: usize = 1024;

    /// The parsed header of this segment.
    #[must_use]
    pub(super) fn find(&self, segment: &[u8]) -> Option<Rc<ProtectedHeader>> {
        let known = self.0.try_borrow().ok()?;
        known.iter().find(|known| *known.segment == *segment).map(|known| known.header.clone())
    }

    /// Adds a header; evicts the oldest if there are too many.
    pub(super) fn enter(&self, segment: &[u8], header: &Rc<ProtectedHeader>) {
        if segment.len() > Self::MAX_LENGTH || self.find(segment).is_some() {
            return;
        }
        let Ok(mut known) = self.0.try_borrow_mut() else { return };
        if known.len() >= Self::MAX_HEADERS {
            known.pop_front();
        }
        known.push_back(KnownHeader { segment: segment.into(), header: header.clone() });
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;
    use crate::jose::CompactJws;

    fn token(kid: &str) -> Vec<u8> {
        let header = format!(r#"{{"alg":"ES256","kid":"{kid}"}}"#);
        format!("{}.e30.c2ln", URL_SAFE_NO_PAD.encode(header)).into()
    }

    /// Whether a token's header came from the cache, recognised by its address.
    fn is_known(known: &KnownHeaders, token: &[u8]) -> bool {
        let segment = token.split(|&byte| byte == b'.').next().unwrap();
        let (jws, _) = CompactJws::parse(token, known).unwrap();
        known.find(segment).is_some_and(|header| std::ptr::eq(&*header, jws.header()))
    }

    fn enter(known: &KnownHeaders, token: &[u8]) {
        CompactJws::parse(token, known).unwrap().0.remember_header(known);
    }

    #[test]
    fn only_a_header_that_was_entered_is_known() {
        let known = KnownHeaders::default();
        assert!(!is_known(&known, &token("a")));
        assert!(!is_known(&known, &token("a")));
        enter(&known, &token("a"));
        assert!(is_known(&known, &token("a")));
        for other in ["b", "a ", "A"] {
            assert!(!is_known(&known, &token(other)));
            let (jws, _) = CompactJws::parse(&token(other), &known).unwrap();
            assert_eq!(jws.header().kid(), Some(other));
        }
    }

    #[test]
    fn the_rest_of_a_token_is_read_however_well_its_header_is_known() {
        let known = KnownHeaders::default();
        enter(&known, &token("a"));
        let text = String::from_utf8(token("a")).unwrap();
        for broken in [text.replace("e30", "e3"), text.replace("c2ln", "c2l"), format!("{text}.")] {
            let fault = CompactJws::parse(broken.as_bytes(), &known).unwrap_err();
            let unknown = CompactJws::parse(broken.as_bytes(), &KnownHeaders::default());
            assert_eq!(fault, unknown.unwrap_err());
        }
    }

    #[test]
    fn there_is_room_for_a_few_of_common_length() {
        let known = KnownHeaders::default();
        let kids: Vec<String> =
            (0..=KnownHeaders::MAX_HEADERS).map(|kid| kid.to_string()).collect();
        for kid in &kids {
            enter(&known, &token(kid));
            enter(&known, &token(kid));
        }
        let are_known = kids.iter().map(|kid| is_known(&known, &token(kid)));
        assert_eq!(are_known.filter(|is_known| *is_known).count(), KnownHeaders::MAX_HEADERS);
        assert!(!is_known(&known, &token("0")));
        let long = token(&"a".repeat(KnownHeaders::MAX_LENGTH));
        enter(&known, &long);
        assert!(!is_known(&known, &long));
    }
}
