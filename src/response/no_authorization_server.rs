//! The response that the protected server is not an authorization server. Some clients look for one
//! on its host (MCP 2025-03-26, and the fallback in later revisions), and take a 401 there for an
//! authorization server that requires a login.

use super::Response;
use crate::request::{RequestHead, without_slash};
use crate::resource::ProtectedResource;

/// The response on the well-known paths of authorization servers.
#[derive(Clone, Debug)]
pub(crate) struct NoAuthorizationServer {
    /// The well-known paths appended to the path of the resource, as in OpenID Connect Discovery
    /// §4.
    appended: [String; 2],
    body: Vec<u8>,
}

impl NoAuthorizationServer {
    /// RFC 8414 §3.1 and §5.
    pub(crate) const WELL_KNOWN: [&str; 2] =
        ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"];

    /// The response for this resource.
    #[must_use]
    pub(crate) fn new(resource: &ProtectedResource) -> Self {
        let description = format!(
            "this is not an authorization server; the one that issues tokens for it is named in {}",
            resource.url.metadata_url()
        );
        let appended = Self::WELL_KNOWN
            .map(|well_known| format!("{}{well_known}", resource.url.path_without_slash()));
        Self { appended, body: body(&description) }
    }

    /// The response of a host with several resources, if the client does not ask for one of them.
    #[must_use]
    pub(crate) fn for_several_resources() -> Self {
        let description = "this is not an authorization server; the one that issues tokens for a server \
                           is named in the metadata of that server";
        Self { appended: Default::default(), body: body(description) }
    }

    /// The response to a request at one of the paths, which needs no token; `None` unless its
    /// method asks for the metadata.
    #[must_use]
    pub(crate) fn response(&self, head: RequestHead<'_>) -> Option<Response> {
        match head.method() {
            // A preflight must succeed, or the web page never sees the 404.
            b"OPTIONS" if head.values("access-control-request-method").next().is_some() => {
                Some(Response::preflight())
            }
            b"GET" | b"HEAD" | b"OPTIONS" => Some(Response {
                status: 404,
                headers: vec![
                    ("content-type", "application/json".into()),
                    ("cache-control", "no-store".into()),
                    ("access-control-allow-origin", "*".into()),
                ],
                body: self.body.clone(),
            }),
            _ => None,
        }
    }

    /// Whether the request is at one of the paths, or one with an inserted path (RFC 8414 §3.1).
    #[must_use]
    pub(crate) fn is_looked_for(&self, head: RequestHead<'_>) -> bool {
        let path = without_slash(head.path());
        let is_well_known = |well_known: &&str| {
            let rest = path.strip_prefix(well_known.as_bytes());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        };
        Self::WELL_KNOWN.iter().any(is_well_known)
            || self.appended.iter().any(|known| known.as_bytes() == path)
    }
}

fn body(description: &str) -> Vec<u8> {
    let body = serde_json::json!({"error": "not_found", "error_description": description});
    body.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn status(url: &str, method: &str, path: &str) -> Option<u16> {
        let configuration = serde_json::json!({
            "resource": {"url": url},
            "providers": [{
                "name": "a", "issuer": "https://a.example", "client_ids": ["a"],
                "jwks_url": "https://a.example/keys", "cluster": "a",
            }],
        });
        let config = Config::from_bytes(configuration.to_string().as_bytes()).unwrap();
        let responses = NoAuthorizationServer::new(config.resources.iter().next().unwrap());
        let fields = [(":method", method), (":path", path)];
        let fields = fields.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let head = RequestHead::new(&fields, false);
        let response = responses.is_looked_for(head).then(|| responses.response(head))?;
        response.map(|response| response.status)
    }

    #[test]
    fn every_url_at_which_clients_look_is_recognised() {
        const URL: &str = "https://mcp.example.com/a/mcp/";
        for name in ["oauth-authorization-server", "openid-configuration"] {
            for path in [
                format!("/.well-known/{name}"),
                format!("/.well-known/{name}/"),
                format!("/.well-known/{name}?a=b"),
                format!("/.well-known/{name}/a/mcp"),
                format!("/.well-known/{name}/other"),
                format!("/a/mcp/.well-known/{name}"),
            ] {
                for method in ["GET", "HEAD", "OPTIONS"] {
                    assert_eq!(status(URL, method, &path), Some(404), "{method} {path}");
                }
                assert_eq!(status(URL, "POST", &path), None, "{path}");
            }
            for path in [
                format!("/.well-known/{name}s"),
                format!("/mcp/.well-known/{name}"),
                format!("/a/mcp/.well-known/{name}/more"),
                format!("/.Well-Known/{name}"),
                "/.well-known/".to_owned(),
                "/a/mcp".to_owned(),
            ] {
                assert_eq!(status(URL, "GET", &path), None, "{path}");
            }
        }
    }

    #[test]
    fn a_resource_without_a_path_has_the_same_paths() {
        let status = |path| status("https://mcp.example.com", "GET", path);
        assert_eq!(status("/.well-known/openid-configuration"), Some(404));
        assert_eq!(status("/mcp/.well-known/openid-configuration"), None);
    }
}
