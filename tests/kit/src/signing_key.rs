use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::digest;
use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use jsonwebtoken::{EncodingKey, Header};
use num_bigint::BigUint;
use rcgen::{CertificateParams, DnType};
use serde_json::{Value, json};

use crate::claims::now;

/// A private key of an identity provider, which mints tokens.
///
/// Clones are cheap and are the same key. Two generated keys never share their material while both
/// live, whatever their `kid`.
#[derive(Clone)]
pub struct SigningKey {
    algorithm: Algorithm,
    kid: String,
    material: Arc<Material>,
}

impl SigningKey {
    /// A new key; RSA has 2048 bits.
    pub fn generate(algorithm: Algorithm, kid: impl Into<String>) -> Self {
        let material = match algorithm.family() {
            Family::Rsa(_) => Material::Rsa(RsaLease::take(2048)),
            Family::Ec(curve) => Material::Ec(
                EcdsaKeyPair::generate(curve.signing).expect("aws-lc makes keys of this curve"),
            ),
            Family::Ed => {
                Material::Ed(Ed25519KeyPair::generate().expect("aws-lc makes Ed25519 keys"))
            }
        };
        Self::new(algorithm, kid, material)
    }

    /// A new RSA key of 1024, 2048, 3072 or 4096 bits.
    ///
    /// The key of 1024 bits is always the same one (aws-lc makes none so small), signs RS256 only
    /// and has no certificate.
    ///
    /// # Panics
    ///
    /// For any other size, or if the algorithm is not an RSA one.
    pub fn generate_rsa(algorithm: Algorithm, kid: impl Into<String>, bits: usize) -> Self {
        assert!(matches!(algorithm.family(), Family::Rsa(_)), "{algorithm} is not of RSA");
        let material = match bits {
            1024 => Material::SmallRsa(SmallRsa::from_testdata()),
            _ => Material::Rsa(RsaLease::take(bits)),
        };
        Self::new(algorithm, kid, material)
    }

    fn new(algorithm: Algorithm, kid: impl Into<String>, material: Material) -> Self {
        Self { algorithm, kid: kid.into(), material: Arc::new(material) }
    }

    /// The same key under another name.
    pub fn with_kid(&self, kid: impl Into<String>) -> Self {
        Self { kid: kid.into(), ..self.clone() }
    }

    /// The same key, used with another algorithm of its family.
    ///
    /// # Panics
    ///
    /// If the key cannot be used with that algorithm.
    pub fn with_algorithm(&self, algorithm: Algorithm) -> Self {
        let fits = match (&*self.material, algorithm.family()) {
            (Material::Rsa(_) | Material::SmallRsa(_), Family::Rsa(_))
            | (Material::Ed(_), Family::Ed) => true,
            (Material::Ec(key), Family::Ec(curve)) => key.algorithm() == curve.signing,
            _ => false,
        };
        assert!(fits, "a key for {} cannot sign {algorithm}", self.algorithm);
        Self { algorithm, ..self.clone() }
    }

    /// The algorithm that the key signs with.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key's name.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// An ordinary access token: `typ` is `at+jwt`, `kid` is the key's.
    pub fn token(&self, claims: &Value) -> String {
        let Some(algorithm) = self.algorithm.in_jsonwebtoken() else {
            return self.sign(&self.header(), claims);
        };
        let mut header = Header::new(algorithm);
        header.typ = Some("at+jwt".to_owned());
        header.kid = Some(self.kid.clone());
        let key = match &*self.material {
            Material::Rsa(lease) => EncodingKey::from_rsa_pem(pkcs8_pem(&lease.pkcs8()).as_bytes())
                .expect("jsonwebtoken reads PKCS#8"),
            Material::Ec(key) => {
                EncodingKey::from_ec_der(key.to_pkcs8v1().expect("the key can be written").as_ref())
            }
            Material::Ed(key) => {
                EncodingKey::from_ed_der(key.to_pkcs8().expect("the key can be written").as_ref())
            }
            Material::SmallRsa(_) => return self.sign(&self.header(), claims),
        };
        jsonwebtoken::encode(&header, claims, &key).expect("jsonwebtoken signs with such a key")
    }

    /// The protected header that [`token`](Self::token) writes; edit it and give it to
    /// [`sign`](Self::sign).
    pub fn header(&self) -> Value {
        json!({"typ": "at+jwt", "alg": self.algorithm.name(), "kid": self.kid})
    }

    /// A token with exactly this header, signed with this key's algorithm whatever `alg` is.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_raw(&header.to_string(), claims.to_string().as_bytes())
    }

    /// A token of bytes that need not be JSON.
    pub fn sign_raw(&self, header: &str, payload: &[u8]) -> String {
        let input = format!("{}.{}", BASE64URL.encode(header), BASE64URL.encode(payload));
        let signature = BASE64URL.encode(self.sign_parts(input.as_bytes()));
        format!("{input}.{signature}")
    }

    /// The signature over any bytes, in the form that JWS requires.
    pub fn sign_parts(&self, signing_input: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match (&*self.material, self.algorithm.family()) {
            (Material::Rsa(lease), Family::Rsa(padding)) => {
                let mut signature = vec![0; lease.key().public_modulus_len()];
                lease
                    .key()
                    .sign(padding, &random, signing_input, &mut signature)
                    .expect("RSA signs");
                signature
            }
            (Material::SmallRsa(key), _) => {
                assert_eq!(self.algorithm, Algorithm::Rs256, "the 1024-bit key signs RS256 only");
                key.sign_rs256(signing_input)
            }
            (Material::Ec(key), _) => {
                key.sign(&random, signing_input).expect("ECDSA signs").as_ref().to_vec()
            }
            (Material::Ed(key), _) => key.sign(signing_input).as_ref().to_vec(),
            (Material::Rsa(_), _) => unreachable!("RSA keys are made for RSA algorithms only"),
        }
    }

    /// The public half as a JWK with `kid`, `alg` and `use`.
    pub fn public_jwk(&self) -> Value {
        let mut jwk = match (&*self.material, self.algorithm.family()) {
            (Material::Rsa(lease), _) => {
                let public = rsa::PublicKeyComponents::<Vec<u8>>::from(lease.key().public_key());
                json!({
                    "kty": "RSA",
                    "n": BASE64URL.encode(public.n),
                    "e": BASE64URL.encode(public.e),
                })
            }
            (Material::SmallRsa(key), _) => json!({"kty": "RSA", "n": key.n, "e": key.e}),
            (Material::Ec(key), Family::Ec(curve)) => {
                // SEC 1: 0x04, then both coordinates at full length.
                let point = &key.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                json!({
                    "kty": "EC",
                    "crv": curve.name,
                    "x": BASE64URL.encode(x),
                    "y": BASE64URL.encode(y),
                })
            }
            (Material::Ed(key), _) => json!({
                "kty": "OKP",
                "crv": "Ed25519",
                "x": BASE64URL.encode(key.public_key().as_ref()),
            }),
            (Material::Ec(_), _) => unreachable!("EC keys are made for EC algorithms only"),
        };
        jwk["kid"] = json!(self.kid);
        jwk["alg"] = json!(self.algorithm.name());
        jwk["use"] = json!("sig");
        jwk
    }

    /// The public half as a `SubjectPublicKeyInfo` in DER.
    ///
    /// # Panics
    ///
    /// For the 1024-bit RSA key.
    pub fn public_key_info(&self) -> Vec<u8> {
        let info: PublicKeyX509Der = match &*self.material {
            Material::Rsa(lease) => lease.key().public_key().as_der(),
            Material::Ec(key) => key.public_key().as_der(),
            Material::Ed(key) => key.public_key().as_der(),
            Material::SmallRsa(_) => panic!("the 1024-bit key is written as a JWK only"),
        }
        .expect("the key can be written");
        info.as_ref().to_vec()
    }

    /// A self-signed X.509 certificate, valid from a day ago and for a year.
    pub fn certificate_pem(&self) -> String {
        const DAY: u64 = 24 * 60 * 60;
        self.certificate_pem_valid(now() - DAY, now() + 365 * DAY)
    }

    /// A self-signed X.509 certificate, valid between two Unix times.
    ///
    /// # Panics
    ///
    /// For the 1024-bit RSA key.
    pub fn certificate_pem_valid(&self, not_before: u64, not_after: u64) -> String {
        let pkcs8 = match &*self.material {
            Material::Rsa(lease) => lease.pkcs8(),
            Material::Ec(key) => {
                let document = key.to_pkcs8v1().expect("the key can be written");
                document.as_ref().to_vec()
            }
            Material::Ed(key) => {
                let document = key.to_pkcs8().expect("the key can be written");
                document.as_ref().to_vec()
            }
            Material::SmallRsa(_) => panic!("the 1024-bit key has no certificate"),
        };
        let key = rcgen::KeyPair::try_from(pkcs8).expect("rcgen reads PKCS#8");
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        let mut certificate = CertificateParams::default();
        certificate.distinguished_name.push(DnType::CommonName, self.kid.clone());
        certificate.not_before = epoch + Duration::from_secs(not_before);
        certificate.not_after = epoch + Duration::from_secs(not_after);
        certificate.self_signed(&key).expect("rcgen signs with such a key").pem()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({} {})", self.algorithm, self.kid)
    }
}

/// What a [`SigningKey`] signs with, by the names of RFC 7518, RFC 8037 and RFC 9864.
#[expect(missing_docs, reason = "the RFCs say it")]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Algorithm {
    /// Ed25519 under its polymorphic name `EdDSA`.
    EdDsa,
    /// Ed25519 under its own name.
    Ed25519,
    Es256,
    Es384,
    Es512,
    Ps256,
    Ps384,
    Ps512,
    Rs256,
    Rs384,
    Rs512,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::EdDsa,
        Self::Ed25519,
        Self::Es256,
        Self::Es384,
        Self::Es512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
    ];

    /// The value of `alg`.
    pub fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Ed25519 => "Ed25519",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
        }
    }

    fn family(self) -> Family {
        match self {
            Self::EdDsa | Self::Ed25519 => Family::Ed,
            Self::Es256 => Family::Ec(Curve {
                name: "P-256",
                signing: &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
            }),
            Self::Es384 => Family::Ec(Curve {
                name: "P-384",
                signing: &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
            }),
            Self::Es512 => Family::Ec(Curve {
                name: "P-521",
                signing: &signature::ECDSA_P521_SHA512_FIXED_SIGNING,
            }),
            Self::Ps256 => Family::Rsa(&signature::RSA_PSS_SHA256),
            Self::Ps384 => Family::Rsa(&signature::RSA_PSS_SHA384),
            Self::Ps512 => Family::Rsa(&signature::RSA_PSS_SHA512),
            Self::Rs256 => Family::Rsa(&signature::RSA_PKCS1_SHA256),
            Self::Rs384 => Family::Rsa(&signature::RSA_PKCS1_SHA384),
            Self::Rs512 => Family::Rsa(&signature::RSA_PKCS1_SHA512),
        }
    }

    /// jsonwebtoken supports neither ES512 nor the name Ed25519.
    fn in_jsonwebtoken(self) -> Option<jsonwebtoken::Algorithm> {
        match self {
            Self::Ed25519 | Self::Es512 => None,
            _ => self.name().parse().ok(),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

enum Family {
    Ec(Curve),
    Ed,
    Rsa(&'static signature::RsaSignatureEncoding),
}

struct Curve {
    name: &'static str,
    signing: &'static signature::EcdsaSigningAlgorithm,
}

enum Material {
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Rsa(RsaLease),
    SmallRsa(SmallRsa),
}

/// An RSA key on loan.
///
/// Generating a 2048-bit key takes up to 300 ms, too long for each of hundreds of tests, so keys
/// that are no longer needed are reused. Not immediately: a test may drop a key and then rely on
/// the next one being different.
struct RsaLease(Option<rsa::KeyPair>);

impl RsaLease {
    const RESTING: usize = 8;

    fn take(bits: usize) -> Self {
        let size = match bits {
            2048 => KeySize::Rsa2048,
            3072 => KeySize::Rsa3072,
            4096 => KeySize::Rsa4096,
            _ => panic!("there are no RSA keys of {bits} bits here"),
        };
        let rested = {
            let mut returned = RETURNED_RSA.lock().expect("no holder of the lock panics");
            let mut same_size = returned
                .iter()
                .enumerate()
                .filter(|(_, key)| key.public_modulus_len() == size.len())
                .map(|(index, _)| index);
            match (same_size.next(), same_size.count()) {
                (Some(oldest), younger) if younger >= Self::RESTING => returned.remove(oldest),
                _ => None,
            }
        };
        let key =
            rested.unwrap_or_else(|| rsa::KeyPair::generate(size).expect("aws-lc makes RSA keys"));
        Self(Some(key))
    }

    fn key(&self) -> &rsa::KeyPair {
        self.0.as_ref().expect("the key is there until the drop")
    }

    fn pkcs8(&self) -> Vec<u8> {
        let document = self.key().as_der().expect("the key can be written");
        document.as_ref().to_vec()
    }
}

impl Drop for RsaLease {
    fn drop(&mut self) {
        if let (Some(key), Ok(mut returned)) = (self.0.take(), RETURNED_RSA.lock()) {
            returned.push_back(key);
        }
    }
}

/// Oldest first.
static RETURNED_RSA: Mutex<VecDeque<rsa::KeyPair>> = Mutex::new(VecDeque::new());

/// RSA with keys too small for aws-lc to sign with, implemented by RFC 8017 §8.2.1.
struct SmallRsa {
    n: String,
    e: String,
    modulus: BigUint,
    private_exponent: BigUint,
}

impl SmallRsa {
    fn from_testdata() -> Self {
        let key: Value = serde_json::from_str(include_str!("../testdata/rsa_1024.json"))
            .expect("the test key is JSON");
        let text = |name: &str| key[name].as_str().expect("the test key is whole").to_owned();
        let number = |name: &str| {
            BigUint::from_bytes_be(&BASE64URL.decode(text(name)).expect("it is base64url"))
        };
        Self { n: text("n"), e: text("e"), modulus: number("n"), private_exponent: number("d") }
    }

    fn sign_rs256(&self, message: &[u8]) -> Vec<u8> {
        const LENGTH: usize = 128;
        const SHA256_DIGEST_INFO: [u8; 19] = [
            0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02,
            0x01, 0x05, 0x00, 0x04, 0x20,
        ];
        let digest = digest::digest(&digest::SHA256, message);
        let padding = LENGTH - 3 - SHA256_DIGEST_INFO.len() - digest.as_ref().len();
        let mut encoded = vec![0x00, 0x01];
        encoded.extend(vec![0xff; padding]);
        encoded.push(0x00);
        encoded.extend(SHA256_DIGEST_INFO);
        encoded.extend(digest.as_ref());
        let signature = BigUint::from_bytes_be(&encoded)
            .modpow(&self.private_exponent, &self.modulus)
            .to_bytes_be();
        // Numbers lose leading zeros, signatures keep them.
        let mut padded = vec![0; LENGTH - signature.len()];
        padded.extend(signature);
        padded
    }
}

fn pkcs8_pem(der: &[u8]) -> String {
    rcgen::KeyPair::try_from(der).expect("rcgen reads PKCS#8").serialize_pem()
}

#[cfg(test)]
mod tests {
    use std::thread;

    use aws_lc_rs::signature::{UnparsedPublicKey, VerificationAlgorithm};
    use jsonwebtoken::jwk::Jwk;
    use jsonwebtoken::{DecodingKey, Validation};

    use super::*;
    use crate::claims::claims;

    #[test]
    fn tokens_of_every_algorithm_verify_by_the_public_jwk() {
        for algorithm in Algorithm::ALL {
            let key = SigningKey::generate(algorithm, "k1");
            let claims = claims("https://issuer.example", "audience");
            for token in [key.token(&claims), key.sign(&key.header(), &claims)] {
                assert!(verifies(&token, &key), "{algorithm}");
                let other = SigningKey::generate(algorithm, "k1");
                assert!(!verifies(&token, &other), "{algorithm} by another key");
            }
        }
    }

    #[test]
    fn jsonwebtoken_accepts_what_was_signed_directly() {
        for algorithm in Algorithm::ALL {
            let Some(known) = algorithm.in_jsonwebtoken() else {
                continue;
            };
            let key = SigningKey::generate(algorithm, "k1");
            let jwk: Jwk = serde_json::from_value(key.public_jwk()).expect("it is a JWK");
            let claims = claims("https://issuer.example", "audience");
            let mut validation = Validation::new(known);
            validation.set_audience(&["audience"]);
            let decoded = jsonwebtoken::decode::<Value>(
                key.sign(&key.header(), &claims),
                &DecodingKey::from_jwk(&jwk).expect("it is a key"),
                &validation,
            );
            assert_eq!(decoded.expect("it verifies").claims, claims);
        }
    }

    #[test]
    fn rsa_comes_in_other_sizes() {
        for (bits, modulus) in [(1024, 128), (3072, 384), (4096, 512)] {
            let key = SigningKey::generate_rsa(Algorithm::Rs256, "k1", bits);
            let n = key.public_jwk()["n"].as_str().map(|n| BASE64URL.decode(n));
            assert_eq!(n.expect("n is there").expect("n is base64url").len(), modulus);
            assert!(verifies(&key.token(&claims("i", "a")), &key), "{bits} bits");
        }
    }

    #[test]
    fn every_key_has_a_certificate() {
        for algorithm in Algorithm::ALL {
            let pem = SigningKey::generate(algorithm, "k1").certificate_pem();
            assert!(pem.starts_with("-----BEGIN CERTIFICATE-----"), "{algorithm}");
        }
    }

    #[test]
    fn live_keys_and_fresh_successors_differ() {
        let threads: Vec<_> = (0..2)
            .map(|_| {
                thread::spawn(|| {
                    let mut seen = Vec::new();
                    for _ in 0..4 {
                        let key = SigningKey::generate(Algorithm::Rs256, "k1");
                        let n = key.public_jwk()["n"].clone();
                        assert!(!seen.contains(&n));
                        seen.push(n);
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("keys differ");
        }
    }

    /// Verifies with aws-lc alone, from the JWK.
    fn verifies(token: &str, key: &SigningKey) -> bool {
        let (input, signature) = token.rsplit_once('.').expect("it has three parts");
        let signature = BASE64URL.decode(signature).expect("it is base64url");
        let jwk = key.public_jwk();
        let part = |name: &str| {
            BASE64URL
                .decode(jwk[name].as_str().expect("the JWK is whole"))
                .expect("it is base64url")
        };
        let by_point = |algorithm: &'static dyn VerificationAlgorithm, point: Vec<u8>| {
            UnparsedPublicKey::new(algorithm, point).verify(input.as_bytes(), &signature)
        };
        let point = || [vec![4], part("x"), part("y")].concat();
        let by_modulus = |parameters: &'static signature::RsaParameters| {
            rsa::PublicKeyComponents { n: part("n"), e: part("e") }.verify(
                parameters,
                input.as_bytes(),
                &signature,
            )
        };
        let result = match key.algorithm() {
            Algorithm::EdDsa | Algorithm::Ed25519 => by_point(&signature::ED25519, part("x")),
            Algorithm::Es256 => by_point(&signature::ECDSA_P256_SHA256_FIXED, point()),
            Algorithm::Es384 => by_point(&signature::ECDSA_P384_SHA384_FIXED, point()),
            Algorithm::Es512 => by_point(&signature::ECDSA_P521_SHA512_FIXED, point()),
            Algorithm::Ps256 => by_modulus(&signature::RSA_PSS_2048_8192_SHA256),
            Algorithm::Ps384 => by_modulus(&signature::RSA_PSS_2048_8192_SHA384),
            Algorithm::Ps512 => by_modulus(&signature::RSA_PSS_2048_8192_SHA512),
            Algorithm::Rs256 => {
                by_modulus(&signature::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY)
            }
            Algorithm::Rs384 => by_modulus(&signature::RSA_PKCS1_2048_8192_SHA384),
            Algorithm::Rs512 => by_modulus(&signature::RSA_PKCS1_2048_8192_SHA512),
        };
        result.is_ok()
    }
}
