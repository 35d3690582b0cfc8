//! What both hosts of the tests have: callouts, responses, requests, and what became of them.

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

/// A response of the plugin itself.
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

/// What became of a request so far.
#[derive(Clone, Debug)]
pub enum Outcome {
    Forwarded(Fields),
    Paused,
    Refused(LocalResponse),
}

/// A request, as the host holds it.
#[derive(Default)]
pub struct Stream {
    pub request: Fields,
    pub trailers: Fields,
    pub response: Option<LocalResponse>,
    /// What access logs can print.
    pub filter_state: BTreeMap<String, String>,
    pub is_released: bool,
    /// Of the body, what has come and is held.
    pub held: Vec<u8>,
    /// Of the body, what has gone on.
    pub passed: Vec<u8>,
    /// Of the body, what was received while the head was stopped and is not handed over before; and
    /// whether that is its end.
    pub unseen: Vec<u8>,
    pub unseen_end: bool,
    /// Whether its head was stopped together with its body.
    pub stops_with_body: bool,
}

impl Stream {
    pub fn release(&mut self) {
        self.is_released = true;
        self.passed.append(&mut self.held);
    }
}
