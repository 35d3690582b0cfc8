//! The pages that people see: plain HTML without script, which loads nothing.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::authorization_request::{ClientRequest, UntrustedFault};
use super::callback::CallbackFault;
use super::client::{Client, ClientIdentity, ClientName};
use super::provider::LoginProvider;
use super::resource::LoginResource;
use crate::html::Html;
use crate::response::Response;

const STYLE: &str = include_str!("page.css");

/// The page on which a person approves a login and chooses a provider.
pub(super) struct ConsentPage<'a> {
    pub client: &'a Client,
    pub request: &'a ClientRequest,
    pub resource: &'a LoginResource,
    pub providers: Vec<&'a LoginProvider>,
    /// Path of the form.
    pub action: String,
    /// The sealed request.
    pub pending: String,
    /// Whether the approval will be remembered.
    pub is_remembered: bool,
}

/// Why a person sees an error page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PageFault {
    Request(UntrustedFault),
    Callback(CallbackFault),
    /// The client's metadata document cannot be read.
    ClientDocument,
    /// The page was shown inside another one.
    Framed,
    /// The approval does not come from a page of this browser, or arrived too late.
    Approval,
    /// The provider's login cannot be reached.
    Provider,
    /// The browser sent more than can be handled.
    TooLarge,
    /// Too many people log in at the moment.
    Busy,
    /// The proxy does not deliver the body of the approval.
    Withheld,
}

impl ConsentPage<'_> {
    /// The page.
    pub(super) fn response(&self) -> Response {
        let server = self.resource.name.as_deref().unwrap_or(&self.resource.url);
        let mut page = begun(&format!("Sign in to {server}"));
        page.raw("<h1>Sign in to ").text(server).raw("</h1>\n<dl>\n");
        self.describe_client(&mut page);
        self.describe_resource(&mut page);
        page.raw(
            "</dl>\n<p class=\"warning\">Continue only if you have just started this yourself in ",
        );
        page.raw("an app that you know.</p>\n");
        if self.is_remembered {
            page.raw("<p>Your choice is remembered in this browser for 90 days.</p>\n");
        }
        page.raw("<form method=\"post\" action=\"").text(&self.action).raw("\">\n");
        page.raw("<input type=\"hidden\" name=\"request\" value=\"").text(&self.pending);
        page.raw("\">\n");
        for provider in &self.providers {
            page.raw("<button name=\"provider\" value=\"").text(&provider.name);
            page.raw("\">Continue with ").text(&provider.label).raw("</button>\n");
        }
        page.raw("<button class=\"quiet\" name=\"cancel\" value=\"1\">Cancel</button>\n</form>\n");
        response(200, page)
    }

    fn describe_client(&self, page: &mut Html) {
        let name = self.client.name.as_ref().map(ClientName::as_str);
        let who: &dyn Fn(&mut Html) = match &self.client.identity {
            ClientIdentity::Configured => &|page| {
                page.text(name.unwrap_or("An app known to this server"));
            },
            ClientIdentity::Document { host } => &|page| {
                page.code(host);
                if let Some(name) = name {
                    page.raw(", which calls itself ").text(&quoted(name));
                }
            },
            ClientIdentity::Registered => &|page| {
                match name {
                    Some(name) => page.raw("An app that calls itself ").text(&quoted(name)),
                    None => page.raw("An app that gives no name"),
                };
            },
        };
        entry(page, "Who asks", who);
        let uri = &self.request.redirect_uri;
        entry(page, "Where you return to", &|page| {
            match uri.is_loopback() {
                true => page.raw("A program on this computer (").code(uri.host()).raw(")"),
                false => page.code(uri.host()),
            };
        });
    }

    fn describe_resource(&self, page: &mut Html) {
        entry(page, "What the app gets access to", &|page| {
            page.code(&self.resource.url);
            for other in &self.resource.shares_tokens_with {
                page.raw(", also ").code(other);
            }
        });
        if !self.request.scopes.is_empty() {
            entry(page, "With these permissions", &|page| {
                page.raw("<ul>");
                for scope in &self.request.scopes {
                    page.raw("<li>").code(scope).raw("</li>");
                }
                page.raw("</ul>");
            });
        }
        self.describe_always(page);
    }

    /// What the providers are asked for at each login.
    fn describe_always(&self, page: &mut Html) {
        let asked = || self.providers.iter().filter(|provider| !provider.always.is_empty());
        if asked().next().is_none() {
            return;
        }
        let first = self.providers.first().map(|provider| &provider.always);
        let are_same = self.providers.iter().all(|provider| Some(&provider.always) == first);
        entry(page, "What this server asks for at each login", &|page| {
            for provider in asked().take(if are_same { 1 } else { usize::MAX }) {
                page.raw("<div>");
                if !are_same {
                    page.text(&provider.label).raw(": ");
                }
                page.code(&provider.always.join(" ")).raw("</div>");
            }
        });
    }
}

impl PageFault {
    /// The page that says what happened and what to do.
    pub(super) fn response(self) -> Response {
        let (status, title, what) = self.words();
        let mut page = begun(title);
        page.raw("<h1>").text(title).raw("</h1>\n<p>").prose(what).raw("</p>\n");
        page.raw(
            "<p>Close this window, go back to your app, and connect to the server again.</p>\n",
        );
        response(status, page)
    }

    /// What happened, in a few words.
    pub(super) fn title(self) -> &'static str {
        self.words().1
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each page")]
    fn words(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::Request(UntrustedFault::Malformed) => {
                (400, "This link cannot be read", "The app sent a request that cannot be read.")
            }
            Self::Request(UntrustedFault::UnknownClient) => (
                400,
                "This app is not known here",
                "The app is not registered at this server, or its registration is no longer \
                 valid. Remove the server from the app and add it again: the app then registers \
                 again.",
            ),
            Self::Request(UntrustedFault::RedirectUri) => (
                400,
                "This app may not receive a login",
                "The address that the app wants to send you back to does not belong to the app, \
                 or this server does not allow it. The operator can allow it in \
                 `login.redirect_uris`.",
            ),
            Self::Callback(CallbackFault::Malformed | CallbackFault::CodeTooLong) => (
                400,
                "The identity provider's response cannot be read",
                "Your identity provider sent a response that this server cannot handle.",
            ),
            Self::Callback(CallbackFault::State) => (
                400,
                "This login was not started here",
                "The identity provider's response does not belong to a login of this server.",
            ),
            Self::Callback(CallbackFault::Expired) => {
                (400, "This login took too long", "A login has to be finished within ten minutes.")
            }
            Self::Callback(CallbackFault::OtherBrowser) => (
                400,
                "This login was started in another browser",
                "Only the browser in which a login was started can finish it. If that was this \
                 one, allow cookies for this site.",
            ),
            Self::Callback(CallbackFault::Issuer) => (
                400,
                "The response comes from another identity provider",
                "The response does not name the identity provider at which you logged in.",
            ),
            Self::ClientDocument => (
                400,
                "This app cannot be identified",
                "The document that describes the app could not be fetched, or does not match the \
                 app.",
            ),
            Self::Framed => (
                400,
                "This page must be opened by itself",
                "A login is not possible inside another page.",
            ),
            Self::Approval => (
                400,
                "This page is no longer valid",
                "The approval does not come from a page that this browser opened in the last ten \
                 minutes. If it does, allow cookies for this site.",
            ),
            Self::Provider => (
                503,
                "The identity provider cannot be reached",
                "The login at your identity provider is not available at the moment. The operator \
                 finds the cause in the log.",
            ),
            Self::TooLarge => {
                (400, "This request is too large", "The app sent more than this server can handle.")
            }
            Self::Busy => {
                (503, "Too many logins at the moment", "Wait a few seconds before you try again.")
            }
            Self::Withheld => (
                500,
                "This server cannot read your approval",
                "The operator finds the cause in the log.",
            ),
        }
    }
}

fn begun(title: &str) -> Html {
    let mut page = Html::default();
    page.raw(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta name=\"robots\" content=\"noindex\">\n<link rel=\"icon\" href=\"data:,\">\n<title>",
    );
    page.text(title).raw("</title>\n<style>").raw(STYLE).raw("</style>\n</head>\n<body>\n<main>\n");
    page
}

/// The name in quotation marks, with its own removed, so that it cannot imitate what follows it.
fn quoted(name: &str) -> String {
    /// Characters that look like quotation marks.
    const MARKS: &str = "\"“”„‟«»‹›‘’‚‛`´＂＇❛❜❝❞〝〞〟″‴‵‶‷⁗ʹʺʼˮ˝״";
    let mut shown = String::new();
    for character in name.chars() {
        let character = if MARKS.contains(character) { '\'' } else { character };
        // Two single ones look like a double one.
        if character != '\'' || !shown.ends_with('\'') {
            shown.push(character);
        }
    }
    format!("“{shown}”")
}

fn entry(page: &mut Html, name: &'static str, value: &dyn Fn(&mut Html)) {
    page.raw("<div><dt>").raw(name).raw("</dt><dd>");
    value(page);
    page.raw("</dd></div>\n");
}

/// No `form-action`: browsers apply it to every redirect that follows the form.
fn response(status: u16, mut page: Html) -> Response {
    page.raw("</main>\n</body>\n</html>\n");
    let style = STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; img-src data:; base-uri 'none'; \
         frame-ancestors 'none'"
    );
    let headers = vec![
        ("content-type", "text/html; charset=utf-8".into()),
        ("cache-control", "no-store".into()),
        ("content-security-policy", policy.into()),
        ("cross-origin-opener-policy", "same-origin".into()),
        ("cross-origin-resource-policy", "same-origin".into()),
        // With `no-referrer`, the form would have the origin `null`.
        ("referrer-policy", "same-origin".into()),
        ("x-content-type-options", "nosniff".into()),
        ("x-frame-options", "DENY".into()),
    ];
    Response { status, headers, body: page.finish().into_bytes() }
}
