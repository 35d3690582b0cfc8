//! The clusters in an Envoy file, on which the plugin makes its callouts.

use std::collections::BTreeMap;

use mcp_federated_auth::explain::ClusterUse;
use serde_json::Value;

use crate::surroundings::member;

/// The clusters of Envoy's file.
#[derive(Clone, Debug)]
pub(crate) struct EnvoyClusters {
    by_name: BTreeMap<String, Value>,
    /// Whether there may be others that the file does not show.
    may_have_others: bool,
}

/// What is wrong with a cluster.
pub(crate) enum ClusterFault {
    /// The plugin cannot call it.
    Missing(String),
    /// The plugin can call it, but not safely.
    Unsafe(String),
}

impl EnvoyClusters {
    /// The clusters of a document, if it is Envoy's.
    pub(crate) fn parse(document: &Value) -> Option<Self> {
        let resources = document.get("static_resources")?;
        let clusters = resources.get("clusters").and_then(Value::as_array);
        let named = clusters.into_iter().flatten().filter_map(|cluster| {
            Some((cluster.get("name")?.as_str()?.to_owned(), cluster.clone()))
        });
        let dynamic = member(document, "dynamic_resources");
        let may_have_others = dynamic.is_some_and(|resources| {
            let sources = ["cds_config", "cds_resources_locator", "ads_config"];
            sources.iter().any(|name| member(resources, name).is_some())
        });
        Some(Self { by_name: named.collect(), may_have_others })
    }

    /// The clusters of two documents of a file.
    pub(crate) fn merge(mut self, other: Self) -> Self {
        self.by_name.extend(other.by_name);
        self.may_have_others |= other.may_have_others;
        self
    }

    /// True when Envoy certainly has no such cluster.
    pub(crate) fn lacks(&self, name: &str) -> bool {
        !self.may_have_others && !self.by_name.contains_key(name)
    }

    /// True if the file may not show all clusters.
    pub(crate) fn may_have_others(&self) -> bool {
        self.may_have_others
    }

    /// What is wrong with the cluster for this use.
    pub(crate) fn faults(&self, cluster_use: &ClusterUse) -> Vec<ClusterFault> {
        let ClusterUse { path, cluster: name, host, is_https } = cluster_use;
        let Some(cluster) = self.by_name.get(name) else {
            let text =
                format!("{path}: there is no cluster {name:?} under static_resources.clusters");
            return if self.may_have_others { vec![] } else { vec![ClusterFault::Missing(text)] };
        };
        if !is_https {
            return vec![];
        }
        let host = host.as_deref().unwrap_or("<host>");
        let host = host.split(':').next().unwrap_or(host);
        let problems = tls_problems(cluster, host).into_iter();
        let strings = problems.map(|problem| format!("cluster {name:?} ({path}): {problem}"));
        strings.map(ClusterFault::Unsafe).collect()
    }
}

/// What the cluster lacks for calling this host by https.
fn tls_problems(cluster: &Value, host: &str) -> Vec<String> {
    let Some(tls) = cluster.get("transport_socket").and_then(|socket| socket.get("typed_config"))
    else {
        return vec![format!(
            "has no transport_socket for TLS, so Envoy would call {host} in plain text; the README \
             shows one"
        )];
    };
    let automatic = |name: &str| has_true(cluster, name);
    let context = tls.get("common_tls_context");
    let by_service = context.is_some_and(|context| {
        ["validation_context_sds_secret_config", "combined_validation_context"]
            .iter()
            .any(|name| context.get(name).is_some())
    });
    let validation = context.and_then(|context| context.get("validation_context"));
    let has = |name: &str| validation.is_some_and(|context| context.get(name).is_some());
    let mut problems = Vec::new();
    if tls.get("sni").is_none() && !automatic("auto_sni") && !automatic("auto_host_sni") {
        problems.push(format!("has no sni, which most providers need: `sni: {host}`"));
    }
    if by_service {
        return problems;
    }
    if !has("trusted_ca") && !has("system_root_certs") {
        problems.push(
            "has no trusted_ca, so Envoy verifies no certificate: anyone on the network path \
             could supply keys"
                .to_owned(),
        );
    } else if !automatic("auto_san_validation") && !automatic("auto_sni_san_validation") {
        let names =
            validation.and_then(|context| context.get("match_typed_subject_alt_names")?.as_array());
        problems.extend(name_problem(names.map_or(&[], Vec::as_slice), host));
    }
    problems
}

/// What is wrong with the accepted names of certificates, for calling this host.
fn name_problem(matchers: &[Value], host: &str) -> Option<String> {
    if matchers.is_empty() {
        return Some(format!(
            "has no match_typed_subject_alt_names, so a certificate of any host is accepted: have \
             it match {host}"
        ));
    }
    // Patterns are not evaluated.
    let exact: Option<Vec<&str>> =
        matchers.iter().map(|matcher| matcher.get("matcher")?.get("exact")?.as_str()).collect();
    let exact = exact.filter(|names| !names.contains(&host))?;
    Some(format!(
        "has match_typed_subject_alt_names for {}, but the host that is called is {host}",
        exact.join(", ")
    ))
}

/// True when this switch is on anywhere in the cluster.
fn has_true(value: &Value, name: &str) -> bool {
    match value {
        Value::Object(members) => members.iter().any(|(member, inner)| {
            (member == name && *inner == Value::Bool(true)) || has_true(inner, name)
        }),
        Value::Array(elements) => elements.iter().any(|inner| has_true(inner, name)),
        _ => false,
    }
}
