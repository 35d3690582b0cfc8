//! The header fields in which clients of MCP 2026-07-28 repeat parts of their message (SEP-2243).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::mcp_call::{HEADERS_SINCE, is_older};
use super::message::Message;
use crate::refusal::{HeaderFault, McpCall};
use crate::request::RequestHead;

const VERSION: &str = HeaderFault::VERSION;
const METHOD: &str = "mcp-method";
const NAME: &str = "mcp-name";

/// The values of these fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct McpHeaders {
    version: Option<String>,
    method: Option<String>,
    /// Decoded from the base64 sentinel form.
    name: Option<String>,
}

impl McpHeaders {
    /// Reads the fields.
    ///
    /// # Errors
    ///
    /// A field is repeated or malformed.
    pub(super) fn parse(head: RequestHead<'_>) -> Result<Self, HeaderFault> {
        let name = single(head, NAME)?.map(|name| decoded(name).ok_or(malformed(NAME)));
        Ok(Self {
            version: single(head, VERSION)?.map(str::to_owned),
            method: single(head, METHOD)?.map(str::to_owned),
            name: name.transpose()?,
        })
    }

    /// Compares the fields with the message in the body.
    ///
    /// # Errors
    ///
    /// A field differs, or is missing although the revision requires it.
    pub(super) fn agree_with(&self, message: &Message) -> Result<(), HeaderFault> {
        let version = message.version.as_ref();
        if version.is_some() {
            compare(VERSION, self.version.as_ref(), version)?;
        }
        let call = message.call.as_ref();
        compare(METHOD, self.method.as_ref(), call.map(|call| &call.method))?;
        let name = call.and_then(|call| call.name.as_ref());
        // For a method unknown here, the server may know a name that this code does not read.
        if name.is_some() {
            compare(NAME, self.name.as_ref(), name)?;
        }
        // `initialize` belongs to older revisions, and the specification does not say whether
        // notifications need the fields.
        let is_new = |version: &String| version.as_str() >= HEADERS_SINCE;
        let demands = message.is_request
            && call.is_some_and(|call| call.method != "initialize")
            && version.or(self.version.as_ref()).is_some_and(is_new);
        match call {
            Some(_) if demands && self.method.is_none() => {
                Err(HeaderFault::Missing { header: METHOD })
            }
            Some(call) if demands && self.name.is_none() && call.demands_name_header() => {
                Err(HeaderFault::Missing { header: NAME })
            }
            _ => Ok(()),
        }
    }

    /// The message that the fields announce. Only `versions` are accepted: servers of older
    /// revisions do not compare the fields with the body.
    ///
    /// # Errors
    ///
    /// The revision is another one, or a field is missing.
    pub(super) fn message(&self, versions: &[String]) -> Result<Message, HeaderFault> {
        let version = self.version.clone().ok_or(HeaderFault::Missing { header: VERSION })?;
        if !versions.contains(&version) {
            return Err(HeaderFault::Version { found: version });
        }
        let method = self.method.clone().ok_or(HeaderFault::Missing { header: METHOD })?;
        let may_lack_name = is_older(&method);
        let call = McpCall::new(method, |_| match self.name.clone() {
            None if !may_lack_name => Err(HeaderFault::Missing { header: NAME }),
            name => Ok(name),
        })?;
        let is_request = !call.is_notification();
        Ok(Message { call: Some(call), is_request, version: Some(version) })
    }
}

/// The value of a field that may occur once.
fn single<'a>(head: RequestHead<'a>, header: &'static str) -> Result<Option<&'a str>, HeaderFault> {
    let mut values = head.values_in_any_spelling(header);
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(HeaderFault::Repeated { header });
    }
    let text = std::str::from_utf8(value).ok();
    let is_plain = |text: &&str| text.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    text.filter(is_plain).map(Some).ok_or(malformed(header))
}

fn malformed(header: &'static str) -> HeaderFault {
    HeaderFault::Malformed { header }
}

/// Decodes the sentinel form `=?base64?…?=`. The engine accepts canonical base64 only: padded, and
/// without stray bits.
fn decoded(value: &str) -> Option<String> {
    let encoded = value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?="));
    match encoded {
        Some(encoded) => String::from_utf8(STANDARD.decode(encoded).ok()?).ok(),
        None => Some(value.to_owned()),
    }
}

fn compare(
    header: &'static str,
    found: Option<&String>,
    body: Option<&String>,
) -> Result<(), HeaderFault> {
    match found {
        Some(found) if Some(found) != body => {
            Err(HeaderFault::Differs { header, found: found.clone(), body: body.cloned() })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&str, &str)]) -> Result<McpHeaders, HeaderFault> {
        let fields: Vec<_> =
            fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        McpHeaders::parse(RequestHead::new(&fields, true))
    }

    fn agree(fields: &[(&str, &str)], body: &str) -> Result<(), String> {
        let message = Message::read(body.as_bytes()).unwrap();
        headers(fields)
            .and_then(|headers| headers.agree_with(&message))
            .map_err(|fault| fault.to_string())
    }

    // Requirement: sentinel-case
    // Requirement: sentinel-decoding
    #[test]
    fn names_are_decoded_from_canonical_base64_only() {
        for (value, name) in [
            ("plain", Some("plain")),
            ("", Some("")),
            ("=?base64?ZsO8cg==?=", Some("für")),
            ("=?base64??=", Some("")),
            // Without the complete sentinel, in lower case, a value is literal.
            ("=?base64?eA==", Some("=?base64?eA==")),
            ("=?BASE64?eA==?=", Some("=?BASE64?eA==?=")),
            ("=?base64?=", Some("=?base64?=")),
            ("=?base64?eA?=", None),
            ("=?base64?eA=?=", None),
            ("=?base64?eB==?=", None),
            ("=?base64?eA== ?=", None),
            ("=?base64?_w==?=", None),
            ("=?base64?/w==?=", None),
            ("f\u{fc}r", None),
            ("a\u{1}", None),
        ] {
            let read = headers(&[("mcp-name", value)]).ok().and_then(|headers| headers.name);
            assert_eq!(read.as_deref(), name, "{value}");
        }
    }

    #[test]
    fn a_field_occurs_once_counting_all_spellings() {
        for header in [VERSION, METHOD, NAME] {
            let [folded, dotted] = ["_", "."].map(|sign| header.replace('-', sign));
            for fields in [
                [header, header],
                [header, &folded],
                [&folded, &folded],
                [header, &dotted],
                [&dotted, &folded],
            ] {
                let fields = fields.map(|name| (name, "x"));
                assert_eq!(headers(&fields), Err(HeaderFault::Repeated { header }));
            }
        }
    }

    // Requirement: header-mismatch
    #[test]
    fn the_fields_present_agree_with_the_body() {
        const CALL: &str = r#"{"id":1,"method":"tools/call","params":{"name":"x"}}"#;
        const NEW: &str = r#"{"id":1,"method":"tools/call","params":{"name":"x","_meta":{
            "io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
        const LIST: &str = r#"{"id":1,"method":"tools/list"}"#;
        const NOTE: &str = r#"{"method":"notifications/cancelled"}"#;
        const HELLO: &str = r#"{"id":1,"method":"initialize"}"#;
        const RESPONSE: &str = r#"{"id":1,"result":{}}"#;
        let (old, new) = ((VERSION, "2025-11-25"), (VERSION, "2026-07-28"));
        let (call, list) = ((METHOD, "tools/call"), (METHOD, "tools/list"));
        let (x, y) = ((NAME, "x"), (NAME, "y"));
        let differs = |header| Err(format!("the header {header} does not match the body"));
        let missing = |header| Err(format!("the header {header} is missing"));
        for (fields, body, outcome) in [
            (&[][..], CALL, Ok(())),
            (&[old], CALL, Ok(())),
            (&[old, call, x], CALL, Ok(())),
            (&[call, (NAME, "=?base64?eA==?=")], CALL, Ok(())),
            (&[old, (METHOD, "TOOLS/CALL")], CALL, differs(METHOD)),
            (&[old, list], CALL, differs(METHOD)),
            (&[list], RESPONSE, differs(METHOD)),
            (&[old, y], CALL, differs(NAME)),
            (&[old, (NAME, "")], CALL, differs(NAME)),
            (&[old, call, x], NEW, differs(VERSION)),
            (&[], NEW, missing(METHOD)),
            (&[new], CALL, missing(METHOD)),
            (&[(VERSION, "2027-01-01")], CALL, missing(METHOD)),
            (&[new, call], CALL, missing(NAME)),
            (&[new, call, x], CALL, Ok(())),
            (&[new, call, x], NEW, Ok(())),
            (&[new, list], LIST, Ok(())),
            (&[new, list, y], LIST, Ok(())),
            (&[new], NOTE, Ok(())),
            (&[new], HELLO, Ok(())),
            (&[new], RESPONSE, Ok(())),
        ] {
            assert_eq!(agree(fields, body), outcome, "{fields:?} {body}");
        }
    }

    // Requirement: header-policy-version
    #[test]
    fn the_fields_alone_make_a_message_of_an_accepted_revision() {
        let versions = [HEADERS_SINCE.to_owned()];
        let read = |fields: &[_]| headers(fields).and_then(|headers| headers.message(&versions));
        let (new, call, name) =
            ((VERSION, "2026-07-28"), (METHOD, "tools/call"), (NAME, "=?base64?eA==?="));
        let message = read(&[new, call, name]).unwrap();
        let expected = McpCall { method: "tools/call".to_owned(), name: Some("x".to_owned()) };
        assert_eq!(message.call, Some(expected));
        for nameless in ["tools/list", "resources/subscribe"] {
            assert!(read(&[new, (METHOD, nameless)]).is_ok(), "{nameless}");
        }
        for (fields, header) in [
            (&[call, name][..], VERSION),
            (&[(VERSION, "2025-11-25"), call, name], VERSION),
            (&[(VERSION, "2027-01-01"), call, name], VERSION),
            (&[new, name], METHOD),
            (&[new, call], NAME),
        ] {
            assert_eq!(read(fields).unwrap_err().header(), header, "{fields:?}");
        }
    }
}
