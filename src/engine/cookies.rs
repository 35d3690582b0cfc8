//! Cookies in responses of servers: none gets a name that is the gateway's. A server, or whoever may
//! write its responses, could otherwise have a browser finish a login that another one began.

use std::borrow::Cow;

use super::Engine;
use super::host::{Host, HostRefused, StreamId};
use crate::login::Cookie;
use crate::response_head::ResponseHead;

/// The cookies that a response may set, if it would set one of the gateway's.
#[derive(Debug)]
pub(super) struct KeptCookies(Vec<String>);

impl KeptCookies {
    /// `None` if the response sets no cookie of the gateway.
    pub(super) fn from_head(head: ResponseHead<'_>) -> Option<Self> {
        let cookies = || head.values(SET_COOKIE).map(String::from_utf8_lossy);
        let is_own = |cookie: &Cow<'_, str>| Cookie::is_set_by(cookie);
        cookies().find(is_own)?;
        Some(Self(cookies().filter(|cookie| !is_own(cookie)).map(Cow::into_owned).collect()))
    }
}

impl<H: Host> Engine<H> {
    /// Leaves only these cookies in a response.
    pub(super) fn keep_cookies(
        &mut self,
        stream: StreamId,
        KeptCookies(kept): &KeptCookies,
    ) -> Result<(), HostRefused> {
        self.host.remove_response_field(stream, SET_COOKIE)?;
        kept.iter().try_for_each(|cookie| self.host.add_response_field(stream, SET_COOKIE, cookie))
    }
}

const SET_COOKIE: &str = "set-cookie";
