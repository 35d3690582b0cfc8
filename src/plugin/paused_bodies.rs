//! Requests whose bodies may not go on yet: how much of each has come, and whether its head may go
//! before it.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use crate::authenticator::HeldRequest;
use crate::identity::IdentityFields;
use crate::time::UnixTime;

/// Whether the host hands over the body of a request while its head is paused.
///
/// Envoy does by the plugin option `allow_on_headers_stop_iteration`. It cannot be asked for that, and
/// a client that withholds its body looks like an Envoy that does. What tells them apart: an Envoy
/// that does not has received bytes of the body, and hands them over as soon as the head goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum BodyDelivery {
    /// Not known yet: heads are paused, and looked after.
    #[default]
    Unknown,
    /// Not known yet, but the head of this context went on since bytes of its body are there. If they
    /// are not handed over at once, something before the plugin has them, and nothing is shown.
    OnTrial(u32),
    /// It does: it has done so. No head goes on before its body was judged.
    WithPausedHead,
    /// It does not: a body came only after its head. Heads go first, or no body would come.
    AfterHead,
}

/// A request whose body may not go on yet.
#[derive(Debug)]
pub(super) struct PausedBody {
    /// How many bytes of it have been handed over.
    pub size: usize,
    /// Whether that is all of it.
    pub is_whole: bool,
    /// Where the head is.
    pub head: Head,
    /// What is to be judged by the body; none while the request waits for something else, and none
    /// once it was judged: then nothing more of it goes on but by that judgement.
    request: Option<Box<HeldRequest>>,
    /// Whether the request was judged as one without a body.
    lacks_body: bool,
    /// Whether its head went on outside a callback of its own. Envoy loses a body that is resumed by its
    /// trailers during that.
    pub was_resumed: bool,
}

/// Where the head of a request is whose body may not go on yet.
#[derive(Debug)]
pub(super) enum Head {
    /// Held back.
    Paused {
        /// Since when.
        since: UnixTime,
        /// How many bytes the names and values of its fields have.
        size: u64,
    },
    /// With the server, which was told this identity.
    Forwarded(Rc<IdentityFields>),
}

/// What is to be done about a head that is paused, while the delivery of bodies is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PausedHead {
    /// Its body is not handed over: it has to go first.
    GoesFirst,
    /// Treat the request as having no body.
    HasNoBody,
    /// Wait.
    Waits,
}

/// All of them, by context id.
#[derive(Debug, Default)]
pub(super) struct PausedBodies {
    by_context: BTreeMap<u32, PausedBody>,
    /// Of the tokens that are kept to judge them anew, in bytes.
    token_bytes: usize,
}

impl PausedBody {
    /// How long a body may be on its way before its absence is taken for a request without one: by
    /// then a host that would hand it over has done so, however slow its client is.
    const NO_BODY: Duration = Duration::from_secs(5);
    /// The same for a host that does not say how much it has received.
    const NOT_HANDED_OVER: Duration = Duration::from_millis(100);

    /// A request whose head is paused from now on, and has so many bytes.
    pub(super) fn new(since: UnixTime, head_size: u64) -> Self {
        Self {
            size: 0,
            is_whole: false,
            head: Head::Paused { since, size: head_size },
            request: None,
            lacks_body: false,
            was_resumed: false,
        }
    }

    /// A request whose head is paused where it is known when its body comes.
    pub(super) fn untimed() -> Self {
        Self::new(UnixTime::default(), 0)
    }

    /// What is to be judged by the body.
    pub(super) fn request(&self) -> Option<&HeldRequest> {
        self.request.as_deref()
    }

    /// What is to be done about its head, if the host has received so much of the request by now.
    pub(super) fn paused_head(&self, received: Option<u64>, now: UnixTime) -> PausedHead {
        let (Head::Paused { since, size }, Some(request)) = (&self.head, &self.request) else {
            return PausedHead::Waits;
        };
        match received {
            Some(received) if received > *size => PausedHead::GoesFirst,
            Some(_) if !request.announces_content() && now >= *since + Self::NO_BODY => {
                PausedHead::HasNoBody
            }
            None if now >= *since + Self::NOT_HANDED_OVER => PausedHead::GoesFirst,
            _ => PausedHead::Waits,
        }
    }

    /// Whether nothing of the body has been handed over though its head has gone on.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self.head, Head::Forwarded(_)) && self.size == 0 && !self.is_whole
    }

    /// The request is judged as one without a body: none may come any more.
    pub(super) fn set_lacks_body(&mut self) {
        self.lacks_body = true;
    }

    /// Whether the request was judged as one without a body.
    pub(super) fn lacks_body(&self) -> bool {
        self.lacks_body
    }
}

impl PausedBodies {
    /// Most bytes of tokens that are kept.
    const MAX_TOKEN_BYTES: usize = 32 * 1024 * 1024;

    /// Whether there is no room for another token of this length.
    pub(super) fn is_crowded(&self, token_length: usize) -> bool {
        self.token_bytes.saturating_add(token_length) > Self::MAX_TOKEN_BYTES
    }

    /// The request of this context; a new one, made by `new`, if there is none.
    pub(super) fn entry(
        &mut self,
        context_id: u32,
        new: impl FnOnce() -> PausedBody,
    ) -> &mut PausedBody {
        self.by_context.entry(context_id).or_insert_with(new)
    }

    /// The request of this context.
    pub(super) fn get(&self, context_id: u32) -> Option<&PausedBody> {
        self.by_context.get(&context_id)
    }

    /// The request of this context.
    pub(super) fn get_mut(&mut self, context_id: u32) -> Option<&mut PausedBody> {
        self.by_context.get_mut(&context_id)
    }

    /// The request of this context goes on, with its body if it is not one that has none.
    pub(super) fn forward(&mut self, context_id: u32) {
        if !self.get(context_id).is_some_and(PausedBody::lacks_body) {
            self.remove(context_id);
        }
    }

    /// Keeps what is to be judged by the body of the request of this context.
    pub(super) fn set_request(&mut self, context_id: u32, request: Box<HeldRequest>) {
        self.take_request(context_id);
        if let Some(body) = self.by_context.get_mut(&context_id) {
            self.token_bytes = self.token_bytes.saturating_add(request.token_length());
            body.request = Some(request);
        }
    }

    /// Takes what is to be judged by the body of the request of this context.
    pub(super) fn take_request(&mut self, context_id: u32) -> Option<Box<HeldRequest>> {
        let request = self.by_context.get_mut(&context_id)?.request.take()?;
        self.token_bytes = self.token_bytes.saturating_sub(request.token_length());
        Some(request)
    }

    /// Forgets the request of this context.
    pub(super) fn remove(&mut self, context_id: u32) {
        let request = self.by_context.remove(&context_id).and_then(|body| body.request);
        if let Some(request) = request {
            self.token_bytes = self.token_bytes.saturating_sub(request.token_length());
        }
    }

    /// The contexts of requests whose heads are paused and wait for nothing but their bodies.
    pub(super) fn paused_heads(&self) -> impl Iterator<Item = u32> {
        let paused = self
            .by_context
            .iter()
            .filter(|(_, body)| body.request.is_some() && matches!(body.head, Head::Paused { .. }));
        paused.map(|(context_id, _)| *context_id)
    }
}
