//! The report as an HTML page that loads nothing: no script, no font, no image.

use std::cmp::Reverse;

use serde_json::Value;

use super::Status;
use super::configuration_status::{ConfigurationStatus, Level, ProviderStatus};
use super::login_status::{LoginFaultStatus, LoginStatus};
use super::reason_status::{ReasonStatus, RefusalOutcome, RefusalStatus};
use super::refused_call::RefusedCall;
use super::report::RequestCount;
use super::words::{distance, plural};
use crate::html::Html;
use crate::refusal::Reason;
use crate::resource::Mode;
use crate::time::UnixTime;

/// The only style that the page's security policy allows, by its digest.
pub(super) const STYLE: &str = include_str!("page.css");

/// Renders the page.
pub(super) fn html(status: &Status) -> String {
    let mut page = Html::default();
    page.raw(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <link rel=\"icon\" href=\"data:,\">\n<title>",
    );
    page.text(word(status.level)).raw(" · status of mcp-federated-auth</title>\n<style>");
    page.raw(STYLE).raw("</style>\n</head>\n<body>\n<header>\n<h1>mcp-federated-auth</h1>\n<p>");
    moment(&mut page, status.at);
    page.raw(
        " · <a href=\"/\">Reload</a> · <a href=\"/status.json\">JSON</a></p>\n</header>\n<main>\n",
    );
    page.raw("<p class=\"verdict ").raw(class(status.level)).raw("\"><strong>");
    page.text(word(status.level)).raw("</strong> <span>").text(&status.summary);
    page.raw("</span></p>\n");
    for configuration in &status.configurations {
        configuration_section(&mut page, configuration);
    }
    refused_call_section(&mut page, &status.refused_calls, status.at);
    refusal_section(&mut page, &status.refusals, status.at);
    request_section(&mut page, &status.requests);
    page.raw("</main>\n<footer><p>").text(status.plugin);
    page.raw(
        ". For operators only: keep this listener on loopback. <code>docs/operations.md</code> says \
         how to read it.</p></footer>\n</body>\n</html>\n",
    );
    page.finish()
}

fn configuration_section(page: &mut Html, configuration: &ConfigurationStatus) {
    let name = match (&configuration.name, configuration.resources.is_empty()) {
        (Some(name), _) => name,
        (None, true) => "MCP server",
        (None, false) => "MCP servers",
    };
    page.raw("<section>\n<h2>").text(name);
    page.raw("</h2>\n<p class=\"meta\">");
    if let Some(resource) = &configuration.resource {
        page.code(resource).raw(" · ");
    }
    page.raw("mode <code>");
    page.text(configuration.mode.map_or("mixed", Mode::as_str))
        .raw("</code> · configuration <code>");
    page.text(configuration.digest.get(..12).unwrap_or(&configuration.digest));
    page.raw("</code> · version ").text(&configuration.version).raw(" · in use at ");
    moment(page, configuration.seen);
    page.raw("</p>\n");
    if configuration.mode == Some(Mode::Report) {
        page.raw("<p class=\"note\">Mode <code>report</code>: no request is refused.</p>\n");
    }
    resource_table(page, configuration);
    let mut providers: Vec<_> = configuration.providers.iter().collect();
    providers.sort_by_key(|provider| Reverse(provider.level));
    for provider in providers {
        provider_section(page, provider);
    }
    if configuration.more_providers > 0 {
        page.raw("<p class=\"note\">And ").text(&plural(configuration.more_providers, "provider"));
        page.raw(" more, not shown.</p>\n");
    }
    if let Some(login) = &configuration.login {
        login_section(page, login);
    }
    page.raw("</section>\n");
}

fn login_section(page: &mut Html, login: &LoginStatus) {
    page.raw("<article>\n<h3>Login</h3>\n<dl>\n");
    entry(page, "Issuer", |page| page.code(&login.issuer));
    page.raw(
        "</dl>\n<div class=\"wide\"><table>\n<thead><tr><th>Provider</th><th>Redirect URI to \
         register there</th></tr></thead>\n<tbody>\n",
    );
    for provider in &login.providers {
        page.raw("<tr><td>").text(&provider.name).raw("</td><td>").code(&provider.redirect_uri);
        page.raw("</td></tr>\n");
    }
    page.raw("</tbody></table></div>\n");
    if login.steps.is_empty() {
        page.raw("<p class=\"note\">No client has registered or logged in yet.</p>\n</article>\n");
        return;
    }
    page.raw(
        "<div class=\"wide\"><table>\n<thead><tr><th>Step</th><th>Provider</th><th>Last \
         success</th><th>Last failure</th><th>Last refusal</th></tr></thead>\n<tbody>\n",
    );
    for step in &login.steps {
        page.raw("<tr><td>").text(step.step).raw("</td><td>");
        page.text(step.provider.as_deref().unwrap_or("–")).raw("</td><td>");
        match step.ok {
            Some(time) => moment(page, time),
            None => page.raw("–"),
        };
        for fault in [&step.failed, &step.refused] {
            page.raw("</td><td>");
            login_fault(page, fault.as_ref());
        }
        page.raw("</td></tr>\n");
    }
    page.raw("</tbody></table></div>\n</article>\n");
}

fn login_fault(page: &mut Html, fault: Option<&LoginFaultStatus>) {
    let Some(LoginFaultStatus { at, fault }) = fault else {
        page.raw("–");
        return;
    };
    moment(page, *at);
    if let Some(fault) = fault {
        page.raw("<br>").text(fault);
    }
}

fn resource_table(page: &mut Html, configuration: &ConfigurationStatus) {
    if configuration.resources.is_empty() {
        return;
    }
    page.raw(
        "<div class=\"wide\"><table>\n<thead><tr><th>Resource</th><th>URL</th><th>Name</th>\
         <th>Mode</th><th>Providers</th></tr></thead>\n<tbody>\n",
    );
    for resource in &configuration.resources {
        page.raw("<tr><td>").code(&resource.id).raw("</td><td>").code(&resource.url);
        page.raw("</td><td>").text(resource.name.as_deref().unwrap_or("–")).raw("</td><td>");
        page.text(resource.mode.as_str()).raw("</td><td>");
        page.text(&resource.providers.join(", ")).raw("</td></tr>\n");
    }
    page.raw("</tbody></table></div>\n");
    if configuration.more_resources > 0 {
        page.raw("<p class=\"note\">And ").text(&plural(configuration.more_resources, "resource"));
        page.raw(" more, not shown.</p>\n");
    }
}

fn provider_section(page: &mut Html, provider: &ProviderStatus) {
    page.raw("<article class=\"").raw(class(provider.level)).raw("\">\n<h3>").text(&provider.name);
    page.raw(" <span class=\"state\">")
        .text(provider.state.as_str())
        .raw("</span></h3>\n<p>")
        .text(&provider.summary);
    page.raw("</p>\n");
    if let Some(failure) = &provider.failure {
        page.raw("<dl class=\"why\">\n");
        entry(page, "Cause", |page| page.code(&failure.cause));
        if let Some(advice) = provider.advice {
            entry(page, "What to do", |page| page.prose(advice));
        }
        page.raw("</dl>\n");
    }
    key_table(page, provider);
    page.raw("<dl>\n");
    entry(page, "Issuer", |page| list(page, provider.issuers.iter().map(String::as_str)));
    entry(page, "Audience", |page| list(page, provider.audiences.iter().map(String::as_str)));
    if let Some(source) = &provider.source {
        entry(page, "Fetched from", |page| page.code(&source.url));
        if let Some(found) = &source.discovered {
            entry(page, "Discovered", |page| {
                page.code(&found.jwks_uri).raw(" ");
                moment(page, found.at).raw(match found.is_doubtful {
                    true => "; looked up again with the next fetch",
                    false => "",
                })
            });
        }
    }
    if let Some(set) = &provider.key_set {
        entry(page, "Fetched", |page| moment(page, set.fetched));
        entry(page, "Expires", |page| {
            moment(page, set.expires);
            page.raw("; usable until ");
            moment(page, set.serves_until).raw(" if fetching fails")
        });
        entry(page, "Version", |page| page.text(&set.version.to_string()));
    }
    if let Some(next) = provider.next_fetch {
        entry(page, "Next fetch", |page| {
            moment(page, next).raw(if provider.is_fetching { "; one is in progress" } else { "" })
        });
    }
    page.raw("</dl>\n</article>\n");
}

fn key_table(page: &mut Html, provider: &ProviderStatus) {
    if provider.keys.is_empty() {
        return;
    }
    page.raw(
        "<div class=\"wide\"><table>\n<thead><tr><th>Key (<code>kid</code>)</th><th>Algorithms</th>\
         <th>State</th></tr></thead>\n<tbody>\n",
    );
    for key in &provider.keys {
        page.raw("<tr><td>");
        match &key.kid {
            Some(kid) => page.code(kid),
            None => page.raw("none"),
        };
        page.raw("</td><td>").text(&key.algorithms.join(", ")).raw("</td><td>");
        match (&key.problem, key.is_dropped) {
            (None, _) => page.raw("serves"),
            (Some(problem), true) => page.raw("dropped: ").text(problem),
            (Some(problem), false) => page.raw("unusable: ").text(problem),
        };
        page.raw("</td></tr>\n");
    }
    page.raw("</tbody></table></div>\n");
    let more = provider.key_count.saturating_sub(provider.keys.len());
    if more > 0 {
        page.raw("<p class=\"note\">And ").text(&plural(more, "key")).raw(" more.</p>\n");
    }
}

fn refused_call_section(page: &mut Html, calls: &[RefusedCall], now: UnixTime) {
    if calls.is_empty() {
        return;
    }
    let has_resources = calls.iter().any(|call| call.resource.is_some());
    page.raw("<section>\n<h2>Last refused calls</h2>\n<div class=\"wide\"><table>\n<thead><tr>");
    page.raw("<th>Last</th>").raw(if has_resources { "<th>Resource</th>" } else { "" });
    page.raw(
        "<th>Method</th><th>Name</th><th>Rule</th><th>Reason</th><th class=\"number\">Times</th>\
         </tr></thead>\n<tbody>\n",
    );
    for call in calls {
        page.raw("<tr><td>").text(&distance(call.last, now)).raw("</td>");
        if has_resources {
            page.raw("<td>").text(call.resource.as_deref().unwrap_or("–")).raw("</td>");
        }
        page.raw("<td>").code(&call.method).raw("</td>");
        for value in [&call.name, &call.rule] {
            match value {
                Some(value) => page.raw("<td>").code(value).raw("</td>"),
                None => page.raw("<td>–</td>"),
            };
        }
        page.raw("<td>").code(call.reason.code());
        page.raw(if call.outcome == RefusalOutcome::Reported { " (allowed)" } else { "" });
        page.raw("</td><td class=\"number\">").text(&call.times.to_string()).raw("</td></tr>\n");
    }
    page.raw("</tbody></table></div>\n</section>\n");
}

fn refusal_section(page: &mut Html, reasons: &[ReasonStatus], now: UnixTime) {
    page.raw("<section>\n<h2>Refusals</h2>\n");
    if reasons.is_empty() {
        page.raw("<p class=\"note\">None so far.</p>\n");
    }
    for reason in reasons {
        page.raw("<article class=\"reason\">\n<h3><code>")
            .text(reason.reason.code())
            .raw("</code> ");
        page.raw("<span class=\"count\">").text(&plural(times(reason.count), "request"));
        page.raw("</span></h3>\n<p>").prose(&reason.meaning).raw("</p>\n<dl class=\"why\">\n");
        entry(page, "What to do", |page| page.prose(reason.advice));
        entry(page, "Caused by", |page| page.text(reason.party.as_str()));
        entry(page, "More", |page| page.code(&reason.see));
        page.raw("</dl>\n");
        for refusal in &reason.last {
            refusal_record(page, reason.reason, refusal, now);
        }
        page.raw("</article>\n");
    }
    page.raw("</section>\n");
}

fn refusal_record(page: &mut Html, reason: Reason, refusal: &RefusalStatus, now: UnixTime) {
    page.raw("<div class=\"record\">\n<p class=\"meta\">");
    moment(page, refusal.last);
    page.raw(" (").text(&distance(refusal.last, now)).raw(")");
    if refusal.times > 1 {
        page.raw(", ").text(&refusal.times.to_string()).raw(" times since ");
        moment(page, refusal.first);
    }
    if let Some(resource) = &refusal.resource {
        page.raw(" · resource ").code(resource);
    }
    if let Some(provider) = &refusal.provider {
        page.raw(" · provider ").code(provider);
    }
    page.raw(" · configuration <code>");
    page.text(refusal.configuration.get(..12).unwrap_or(&refusal.configuration)).raw("</code>");
    if refusal.outcome == RefusalOutcome::Reported {
        page.raw(" · allowed (report mode)");
    }
    page.raw("</p>\n");
    if !refusal.details.is_empty() || refusal.keys_now.is_some() {
        page.raw("<dl>\n");
        // The token's values come before the configured ones.
        let is_of_token = |name: &str| ["aud", "iss", "kid"].contains(&name);
        let (of_token, others): (Vec<_>, Vec<_>) =
            refusal.details.iter().partition(|(name, _)| is_of_token(name));
        for (name, value) in of_token.into_iter().chain(others) {
            entry(page, label(reason, name), |page| detail(page, value));
        }
        if let Some(kids) = &refusal.keys_now {
            entry(page, "Published now", |page| list(page, kids.iter().map(String::as_str)));
        }
        page.raw("</dl>\n");
    }
    if let Some(hint) = &refusal.hint {
        page.raw("<p class=\"hint\">").prose(hint).raw("</p>\n");
    }
    page.raw("</div>\n");
}

/// The label of a detail.
fn label(reason: Reason, name: &str) -> &str {
    match (reason, name) {
        (_, "aud") => "Token’s aud",
        (_, "iss") => "Token’s iss",
        (_, "kid") => "Token’s kid",
        (_, "alg") => "Token’s alg",
        (_, "typ") => "Token’s typ",
        (_, "crit") => "Token’s crit",
        (Reason::UnknownKid, "published") => "Published then",
        (Reason::UnknownIssuer, "configured") => "Issuers here",
        (Reason::AudienceMismatch, "configured") => "client_ids here",
        (_, "cause") => "Cause",
        (_, "user") => "User",
        (_, "authority") => "Host",
        (_, "claim") => "Claim",
        (_, "rule") => "Rule",
        (_, other) => other,
    }
}

fn detail<'a>(page: &'a mut Html, value: &Value) -> &'a mut Html {
    match value {
        Value::Null => page.raw("none"),
        Value::String(text) => page.code(text),
        Value::Array(elements) => list(page, elements.iter().filter_map(Value::as_str)),
        plain => page.text(&plain.to_string()),
    }
}

fn request_section(page: &mut Html, requests: &[RequestCount]) {
    page.raw("<section>\n<h2>Requests since Envoy started</h2>\n");
    if requests.is_empty() {
        page.raw("<p class=\"note\">None so far.</p>\n</section>\n");
        return;
    }
    let has_resources = requests.iter().any(|request| request.resource.is_some());
    page.raw("<div class=\"wide\"><table>\n<thead><tr>");
    page.raw(if has_resources { "<th>Resource</th>" } else { "" });
    page.raw(
        "<th>Provider</th><th>Outcome</th><th>Reason</th><th class=\"number\">Requests</th></tr>\
         </thead>\n<tbody>\n",
    );
    for request in requests {
        page.raw("<tr>");
        if has_resources {
            page.raw("<td>").text(request.resource.as_deref().unwrap_or("–")).raw("</td>");
        }
        page.raw("<td>").text(request.provider.as_deref().unwrap_or("–")).raw("</td><td>");
        page.text(&request.outcome).raw("</td><td>");
        match &request.reason {
            Some(reason) => page.code(reason),
            None => page.raw("–"),
        };
        page.raw("</td><td class=\"number\">").text(&request.count.to_string()).raw("</td></tr>\n");
    }
    page.raw("</tbody></table></div>\n</section>\n");
}

fn entry(page: &mut Html, name: &str, value: impl FnOnce(&mut Html) -> &mut Html) {
    page.raw("<div><dt>").text(name).raw("</dt><dd>");
    value(page);
    page.raw("</dd></div>\n");
}

fn list<'a, 'b>(page: &'a mut Html, values: impl Iterator<Item = &'b str>) -> &'a mut Html {
    let mut is_first = true;
    for value in values {
        if !std::mem::take(&mut is_first) {
            page.raw(" ");
        }
        page.code(value);
    }
    page.raw(if is_first { "none" } else { "" })
}

fn moment(page: &mut Html, time: UnixTime) -> &mut Html {
    let time = time.to_string();
    let shown = time.replace('T', " ").replace('Z', " UTC");
    page.raw("<time datetime=\"").text(&time).raw("\">").text(&shown).raw("</time>")
}

fn times(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Good => "Good",
        Level::Warning => "Warning",
        Level::Bad => "Failing",
    }
}

fn class(level: Level) -> &'static str {
    match level {
        Level::Good => "good",
        Level::Warning => "warning",
        Level::Bad => "bad",
    }
}
