//! The login of a configuration: its redirect URIs, and the last results of each step.

use serde::Serialize;

use super::logins::{LastResult, LoginRecord};
use super::{Board, Heartbeat, LoginHistory};
use crate::login::{LoginResult, LoginStage};
use crate::time::{UnixTime, as_rfc3339};

/// The login of a configuration.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LoginStatus {
    /// The issuer that clients see.
    pub issuer: String,
    /// The providers at which people can log in.
    pub providers: Vec<LoginProviderStatus>,
    /// The steps that were taken, in their order.
    pub steps: Vec<LoginStepStatus>,
}

/// A provider at which people can log in.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LoginProviderStatus {
    /// The provider's `name`.
    pub name: String,
    /// The redirect URI to register there.
    pub redirect_uri: String,
}

/// A step of a login.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LoginStepStatus {
    /// The `step` label of the metric.
    pub step: &'static str,
    /// `None` while no provider is chosen.
    pub provider: Option<String>,
    /// When it was last successful.
    #[serde(serialize_with = "as_rfc3339")]
    pub ok: Option<UnixTime>,
    /// The last fault of a client or a person.
    pub refused: Option<LoginFaultStatus>,
    /// The last fault of the provider or the operator.
    pub failed: Option<LoginFaultStatus>,
}

/// Why a step was not successful.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LoginFaultStatus {
    #[serde(serialize_with = "as_rfc3339")]
    pub at: UnixTime,
    /// As in the log line; `None` if the metric alone reports it.
    pub fault: Option<String>,
}

impl LoginStatus {
    /// `None` if the configuration has no login.
    pub(super) fn new(heartbeat: &Heartbeat, board: &dyn Board) -> Option<Self> {
        let issuer = heartbeat.login_issuer.clone()?;
        let providers = heartbeat.providers.iter().filter_map(|provider| {
            let redirect_uri = provider.redirect_uri.clone()?;
            Some(LoginProviderStatus { name: provider.name.clone(), redirect_uri })
        });
        let steps = LoginStage::ALL.into_iter().flat_map(|stage| {
            let history = LoginHistory::read(stage, board);
            let mut records: Vec<&LoginRecord> = history.records().iter().collect();
            records.retain(|record| record.configuration() == heartbeat.configuration);
            records.sort_by_key(|record| record.provider());
            records
                .into_iter()
                .map(|record| LoginStepStatus::new(stage, record))
                .collect::<Vec<_>>()
        });
        Some(Self { issuer, providers: providers.collect(), steps: steps.collect() })
    }
}

impl LoginStepStatus {
    fn new(stage: LoginStage, record: &LoginRecord) -> Self {
        let fault = |result| record.last(result).map(LoginFaultStatus::from);
        Self {
            step: stage.as_str(),
            provider: record.provider().map(str::to_owned),
            ok: record.last(LoginResult::Ok).map(|last| last.at),
            refused: fault(LoginResult::Refused),
            failed: fault(LoginResult::Failed),
        }
    }
}

impl From<&LastResult> for LoginFaultStatus {
    fn from(last: &LastResult) -> Self {
        Self { at: last.at, fault: last.fault.clone() }
    }
}
