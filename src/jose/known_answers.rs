//! Signatures that are known to be valid, for the self-test of the host.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{Algorithm, Jwk, PublicKey};

/// A valid signature.
pub(super) struct KnownAnswer {
    pub(super) algorithm: Algorithm,
    /// A JWK.
    key: &'static str,
    /// A JWS signing input.
    pub(super) message: &'static str,
    signature: &'static str,
}

impl KnownAnswer {
    pub(super) fn key(&self) -> Option<PublicKey> {
        let jwk = Jwk::from_json(&serde_json::from_str(self.key).ok()?).ok()?;
        jwk.for_algorithm(self.algorithm).ok().cloned()
    }

    pub(super) fn signature(&self) -> Option<Vec<u8>> {
        URL_SAFE_NO_PAD.decode(self.signature).ok()
    }
}

/// One for each algorithm that is delegated to the host. RS256, ES256 and ES512 are the examples of
/// RFC 7515, appendices A.2, A.3 and A.4. The others have the payload of the first two and were
/// signed by OpenSSL: RS384 and RS512 with the private key of appendix A.2, which is deterministic,
/// and ES384 with a key that was discarded.
pub(super) const KNOWN_ANSWERS: [KnownAnswer; 6] = [
    KnownAnswer {
        algorithm: Algorithm::Rs256,
        key: RSA_KEY,
        message: "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9l\
                  eGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
        signature: "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_l\
                    F5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75v\
                    RK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWE\
                    sqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVm\
                    tVrBp0igcN_IoypGlUPQGe77Rw",
    },
    KnownAnswer {
        algorithm: Algorithm::Rs384,
        key: RSA_KEY,
        message: "eyJhbGciOiJSUzM4NCJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9l\
                  eGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
        signature: "UqgNjrJOGhk4wfoSG6Uvrt9GcKu-TgPwInExALrMBadg1pol1uTw7mZADTddAWsC6ZzdFiTFUmIi7Du\
                    D38ftLAZoW4qezdAO7RYf1yZDsbT20bt8DJJN1I4VovL2PLg80B6x6ug-kaW8k5LaM5ce0dk1zgWhja\
                    fKC3Mb4UNLL8f9fqVMkHpdWYRjF6QjTz12Ap-gq-tPyUoWSdvzCIYOcZ9-08SQQdUTTgsNF1Qwu3Tqe\
                    WPqzNJwmWHiHMmaV8I4ktMFEX-AiEBa55KsfYTx0jSbTHP-odqmnLQJ4n-oQJ2RSXy0HQP6BkdiwDHd\
                    oMUk4z_wAeOsfDTs_mLxTgOInQ",
    },
    KnownAnswer {
        algorithm: Algorithm::Rs512,
        key: RSA_KEY,
        message: "eyJhbGciOiJSUzUxMiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9l\
                  eGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
        signature: "ZatQfsb2gyCu3y9cDuz59a-IKm4bkqtT0HuT8BpNlPCmA3Y2eH91CVSI0TbkPqI9v2jaXuWvPcoJGNR\
                    tTpUXafTAbqzxWSMjqx8SkJRTuUz6imaHBctra42j2AvJ1t7qJwf2NN49y9PZbkYn3ejhU-iCmKJ3J-\
                    _GLsYp5VlximYm-o3sMul0tyCMvHUdmuWvadnVEaio-jix3pXYWfyFC8tp19zZrTaofxTAzCqlqundx\
                    22tfsuqchto_zVnZk_ZBr1R5lr29Qle5JgLmRkfDNbVSQZFdwg6mSlODL8BrOiM_vreMaPCO8U_JGez\
                    KUob0ONv7DA7XDfpbaXaFsHipQ",
    },
    KnownAnswer {
        algorithm: Algorithm::Es256,
        key: concat!(
            r#"{"kty":"EC","crv":"P-256","#,
            r#""x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","#,
            r#""y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
        ),
        message: "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9l\
                  eGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
        signature: "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-\
                    Kg6NU1Q",
    },
    KnownAnswer {
        algorithm: Algorithm::Es384,
        key: concat!(
            r#"{"kty":"EC","crv":"P-384","#,
            r#""x":"J9uX0TRlIrbv8BNteJjW0uP9PasYQA2niMlmGkZVB-z12MIQH_7MuEJzzSCGKFKW","#,
            r#""y":"mBqRlmK4L9iGlCfJ3Wn9Qr5zVwN8ktNznaG8Rx4IShJv5MLqehgpmDlnBHCOegXL"}"#,
        ),
        message: "eyJhbGciOiJFUzM4NCJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9l\
                  eGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
        signature: "u2CSCrTCX8kKI6u6l9o7WgIDZBfq9pgR5dcFR28VtElicX3HnDenBu4k8NiqqD0qW7uOT_cbV5kCIHz\
                    JBhsSaOBXnT7PazKH6YqkbhaKxraiEBHppCamdyWG0nPQpu5R",
    },
    KnownAnswer {
        algorithm: Algorithm::Es512,
        key: concat!(
            r#"{"kty":"EC","crv":"P-521","#,
            r#""x":"AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk","#,
            r#""y":"ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2"}"#,
        ),
        message: "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA",
        signature: "AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34X\
                    O0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW\
                    9ERBXukOXolLzeO_Jn",
    },
];

const RSA_KEY: &str = concat!(
    r#"{"kty":"RSA","e":"AQAB","n":""#,
    "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt",
    "0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSX",
    "ndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5",
    "IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
    r#""}"#,
);
