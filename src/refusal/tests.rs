//! docs/troubleshooting.md describes the reasons and details correctly.

use std::collections::BTreeSet;

use super::*;

const PAGE: &str = include_str!("../../docs/troubleshooting.md");

/// Refusals with every reason and all members of their details.
#[expect(clippy::too_many_lines, reason = "one row for each refusal")]
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
        Refusal::GraphToken { check: Check::Header },
        Refusal::GraphToken { check: Check::Signature },
        Refusal::InsufficientScope {
            rule: text(),
            scopes: vec![text()],
            missing: list(),
            call: call(),
        },
        Refusal::KeyMismatch(KeyMismatch::Operations),
        Refusal::KeysUnavailable { retry_after, why: NoKeys::NotFetchedYet },
        Refusal::KeysUnavailable { retry_after, why: NoKeys::NewerNotFetched },
        Refusal::KeysUnavailable { retry_after, why: NoKeys::TooManyBodies },
        Refusal::KeysUnavailable { retry_after, why: NoKeys::TooManyTrials },
        Refusal::MalformedAuthorization(AuthorizationFault::NoToken),
        Refusal::MalformedToken(MalformedToken::Segments),
        Refusal::MalformedToken(MalformedToken::Unsigned),
        Refusal::McpBodyInvalid(BodyFault::Repeated { member: text() }),
        Refusal::McpHeaderMismatch(differs),
        Refusal::McpListInvalid,
        Refusal::MissingAnyClaim { claims: text(), is_elsewhere: false },
        Refusal::MissingAnyClaim { claims: text(), is_elsewhere: true },
        Refusal::MissingClaim { claim: text(), is_elsewhere: false },
        Refusal::MissingClaim { claim: text(), is_elsewhere: true },
        Refusal::MissingToken,
        Refusal::MissingUserClaim { claim: text() },
        Refusal::NotYetValid { claim: "nbf", seconds_left: Some(1) },
        Refusal::OriginDenied,
        Refusal::ReplayStoreUnavailable { retry_after, fault: StoreFault::Full },
        Refusal::SessionMismatch,
        Refusal::TokenIdMissing,
        Refusal::TokenReplayed,
        Refusal::TokenTooOld { seconds: Some(1) },
        Refusal::UnknownIssuer { found: Some(text()), configured: list() },
        Refusal::UnknownKid { kid: Some(text()), published: list() },
        Refusal::UnknownResource { authority: Some(text()), is_ambiguous: false },
        Refusal::UnknownResource { authority: None, is_ambiguous: true },
        Refusal::UnsupportedAlgorithm { found: text(), check: Check::Header },
        Refusal::UnsupportedAlgorithm { found: text(), check: Check::Algorithm },
        Refusal::UnsupportedCriticalHeader { name: text() },
        Refusal::UserInactive { user: text(), account_status: AccountStatus::Locked },
        Refusal::UserNotServiceAccount { user: text() },
        Refusal::UserUnknown { claim: text(), field: text(), cause: Some(text()) },
        Refusal::WrongTokenType { found: Some(text()) },
    ]
}

/// The paragraph about the details in the section of this reason.
fn details_of(reason: &str) -> &'static str {
    let (_, details) = section_of(reason).split_once("\n**Details** ").unwrap();
    details.split("\n\n").next().unwrap()
}

/// The code of a refusal's reason.
fn code(refusal: &Refusal) -> &'static str {
    refusal.reason().code()
}

/// The section of this reason, without its heading.
fn section_of(reason: &str) -> &'static str {
    let heading = format!("\n### `{reason}`\n\n");
    let (_, rest) = PAGE.split_once(&heading).unwrap_or_else(|| panic!("no section {reason}"));
    rest.split("\n##").next().unwrap()
}

#[test]
fn reasons_are_in_the_order_of_their_codes_and_each_has_an_example() {
    assert!(Reason::ALL.is_sorted_by_key(|reason| reason.code()));
    let there: BTreeSet<Reason> = examples().iter().map(Refusal::reason).collect();
    assert_eq!(Vec::from_iter(there), Reason::ALL);
}

#[test]
fn a_row_lists_the_checks_that_refuse_for_its_reason() {
    let pairs = examples().into_iter().map(|refusal| (refusal.reason(), refusal.check()));
    let there: BTreeSet<(Reason, Check)> = pairs.collect();
    let rows = Reason::ALL.iter();
    let listed = rows.flat_map(|reason| reason.row().checks.iter().map(|check| (*reason, *check)));
    assert_eq!(there, listed.collect());
}

#[test]
fn temporary_refusals_say_when_to_retry() {
    for refusal in examples() {
        let is_temporary = refusal.reason().row().status == 503;
        assert_eq!(refusal.retry_after().is_some(), is_temporary, "{refusal:?}");
    }
}

/// RFC 6750 §3: the characters allowed in `error_description`.
#[test]
fn descriptions_are_clauses_that_a_challenge_can_hold() {
    for reason in Reason::ALL {
        let meaning = reason.row().meaning;
        let is_plain = |byte: u8| (b' '..=b'~').contains(&byte) && !b"\"\\`".contains(&byte);
        assert!(meaning.bytes().all(is_plain) && !meaning.ends_with('.'), "{meaning}");
        assert!(reason.row().fix.ends_with('.'), "{}", reason.row().fix);
    }
}

/// The rows as a table.
fn table() -> String {
    let header = "| reason | status | `error` | caused by | refused by | meaning | first fix |\n\
                  | --- | --- | --- | --- | --- | --- | --- |\n";
    let rows = Reason::ALL.iter().map(|reason| {
        let Row { code, status, error, party, checks, fix, .. } = reason.row();
        let error = error.map_or_else(|| "–".to_owned(), |error| format!("`{}`", error.as_str()));
        let checks: Vec<&str> = checks.iter().map(|check| check.as_str()).collect();
        format!(
            "| [`{code}`](#{code}) | {status} | {error} | {} | {} | {} | {fix} |\n",
            party.as_str(),
            checks.join(", "),
            reason.sentence(),
        )
    });
    std::iter::once(header.to_owned()).chain(rows).collect()
}

#[test]
fn the_troubleshooting_page_has_the_table_of_checks() {
    let table = table();
    assert!(PAGE.contains(&format!("\n\n{table}\n")), "the table should be:\n{table}");
}

#[test]
fn the_troubleshooting_page_has_the_checks_in_their_order() {
    let checks = Check::ALL.map(Check::as_str).join(", ");
    let words: Vec<&str> = PAGE.split_whitespace().collect();
    assert!(words.join(" ").contains(&format!("in this order: {checks}.")), "{checks}");
}

#[test]
fn the_troubleshooting_page_has_a_section_for_each_reason_with_its_status() {
    let sections = PAGE.split("\n### `").skip(1);
    let described: BTreeSet<&str> = sections.map(|text| text.split('`').next().unwrap()).collect();
    let codes: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.code()).collect();
    assert_eq!(described, codes);
    for reason in Reason::ALL {
        let section = section_of(reason.code());
        assert!(section.starts_with(&reason.row().status.to_string()), "{section}");
    }
}

#[test]
fn the_troubleshooting_page_names_each_member_of_the_details() {
    for refusal in examples() {
        let paragraph = details_of(code(&refusal));
        let (public, all) = (refusal.details(), refusal.log_details());
        for member in all.keys() {
            let is_named = [format!("`{member}`"), format!("`{member}: ")];
            let is_named = is_named.iter().any(|name| paragraph.contains(name));
            assert!(is_named, "{refusal:?}: {member} is not in {paragraph:?}");
        }
        // Some causes are only logged, and not in every case.
        let has_secret = all.len() > public.len();
        assert!(!has_secret || paragraph.contains("*log only*"), "{refusal:?}: {paragraph:?}");
    }
}

#[test]
fn the_troubleshooting_page_says_which_reasons_have_no_details() {
    let with_details: BTreeSet<&str> =
        examples().iter().filter(|refusal| !refusal.log_details().is_empty()).map(code).collect();
    for reason in examples().iter().map(code) {
        let says_none = details_of(reason).starts_with("none");
        assert_eq!(says_none, !with_details.contains(reason), "{reason}");
    }
}
