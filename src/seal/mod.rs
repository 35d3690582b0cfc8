//! Values that the gateway gives to clients and browsers and recognises later, so that it stores
//! nothing.
//!
//! Each kind of value has a purpose, and each purpose a key of its own, derived from the configured
//! secret by HKDF (RFC 5869). Values are encrypted with XChaCha20-Poly1305, whose nonces are long
//! enough to be random. A value of one purpose never opens as another.

mod randomness;
mod secret;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) use self::randomness::Randomness;
pub(crate) use self::secret::Secret;
use crate::time::UnixTime;

/// A value that can be sealed.
pub(crate) trait Sealed: Serialize + DeserializeOwned {
    /// Separates its key from those of all other values. Must never change.
    const PURPOSE: &'static str;
    /// Maximum length of the sealed string in bytes. A longer one is neither made nor opened.
    const MAX_LENGTH: usize;
    /// How long it can be opened; `None` if it never expires.
    const LIFE: Option<Duration>;
}

/// Seals values with the current secret, and opens those of the current and the previous one.
#[derive(Clone, Debug)]
pub(crate) struct Sealer {
    current: Secret,
    previous: Option<Secret>,
}

/// Why a string did not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SealFault {
    /// It was not sealed here for this purpose with either secret, or was changed since.
    NotOurs,
    /// It was sealed here, but has expired.
    Expired,
}

/// A value is too large to be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLarge;

impl Sealer {
    const NONCE_LENGTH: usize = 24;
    /// Length of the time in front of the value: seconds since the epoch, big-endian.
    const TIME_LENGTH: usize = size_of::<u64>();

    #[must_use]
    pub(crate) fn new(current: Secret, previous: Option<Secret>) -> Self {
        Self { current, previous }
    }

    /// The keys for a purpose that no [`Sealed`] value has: of the current secret, and of the previous
    /// one if there is one.
    #[must_use]
    pub(crate) fn keys<const LENGTH: usize>(
        &self,
        purpose: &str,
    ) -> ([u8; LENGTH], Option<[u8; LENGTH]>) {
        let previous = self.previous.as_ref().map(|secret| secret.derive(purpose));
        (self.current.derive(purpose), previous)
    }

    /// Seals a value.
    ///
    /// # Errors
    ///
    /// The sealed string would exceed the limit of its kind.
    pub(crate) fn seal<T: Sealed>(
        &self,
        value: &T,
        now: UnixTime,
        random: &mut Randomness,
    ) -> Result<String, TooLarge> {
        let mut plaintext = now.as_secs().to_be_bytes().to_vec();
        serde_json::to_writer(&mut plaintext, value).map_err(|_| TooLarge)?;
        let nonce: [u8; Self::NONCE_LENGTH] = random.bytes();
        let payload = Payload { msg: &plaintext, aad: T::PURPOSE.as_bytes() };
        let encrypted = cipher(&self.current, T::PURPOSE)
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| TooLarge)?;
        let sealed = URL_SAFE_NO_PAD.encode([nonce.as_slice(), &encrypted].concat());
        if sealed.len() > T::MAX_LENGTH { Err(TooLarge) } else { Ok(sealed) }
    }

    /// Opens a sealed string.
    ///
    /// # Errors
    ///
    /// [`SealFault`]. A value sealed by a replica whose clock is ahead opens.
    pub(crate) fn open<T: Sealed>(&self, sealed: &str, now: UnixTime) -> Result<T, SealFault> {
        if sealed.len() > T::MAX_LENGTH {
            return Err(SealFault::NotOurs);
        }
        let bytes = URL_SAFE_NO_PAD.decode(sealed).map_err(|_| SealFault::NotOurs)?;
        let (nonce, encrypted) =
            bytes.split_first_chunk::<{ Self::NONCE_LENGTH }>().ok_or(SealFault::NotOurs)?;
        let secrets = [Some(&self.current), self.previous.as_ref()];
        let plaintext = secrets.into_iter().flatten().find_map(|secret| {
            let payload = Payload { msg: encrypted, aad: T::PURPOSE.as_bytes() };
            cipher(secret, T::PURPOSE).decrypt(&XNonce::from(*nonce), payload).ok()
        });
        let plaintext = plaintext.ok_or(SealFault::NotOurs)?;
        let (seconds, value) =
            plaintext.split_first_chunk::<{ Self::TIME_LENGTH }>().ok_or(SealFault::NotOurs)?;
        let sealed_at = UnixTime::from_secs(u64::from_be_bytes(*seconds));
        if T::LIFE.is_some_and(|life| now >= sealed_at + life) {
            return Err(SealFault::Expired);
        }
        // A value of an earlier release may have another form.
        serde_json::from_slice(value).map_err(|_| SealFault::NotOurs)
    }
}

fn cipher(secret: &Secret, purpose: &str) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(&secret.derive::<32>(purpose).into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct Ticket(String);

    impl Sealed for Ticket {
        const PURPOSE: &'static str = "ticket";
        const MAX_LENGTH: usize = 200;
        const LIFE: Option<Duration> = Some(Duration::from_secs(60));
    }

    #[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct OtherTicket(String);

    impl Sealed for OtherTicket {
        const PURPOSE: &'static str = "other ticket";
        const MAX_LENGTH: usize = 200;
        const LIFE: Option<Duration> = None;
    }

    const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

    fn secret(byte: u8) -> Secret {
        Secret::parse(&URL_SAFE_NO_PAD.encode([byte; 32])).unwrap()
    }

    fn sealed(sealer: &Sealer) -> String {
        sealer.seal(&Ticket("one".into()), NOW, &mut Randomness::from_seed([7; 32])).unwrap()
    }

    #[test]
    fn a_value_opens_until_its_life_is_over() {
        let sealer = Sealer::new(secret(1), None);
        let sealed = sealed(&sealer);
        for (after, opened) in [
            (0, Ok(Ticket("one".into()))),
            (59, Ok(Ticket("one".into()))),
            (60, Err(SealFault::Expired)),
        ] {
            assert_eq!(sealer.open(&sealed, NOW + Duration::from_secs(after)), opened, "{after}");
        }
        assert_eq!(
            sealer.open(&sealed, NOW - Duration::from_secs(5)),
            Ok(Ticket("one".into())),
            "sealed by a replica whose clock is ahead"
        );
    }

    #[test]
    fn a_value_of_another_purpose_or_secret_does_not_open() {
        let sealer = Sealer::new(secret(1), None);
        let sealed = sealed(&sealer);
        assert_eq!(sealer.open::<OtherTicket>(&sealed, NOW), Err(SealFault::NotOurs));
        let other = Sealer::new(secret(2), None);
        assert_eq!(other.open::<Ticket>(&sealed, NOW), Err(SealFault::NotOurs));
    }

    #[test]
    fn the_previous_secret_opens_but_does_not_seal() {
        let old = Sealer::new(secret(1), None);
        let new = Sealer::new(secret(2), Some(secret(1)));
        assert_eq!(new.open(&sealed(&old), NOW), Ok(Ticket("one".into())));
        assert_eq!(old.open::<Ticket>(&sealed(&new), NOW), Err(SealFault::NotOurs));
    }

    #[test]
    fn a_value_over_the_limit_is_not_sealed() {
        let sealer = Sealer::new(secret(1), None);
        let random = &mut Randomness::from_seed([7; 32]);
        assert!(sealer.seal(&Ticket("x".repeat(90)), NOW, random).is_ok());
        assert_eq!(sealer.seal(&Ticket("x".repeat(120)), NOW, random), Err(TooLarge));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_change_of_the_sealed_string_is_detected(
            at in any::<prop::sample::Index>(), other in "[A-Za-z0-9_-]",
        ) {
            let sealer = Sealer::new(secret(1), Some(secret(2)));
            let mut changed = sealed(&sealer);
            let at = at.index(changed.len());
            prop_assume!(changed[at..=at] != other);
            changed.replace_range(at..=at, &other);
            prop_assert_eq!(sealer.open::<Ticket>(&changed, NOW), Err(SealFault::NotOurs));
        }

        #[test]
        fn no_forged_string_opens(string in ".{0,300}") {
            let sealer = Sealer::new(secret(1), Some(secret(2)));
            prop_assert_eq!(sealer.open::<Ticket>(&string, NOW), Err(SealFault::NotOurs));
        }
    }
}
