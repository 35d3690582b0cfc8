//! How much of a request's body has come, where its head is, and whether the head has to go first.

use std::rc::Rc;
use std::time::Duration;

use super::host::StreamId;
use crate::engine::authenticator::HeldRequest;
use crate::identity::IdentityFields;
use crate::time::UnixTime;

/// Whether the proxy hands over the body of a request while its head is held back.
///
/// Envoy does so by the plugin option `allow_on_headers_stop_iteration`. The option cannot be read,
/// and a client that withholds its body looks like an Envoy without it. The difference: an Envoy
/// without it has received bytes of the body, and hands them over as soon as the head goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum BodyDelivery {
    /// Not known yet: heads are held back, and each tick looks at them.
    #[default]
    Unknown,
    /// Not known yet, but the head of this stream went on because bytes of its body were received.
    /// If they are not handed over at once, a filter before the plugin has them, and they prove
    /// nothing.
    OnTrial(StreamId),
    /// It does: it has done so. No head goes on before its body was judged.
    WithHeldHead,
    /// It does not: a body came only after its head. Heads go first, or no body would come.
    AfterHead,
}

/// The body of a request whose body may not go on yet.
#[derive(Debug)]
pub(super) struct RequestBody {
    /// Bytes handed over so far.
    pub size: usize,
    /// Whether that is all of it.
    pub is_whole: bool,
    /// Where the head is.
    pub head: Head,
    /// Whether the request was judged as one without a body: none may come any more.
    pub is_absent: bool,
    /// Whether the head went on outside a callback of its own stream. Envoy loses a body that is
    /// resumed by its trailers during that callback.
    pub was_resumed: bool,
}

/// Where the head of a request is whose body may not go on yet.
#[derive(Debug)]
pub(super) enum Head {
    /// Held back.
    Held {
        /// Since when.
        since: UnixTime,
        /// Bytes of the names and values of its fields.
        size: u64,
    },
    /// With the server, which was sent this identity.
    Forwarded(Rc<IdentityFields>),
}

/// What to do about a head that is held back while the delivery of bodies is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeldHead {
    /// Its body is not handed over: it has to go first.
    GoesFirst,
    /// Treat the request as having no body.
    HasNoBody,
    /// Wait.
    Waits,
}

impl BodyDelivery {
    /// Whether it is not known yet.
    pub(super) fn is_open(self) -> bool {
        matches!(self, Self::Unknown | Self::OnTrial(_))
    }
}

impl RequestBody {
    /// After this time, no byte of a body means no body: a proxy that hands bodies over has done so
    /// by then, however slow its client is.
    const NO_BODY: Duration = Duration::from_secs(5);
    /// The same for a proxy that does not report how much it has received.
    const NOT_HANDED_OVER: Duration = Duration::from_millis(100);

    /// The body of a request whose head is held back from now on, and has so many bytes.
    pub(super) fn new(since: UnixTime, head_size: u64) -> Self {
        Self {
            size: 0,
            is_whole: false,
            head: Head::Held { since, size: head_size },
            is_absent: false,
            was_resumed: false,
        }
    }

    /// The body of a request whose head need not be timed: its body is handed over.
    pub(super) fn untimed() -> Self {
        Self::new(UnixTime::default(), 0)
    }

    /// What to do about the head of `request`, if the proxy has received so many bytes of it.
    pub(super) fn held_head(
        &self,
        request: &HeldRequest,
        received: Option<u64>,
        now: UnixTime,
    ) -> HeldHead {
        let Head::Held { since, size } = self.head else { return HeldHead::Waits };
        match received {
            Some(received) if received > size => HeldHead::GoesFirst,
            Some(_) if !request.announces_content() && now >= since + Self::NO_BODY => {
                HeldHead::HasNoBody
            }
            None if now >= since + Self::NOT_HANDED_OVER => HeldHead::GoesFirst,
            _ => HeldHead::Waits,
        }
    }

    /// Whether nothing of the body has been handed over though its head has gone on.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self.head, Head::Forwarded(_)) && self.size == 0 && !self.is_whole
    }
}
