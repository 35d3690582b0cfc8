//! What tests see of a host: callouts, responses, and what became of a request.

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
