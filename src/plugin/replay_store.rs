//! The local store of spent tokens: carries out what [`Spending`] asks for in shared data.

use super::host;
use crate::time::UnixTime;
use crate::token::{NotSpent, Spending, SpendingStep, TokenUse};

/// Spends a token, unless that was done before in any worker of the process.
pub(super) fn spend(token_use: TokenUse, now: UnixTime) -> Result<(), NotSpent> {
    let mut spending = Spending::new(token_use, now);
    let name = spending.name();
    let mut step = SpendingStep::Read;
    loop {
        step = match step {
            SpendingStep::Read => {
                let (bytes, number) = host::shared_value(&name);
                spending.on_read(bytes.as_deref(), number)
            }
            SpendingStep::Replace(bytes, number) => {
                spending.on_replaced(host::replace_shared_value(&name, &bytes, number))
            }
            SpendingStep::Done(result) => return result,
        };
    }
}

/// Whether a token could still be spent.
///
/// # Errors
///
/// It was spent before, or nobody can tell.
pub(super) fn look_up(token_use: TokenUse, now: UnixTime) -> Result<(), NotSpent> {
    let spending = Spending::new(token_use, now);
    let (bytes, number) = host::shared_value(&spending.name());
    match spending.on_read(bytes.as_deref(), number) {
        SpendingStep::Done(result) => result,
        SpendingStep::Read | SpendingStep::Replace(..) => Ok(()),
    }
}
