//! What a login reports to operators: a metric for each, a log line for most.

use serde::{Deserialize, Serialize};

use crate::provider::ProviderId;

/// Something that happened at a login. Its line holds no code, token, verifier or secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LoginEvent {
    /// `None` while no provider is chosen.
    pub provider: Option<ProviderId>,
    pub stage: LoginStage,
    pub result: LoginResult,
    /// `None` if it would only repeat the metric.
    pub line: Option<String>,
    /// Whether it was refused for want of room. Its lines have a limit of their own.
    pub is_crowding: bool,
}

/// How far a login is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LoginStage {
    Register,
    Authorize,
    Approve,
    Callback,
    Token,
    Refresh,
}

/// How a stage ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LoginResult {
    Ok,
    /// A fault of the client or the person, or the person cancelled.
    Refused,
    /// A fault of the provider or the operator.
    Failed,
}

impl LoginEvent {
    #[must_use]
    pub(crate) fn new(
        provider: Option<ProviderId>,
        stage: LoginStage,
        result: LoginResult,
        line: Option<String>,
    ) -> Self {
        Self { provider, stage, result, line, is_crowding: false }
    }
}

impl LoginStage {
    pub(crate) const ALL: [Self; 6] = [
        Self::Register,
        Self::Authorize,
        Self::Approve,
        Self::Callback,
        Self::Token,
        Self::Refresh,
    ];

    /// Value of the metric's label `step`.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Authorize => "authorize",
            Self::Approve => "approve",
            Self::Callback => "callback",
            Self::Token => "token",
            Self::Refresh => "refresh",
        }
    }
}

impl LoginResult {
    /// Value of the metric's label `result`.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}
