use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;

use super::form::{MAX_ID, MAX_SEALED};
use super::*;
use crate::request::Field;
use crate::response_head::ResponseHead;
use crate::seal::{Sealer, Secret};

const ISSUER: &str = "https://id.example";
const RESOURCE: &str = "https://mcp.example.com/mcp";
const ID: &str = "3f0c1f5d";

fn secret(byte: u8) -> Secret {
    Secret::parse(&URL_SAFE_NO_PAD.encode([byte; 32])).unwrap()
}

fn sealer(current: u8, previous: Option<u8>) -> SessionSealer {
    SessionSealer::new(&Sealer::new(secret(current), previous.map(secret)))
}

fn holder(subject: &str) -> Rc<SessionHolder> {
    Rc::new(SessionHolder::new(ISSUER, Subject::Sub(subject), RESOURCE))
}

fn fields<'a>(values: &'a [&'a [u8]]) -> Vec<Field<'a>> {
    values.iter().map(|value| (SESSION_ID.as_bytes(), *value)).collect()
}

/// The values that the client gets when the server returns these.
fn given(sealer: &SessionSealer, values: &[&[u8]]) -> Result<Option<String>, UnsealableId> {
    sealer.seal(ResponseHead::new(&fields(values)), &holder("ada"))
}

fn sealed(sealer: &SessionSealer, id: &str) -> String {
    given(sealer, &[id.as_bytes()]).unwrap().unwrap()
}

/// The values that the server gets when this holder sends these.
fn received(
    sealer: &SessionSealer,
    values: &[&[u8]],
    holder: &Rc<SessionHolder>,
) -> Result<Option<String>, NotTheirs> {
    RequestSession::from_head(RequestHead::new(&fields(values), false)).bind(sealer, holder)
}

fn is_refused(sealer: &SessionSealer, value: &str) -> bool {
    received(sealer, &[value.as_bytes()], &holder("ada")) == Err(NotTheirs)
}

/// Computed with other implementations of HKDF and HMAC. Sessions outlive releases, so the seal
/// must not change.
#[test]
fn a_seal_is_stable_across_releases() {
    let expected = "onPfTR8uHsx5R2qjOCoQ2bytRce7gIfK4bJh7EMvugM.3f0c1f5d";
    assert_eq!(sealed(&sealer(1, None), ID), expected);
}

#[test]
fn a_session_is_valid_only_for_its_holder() {
    let sealer = sealer(1, None);
    let sealed = sealed(&sealer, ID);
    let to = |holder| received(&sealer, &[sealed.as_bytes()], &Rc::new(holder));
    let ada = SessionHolder::new(ISSUER, Subject::Sub("ada"), RESOURCE);
    assert_eq!(to(ada), Ok(Some(ID.to_owned())));
    for (what, other) in [
        ("another subject", SessionHolder::new(ISSUER, Subject::Sub("bob"), RESOURCE)),
        ("another case", SessionHolder::new(ISSUER, Subject::Sub("Ada"), RESOURCE)),
        ("a user without sub", SessionHolder::new(ISSUER, Subject::User("ada"), RESOURCE)),
        (
            "another issuer",
            SessionHolder::new("https://other.example", Subject::Sub("ada"), RESOURCE),
        ),
        (
            "another resource",
            SessionHolder::new(ISSUER, Subject::Sub("ada"), "https://mcp.example.com/other"),
        ),
    ] {
        assert_eq!(to(other), Err(NotTheirs), "{what}");
    }
}

#[test]
fn either_secret_verifies_and_the_first_one_seals() {
    let (old, rotated, new) = (sealer(1, None), sealer(2, Some(1)), sealer(2, None));
    let before = sealed(&old, ID);
    assert!(!is_refused(&rotated, &before));
    assert!(is_refused(&new, &before));
    let after = sealed(&rotated, ID);
    assert!(!is_refused(&new, &after));
    assert!(is_refused(&old, &after));
}

#[test]
fn a_request_without_exactly_one_valid_value_has_no_session() {
    let sealer = sealer(1, None);
    let sealed = sealed(&sealer, ID);
    let (seal, _) = sealed.split_once('.').unwrap();
    let of_sealed = format!("{seal}.{sealed}");
    let ada = holder("ada");
    assert_eq!(received(&sealer, &[], &ada), Ok(None), "no session");
    for (what, values) in [
        ("empty", &[""][..]),
        ("unsealed", &[ID]),
        ("a seal alone", &[seal]),
        ("no id", &[&format!("{seal}.")]),
        ("another id", &[&format!("{seal}.3f0c1f5e")]),
        ("sealed with padding", &[&format!("{seal}=.{ID}")]),
        ("a part of the seal", &[&sealed[1..]]),
        ("no seal", &[&format!(".{ID}")]),
        ("twice", &[&sealed, &sealed]),
        ("with an empty one", &[&sealed, ""]),
        ("joined", &[&format!("{sealed},{sealed}")]),
        ("a space before", &[&format!(" {sealed}")]),
        ("not ASCII", &[&format!("{seal}.é")]),
        ("sealed twice", &[&of_sealed]),
    ] {
        let values: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
        assert_eq!(received(&sealer, &values, &ada), Err(NotTheirs), "{what}");
    }
}

#[test]
fn ids_are_bounded() {
    let sealer = sealer(1, None);
    let longest = "i".repeat(MAX_ID);
    let sealed = sealed(&sealer, &longest);
    assert_eq!(sealed.len(), MAX_SEALED);
    assert_eq!(received(&sealer, &[sealed.as_bytes()], &holder("ada")), Ok(Some(longest)));
    let too_long = "i".repeat(MAX_ID + 1);
    assert_eq!(given(&sealer, &[too_long.as_bytes()]), Err(UnsealableId));
    let sent = format!("{}i", sealed);
    let sent = SentSession::from_head(RequestHead::new(&fields(&[sent.as_bytes()]), false));
    assert_eq!(sent, Some(SentSession::Unusable), "no part of the id is kept");
}

#[test]
fn only_one_id_of_visible_ascii_is_sealed() {
    let sealer = sealer(1, None);
    assert_eq!(given(&sealer, &[]), Ok(None));
    assert!(matches!(given(&sealer, &[b"!\"~"]), Ok(Some(_))));
    for values in [&[&b""[..]][..], &[b"a", b"b"], &[b"a b"], &[b"a\x7f"], &[b"\xc3\xa9"]] {
        assert_eq!(given(&sealer, values), Err(UnsealableId), "{values:?}");
    }
}

/// A request that waited is bound again when it is judged again.
#[test]
fn binding_again_changes_nothing() {
    let sealer = sealer(1, None);
    let sealed = sealed(&sealer, ID);
    let ada = holder("ada");
    let sent = [sealed.as_bytes()];
    let fields = fields(&sent);
    let mut session = RequestSession::from_head(RequestHead::new(&fields, false));
    assert_eq!(session.holder(), None);
    assert_eq!(session.bind(&sealer, &ada), Ok(Some(ID.to_owned())));
    assert_eq!(session.bind(&sealer, &ada), Ok(None));
    assert_eq!(session.holder(), Some(&ada));
}

#[test]
fn the_values_of_a_client_are_not_printed() {
    let fields = fields(&[b"hidden"]);
    let session = RequestSession::from_head(RequestHead::new(&fields, false));
    assert!(!format!("{session:?}").contains("hidden"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_id_survives_sealing(id in "[!-~]{1,100}") {
        let sealer = sealer(1, Some(2));
        let sealed = sealed(&sealer, &id);
        prop_assert_eq!(received(&sealer, &[sealed.as_bytes()], &holder("ada")), Ok(Some(id)));
    }

    #[test]
    fn any_change_of_a_sealed_id_is_detected(at in any::<prop::sample::Index>(), other in "[!-~]") {
        let sealer = sealer(1, Some(2));
        let mut changed = sealed(&sealer, ID);
        let at = at.index(changed.len());
        prop_assume!(changed[at..=at] != other);
        changed.replace_range(at..=at, &other);
        prop_assert!(is_refused(&sealer, &changed));
    }

    #[test]
    fn no_forged_string_is_accepted(value in "[!-~]{0,100}|[A-Za-z0-9_-]{43}\\.[a-z]{1,9}") {
        prop_assert!(is_refused(&sealer(1, Some(2)), &value));
    }

    /// Two holders differ wherever the boundary between their parts is.
    #[test]
    fn holders_differ_wherever_their_parts_end(
        text in "[a-z./:]{0,30}", first in 0..31_usize, second in 0..31_usize,
        other_first in 0..31_usize, other_second in 0..31_usize,
    ) {
        let parts = |first: usize, second: usize| {
            let (first, second) = (first.min(text.len()), second.min(text.len()));
            let (start, end) = (first.min(second), first.max(second));
            (&text[..start], &text[start..end], &text[end..])
        };
        let (one, other) = (parts(first, second), parts(other_first, other_second));
        let holder = |(issuer, subject, resource)| {
            SessionHolder::new(issuer, Subject::Sub(subject), resource)
        };
        prop_assert_eq!(holder(one) == holder(other), one == other);
    }
}
