//! What the plugin would make of a provider's keys.

use serde::Serialize;
use serde_json::Value;

use super::explanation::FetchedFrom;
use super::key_run::{KeyRun, now};
use super::outside::Outside;
use super::remedy::{self, KeyFault, Remedy};
use super::setup::Setup;
use crate::config::Provider;
use crate::jose::{Algorithm, Jwk, Misfit};
use crate::keys::{Event, KeySource, ProviderKeys};

/// What the plugin would make of a provider's keys.
#[derive(Clone, Debug, Serialize)]
pub struct KeyReport {
    /// The provider's name.
    pub provider: String,
    /// Whether there are keys to judge tokens by.
    pub is_usable: bool,
    /// What was fetched; nothing when the keys stand in the configuration.
    pub fetches: Vec<FetchedFrom>,
    /// How long the keys serve until they are fetched anew, in seconds.
    pub lifetime_seconds: Option<u64>,
    /// The keys.
    pub keys: Vec<ReportedKey>,
    /// Why there are none, and what to do about it.
    pub remedy: Option<Remedy>,
}

/// A key.
#[derive(Clone, Debug, Serialize)]
pub struct ReportedKey {
    /// Its name.
    pub kid: Option<String>,
    /// The algorithms whose signatures it verifies.
    pub algorithms: Vec<&'static str>,
    /// Whether it is left out of the set altogether.
    pub is_dropped: bool,
    /// Why it verifies nothing.
    pub problem: Option<String>,
}

impl Setup {
    /// Fetches the keys of each provider, or of the one of this name, as the plugin would.
    pub fn key_reports(&self, provider: Option<&str>, outside: &mut dyn Outside) -> Vec<KeyReport> {
        let wanted = self
            .config
            .providers
            .iter()
            .filter(|own| provider.is_none_or(|provider| own.name == provider));
        wanted.map(|provider| self.key_report(provider, outside)).collect()
    }

    fn key_report(&self, provider: &Provider, outside: &mut dyn Outside) -> KeyReport {
        let report = KeyReport {
            provider: provider.name.clone(),
            is_usable: false,
            fetches: vec![],
            lifetime_seconds: None,
            keys: vec![],
            remedy: None,
        };
        let mut keys = ProviderKeys::new(provider.key_source.clone(), 0);
        let Some(remote) = keys.remote_mut() else {
            let KeySource::Static(set) = &provider.key_source else { return report };
            let keys = set.keys().iter().map(ReportedKey::of).collect();
            return KeyReport { is_usable: true, keys, ..report };
        };
        let mut run = KeyRun::default();
        run.run(Event::Tick, remote, outside);
        let is_usable = remote.held(now(outside)).is_some();
        let document = run.calls().last().and_then(|call| call.outcome.as_ref().ok());
        let document: Option<Value> =
            document.and_then(|reply| serde_json::from_slice(&reply.body).ok());
        let elements = document.as_ref().and_then(|document| document.get("keys"));
        let elements = elements.and_then(Value::as_array).into_iter().flatten();
        let next = remote.next_tick(now(outside)).since(now(outside)).as_secs();
        let fault = KeyFault { provider, written: self.written(provider), calls: run.calls() };
        KeyReport {
            is_usable,
            fetches: run.calls().iter().map(FetchedFrom::of).collect(),
            lifetime_seconds: is_usable.then_some(next),
            keys: elements.map(ReportedKey::of_element).collect(),
            remedy: (!is_usable).then(|| remedy::keys_unavailable(&fault)),
            ..report
        }
    }
}

impl ReportedKey {
    fn of(key: &Jwk) -> Self {
        let fits = Algorithm::ALL.map(|algorithm| (algorithm, key.for_algorithm(algorithm)));
        let algorithms: Vec<&'static str> = fits
            .iter()
            .filter_map(|(algorithm, fit)| fit.as_ref().ok().map(|_| algorithm.name()))
            .collect();
        let misfits = || fits.iter().filter_map(|(_, fit)| fit.as_ref().err());
        // What is said of each algorithm that the key is not of says nothing of the key.
        let telling = misfits()
            .find(|misfit| !matches!(misfit, Misfit::Type { .. } | Misfit::Algorithm { .. }))
            .map(ToString::to_string);
        let foreign = misfits().find_map(|misfit| match misfit {
            Misfit::Algorithm { own, .. } => Some(format!("its alg {own} does not go with it")),
            _ => None,
        });
        let problem = algorithms
            .is_empty()
            .then(|| telling.or(foreign).unwrap_or_else(|| "it fits no algorithm".to_owned()));
        Self { kid: key.kid().map(str::to_owned), algorithms, is_dropped: false, problem }
    }

    fn of_element(element: &Value) -> Self {
        match Jwk::from_json(element) {
            Ok(key) => Self::of(&key),
            Err(_) => Self {
                kid: element.get("kid").and_then(Value::as_str).map(str::to_owned),
                algorithms: vec![],
                is_dropped: true,
                problem: Some(dropped_for(element)),
            },
        }
    }
}

/// Why an element is no JWK: it is one without the member that is at fault.
fn dropped_for(element: &Value) -> String {
    let Value::Object(members) = element else { return "it is no JSON object".to_owned() };
    let at_fault = members.keys().find(|name| {
        let mut others = members.clone();
        others.remove(*name);
        Jwk::from_json(&Value::Object(others)).is_ok()
    });
    match at_fault {
        Some(name) => format!("its {name} has a wrong type"),
        None if members.contains_key("kty") => {
            "several of its members have a wrong type".to_owned()
        }
        None => "it has no kty".to_owned(),
    }
}
