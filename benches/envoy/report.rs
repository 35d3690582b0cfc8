//! Samples, their medians, and ratios of these.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use testbed::repository_root;

use crate::client::Answers;
use crate::listeners::Listener;
use crate::loads::Load;

/// One round of one load at one listener.
#[derive(Clone, Copy)]
pub struct Sample {
    /// Processor time of Envoy for a request, in microseconds.
    processor: f64,
    per_second: f64,
    /// In microseconds.
    median: f64,
    /// The same: 1 of 100 answers took longer.
    slow: f64,
}

impl Sample {
    pub fn new(used: Duration, answers: Answers) -> Self {
        let count = answers.latencies.len();
        let at = |percent: usize| micros(answers.latencies[count * percent / 100]);
        Self {
            processor: micros(used) / count as f64,
            per_second: count as f64 / answers.elapsed.as_secs_f64(),
            median: at(50),
            slow: at(99),
        }
    }
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// All samples.
#[derive(Default)]
pub struct Report(BTreeMap<(&'static str, Load, Listener), Vec<Sample>>);

impl Report {
    pub fn add(&mut self, algorithm: &'static str, load: Load, listener: Listener, sample: Sample) {
        self.0.entry((algorithm, load, listener)).or_default().push(sample);
    }

    pub fn print(&self) {
        println!(
            "{:6} {:20} {:18} {:>11} {:>10} {:>8} {:>8}",
            "", "", "", "CPU µs/req", "req/s", "p50 µs", "p99 µs"
        );
        let of = |value: fn(&Sample) -> f64| move |samples: &[Sample]| median(samples, value);
        for ((algorithm, load, listener), samples) in &self.0 {
            println!(
                "{algorithm:6} {load:20} {listener:18} {:>11.1} {:>10.0} {:>8.0} {:>8.0}",
                of(|own| own.processor)(samples),
                of(|own| own.per_second)(samples),
                of(|own| own.median)(samples),
                of(|own| own.slow)(samples),
            );
        }
        println!("\nThe plugin's speed as a multiple of jwt_authn's (more is better)");
        println!(
            "{:6} {:20} {:>24} {:>24} {:>24}",
            "", "", "CPU, against the cache", "CPU, as it comes", "req/s, as it comes"
        );
        for algorithm in ["RS256", "ES256"] {
            for load in Load::ALL {
                println!(
                    "{algorithm:6} {load:20} {:>24.2} {:>24.2} {:>24.2}",
                    self.ratio(algorithm, load, Listener::JwtAuthnCache, |own| own.processor),
                    self.ratio(algorithm, load, Listener::JwtAuthn, |own| own.processor),
                    1.0 / self.ratio(algorithm, load, Listener::JwtAuthn, |own| own.per_second),
                );
            }
        }
    }

    /// The median of the other's value by the plugin's.
    fn ratio(
        &self,
        algorithm: &'static str,
        load: Load,
        other: Listener,
        value: fn(&Sample) -> f64,
    ) -> f64 {
        let of = |listener| median(&self.0[&(algorithm, load, listener)], value);
        of(other) / of(Listener::Plugin)
    }

    pub fn save(&self) -> PathBuf {
        let samples: Vec<Value> = self
            .0
            .iter()
            .map(|((algorithm, load, listener), samples)| {
                let list = |value: fn(&Sample) -> f64| {
                    samples.iter().map(|sample| json!(value(sample))).collect::<Value>()
                };
                json!({
                    "algorithm": algorithm,
                    "load": load.to_string(),
                    "listener": listener.to_string(),
                    "processor_microseconds_per_request": list(|own| own.processor),
                    "requests_per_second": list(|own| own.per_second),
                    "latency_p50_microseconds": list(|own| own.median),
                    "latency_p99_microseconds": list(|own| own.slow),
                })
            })
            .collect();
        let folder = repository_root().join("target/bench");
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("envoy.json");
        fs::write(&path, format!("{:#}\n", json!(samples))).unwrap();
        path
    }
}

fn median(samples: &[Sample], value: fn(&Sample) -> f64) -> f64 {
    let mut values: Vec<f64> = samples.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}
