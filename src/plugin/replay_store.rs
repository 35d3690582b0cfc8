//! The local store of spent tokens: carries out what [`SpendAttempt`] asks for in shared data.

use super::host;
use crate::time::UnixTime;
use crate::token::{NotSpent, SingleUseToken, SpendAttempt, SpendStep};

/// Spends a token, unless that was done before in any worker of the process.
pub(super) fn spend(single_use_token: SingleUseToken, now: UnixTime) -> Result<(), NotSpent> {
    let mut spend_attempt = SpendAttempt::new(single_use_token, now);
    let name = spend_attempt.name();
    let mut step = SpendStep::Read;
    loop {
        step = match step {
            SpendStep::Read => {
                let (bytes, number) = host::shared_value(&name);
                spend_attempt.on_read(bytes.as_deref(), number)
            }
            SpendStep::Replace(bytes, number) => {
                spend_attempt.on_replaced(host::replace_shared_value(&name, &bytes, number))
            }
            SpendStep::Done(result) => return result,
        };
    }
}

/// Whether a token could still be spent.
///
/// # Errors
///
/// It was spent before, or nobody can tell.
pub(super) fn look_up(single_use_token: SingleUseToken, now: UnixTime) -> Result<(), NotSpent> {
    let spend_attempt = SpendAttempt::new(single_use_token, now);
    let (bytes, number) = host::shared_value(&spend_attempt.name());
    match spend_attempt.on_read(bytes.as_deref(), number) {
        SpendStep::Done(result) => result,
        SpendStep::Read | SpendStep::Replace(..) => Ok(()),
    }
}
