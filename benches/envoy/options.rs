//! The command-line options.

use std::process::exit;

use crate::filters::LeastWasm;

const USAGE: &str =
    "usage: cargo bench --bench envoy -- [PART]... [ROUNDS] [--without-filter-state]
PART is one of load, scale, lists, memory, start, builds, profile; without one, all but profile run.
builds compares the modules in OTHER_MODULES (paths separated by colons) with this tree's: plugins,
or native modules, which end in .so. lists measures such native modules too.
profile measures nothing: the native module in INSTRUMENTED_MODULE counts what requests execute";

/// A part of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The plugin compared with `jwt_authn`.
    Load,
    /// Many keys, providers and access rules.
    Scale,
    /// Filtered lists of tools.
    Lists,
    /// More workers.
    Memory,
    /// The time to start, and the size of the module.
    Start,
    /// Other builds of the plugin compared with this one, if any are named.
    Builds,
    /// The profile of an instrumented native module. Measures nothing.
    Profile,
}

impl Part {
    const MEASURED: [Self; 6] =
        [Self::Load, Self::Scale, Self::Lists, Self::Memory, Self::Start, Self::Builds];

    fn find(name: &str) -> Option<Self> {
        Self::MEASURED.into_iter().chain([Self::Profile]).find(|part| part.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Scale => "scale",
            Self::Lists => "lists",
            Self::Memory => "memory",
            Self::Start => "start",
            Self::Builds => "builds",
            Self::Profile => "profile",
        }
    }
}

/// The parts and rounds to run.
pub struct Options {
    pub parts: Vec<Part>,
    /// `None` for each part's default.
    pub rounds: Option<usize>,
    pub least_wasm: LeastWasm,
}

impl Options {
    /// Exits if the arguments are ambiguous.
    pub fn from_arguments() -> Self {
        let mut options =
            Self { parts: Vec::new(), rounds: None, least_wasm: LeastWasm::WithFilterState };
        for argument in std::env::args().skip(1) {
            match (Part::find(&argument), argument.parse()) {
                (Some(part), _) => options.parts.push(part),
                (None, Ok(rounds)) if rounds > 0 => options.rounds = Some(rounds),
                // Cargo passes this option.
                _ if argument == "--bench" => {}
                _ if argument == "--without-filter-state" => {
                    options.least_wasm = LeastWasm::WithoutFilterState;
                }
                _ => {
                    eprintln!("{argument}?\n{USAGE}");
                    exit(2);
                }
            }
        }
        if options.parts.is_empty() {
            options.parts = Part::MEASURED.into();
        }
        options
    }

    pub fn rounds(&self, usual: usize) -> usize {
        self.rounds.unwrap_or(usual)
    }
}
