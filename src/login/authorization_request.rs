//! Authorization requests of clients (RFC 6749 §4.1.1, RFC 7636 §4.3, RFC 8707 §2).

use serde::{Deserialize, Serialize};

use super::client::{Client, ClientDigest};
use super::error_code::ErrorCode;
use super::parameters::{Parameters, Repeated};
use super::pkce::CodeChallenge;
use super::redirect_uri::{RedirectPolicy, RedirectUri};
use super::resource::LoginResource;

/// What a client asked for. It is sealed into each value that comes back, and finally into the
/// code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClientRequest {
    #[serde(rename = "c")]
    pub client: ClientDigest,
    #[serde(rename = "u")]
    pub redirect_uri: RedirectUri,
    #[serde(rename = "s", skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    #[serde(rename = "h")]
    pub code_challenge: CodeChallenge,
    /// URL of the resource.
    #[serde(rename = "r")]
    pub resource: String,
    /// Names of scopes at this server.
    #[serde(rename = "o")]
    pub scopes: Vec<String>,
}

/// An authorization request whose redirect URI belongs to its client.
#[derive(Debug)]
pub(crate) struct TrustedRequest<'a> {
    parameters: &'a Parameters,
    client: ClientDigest,
    redirect_uri: RedirectUri,
}

/// A fault that the person at the browser sees, because no redirect URI can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UntrustedFault {
    /// The query cannot be read.
    Malformed,
    /// `client_id` is missing, repeated, or not known here.
    UnknownClient,
    /// `redirect_uri` is missing, repeated, or not one of the client's.
    RedirectUri,
}

/// A fault that the client gets at its redirect URI (RFC 6749 §4.1.2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientFault {
    pub redirect_uri: RedirectUri,
    /// As received; `None` if it was missing, repeated or too long.
    pub state: Option<String>,
    pub code: ErrorCode,
    pub description: &'static str,
}

impl<'a> TrustedRequest<'a> {
    /// Maximum length of `state` in bytes.
    const MAX_STATE: usize = 1024;
    /// Maximum length of `scope` in bytes.
    const MAX_SCOPE: usize = 2048;
    /// Maximum length of `login_hint` in bytes.
    const MAX_LOGIN_HINT: usize = 320;

    /// Checks that the redirect URI belongs to the client.
    ///
    /// # Errors
    ///
    /// It does not, or there is none.
    pub(crate) fn new(
        parameters: &'a Parameters,
        client_id: &str,
        client: &Client,
        policy: &RedirectPolicy,
    ) -> Result<Self, UntrustedFault> {
        let requested = parameters.get("redirect_uri").ok().flatten();
        let requested = requested.and_then(|uri| RedirectUri::parse(uri).ok());
        let redirect_uri = requested
            .filter(|uri| client.may_use(uri, policy))
            .ok_or(UntrustedFault::RedirectUri)?;
        Ok(Self { parameters, client: ClientDigest::new(client_id), redirect_uri })
    }

    /// Reads the rest of the request.
    ///
    /// # Errors
    ///
    /// The first fault, for the client.
    pub(crate) fn read(
        &self,
        resources: &[LoginResource],
    ) -> Result<(ClientRequest, Option<String>), ClientFault> {
        let Self { parameters, .. } = self;
        if parameters.repeats_any() {
            return Err(self.fault(ErrorCode::InvalidRequest, "a parameter is repeated"));
        }
        if self.get("state")?.is_some_and(|state| state.len() > Self::MAX_STATE) {
            return Err(self.fault(ErrorCode::InvalidRequest, "state is longer than 1024 bytes"));
        }
        for name in ["request", "request_uri"] {
            if self.get(name)?.is_some() {
                let problem = "request objects are not supported";
                return Err(self.fault(ErrorCode::RequestNotSupported, problem));
            }
        }
        match self.get("response_type")? {
            Some("code") => {}
            None => return Err(self.fault(ErrorCode::InvalidRequest, "response_type is missing")),
            Some(_) => {
                let problem = "response_type must be code";
                return Err(self.fault(ErrorCode::UnsupportedResponseType, problem));
            }
        }
        let request = ClientRequest {
            client: self.client.clone(),
            redirect_uri: self.redirect_uri.clone(),
            state: self.get("state")?.map(str::to_owned),
            code_challenge: self.code_challenge()?,
            resource: self.resource(resources)?.url.clone(),
            scopes: self.resource(resources)?.scopes(self.scope()?),
        };
        let login_hint = self.get("login_hint")?;
        let login_hint = login_hint.filter(|hint| hint.len() <= Self::MAX_LOGIN_HINT);
        Ok((request, login_hint.map(str::to_owned)))
    }

    /// S256 is the only method (OAuth 2.1 §4.1.1).
    fn code_challenge(&self) -> Result<CodeChallenge, ClientFault> {
        let problem = "code_challenge with code_challenge_method=S256 is required";
        let fault = || self.fault(ErrorCode::InvalidRequest, problem);
        if self.get("code_challenge_method")? != Some("S256") {
            return Err(fault());
        }
        self.get("code_challenge")?.and_then(CodeChallenge::parse).ok_or_else(fault)
    }

    fn resource<'b>(&self, all: &'b [LoginResource]) -> Result<&'b LoginResource, ClientFault> {
        match (self.get("resource")?, all) {
            (None, [only]) => Ok(only),
            (None, _) => {
                let problem = "resource is missing; this server protects several";
                Err(self.fault(ErrorCode::InvalidTarget, problem))
            }
            (Some(named), _) => all.iter().find(|own| own.is_named(named)).ok_or_else(|| {
                self.fault(ErrorCode::InvalidTarget, "resource is not protected by this server")
            }),
        }
    }

    fn scope(&self) -> Result<Option<&str>, ClientFault> {
        let scope = self.get("scope")?;
        if scope.is_some_and(|scope| scope.len() > Self::MAX_SCOPE) {
            return Err(self.fault(ErrorCode::InvalidScope, "scope is longer than 2048 bytes"));
        }
        Ok(scope)
    }

    fn get(&self, name: &'static str) -> Result<Option<&str>, ClientFault> {
        self.parameters
            .get(name)
            .map_err(|Repeated(_)| self.fault(ErrorCode::InvalidRequest, "a parameter is repeated"))
    }

    fn fault(&self, code: ErrorCode, description: &'static str) -> ClientFault {
        let state = self.parameters.get("state").ok().flatten();
        let state = state.filter(|state| state.len() <= Self::MAX_STATE);
        ClientFault {
            redirect_uri: self.redirect_uri.clone(),
            state: state.map(str::to_owned),
            code,
            description,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::client::ClientIdentity;
    use super::*;

    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    fn resource(url: &str) -> LoginResource {
        LoginResource {
            url: url.to_owned(),
            name: None,
            providers: vec![],
            audiences: BTreeMap::new(),
            scopes_supported: vec!["read".to_owned()],
            known_scopes: ["read".to_owned()].into(),
            shares_tokens_with: vec![],
        }
    }

    fn read(
        changes: &[(&str, &str)],
        resources: &[&str],
    ) -> Result<(ClientRequest, Option<String>), ClientFault> {
        let mut pairs = vec![
            ("response_type", "code"),
            ("redirect_uri", "http://localhost:7/cb"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
            ("state", "s"),
        ];
        for (name, value) in changes {
            match pairs.iter_mut().find(|(own, _)| own == name) {
                Some(pair) => pair.1 = value,
                None => pairs.push((name, value)),
            }
        }
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        read_query(&query, resources)
    }

    fn read_query(
        query: &str,
        resources: &[&str],
    ) -> Result<(ClientRequest, Option<String>), ClientFault> {
        let parameters = Parameters::parse(query.as_bytes()).unwrap();
        let client = Client {
            identity: ClientIdentity::Configured,
            name: None,
            redirect_uris: vec![RedirectUri::parse("http://localhost/cb").unwrap()],
        };
        let policy = RedirectPolicy { allows_loopback: false, uris: vec![] };
        let request = TrustedRequest::new(&parameters, "client", &client, &policy).unwrap();
        let resources: Vec<LoginResource> = resources.iter().copied().map(resource).collect();
        request.read(&resources)
    }

    fn code(changes: &[(&str, &str)], resources: &[&str]) -> Result<(), &'static str> {
        read(changes, resources).map(drop).map_err(|fault| fault.code.as_str())
    }

    const ONE: &[&str] = &["https://mcp.example.com/mcp"];
    const TWO: &[&str] = &["https://a.example.com/mcp", "https://b.example.com/mcp"];

    #[test]
    fn a_whole_request_is_read() {
        let (request, hint) =
            read(&[("login_hint", "ada@example.com"), ("prompt", "none")], ONE).unwrap();
        assert_eq!(request.redirect_uri.as_str(), "http://localhost:7/cb");
        assert_eq!(request.state.as_deref(), Some("s"));
        assert_eq!(request.resource, ONE[0]);
        assert_eq!(request.scopes, ["read"]);
        assert_eq!(hint.as_deref(), Some("ada@example.com"));
    }

    #[test]
    fn s256_is_required() {
        for changes in [
            &[("code_challenge", "")][..],
            &[("code_challenge_method", "")],
            &[("code_challenge_method", "plain")],
            &[("code_challenge_method", "s256")],
            &[("code_challenge", "short")],
        ] {
            assert_eq!(code(changes, ONE), Err("invalid_request"), "{changes:?}");
        }
    }

    #[test]
    fn only_codes_are_handed_out() {
        for (response_type, result) in [
            ("code", Ok(())),
            ("token", Err("unsupported_response_type")),
            ("code id_token", Err("unsupported_response_type")),
            ("", Err("invalid_request")),
        ] {
            assert_eq!(code(&[("response_type", response_type)], ONE), result, "{response_type}");
        }
    }

    #[test]
    fn request_objects_are_refused() {
        for name in ["request", "request_uri"] {
            assert_eq!(code(&[(name, "x")], ONE), Err("request_not_supported"), "{name}");
        }
    }

    #[test]
    fn a_resource_is_one_of_this_server_and_named_if_there_are_several() {
        for (resource, resources, result) in [
            ("", ONE, Ok(())),
            (ONE[0], ONE, Ok(())),
            ("https://mcp.example.com/mcp/", ONE, Ok(())),
            ("https://evil.example/mcp", ONE, Err("invalid_target")),
            ("", TWO, Err("invalid_target")),
            (TWO[1], TWO, Ok(())),
        ] {
            assert_eq!(code(&[("resource", resource)], resources), result, "{resource}");
        }
    }

    #[test]
    fn a_state_that_is_too_long_is_not_echoed() {
        let fault = read(&[("state", &"s".repeat(1025))], ONE).unwrap_err();
        assert_eq!((fault.code, fault.state), (ErrorCode::InvalidRequest, None));
        assert!(read(&[("state", &"s".repeat(1024))], ONE).is_ok());
    }

    #[test]
    fn a_repeated_parameter_is_refused_whatever_its_name() {
        let query = format!(
            "response_type=code&redirect_uri=http://localhost/cb&code_challenge={CHALLENGE}\
             &code_challenge_method=S256&x=1&x=1"
        );
        let fault = read_query(&query, ONE).unwrap_err();
        assert_eq!(fault.code, ErrorCode::InvalidRequest);
    }

    #[test]
    fn a_redirect_uri_of_somebody_else_is_never_redirected_to() {
        let client = Client {
            identity: ClientIdentity::Configured,
            name: None,
            redirect_uris: vec![RedirectUri::parse("http://localhost/cb").unwrap()],
        };
        let policy = RedirectPolicy { allows_loopback: true, uris: vec![] };
        for query in [
            "",
            "redirect_uri=",
            "redirect_uri=http://localhost/other",
            "redirect_uri=https://evil.example/cb",
            "redirect_uri=http://localhost/cb&redirect_uri=http://localhost/cb",
        ] {
            let parameters = Parameters::parse(query.as_bytes()).unwrap();
            let request = TrustedRequest::new(&parameters, "client", &client, &policy);
            assert_eq!(request.unwrap_err(), UntrustedFault::RedirectUri, "{query}");
        }
    }
}
