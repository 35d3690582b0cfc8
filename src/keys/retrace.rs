//! A fetch walked once more with the answers that came, for whoever has to tell what went wrong:
//! the life of keys remembers of it no more than a line.

use super::fetch::{Fetch, FetchFault, Progress};
use super::state::{Demand, KeyState};
use super::{KeySet, RemoteSource};
use crate::callout::CalloutAnswer;
use crate::time::UnixTime;

/// What came of a call.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    /// This answer, if any.
    Answer(Option<CalloutAnswer>),
    /// It was not made.
    Refused,
}

/// Where a first fetch gets with these answers; none when it would have to ask for more.
#[must_use]
pub(crate) fn retraced(
    source: &RemoteSource,
    answers: impl IntoIterator<Item = Told>,
    now: UnixTime,
) -> Option<Result<KeySet, FetchFault>> {
    let state = KeyState::default().claimed(Demand::Due, 0, &source.settings, now)?;
    let (mut fetch, mut progress) = Fetch::start(source, &state, now);
    for answer in answers {
        let Progress::Call(endpoint, _) = progress else { break };
        progress = match answer {
            Told::Answer(answer) => fetch.answered(answer, source, now),
            Told::Refused => fetch.call_refused(&endpoint, source, now),
        };
    }
    match progress {
        Progress::Call(..) => None,
        Progress::Done(fetched) => Some(Ok(fetched.key_set)),
        Progress::Failed(fault) => Some(Err(fault)),
    }
}
