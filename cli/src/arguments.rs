//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  mcp-auth check my-envoy.yaml
  mcp-auth keys my-envoy.yaml
  mcp-auth explain my-envoy.yaml < token.txt
  mcp-auth tools my-envoy.yaml --list tools.json < token.txt

CONFIG is Envoy's file, Istio's WasmPlugin, Envoy Gateway's EnvoyExtensionPolicy, a ConfigMap with
Envoy's file, or the plugin's part alone.";

/// Explains why mcp-federated-auth refuses a token, and finds faults in a configuration.
///
/// Exit status: 0 if the token is accepted or nothing is wrong, 1 if the token is refused or
/// something is wrong, 2 if that is unknown.
#[derive(Debug, Parser)]
#[command(name = "mcp-auth", version, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Print JSON, for programs.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Find the faults of a configuration before Envoy runs it.
    ///
    /// Checks fields, types and contradictions; in an Envoy file also that each host has a cluster,
    /// that the cluster verifies the host's certificate, and that Envoy runs the plugin safely. For
    /// logins it fetches the providers' metadata, and lists what to register there.
    Check(Check),
    /// Check a token as the plugin would, step by step, with cause and fix.
    Explain(Explain),
    /// Fetch the keys as the plugin would, and show whether each can be used.
    Keys(Keys),
    /// Print the JSON Schema of the plugin's configuration.
    Schema,
    /// Show which tools, prompts and resources the holder of a token sees and may call, and why
    /// others are hidden or refused.
    Tools(Tools),
}

/// Where the configuration is.
#[derive(Args, Debug)]
pub(crate) struct Source {
    /// The plugin's configuration (JSON or YAML), an Envoy file, an Istio WasmPlugin, or an
    /// EnvoyExtensionPolicy of Envoy Gateway.
    pub(crate) config: PathBuf,
    /// The number of the plugin, if the file configures several; the first is 1.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) plugin: Option<usize>,
}

/// How requests are made.
#[derive(Args, Debug)]
pub(crate) struct CalloutOptions {
    /// A file with certificates of further trusted authorities, in PEM.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct Check {
    /// The plugin's configuration (JSON or YAML), an Envoy file, an Istio WasmPlugin, or an
    /// EnvoyExtensionPolicy of Envoy Gateway.
    pub(crate) config: PathBuf,
    /// Do not fetch the metadata of providers at which people log in.
    #[arg(long)]
    pub(crate) offline: bool,
    #[command(flatten)]
    pub(crate) callouts: CalloutOptions,
}

#[derive(Args, Debug)]
pub(crate) struct Explain {
    #[command(flatten)]
    pub(crate) source: Source,
    /// The token; `-` (the default) reads it from standard input. On the command line it stays in
    /// the shell's history.
    #[arg(long, value_name = "TOKEN", allow_hyphen_values = true)]
    pub(crate) token: Option<String>,
    /// A file with the key set to use, instead of fetching it.
    #[arg(long, value_name = "FILE")]
    pub(crate) keys: Option<PathBuf>,
    /// The method of the request, for access rules.
    #[arg(long, default_value = "POST")]
    pub(crate) method: String,
    /// The URL of the request, which selects one of several servers [default: that of the only
    /// one].
    #[arg(long)]
    pub(crate) url: Option<String>,
    /// The path of the request, for access rules [default: that of the URL].
    #[arg(long)]
    pub(crate) path: Option<String>,
    /// Check as of this time, in seconds since 1970, instead of now.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) at: Option<u64>,
    #[command(flatten)]
    pub(crate) callouts: CalloutOptions,
}

#[derive(Args, Debug)]
pub(crate) struct Keys {
    #[command(flatten)]
    pub(crate) source: Source,
    /// The name of one provider [default: all].
    #[arg(long, value_name = "NAME")]
    pub(crate) provider: Option<String>,
    #[command(flatten)]
    pub(crate) callouts: CalloutOptions,
}

#[derive(Args, Debug)]
pub(crate) struct Tools {
    #[command(flatten)]
    pub(crate) source: Source,
    /// The token; `-` (the default) reads it from standard input. On the command line it stays in
    /// the shell's history.
    #[arg(long, value_name = "TOKEN", allow_hyphen_values = true)]
    pub(crate) token: Option<String>,
    /// A file with the server's response to `tools/list`, `prompts/list`, `resources/list` or
    /// `resources/templates/list`: the JSON-RPC response, its result, or an array of tools.
    #[arg(long, value_name = "FILE")]
    pub(crate) list: PathBuf,
    /// A file with the key set to use, instead of fetching it.
    #[arg(long, value_name = "FILE")]
    pub(crate) keys: Option<PathBuf>,
    /// The URL of the requests, which selects one of several servers [default: that of the only
    /// one].
    #[arg(long)]
    pub(crate) url: Option<String>,
    /// Check as of this time, in seconds since 1970, instead of now.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) at: Option<u64>,
    #[command(flatten)]
    pub(crate) callouts: CalloutOptions,
}
