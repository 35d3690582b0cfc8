//! HTTP requests, as Envoy makes them for the plugin: without redirects and proxies, and with the
//! plugin's limits on size and time.

use std::fs;
use std::io::{self, IsTerminal as _, Read as _};
use std::net::ToSocketAddrs as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mcp_federated_auth::explain::{Callout, CalloutError, CalloutReply, Outside};
use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use crate::arguments::CalloutOptions;
use crate::clusters::EnvoyClusters;

/// Makes HTTP requests.
pub(crate) struct Fetcher {
    clusters: Option<EnvoyClusters>,
    /// Trusted in addition to the authorities of this machine.
    authorities: Vec<Certificate<'static>>,
    /// For http, which only loopback hosts may use.
    plain: Agent,
    /// Created when it is first needed.
    with_tls: Option<Agent>,
    /// How far the assumed time is ahead of the clock, or behind it.
    ahead: Duration,
    behind: Duration,
}

impl Fetcher {
    /// A fetcher that calls only on clusters in the Envoy file, if there is one.
    pub(crate) fn new(
        callouts: &CalloutOptions,
        clusters: Option<EnvoyClusters>,
    ) -> Result<Self, String> {
        let mut authorities = Vec::new();
        if let Some(path) = &callouts.ca {
            let shown = path.display();
            let pem = fs::read(path).map_err(|why| format!("{shown}: {why}"))?;
            for item in parse_pem(&pem) {
                match item {
                    Ok(PemItem::Certificate(certificate)) => authorities.push(certificate),
                    Ok(_) => {}
                    Err(why) => return Err(format!("{shown}: {why}")),
                }
            }
            if authorities.is_empty() {
                return Err(format!("{shown}: holds no certificate in PEM"));
            }
        }
        let (ahead, behind) = (Duration::ZERO, Duration::ZERO);
        let plain = agent(TlsConfig::default());
        Ok(Self { clusters, authorities, plain, with_tls: None, ahead, behind })
    }

    /// The same with this time as the current one, in seconds since the Unix epoch.
    pub(crate) fn at(self, seconds: u64) -> Self {
        let (then, now) = (Duration::from_secs(seconds), since_epoch());
        Self { ahead: then.saturating_sub(now), behind: now.saturating_sub(then), ..self }
    }

    /// Reading all authorities of a machine is slow, so it is done only when they are needed.
    fn agent(&mut self, url: &str) -> &Agent {
        if url.starts_with("https:") {
            let authorities = &self.authorities;
            self.with_tls.get_or_insert_with(|| with_tls(authorities))
        } else {
            &self.plain
        }
    }

    fn response(&mut self, call: &Callout) -> Result<CalloutReply, CalloutError> {
        let mut request = self.agent(&call.url).get(&call.url);
        for (name, value) in &call.fields {
            request = request.header(*name, value);
        }
        let request = request.config().timeout_global(Some(call.timeout)).build();
        let mut response = request.call().map_err(|why| callout_error(why, &call.url))?;
        let text = |name: &str| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        let (cache_control, location) = (text("cache-control"), text("location"));
        let content_encoding = text("content-encoding");
        let date = text("date");
        let date = date.and_then(|date| httpdate::parse_http_date(&date).ok());
        let date = date.and_then(|date| date.duration_since(UNIX_EPOCH).ok());
        let status = response.status().as_u16();
        let max = u64::try_from(call.max_body).unwrap_or(u64::MAX).saturating_add(1);
        let mut body = Vec::new();
        let mut reader = response.body_mut().as_reader().take(max);
        reader.read_to_end(&mut body).map_err(|why| callout_error(why.into(), &call.url))?;
        let date = date.map(|date| (date + self.ahead).saturating_sub(self.behind).as_secs());
        Ok(CalloutReply { status, cache_control, content_encoding, location, date, body })
    }
}

impl Outside for Fetcher {
    fn now(&self) -> u64 {
        let now = (since_epoch() + self.ahead).saturating_sub(self.behind);
        u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
    }

    fn call(&mut self, call: &Callout) -> Result<CalloutReply, CalloutError> {
        if self.clusters.as_ref().is_some_and(|clusters| clusters.lacks(&call.cluster)) {
            return Err(CalloutError::NoCluster);
        }
        let is_watched = io::stderr().is_terminal();
        if is_watched {
            anstream::eprint!("fetching {} …", call.url);
        }
        let reply = self.response(call);
        if is_watched {
            anstream::eprintln!(" {}", if reply.is_ok() { "done" } else { "failed" });
        }
        reply
    }
}

fn with_tls(authorities: &[Certificate<'static>]) -> Agent {
    // Certificates of this machine that cannot be read are skipped.
    let native = rustls_native_certs::load_native_certs().certs;
    let native = native.iter().map(|certificate| Certificate::from_der(certificate).to_owned());
    let all: Vec<Certificate<'static>> = native.chain(authorities.iter().cloned()).collect();
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(all)))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()));
    agent(tls.build())
}

fn agent(tls: TlsConfig) -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .tls_config(tls);
    config.build().new_agent()
}

fn callout_error(error: ureq::Error, url: &str) -> CalloutError {
    match error {
        ureq::Error::HostNotFound => CalloutError::UnknownHost,
        ureq::Error::Timeout(_) => CalloutError::TimedOut,
        ureq::Error::Tls(why) => CalloutError::Tls(why.to_owned()),
        ureq::Error::Rustls(why) => CalloutError::Tls(why.to_string()),
        ureq::Error::Io(why) => {
            let inner = why.get_ref();
            match inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(tls) => CalloutError::Tls(tls.to_string()),
                None if !is_known_host(url) => CalloutError::UnknownHost,
                None => CalloutError::Unreachable(why.to_string()),
            }
        }
        other => CalloutError::Unreachable(other.to_string()),
    }
}

/// Resolves the host again, because the system reports an unknown one only as prose.
fn is_known_host(url: &str) -> bool {
    let uri: Option<http::Uri> = url.parse().ok();
    let host = uri.as_ref().and_then(http::Uri::host);
    host.is_none_or(|host| (host.trim_matches(['[', ']']), 0).to_socket_addrs().is_ok())
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
