//! Case folding of names.

/// Folds all spellings that some server treats as one name to the same string. Upper-cased first,
/// because that maps the long s and the Kelvin sign to the letters that Go's JSON takes them for.
pub(crate) fn case_folded(name: &str) -> String {
    name.to_uppercase().to_lowercase()
}
