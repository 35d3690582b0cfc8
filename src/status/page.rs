//! The status as a page that needs nothing else: no script, no font, no image.

use std::cmp::Reverse;

use serde_json::Value;

use super::Status;
use super::html::Html;
use super::report::{
    ConfigurationStatus, Level, ProviderStatus, ReasonStatus, RefusalReport, RequestCount,
};
use super::words::plural;
use crate::refusal::Reason;

/// How the page looks. Its digest stands in the page's security policy, so that no other style and
/// nothing else counts.
pub(super) const STYLE: &str = include_str!("page.css");

/// The page.
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
    moment(&mut page, &status.at);
    page.raw(
        " · <a href=\"/\">Reload</a> · <a href=\"/status.json\">JSON</a></p>\n</header>\n<main>\n",
    );
    page.raw("<p class=\"verdict ").raw(class(status.level)).raw("\"><strong>");
    page.text(word(status.level)).raw("</strong> <span>").text(&status.summary);
    page.raw("</span></p>\n");
    for own in &status.configurations {
        configuration(&mut page, own);
    }
    refusals(&mut page, &status.refusals);
    requests(&mut page, &status.requests);
    page.raw("</main>\n<footer><p>").text(status.plugin);
    page.raw(
        ". For operators only: keep this listener on loopback. <code>docs/operations.md</code> tells \
         how to read it.</p></footer>\n</body>\n</html>\n",
    );
    page.finish()
}

fn configuration(page: &mut Html, own: &ConfigurationStatus) {
    page.raw("<section>\n<h2>").text(own.name.as_deref().unwrap_or("MCP server"));
    page.raw("</h2>\n<p class=\"meta\">").code(&own.resource).raw(" · mode <code>");
    page.text(own.mode).raw("</code> · configuration <code>");
    page.text(own.digest.get(..12).unwrap_or(&own.digest));
    page.raw("</code> · in use at ");
    moment(page, &own.seen);
    page.raw("</p>\n");
    if own.mode == "report" {
        page.raw("<p class=\"note\">Mode <code>report</code>: no request is refused.</p>\n");
    }
    let mut providers: Vec<_> = own.providers.iter().collect();
    providers.sort_by_key(|own| Reverse(own.level));
    for own in providers {
        provider(page, own);
    }
    if own.more_providers > 0 {
        page.raw("<p class=\"note\">And ").text(&plural(own.more_providers, "provider"));
        page.raw(" more, not shown.</p>\n");
    }
    page.raw("</section>\n");
}

fn provider(page: &mut Html, own: &ProviderStatus) {
    page.raw("<article class=\"").raw(class(own.level)).raw("\">\n<h3>").text(&own.name);
    page.raw(" <span class=\"state\">").text(own.state).raw("</span></h3>\n<p>").text(&own.summary);
    page.raw("</p>\n");
    if let Some(failure) = &own.failure {
        page.raw("<dl class=\"why\">\n");
        entry(page, "Cause", |page| page.code(&failure.cause));
        if let Some(advice) = own.advice {
            entry(page, "What to do", |page| page.prose(advice));
        }
        page.raw("</dl>\n");
    }
    keys(page, own);
    page.raw("<dl>\n");
    entry(page, "Issuer", |page| list(page, own.issuers.iter().map(String::as_str)));
    entry(page, "Audience", |page| list(page, own.audiences.iter().map(String::as_str)));
    if let Some(source) = &own.source {
        entry(page, "Fetched from", |page| page.code(&source.url));
        if let Some(found) = &source.discovered {
            entry(page, "Discovered", |page| {
                page.code(&found.jwks_uri).raw(" ");
                moment(page, &found.at).raw(match found.is_doubtful {
                    true => "; looked up again with the next fetch",
                    false => "",
                })
            });
        }
    }
    if let Some(set) = &own.key_set {
        entry(page, "Fetched", |page| moment(page, &set.fetched));
        entry(page, "Expires", |page| {
            moment(page, &set.expires);
            page.raw("; serves until ");
            moment(page, &set.serves_until).raw(" if fetching fails")
        });
        entry(page, "Version", |page| page.text(&set.version.to_string()));
    }
    if let Some(next) = &own.next_fetch {
        entry(page, "Next fetch", |page| {
            moment(page, next).raw(if own.is_fetching { "; one is under way" } else { "" })
        });
    }
    page.raw("</dl>\n</article>\n");
}

fn keys(page: &mut Html, own: &ProviderStatus) {
    if own.keys.is_empty() {
        return;
    }
    page.raw(
        "<div class=\"wide\"><table>\n<thead><tr><th>Key (<code>kid</code>)</th><th>Algorithms</th>\
         <th>State</th></tr></thead>\n<tbody>\n",
    );
    for key in &own.keys {
        page.raw("<tr><td>");
        match &key.kid {
            Some(kid) => page.code(kid),
            None => page.raw("none"),
        };
        page.raw("</td><td>").text(&key.algorithms.join(", ")).raw("</td><td>");
        match (&key.problem, key.is_dropped) {
            (None, _) => page.raw("serves"),
            (Some(problem), true) => page.raw("dropped: ").text(problem),
            (Some(problem), false) => page.raw("of no use: ").text(problem),
        };
        page.raw("</td></tr>\n");
    }
    page.raw("</tbody></table></div>\n");
    let more = own.key_count.saturating_sub(own.keys.len());
    if more > 0 {
        page.raw("<p class=\"note\">And ").text(&plural(more, "key")).raw(" more.</p>\n");
    }
}

fn refusals(page: &mut Html, reasons: &[ReasonStatus]) {
    page.raw("<section>\n<h2>Refusals</h2>\n");
    if reasons.is_empty() {
        page.raw("<p class=\"note\">None so far.</p>\n");
    }
    for own in reasons {
        page.raw("<article class=\"reason\">\n<h3><code>").text(own.reason.code()).raw("</code> ");
        page.raw("<span class=\"count\">").text(&plural(times(own.count), "request"));
        page.raw("</span></h3>\n<p>").prose(&own.meaning).raw("</p>\n<dl class=\"why\">\n");
        entry(page, "What to do", |page| page.prose(own.advice));
        entry(page, "Caused by", |page| page.text(own.party.as_str()));
        entry(page, "More", |page| page.code(&own.see));
        page.raw("</dl>\n");
        for refusal in &own.last {
            record(page, own.reason, refusal);
        }
        page.raw("</article>\n");
    }
    page.raw("</section>\n");
}

fn record(page: &mut Html, reason: Reason, own: &RefusalReport) {
    page.raw("<div class=\"record\">\n<p class=\"meta\">");
    moment(page, &own.last);
    page.raw(" (").text(&own.ago).raw(")");
    if own.times > 1 {
        page.raw(", ").text(&own.times.to_string()).raw(" times since ");
        moment(page, &own.first);
    }
    if let Some(provider) = &own.provider {
        page.raw(" · provider ").code(provider);
    }
    page.raw(" · configuration <code>");
    page.text(own.configuration.get(..12).unwrap_or(&own.configuration)).raw("</code>");
    if own.outcome == "reported" {
        page.raw(" · let through");
    }
    page.raw("</p>\n");
    if !own.details.is_empty() || own.keys_now.is_some() {
        page.raw("<dl>\n");
        // What the token says comes before what it is compared with.
        let is_found = |name: &str| ["aud", "iss", "kid"].contains(&name);
        let (found, others): (Vec<_>, Vec<_>) =
            own.details.iter().partition(|(name, _)| is_found(name));
        for (name, value) in found.into_iter().chain(others) {
            entry(page, label(reason, name), |page| detail(page, value));
        }
        if let Some(kids) = &own.keys_now {
            entry(page, "Published now", |page| list(page, kids.iter().map(String::as_str)));
        }
        page.raw("</dl>\n");
    }
    if let Some(hint) = &own.hint {
        page.raw("<p class=\"hint\">").prose(hint).raw("</p>\n");
    }
    page.raw("</div>\n");
}

/// What a detail is called on the page.
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

fn requests(page: &mut Html, requests: &[RequestCount]) {
    page.raw("<section>\n<h2>Requests since Envoy started</h2>\n");
    if requests.is_empty() {
        page.raw("<p class=\"note\">None so far.</p>\n</section>\n");
        return;
    }
    page.raw(
        "<div class=\"wide\"><table>\n<thead><tr><th>Provider</th><th>Outcome</th><th>Reason</th>\
         <th class=\"number\">Requests</th></tr></thead>\n<tbody>\n",
    );
    for own in requests {
        page.raw("<tr><td>").text(own.provider.as_deref().unwrap_or("–")).raw("</td><td>");
        page.text(&own.outcome).raw("</td><td>");
        match &own.reason {
            Some(reason) => page.code(reason),
            None => page.raw("–"),
        };
        page.raw("</td><td class=\"number\">").text(&own.count.to_string()).raw("</td></tr>\n");
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

/// A point in time, as people read it.
fn moment<'a>(page: &'a mut Html, time: &str) -> &'a mut Html {
    let shown = time.replace('T', " ").replace('Z', " UTC");
    page.raw("<time datetime=\"").text(time).raw("\">").text(&shown).raw("</time>")
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
