//! Types that both test hosts use: callouts, responses, requests, and their outcomes.

use std::collections::BTreeMap;
use std::time::Duration;

pub type Fields = Vec<(String, Vec<u8>)>;

/// A callout that the engine made.
#[derive(Clone, Debug)]
pub struct Call {
    pub id: u32,
    pub cluster: String,
    pub headers: Fields,
    pub body: Vec<u8>,
    pub timeout: Duration,
}

impl Call {
    pub fn path(&self) -> String {
        let path = self.headers.iter().find(|(name, _)| name == ":path").unwrap();
        String::from_utf8(path.1.clone()).unwrap()
    }
}

/// A response that the plugin itself sent.
#[derive(Clone, Debug)]
pub struct LocalResponse {
    pub status: u32,
    pub headers: Fields,
    pub body: Vec<u8>,
}

impl LocalResponse {
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(known, _)| known == name)?;
        std::str::from_utf8(value).ok()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// The current state of a request.
#[derive(Clone, Debug)]
pub enum Outcome {
    Forwarded(Fields),
    Paused,
    Refused(LocalResponse),
}

/// A request as the host holds it.
#[derive(Default)]
pub struct Stream {
    pub request: Fields,
    pub trailers: Fields,
    pub response: Option<LocalResponse>,
    /// The filter state that access logs can print.
    pub filter_state: BTreeMap<String, String>,
    pub is_released: bool,
    /// The part of the body that has arrived and is held.
    pub held: Vec<u8>,
    /// The part of the body that was forwarded.
    pub passed: Vec<u8>,
    /// The part of the body that was received while the head was stopped and is delivered only
    /// after the head is forwarded, and whether it is the end of the body.
    pub unseen: Vec<u8>,
    pub unseen_end: bool,
    /// Whether the head was stopped together with its body.
    pub stops_with_body: bool,
}

impl Stream {
    pub fn new(fields: &[(&str, &[u8])]) -> Self {
        let request = fields.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec()));
        Self { request: request.collect(), ..Self::default() }
    }

    pub fn release(&mut self) {
        self.is_released = true;
        self.passed.append(&mut self.held);
    }

    /// Receives a part of the body. Returns how many bytes of the body are held, or `None` if the
    /// part is not delivered before the head is forwarded.
    pub fn receive(&mut self, part: &[u8], is_last: bool, is_early: bool) -> Option<usize> {
        if (!is_early || self.stops_with_body) && !self.is_released {
            self.unseen.extend_from_slice(part);
            self.unseen_end |= is_last;
            return None;
        }
        self.held.extend_from_slice(part);
        Some(self.held.len())
    }

    /// What was received while the head was stopped, once the head has been forwarded, and whether
    /// it is the end of the body.
    pub fn take_unseen(&mut self) -> Option<(Vec<u8>, bool)> {
        let is_due = self.is_released && (self.unseen_end || !self.unseen.is_empty());
        is_due.then(|| (std::mem::take(&mut self.unseen), std::mem::take(&mut self.unseen_end)))
    }

    /// Returns the part of the body forwarded so far. A head that was held back is forwarded with
    /// the body.
    pub fn continue_body(&mut self, goes_on: bool) -> Vec<u8> {
        if goes_on {
            self.release();
        }
        self.passed.clone()
    }

    pub fn set_trailers(&mut self, fields: &[(&str, &str)]) {
        let fields =
            fields.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().into()));
        self.trailers = fields.collect();
    }

    pub fn outcome(&self) -> Outcome {
        match &self.response {
            Some(response) => {
                assert_eq!(self.passed, b"", "a request was both refused and forwarded");
                Outcome::Refused(response.clone())
            }
            None if self.is_released => Outcome::Forwarded(self.request.clone()),
            None => Outcome::Paused,
        }
    }

    /// The filter state that access logs can print, as `name=value`.
    pub fn filter_state(&self) -> Vec<String> {
        self.filter_state.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }
}
