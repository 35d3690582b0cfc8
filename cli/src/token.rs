//! Reads the token from the command line or standard input.

use std::io::{self, IsTerminal as _, Read as _};

use mcp_federated_auth::explain::{is_utf16, without_byte_order_mark};
use serde_json::Value;

use crate::print::Printer;

/// Maximum size of the input in bytes: Envoy accepts no longer token.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// A token as given.
pub(crate) struct GivenToken {
    /// The token.
    pub(crate) token: Vec<u8>,
    /// Whether there was a byte order mark before it.
    pub(crate) is_marked: bool,
}

impl GivenToken {
    /// The argument, with a warning, or standard input.
    pub(crate) fn read(argument: Option<&str>, printer: Printer) -> Result<Self, String> {
        if let Some(token) = argument.filter(|token| *token != "-") {
            printer.warn(
                "a token on the command line stays in the shell's history, and other users of \
                 this machine may see it; pipe it into `--token -` instead",
            );
            return Ok(Self::bare(token.as_bytes()));
        }
        let input = io::stdin();
        if input.is_terminal() && argument.is_none() {
            return Err("the token is read from standard input: pipe it in, for example \
                        `xclip -o | mcp-auth explain …`, or `mcp-auth explain … < token.txt`"
                .to_owned());
        }
        let mut bytes = Vec::new();
        let read = input.lock().take(MAX_BYTES).read_to_end(&mut bytes);
        read.map_err(|why| format!("standard input: {why}"))?;
        let given = Self::bare(&bytes);
        if given.token.is_empty() {
            return Err("standard input holds no token".to_owned());
        }
        Ok(given)
    }

    /// The token without what people often copy with it.
    fn bare(input: &[u8]) -> Self {
        if is_utf16(input) {
            // Unchanged, so that the explanation can name it.
            return Self { token: input.to_vec(), is_marked: false };
        }
        let unmarked = without_byte_order_mark(input);
        let is_marked = unmarked.len() < input.len();
        let token = bare(&String::from_utf8_lossy(unmarked)).into_bytes();
        Self { token, is_marked }
    }
}

/// The token without the header's name and scheme, or from the whole response of a token endpoint.
fn bare(text: &str) -> String {
    let text = text.trim();
    if let Ok(response) = serde_json::from_str::<Value>(text)
        && let Some(token) = response.get("access_token").and_then(Value::as_str)
    {
        return token.to_owned();
    }
    let text = without(text, "authorization:").trim_start();
    if text.eq_ignore_ascii_case("bearer") {
        return String::new();
    }
    without(text, "bearer ").trim_start().to_owned()
}

fn without<'a>(text: &'a str, prefix: &str) -> &'a str {
    match text.split_at_checked(prefix.len()) {
        Some((start, rest)) if start.eq_ignore_ascii_case(prefix) => rest,
        _ => text,
    }
}
