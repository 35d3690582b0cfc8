//! What tests need without Envoy: signing keys, tokens, claims and the files of the repository.
//!
//! ```
//! # use testkit::{Algorithm, SigningKey, claims};
//! let key = SigningKey::generate(Algorithm::Es256, "key-1");
//! let token = key.token(&claims("https://id.example.com", "mcp"));
//! assert_eq!(token.split('.').count(), 3);
//! ```

mod claims;
mod code_blocks;
mod fuzz_seeds;
mod oauth;
mod pages;
mod reason_codes;
mod repository;
mod signing_key;
mod verify_signature;
mod yaml;

pub use claims::{claims, claims_at, now, random_id};
pub use code_blocks::code_blocks;
pub use fuzz_seeds::fuzz_seeds;
pub use oauth::{base64, form, form_of, s256};
pub use pages::{pages, prose};
pub use reason_codes::documented_reasons;
pub use repository::{
    module_path, native_module_path, panicking_module_path, repository_root, yaml_files,
};
pub use signing_key::{Algorithm, SigningKey};
pub use verify_signature::{verify_signature, verify_signature_arguments, verify_signature_result};
pub use yaml::{plugin_configurations, yaml, yaml_documents};
