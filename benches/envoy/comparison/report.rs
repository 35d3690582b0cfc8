//! Medians of the samples, and medians of the ratios within a round.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Filter;
use super::loads::Load;
use crate::filters::LeastWasm;
use crate::results;
use crate::sample::{self, Sample, Samples};
use crate::statistics::Spread;

/// All samples.
#[derive(Default)]
pub struct Report(BTreeMap<(&'static str, Load, Filter), Samples>);

/// The more common one first.
const ALGORITHMS: [&str; 2] = ["RS256", "ES256"];

/// Two filters to compare: the value of one divided by the other's.
struct Question {
    dividend: Filter,
    divisor: Filter,
    what: &'static str,
    value: fn(&Sample) -> f64,
}

/// The comparisons, by processor time or by the time between two responses.
const QUESTIONS: [Question; 17] = [
    Question::processor(
        "plugin, against jwt_authn + cache: CPU",
        Filter::JwtAuthnCache,
        Filter::Plugin,
    ),
    Question::processor("plugin, against jwt_authn: CPU", Filter::JwtAuthn, Filter::Plugin),
    Question {
        value: |sample| 1.0 / sample.per_second,
        ..Question::processor(
            "plugin, against jwt_authn: requests/s",
            Filter::JwtAuthn,
            Filter::Plugin,
        )
    },
    Question::processor("plugin, against minimal Wasm: CPU", Filter::LeastWasm, Filter::Plugin),
    Question::processor(
        "minimal Wasm, against jwt_authn + cache: CPU",
        Filter::JwtAuthnCache,
        Filter::LeastWasm,
    ),
    Question::processor(
        "minimal Wasm, against jwt_authn: CPU",
        Filter::JwtAuthn,
        Filter::LeastWasm,
    ),
    Question::processor(
        "native, against jwt_authn + cache: CPU",
        Filter::JwtAuthnCache,
        Filter::Native,
    ),
    Question::processor("native, against jwt_authn: CPU", Filter::JwtAuthn, Filter::Native),
    Question::processor("native, against no filter: CPU", Filter::Bare, Filter::Native),
    Question::processor("native, against plugin: CPU", Filter::Plugin, Filter::Native),
    Question::processor(
        "native, against minimal native: CPU",
        Filter::MinimalNative,
        Filter::Native,
    ),
    Question::processor(
        "minimal native, against jwt_authn + cache: CPU",
        Filter::JwtAuthnCache,
        Filter::MinimalNative,
    ),
    Question::processor(
        "minimal native, against no filter: CPU",
        Filter::Bare,
        Filter::MinimalNative,
    ),
    Question::processor("native, against same calls: CPU", Filter::SameCallsNative, Filter::Native),
    Question::processor(
        "same calls, against jwt_authn + cache: CPU",
        Filter::JwtAuthnCache,
        Filter::SameCallsNative,
    ),
    Question::processor(
        "same calls, against no filter: CPU",
        Filter::Bare,
        Filter::SameCallsNative,
    ),
    Question::processor("empty native, against no filter: CPU", Filter::Bare, Filter::EmptyNative),
];

impl Question {
    const fn processor(what: &'static str, dividend: Filter, divisor: Filter) -> Self {
        Self { what, dividend, divisor, value: |sample| sample.processor }
    }
}

impl Report {
    pub fn add(&mut self, algorithm: &'static str, load: Load, filter: Filter, sample: Sample) {
        self.0.entry((algorithm, load, filter)).or_default().push(sample);
    }

    pub fn print(&self) {
        self.print_medians();
        self.print_ratios();
        self.print_own_cost();
    }

    fn print_medians(&self) {
        println!("\nMedians (quartiles) of all rounds");
        println!(
            "{:6} {:19} {:18} {:>22} {:>7} {:>7} {:>7}",
            "", "", "", "CPU µs/request", "req/s", "p50 µs", "p99 µs"
        );
        let all = self.0.iter();
        let of_algorithm =
            |name| all.clone().filter(move |((algorithm, ..), _)| *algorithm == name);
        for ((algorithm, load, filter), samples) in ALGORITHMS.into_iter().flat_map(of_algorithm) {
            let of = |value| Spread::new(sample::values(samples, value));
            println!(
                "{algorithm:6} {load:19} {filter:18} {:22.1} {:>7.0} {:>7.0} {:>7.0}",
                of(|sample| sample.processor),
                of(|sample| sample.per_second).median,
                of(|sample| sample.median).median,
                of(|sample| sample.slow).median,
            );
        }
    }

    fn print_ratios(&self) {
        println!(
            "\nSpeed as a multiple of the other's (more is better): median (quartiles) of the"
        );
        println!("ratios of each round, and the ratio of the medians of all rounds");
        println!("{:6} {:19} {:50} {:>19} {:>7}", "", "", "", "by rounds", "medians");
        for (algorithm, load, question) in self.comparisons() {
            let Ratio { of_rounds, of_medians } = self.ratio(algorithm, load, question);
            let what = question.what;
            println!("{algorithm:6} {load:19} {what:50} {of_rounds:19.2} {of_medians:>7.2}");
        }
    }

    /// The cost minus the host's share.
    fn print_own_cost(&self) {
        println!(
            "\nWhat is added, CPU µs/request: median (quartiles) of the differences of each round"
        );
        let steps = [
            (Filter::EmptyWasm, Filter::Bare),
            (Filter::LeastWasm, Filter::EmptyWasm),
            (Filter::Plugin, Filter::LeastWasm),
            (Filter::JwtAuthnCache, Filter::Bare),
            (Filter::Plugin, Filter::Bare),
            (Filter::EmptyNative, Filter::Bare),
            (Filter::MinimalNative, Filter::EmptyNative),
            (Filter::SameCallsNative, Filter::MinimalNative),
            (Filter::Native, Filter::SameCallsNative),
            (Filter::Native, Filter::EmptyNative),
            (Filter::Native, Filter::Bare),
        ];
        for algorithm in ALGORITHMS {
            for load in Load::ALL {
                for (filter, base) in steps {
                    let of = |filter| {
                        let samples = self.0.get(&(algorithm, load, filter))?;
                        Some(sample::values(samples, |sample| sample.processor))
                    };
                    let (Some(measured), Some(others)) = (of(filter), of(base)) else { continue };
                    let added = Spread::from_differences(&measured, &others);
                    println!("{algorithm:6} {load:19} {filter:18} beyond {base:18} {added:19.1}");
                }
            }
        }
    }

    /// The comparisons for which there are samples.
    fn comparisons(&self) -> impl Iterator<Item = (&'static str, Load, &'static Question)> {
        let cases = ALGORITHMS.into_iter().flat_map(|algorithm| {
            Load::ALL.into_iter().flat_map(move |load| {
                QUESTIONS.iter().map(move |question| (algorithm, load, question))
            })
        });
        cases.filter(|(algorithm, load, question)| {
            [question.dividend, question.divisor]
                .iter()
                .all(|filter| self.0.contains_key(&(*algorithm, *load, *filter)))
        })
    }

    fn ratio(&self, algorithm: &'static str, load: Load, question: &Question) -> Ratio {
        let [dividend, divisor] = [question.dividend, question.divisor]
            .map(|filter| sample::values(&self.0[&(algorithm, load, filter)], question.value));
        Ratio {
            of_rounds: Spread::from_ratios(&dividend, &divisor),
            of_medians: Spread::new(dividend).median / Spread::new(divisor).median,
        }
    }

    pub fn save(&self, least_wasm: LeastWasm) {
        let samples: Vec<Value> = self
            .0
            .iter()
            .map(|((algorithm, load, filter), samples)| {
                json!({
                    "algorithm": algorithm,
                    "load": load.to_string(),
                    "listener": filter.to_string(),
                    "rounds": sample::to_json(samples),
                })
            })
            .collect();
        let ratios: Vec<Value> = self
            .comparisons()
            .map(|(algorithm, load, question)| {
                let Ratio { of_rounds, of_medians } = self.ratio(algorithm, load, question);
                json!({
                    "algorithm": algorithm,
                    "load": load.to_string(),
                    "ratio": question.what,
                    "of_rounds": of_rounds.to_json(),
                    "of_medians": of_medians,
                })
            })
            .collect();
        let sets_filter_state = least_wasm == LeastWasm::WithFilterState;
        results::save(
            "load",
            &json!({
                "least_wasm_sets_filter_state": sets_filter_state,
                "samples": samples,
                "ratios": ratios,
            }),
        );
    }
}

struct Ratio {
    of_rounds: Spread,
    of_medians: f64,
}
