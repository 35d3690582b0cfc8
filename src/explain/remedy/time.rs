//! Tokens outside of their lifetime, and wrong clocks.

use serde_json::Value;

use super::super::offline::CompletedCallout;
use super::super::words::seconds;
use super::{Case, Remedy};
use crate::time::UnixTime;

/// Numbers from here on are milliseconds: as seconds, this is the year 5138.
const MILLISECONDS: f64 = 100_000_000_000.0;

/// Whether this is in milliseconds instead of seconds.
pub(in super::super) fn is_in_milliseconds(time: &Value) -> bool {
    time.as_f64().is_some_and(|time| time > MILLISECONDS)
}

pub(super) fn expired(case: &Case<'_>, seconds_ago: Option<u64>) -> Remedy {
    let Some(seconds_ago) = seconds_ago else {
        return Remedy::new(
            "The token does not say when it expires: it has no `exp` that is a number.",
            "Have the identity provider issue tokens with `exp` in seconds since 1970.",
        );
    };
    let cause =
        format!("The token expired {} ago; `clock_skew` is {}.", seconds(seconds_ago), skew(case));
    if let Some(clocks) = wrong_clock(case, Way::Ahead, seconds_ago) {
        return Remedy::new(format!("{cause} {}", clocks.cause), clocks.fix);
    }
    let lifetime = time(case, "exp").zip(time(case, "iat")).map(|(exp, iat)| exp.since(iat));
    let of_life = lifetime.map_or_else(String::new, |lifetime| {
        format!(" It was issued for {}.", seconds(lifetime.as_secs()))
    });
    let moment = time(case, "exp").map_or(0, |exp| exp.as_secs().saturating_sub(1));
    Remedy::new(
        format!("{cause}{of_life}"),
        format!(
            "Have the client get a new token, by its refresh token or a new login. To see whether \
             anything else is wrong with this one, check it at that time: `--at {moment}`."
        ),
    )
}

pub(super) fn early(case: &Case<'_>, claim: &str, seconds_left: Option<u64>) -> Remedy {
    let Some(seconds_left) = seconds_left else {
        return Remedy::new(
            format!("`{claim}` is not a number."),
            format!(
                "Have the identity provider write `{claim}` in seconds since 1970, or leave it out."
            ),
        );
    };
    if case.claims.get(claim).is_some_and(is_in_milliseconds) {
        return Remedy::new(
            format!("`{claim}` is in milliseconds; it must be in seconds since 1970."),
            "Fix the issuer of these tokens.",
        );
    }
    let cause = format!(
        "By the local clock, the token becomes valid in {} (`{claim}`); `clock_skew` is {}.",
        seconds(seconds_left),
        skew(case)
    );
    match wrong_clock(case, Way::Behind, seconds_left) {
        Some(clocks) => Remedy::new(format!("{cause} {}", clocks.cause), clocks.fix),
        None => Remedy::new(
            format!("{cause} If it was issued just now, two clocks differ by that much."),
            case.fix_at("clock_skew"),
        ),
    }
}

pub(super) fn too_old(case: &Case<'_>, age: Option<u64>) -> Remedy {
    let field = case.at("max_token_age");
    match age {
        None => Remedy::new(
            format!(
                "The token does not say when it was issued (`iat`), and `{field}` limits its age."
            ),
            format!("Have the identity provider issue tokens with `iat`, or remove `{field}`."),
        ),
        Some(age) => Remedy::new(
            format!(
                "The token was issued {} ago, and `{field}` allows {}, with {} of `clock_skew`.",
                seconds(age),
                case.provider
                    .and_then(|provider| provider.claim_rules.max_token_age)
                    .map_or_else(String::new, |most| seconds(most.as_secs())),
                skew(case)
            ),
            case.fix_at("max_token_age"),
        ),
    }
}

/// In which direction a clock is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Ahead,
    Behind,
}

/// Blames the local clock, if the provider's responses show that it is wrong by enough to explain
/// why the token is this many seconds outside of its lifetime.
fn wrong_clock(case: &Case<'_>, way: Way, seconds_off: u64) -> Option<Remedy> {
    let ahead = case.callouts.iter().rev().find_map(CompletedCallout::clock_ahead)?;
    let (actual, word) = if ahead > 0 { (Way::Ahead, "ahead of") } else { (Way::Behind, "behind") };
    let tolerated =
        case.provider.map(|provider| provider.claim_rules.clock_skew).unwrap_or_default();
    let explained = ahead.unsigned_abs().saturating_add(tolerated.as_secs());
    (actual == way && explained >= seconds_off).then(|| {
        let difference = seconds(ahead.unsigned_abs());
        Remedy::new(
            format!("The clock of this machine is {difference} {word} the provider's."),
            "Set the clock: have this machine follow NTP. If Envoy runs on another machine, check \
             the clock there too.",
        )
    })
}

fn time(case: &Case<'_>, claim: &str) -> Option<UnixTime> {
    case.claims.get(claim).and_then(Value::as_u64).map(UnixTime::from_secs)
}

fn skew(case: &Case<'_>) -> String {
    let skew = case.provider.map(|provider| provider.claim_rules.clock_skew).unwrap_or_default();
    seconds(skew.as_secs())
}
