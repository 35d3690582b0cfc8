//! How much of a request's body has arrived, where its head is, and whether the head must go first.

use std::rc::Rc;
use std::time::Duration;

use super::host::StreamId;
use crate::engine::authenticator::HeldRequest;
use crate::identity::IdentityFields;
use crate::time::UnixTime;

/// Whether the proxy delivers the body of a request while its head is held back.
///
/// Envoy does so with the plugin option `allow_on_headers_stop_iteration`. The option cannot be
/// read, and a client that withholds its body looks like an Envoy without it. The difference: an
/// Envoy without it has received bytes of the body, and delivers them as soon as the head is
/// forwarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum BodyDelivery {
    /// Unknown: heads are held back, and each tick checks them.
    #[default]
    Unknown,
    /// Unknown, but the head of this stream was forwarded because bytes of its body were received.
    /// If they are not delivered at once, a filter before the plugin holds them, and they prove
    /// nothing.
    OnTrial(StreamId),
    /// It was observed to do so. No head is forwarded before its body is judged.
    WithHeldHead,
    /// It does not: a body arrived only after its head was forwarded. Heads must go first.
    AfterHead,
}

/// The body of a request whose body may not be forwarded yet.
#[derive(Debug)]
pub(super) struct RequestBody {
    /// Bytes delivered so far.
    pub size: usize,
    /// Whether that is all of it.
    pub is_whole: bool,
    /// Where the head of the request is.
    pub head: Head,
    /// Whether the request was judged as one without a body, so that none may follow.
    pub is_absent: bool,
    /// Whether the head was resumed outside a callback of its stream. Envoy loses a body that its
    /// trailers resume during that callback.
    pub was_resumed: bool,
}

/// Where the head is of a request whose body may not be forwarded yet.
#[derive(Debug)]
pub(super) enum Head {
    /// Held back.
    Held {
        /// When it arrived.
        since: UnixTime,
        /// Bytes of the names and values of its fields.
        size: u64,
    },
    /// Forwarded to the server with this identity.
    Forwarded(Rc<IdentityFields>),
}

/// What to do with a head that is held back while the delivery of bodies is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeldHead {
    /// Its body is not delivered: forward it first.
    GoesFirst,
    /// Treat the request as having no body.
    HasNoBody,
    /// Wait.
    Waits,
}

impl BodyDelivery {
    /// Whether it is still unknown.
    pub(super) fn is_open(self) -> bool {
        matches!(self, Self::Unknown | Self::OnTrial(_))
    }
}

impl RequestBody {
    /// After this time, a body of which no byte was received is absent: a proxy that delivers
    /// bodies has done so by then, however slow its client is.
    const NO_BODY: Duration = Duration::from_secs(5);
    /// The same time for a proxy that does not report how much it has received.
    const NOT_HANDED_OVER: Duration = Duration::from_millis(100);

    /// The body of a request whose head, of this size in bytes, is held back from now on.
    pub(super) fn new(since: UnixTime, head_size: u64) -> Self {
        Self {
            size: 0,
            is_whole: false,
            head: Head::Held { since, size: head_size },
            is_absent: false,
            was_resumed: false,
        }
    }

    /// The body of a request whose head needs no timer, because its body is delivered.
    pub(super) fn untimed() -> Self {
        Self::new(UnixTime::default(), 0)
    }

    /// What to do with the head of `request`, if the proxy has received this many bytes of it.
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

    /// Whether nothing of the body was delivered although the head was forwarded.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self.head, Head::Forwarded(_)) && self.size == 0 && !self.is_whole
    }
}
