//! Validates the whole configuration: from its raw form to one that cannot be wrong.

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::errors::errors;
use super::field::{in_words_of_json, refuse_unknown};
use super::identity::identity_headers;
use super::provider::providers;
use super::raw::RawConfig;
use super::replay_store::replay_store;
use super::resource::{Described, allowed_origins, mode, resource};
use super::tokens::{max_token_size, token_cache};
use super::{Config, Environment, Faults, access, users};
use crate::resource::ProtectedResource;

/// Validates a whole configuration. The result may be used only if there are no faults.
pub(super) fn config(
    document: Value,
    environment: Environment<'_>,
    faults: &mut Faults,
) -> Option<Config> {
    let digest = digest(&document);
    let raw: RawConfig = match serde_json::from_value(document) {
        Ok(raw) => raw,
        Err(fault) => {
            faults.add("configuration", in_words_of_json(&fault));
            return None;
        }
    };
    refuse_unknown("", &raw.unknown, faults);

    let resource = raw.resource.required("resource", faults).and_then(|raw| resource(raw, faults));
    let keys = raw.keys.optional("keys", faults).unwrap_or_default();
    let settings = keys.parse("keys", faults);
    let provider_names = users::provider_names(&raw.providers);
    let providers = providers(raw.providers, &settings, faults);
    let users = users::users(raw.users, &providers, &provider_names, environment, faults);
    let identity = raw.identity.optional("identity", faults).unwrap_or_default();
    let (identity_headers, forward_token) = identity_headers(identity, faults);
    let allowed_origins = allowed_origins(raw.allowed_origins, faults);
    let max_token_size = max_token_size(raw.max_token_size, faults);
    let token_cache = token_cache(raw.token_cache, faults);
    let errors = errors(raw.errors.optional("errors", faults).unwrap_or_default(), faults);
    let access = raw.access.optional("access", faults).unwrap_or_default();
    let supported = resource.as_ref().map(|resource| resource.scopes_supported.as_slice());
    let access = access::policy(access, &providers, supported.unwrap_or_default(), faults);
    let exempt = access::exempt(raw.exempt, faults);
    let replay_store = replay_store(raw.replay_store, faults);
    let mode = mode(raw.mode, faults);
    let Described { url, name, documentation, scopes_supported } = resource?;
    Some(Config {
        digest,
        resource: ProtectedResource {
            url,
            name,
            documentation,
            scopes_supported,
            access,
            exempt,
            allowed_origins,
            mode,
        },
        providers,
        users,
        replay_store,
        identity_headers,
        forward_token,
        token_cache,
        max_token_size,
        errors,
    })
}

/// Equal for equal fields, in whatever order and format they were written.
fn digest(document: &Value) -> String {
    // Serialising a JSON value, whose members are sorted, cannot fail.
    let digest = Sha256::digest(serde_json::to_vec(document).unwrap_or_default());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
