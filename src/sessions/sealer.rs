//! Seals the ids of sessions, and verifies the seals.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::form::{MAX_ID, SEAL_LENGTH, is_visible_ascii};
use super::{NotTheirs, SentSession, SessionHolder};
use crate::response_head::ResponseHead;
use crate::seal::Sealer;

/// Separates the seal from the id.
const SEPARATOR: char = '.';

/// Seals the ids of sessions with keys derived from the configured secret.
#[derive(Clone, Debug)]
pub(crate) struct SessionSealer {
    current: Hmac<Sha256>,
    previous: Option<Hmac<Sha256>>,
}

/// The server's id cannot be sealed: it must be one value of visible ASCII, of at most [`MAX_ID`]
/// bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnsealableId;

impl SessionSealer {
    /// Separates its keys from all others that are derived from the secret. Must never change.
    const PURPOSE: &'static str = "mcp session id";

    /// Seals with the current secret, and verifies seals of the previous one too.
    #[must_use]
    pub(crate) fn new(secrets: &Sealer) -> Self {
        let (current, previous) = secrets.keys(Self::PURPOSE);
        let mac = |key: [u8; 64]| Hmac::<Sha256>::new(&key.into());
        Self { current: mac(current), previous: previous.map(mac) }
    }

    /// The id that the server gives in the head of a response, sealed for its holder; `None` if it
    /// gives none.
    ///
    /// # Errors
    ///
    /// [`UnsealableId`].
    pub(crate) fn seal(
        &self,
        head: ResponseHead<'_>,
        holder: &SessionHolder,
    ) -> Result<Option<String>, UnsealableId> {
        let mut values = head.values(super::SESSION_ID);
        let Some(id) = values.next() else { return Ok(None) };
        let is_sound =
            values.next().is_none() && !id.is_empty() && id.len() <= MAX_ID && is_visible_ascii(id);
        let id = std::str::from_utf8(id).ok().filter(|_| is_sound).ok_or(UnsealableId)?;
        let seal = sealing(&self.current, id, holder).finalize().into_bytes();
        let mut sealed = String::with_capacity(SEAL_LENGTH + 1 + id.len());
        URL_SAFE_NO_PAD.encode_string(seal, &mut sealed);
        sealed.push(SEPARATOR);
        sealed.push_str(id);
        Ok(Some(sealed))
    }

    /// The id in a sealed one, if it was sealed for this holder with either secret.
    ///
    /// # Errors
    ///
    /// [`NotTheirs`].
    pub(crate) fn open(
        &self,
        sent: &SentSession,
        holder: &SessionHolder,
    ) -> Result<String, NotTheirs> {
        let SentSession::Sealed(sealed) = sent else { return Err(NotTheirs) };
        let (seal, id) = sealed.split_once(SEPARATOR).ok_or(NotTheirs)?;
        if id.is_empty() {
            return Err(NotTheirs);
        }
        let seal = URL_SAFE_NO_PAD.decode(seal).map_err(|_| NotTheirs)?;
        let mut keys = [Some(&self.current), self.previous.as_ref()].into_iter().flatten();
        // Compares in constant time.
        let is_sealed = keys.any(|key| sealing(key, id, holder).verify_slice(&seal).is_ok());
        if is_sealed { Ok(id.to_owned()) } else { Err(NotTheirs) }
    }
}

/// The digest of the holder has a fixed length, so no length precedes it.
fn sealing(key: &Hmac<Sha256>, id: &str, holder: &SessionHolder) -> Hmac<Sha256> {
    key.clone().chain_update(holder.as_bytes()).chain_update(id)
}
