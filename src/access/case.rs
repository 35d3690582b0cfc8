//! Names without their case.

/// The same for all spellings that some server takes for one name. Upper case first: it makes the
/// long s and the Kelvin sign the letters that Go's JSON takes them for.
pub(super) fn case_folded(name: &str) -> String {
    name.to_uppercase().to_lowercase()
}
