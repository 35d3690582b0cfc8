//! The rule for URLs of the configuration.

use super::Faults;
use crate::callout::is_secure_url;

/// Whether a URL is https, or http for a loopback host; any other is a fault.
pub(super) fn secure_url(url: &str, path: &str, faults: &mut Faults) -> bool {
    let is_secure = is_secure_url(url);
    if !is_secure {
        faults.add(path, "must be an absolute https URL (http only for loopback hosts)");
    }
    is_secure
}
