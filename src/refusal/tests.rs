//! What docs/troubleshooting.md says of the details is true.

use std::collections::BTreeSet;

use super::*;
use crate::status::Advice;

const PAGE: &str = include_str!("../../docs/troubleshooting.md");

/// Refusals of every reason, with all members that their details can have.
fn examples() -> Vec<Refusal> {
    let text = || "text".to_owned();
    let list = || Strings::new(["one"]);
    let retry_after = Duration::from_secs(1);
    let call = || Some(Box::new(McpCall { method: text(), name: Some(text()) }));
    let denied = |denial| Refusal::AccessDenied { denial, call: call() };
    let by_rule = |is_elsewhere| Denial::Rule { rule: text(), line: "roles", is_elsewhere };
    let differs = HeaderFault::Differs { header: "Mcp-Name", found: text(), body: Some(text()) };
    vec![
        denied(Denial::AmbiguousMethod),
        denied(Denial::AmbiguousName),
        denied(Denial::AmbiguousPath),
        denied(Denial::Misread {
            rule: text(),
            line: "roles",
            claim: text(),
            found: UnreadList::ObjectForList,
        }),
        denied(Denial::NoRule),
        denied(Denial::Restricted { rule: text() }),
        denied(by_rule(false)),
        denied(by_rule(true)),
        Refusal::AudienceMismatch {
            claim: AudienceClaim::Audience,
            found: list(),
            configured: list(),
        },
        Refusal::AudienceMismatch {
            claim: AudienceClaim::ClientId,
            found: list(),
            configured: list(),
        },
        Refusal::BadSignature { kid: Some(text()) },
        Refusal::BoundToken,
        Refusal::ClaimMismatch { claim: text() },
        Refusal::DirectoryUnavailable { retry_after, fault: DirectoryFault::Crowded },
        Refusal::Expired { seconds_ago: Some(1) },
        Refusal::GraphToken,
        Refusal::InsufficientScope {
            rule: text(),
            scopes: vec![text()],
            missing: list(),
            call: call(),
        },
        Refusal::KeyMismatch(KeyMismatch::Operations),
        Refusal::KeysUnavailable { retry_after, why: NoKeys::NotFetchedYet },
        Refusal::MalformedAuthorization(AuthorizationFault::NoToken),
        Refusal::MalformedToken(MalformedToken::Segments),
        Refusal::McpBodyInvalid(BodyFault::Repeated { member: text() }),
        Refusal::McpHeaderMismatch(differs),
        Refusal::MissingAnyClaim { claims: text(), is_elsewhere: false },
        Refusal::MissingAnyClaim { claims: text(), is_elsewhere: true },
        Refusal::MissingClaim { claim: text(), is_elsewhere: false },
        Refusal::MissingClaim { claim: text(), is_elsewhere: true },
        Refusal::MissingToken,
        Refusal::NotYetValid { claim: "nbf", seconds_left: Some(1) },
        Refusal::OriginDenied,
        Refusal::ReplayStoreUnavailable { retry_after, fault: StoreFault::Full },
        Refusal::TokenIdMissing,
        Refusal::TokenReplayed,
        Refusal::TokenTooOld { seconds: Some(1) },
        Refusal::UnknownIssuer { found: Some(text()), configured: list() },
        Refusal::UnknownKid { kid: Some(text()), published: list() },
        Refusal::UnsupportedAlgorithm { found: text() },
        Refusal::UnsupportedCriticalHeader { name: text() },
        Refusal::UserInactive { user: text(), account_status: AccountStatus::Locked },
        Refusal::UserNotServiceAccount { user: text() },
        Refusal::UserUnknown { claim: text(), field: text(), cause: Some(text()) },
        Refusal::WrongTokenType { found: Some(text()) },
    ]
}

/// The paragraph about the details, in the section of this reason.
fn details_of(reason: &str) -> &'static str {
    let heading = format!("\n### `{reason}`\n");
    let (_, section) = PAGE.split_once(&heading).unwrap_or_else(|| panic!("no section {reason}"));
    let (_, details) = section.split_once("\n**Details** ").unwrap();
    details.split("\n\n").next().unwrap()
}

#[test]
fn the_page_about_troubleshooting_has_the_reasons_that_there_are() {
    let there: BTreeSet<&str> = examples().iter().map(Refusal::reason).collect();
    let sections = PAGE.split("\n### `").skip(1);
    let described: BTreeSet<&str> = sections.map(|text| text.split('`').next().unwrap()).collect();
    assert_eq!(described, there);
}

#[test]
fn the_status_page_has_advice_for_the_reasons_that_there_are() {
    let there: BTreeSet<&str> = examples().iter().map(Refusal::reason).collect();
    let advised: Vec<&str> = Advice::ALL.iter().map(|advice| advice.reason).collect();
    assert_eq!(advised, Vec::from_iter(there));
}

#[test]
fn the_page_about_troubleshooting_names_each_member_of_the_details() {
    for refusal in examples() {
        let paragraph = details_of(refusal.reason());
        let (public, all) = (refusal.details(), refusal.log_details());
        for member in all.keys() {
            let is_named = [format!("`{member}`"), format!("`{member}: ")];
            let is_named = is_named.iter().any(|name| paragraph.contains(name));
            assert!(is_named, "{refusal:?}: {member} is not in {paragraph:?}");
        }
        // Some reasons have causes for the log alone, and only sometimes.
        let has_secret = all.len() > public.len();
        assert!(!has_secret || paragraph.contains("*log only*"), "{refusal:?}: {paragraph:?}");
    }
}

#[test]
fn the_page_about_troubleshooting_says_where_there_are_no_details() {
    let with_details: BTreeSet<&str> = examples()
        .iter()
        .filter(|refusal| !refusal.log_details().is_empty())
        .map(Refusal::reason)
        .collect();
    for reason in examples().iter().map(Refusal::reason) {
        let says_none = details_of(reason).starts_with("none");
        assert_eq!(says_none, !with_details.contains(reason), "{reason}");
    }
}
