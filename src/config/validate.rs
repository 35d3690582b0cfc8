//! Validates the whole configuration: from its raw form to one that cannot be wrong.

use std::rc::Rc;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::access::{access, exempt};
use super::audit::follows_calls;
use super::environment::Environment;
use super::errors::errors;
use super::field::{Field, in_words_of_json, refuse_unknown};
use super::identity::identity;
use super::login::{Surroundings, login};
use super::provider::providers;
use super::raw::RawConfig;
use super::replay_store::replay_store;
use super::resource::{Described, RawResource, allowed_origins};
use super::resources::{Defaults, RawProtectedResource};
use super::secret::ReadSecret;
use super::sessions::sessions;
use super::tokens::{max_token_size, token_cache};
use super::{Config, Faults, users};
use crate::resource::Mode;

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

    let keys = raw.keys.or_default("keys", faults);
    let settings = keys.parse("keys", faults);
    let provider_names = users::provider_names(&raw.providers);
    let protected = protected(raw.resource, raw.resources, faults);
    let needs_client_ids = matches!(protected, Protected::One(_));
    let read = providers(raw.providers, needs_client_ids, &settings, environment, faults);
    let providers = &read.providers;
    let users = users::users(raw.users, providers, &provider_names, environment, faults);
    let max_token_size = max_token_size(raw.max_token_size, faults);
    let token_cache = token_cache(raw.token_cache, faults);
    let errors = errors(raw.errors.or_default("errors", faults), faults);
    let replay_store = replay_store(raw.replay_store, faults);
    let defaults = Defaults {
        access: access(raw.access.or_default("access", faults), "access", providers, faults),
        exempt: exempt(raw.exempt.or_default("exempt", faults), "exempt", faults),
        allowed_origins: allowed_origins(
            raw.allowed_origins.or_default("allowed_origins", faults),
            "allowed_origins",
            faults,
        ),
        identity: identity(
            raw.identity.or_default("identity", faults),
            "identity",
            matches!(protected, Protected::Several(_)),
            faults,
        ),
        mode: raw.mode.optional("mode", faults).map_or(Mode::Enforce, Mode::from),
    };
    let resources = match protected {
        Protected::One(described) => defaults.only_resource(described, &read, faults)?,
        Protected::Several(raw) => defaults.resources(raw, &read, &provider_names, faults),
    };
    let secret = ReadSecret::new(raw.secret, environment, faults);
    let sessions = sessions(raw.sessions, &secret, faults).map(Rc::new);
    let (has_login, logins, providers) = (read.has_login, read.logins, &read.providers);
    let surroundings = Surroundings { secret, has_login, logins, providers, resources: &resources };
    let login = login(raw.login, surroundings, faults).map(Rc::new);
    Some(Config {
        digest,
        resources,
        providers: read.providers,
        users,
        replay_store,
        token_cache,
        max_token_size,
        errors,
        follows_calls: follows_calls(raw.audit, faults),
        login,
        sessions,
    })
}

/// What the configuration protects.
enum Protected {
    /// `resource`; `None` if it is faulty.
    One(Option<Described>),
    /// `resources`.
    Several(Vec<Field<RawProtectedResource>>),
}

fn protected(
    resource: Field<RawResource>,
    resources: Field<Vec<Field<RawProtectedResource>>>,
    faults: &mut Faults,
) -> Protected {
    let has_one = !matches!(resource, Field::Absent);
    let is_empty = matches!(&resources, Field::Present(resources) if resources.is_empty());
    if matches!(resources, Field::Absent) || is_empty {
        let described = resource.required("resource", faults);
        return Protected::One(described.and_then(|raw| super::resource::resource(raw, faults)));
    }
    if has_one {
        faults.add("resources", "must not be given together with resource");
    }
    Protected::Several(resources.or_default("resources", faults))
}

/// Equal documents have the same digest, whatever the order of their members and their format.
fn digest(document: &Value) -> String {
    // Serialising a JSON value, whose members are sorted, cannot fail.
    let digest = Sha256::digest(serde_json::to_vec(document).unwrap_or_default());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
