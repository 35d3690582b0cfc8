//! `secret`: the secret that the gateway seals values with.

use serde::Deserialize;

use super::Faults;
use super::environment::{Environment, variable};
use super::field::{Field, UnknownFields, refuse_unknown};
use crate::seal::{Sealer, Secret};

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, expecting = "an object")]
pub(super) struct RawSecret {
    /// The environment variable that holds the secret: at least 32 random bytes in base64, the same
    /// in every replica. With the Wasm plugin it must be among `vm_config.environment_variables`.
    pub(super) env: Field<String>,
    /// The environment variable that holds the secret used before: what was sealed with it is still
    /// accepted. Default: none.
    pub(super) previous_env: Field<String>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

/// What `secret` yields.
pub(super) enum ReadSecret {
    Absent,
    /// It is given, and its fault has been reported.
    Faulty,
    Usable(Sealer),
}

impl ReadSecret {
    /// Reads the secret.
    pub(super) fn new(
        raw: Field<RawSecret>,
        environment: Environment<'_>,
        faults: &mut Faults,
    ) -> Self {
        if matches!(raw, Field::Absent) {
            return Self::Absent;
        }
        sealer(raw, environment, faults).map_or(Self::Faulty, Self::Usable)
    }

    /// The sealer, if the secret is usable.
    pub(super) fn sealer(&self) -> Option<&Sealer> {
        match self {
            Self::Usable(sealer) => Some(sealer),
            Self::Absent | Self::Faulty => None,
        }
    }

    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

/// The sealer for the secret; `None` if it is faulty.
fn sealer(
    raw: Field<RawSecret>,
    environment: Environment<'_>,
    faults: &mut Faults,
) -> Option<Sealer> {
    let raw = raw.optional("secret", faults)?;
    refuse_unknown("secret.", &raw.unknown, faults);
    let current = raw.env.required("secret.env", faults);
    let previous = raw.previous_env.optional("secret.previous_env", faults);
    let mut secret = |name: &str, path: &str| {
        let secret = Secret::parse(&variable(name, path, environment, faults)?);
        secret.map_err(|fault| faults.add(path, format!("the value of {name:?} {fault}"))).ok()
    };
    let previous = previous.and_then(|name| secret(&name, "secret.previous_env"));
    let current = secret(&current?, "secret.env")?;
    Some(Sealer::new(current, previous))
}
