//! Error codes of OAuth 2.0 and OpenID Connect.

/// A code of RFC 6749 §4.1.2.1 and §5.2, RFC 7591 §3.2.2, RFC 8707 §2 or OpenID Connect Core §3.1.2.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorCode {
    AccessDenied,
    AccountSelectionRequired,
    ConsentRequired,
    InteractionRequired,
    InvalidClient,
    InvalidClientMetadata,
    InvalidGrant,
    InvalidRedirectUri,
    InvalidRequest,
    InvalidScope,
    InvalidTarget,
    LoginRequired,
    RequestNotSupported,
    ServerError,
    TemporarilyUnavailable,
    UnauthorizedClient,
    UnsupportedGrantType,
    UnsupportedResponseType,
}

impl ErrorCode {
    /// Codes with which a provider may end an authorization request, and which the client gets too.
    const FROM_PROVIDER: [Self; 10] = [
        Self::AccessDenied,
        Self::AccountSelectionRequired,
        Self::ConsentRequired,
        Self::InteractionRequired,
        Self::InvalidScope,
        Self::LoginRequired,
        Self::ServerError,
        Self::TemporarilyUnavailable,
        Self::UnauthorizedClient,
        Self::InvalidRequest,
    ];

    /// The code as it is sent.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::AccessDenied => "access_denied",
            Self::AccountSelectionRequired => "account_selection_required",
            Self::ConsentRequired => "consent_required",
            Self::InteractionRequired => "interaction_required",
            Self::InvalidClient => "invalid_client",
            Self::InvalidClientMetadata => "invalid_client_metadata",
            Self::InvalidGrant => "invalid_grant",
            Self::InvalidRedirectUri => "invalid_redirect_uri",
            Self::InvalidRequest => "invalid_request",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::LoginRequired => "login_required",
            Self::RequestNotSupported => "request_not_supported",
            Self::ServerError => "server_error",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::UnsupportedResponseType => "unsupported_response_type",
        }
    }

    /// The code that a client gets for an error of the provider's authorization endpoint. A code
    /// that is not in these specifications becomes `server_error`.
    #[must_use]
    pub(crate) fn from_provider(code: &str) -> Self {
        let known = Self::FROM_PROVIDER.into_iter().find(|known| known.as_str() == code);
        known.unwrap_or(Self::ServerError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_a_provider_becomes_a_code_that_clients_know() {
        assert_eq!(ErrorCode::from_provider("access_denied"), ErrorCode::AccessDenied);
        assert_eq!(ErrorCode::from_provider("login_required"), ErrorCode::LoginRequired);
        for code in ["", "AADSTS65004", "invalid_client", "<script>"] {
            assert_eq!(ErrorCode::from_provider(code), ErrorCode::ServerError, "{code}");
        }
    }
}
