//! The bearer token of a request (RFC 6750 §2).

use crate::refusal::{AuthorizationFault, Refusal};
use crate::request::RequestHead;

/// Extracts the token from the `Authorization` field. It may still be a list, see [`check_single`].
///
/// # Errors
///
/// [`Refusal::MissingToken`] without credentials, [`Refusal::MalformedAuthorization`] for several
/// ones, another scheme, or a token in the query, which OAuth 2.1 forbids.
pub(crate) fn bearer_token(head: RequestHead<'_>) -> Result<&[u8], Refusal> {
    if has_token_in_query(head) {
        return Err(AuthorizationFault::InQuery.into());
    }
    let mut values = head.values("authorization").filter(|value| !value.is_empty());
    let value = values.next().ok_or(Refusal::MissingToken)?;
    if values.next().is_some() {
        return Err(AuthorizationFault::Repeated.into());
    }
    let scheme_length = value.iter().position(|&byte| byte == b' ').unwrap_or(value.len());
    let (scheme, rest) = value.split_at_checked(scheme_length).unwrap_or((value, &[]));
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        let is_joined = scheme.contains(&b',');
        return Err(match is_joined {
            true => AuthorizationFault::Repeated.into(),
            false => AuthorizationFault::OtherScheme.into(),
        });
    }
    let token = rest.trim_ascii();
    if token.is_empty() {
        return Err(AuthorizationFault::NoToken.into());
    }
    Ok(token)
}

/// Checks that the credentials are one token. Envoy joins repeated fields with a comma, which no
/// token contains, nor white space.
///
/// # Errors
///
/// [`Refusal::MalformedAuthorization`] if they are a list.
pub(crate) fn check_single(token: &[u8]) -> Result<(), Refusal> {
    if token.iter().any(|byte| *byte == b',' || byte.is_ascii_whitespace()) {
        return Err(AuthorizationFault::Repeated.into());
    }
    Ok(())
}

/// Whether the query has the parameter in any encoding that a server might decode to it.
fn has_token_in_query(head: RequestHead<'_>) -> bool {
    head.query()
        .is_some_and(|query| form_urlencoded::parse(query).any(|(name, _)| name == "access_token"))
}

/// Whether a request has a token. It is one word, if it is single.
#[cfg(any(fuzzing, test))]
pub fn fuzz_bearer_token(head: RequestHead<'_>) -> bool {
    let Ok(token) = bearer_token(head) else { return false };
    assert!(!token.is_empty());
    let is_word = !token.iter().any(|byte| b" ,\t\r\n\x0c".contains(byte));
    assert_eq!(check_single(token).is_ok(), is_word);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token_of(path: &str, authorization: &[&[u8]]) -> Result<Vec<u8>, Refusal> {
        let mut fields = vec![(b":path".as_slice(), path.as_bytes())];
        fields.extend(authorization.iter().map(|value| (b"authorization".as_slice(), *value)));
        let token = bearer_token(RequestHead::new(&fields, false))?;
        check_single(token).map(|()| token.to_vec())
    }

    #[test]
    fn the_scheme_is_found_in_any_case() {
        for value in ["Bearer a.b.c", "bearer a.b.c", "BEARER   a.b.c"] {
            assert_eq!(token_of("/", &[value.as_bytes()]).unwrap(), b"a.b.c");
        }
    }

    #[test]
    fn missing_credentials_are_not_malformed() {
        assert_eq!(token_of("/", &[]), Err(Refusal::MissingToken));
        assert_eq!(token_of("/", &[b""]), Err(Refusal::MissingToken));
    }

    #[test]
    fn credentials_that_are_not_one_bearer_token_are_malformed() {
        use AuthorizationFault::*;
        for (value, fault) in [
            (&b"Bearer"[..], NoToken),
            (b"Bearer ", NoToken),
            (b"Basic YTpi", OtherScheme),
            (b"a.b.c", OtherScheme),
            (b"Bearer\xff a.b.c", OtherScheme),
            (b"Bearer\ta.b.c", OtherScheme),
            (b"Bearer a, Bearer b", Repeated),
            (b"Basic,Bearer a", Repeated),
            (b"Bearer a b", Repeated),
        ] {
            assert_eq!(token_of("/", &[value]), Err(fault.into()), "{value:?}");
        }
        assert_eq!(token_of("/", &[b"Bearer a", b"Bearer b"]), Err(Repeated.into()));
    }

    #[test]
    fn an_access_token_in_the_query_is_refused_in_any_spelling() {
        for path in ["/?access_token=a", "/?x=1&access%5Ftoken=a", "/?%61ccess_token"] {
            assert_eq!(
                token_of(path, &[b"Bearer a"]),
                Err(AuthorizationFault::InQuery.into()),
                "{path}"
            );
        }
        assert!(token_of("/?my_access_token=a&x=access_token", &[b"Bearer a"]).is_ok());
    }
}
