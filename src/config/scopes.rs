//! The syntax of scopes.

use super::Faults;
use super::field::Field;

pub(super) const SCOPE_EXPECTED: &str = "must be a scope: visible ASCII without space, \" and \\";

pub(super) fn scopes(raw: Field<Vec<String>>, path: &str, faults: &mut Faults) -> Vec<String> {
    let scopes = raw.or_default(path, faults);
    for (index, scope) in scopes.iter().enumerate() {
        check_scope(scope, &format!("{path}[{index}]"), faults);
    }
    scopes
}

pub(super) fn check_scope(scope: &str, path: &str, faults: &mut Faults) {
    if !is_scope(scope) {
        faults.add(path, SCOPE_EXPECTED);
    }
}

/// True for a scope-token of RFC 6749 §3.3.
pub(super) fn is_scope(scope: &str) -> bool {
    !scope.is_empty()
        && scope.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'))
}
