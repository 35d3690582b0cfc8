//! The plugin beside Envoy's own `jwt_authn`: one Envoy process with one worker, listeners side by
//! side, the same requests to each in turn, so that a noisy machine disturbs all alike.
//!
//! `make bench` prints the medians and ratios and keeps all rounds in `target/bench/envoy.json`.
//! `docs/performance.md` says how to read them.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod client;
mod listeners;
mod loads;
mod processor_time;
mod report;

use std::sync::Arc;

use testbed::Algorithm;

use crate::listeners::{Listener, Listeners};
use crate::loads::{Load, Requests};
use crate::processor_time::ProcessorTime;
use crate::report::{Report, Sample};

const ROUNDS: usize = 9;

fn main() {
    // Cargo passes `--bench`; a number is that of the rounds.
    let rounds = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(run(rounds.unwrap_or(ROUNDS)));
}

async fn run(rounds: usize) {
    let mut report = Report::default();
    for algorithm in [Algorithm::Rs256, Algorithm::Es256] {
        let listeners = Listeners::start(algorithm).await;
        for load in Load::ALL {
            eprintln!("{}, {load}", algorithm.name());
            for round in 0..=rounds {
                let requests = Arc::new(Requests::of(load, &listeners.provider));
                // No listener always comes first.
                for place in 0..Listener::ALL.len() {
                    let listener = Listener::ALL[(round + place) % Listener::ALL.len()];
                    if !listener.is_concerned(load) {
                        continue;
                    }
                    let sample = measure(&listeners, listener, &requests).await;
                    // The first round warms up.
                    if round > 0 {
                        report.add(algorithm.name(), load, listener, sample);
                    }
                }
            }
        }
    }
    report.print();
    let path = report.save();
    println!("\nAll rounds: {}", path.display());
}

async fn measure(listeners: &Listeners, listener: Listener, requests: &Arc<Requests>) -> Sample {
    let connections = client::connect(listeners.address(listener)).await;
    let before = ProcessorTime::of(listeners.envoy.pid());
    let answers = client::send(connections, requests).await;
    let used = ProcessorTime::of(listeners.envoy.pid()).since(&before);
    let expected = if listener.checks_tokens() { requests.expected_status() } else { 200 };
    assert_eq!(answers.statuses, [expected], "{listener}, {}", listeners.envoy.log());
    Sample::new(used, answers)
}
