//! A configuration to examine.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::question::Question;
use super::words::listed;
use crate::callout::Clusters;
use crate::config::{Config, ConfigError, Variable};
use crate::json::without_byte_order_mark;
use crate::keys::{KeySource, Start};
use crate::provider::Provider;
use crate::resource::ResourceId;
use crate::token::ReplayStore;

/// A configuration to examine: the validated form, and the JSON it was read from.
#[derive(Clone, Debug)]
pub struct Setup {
    pub(super) config: Config,
    pub(super) document: Value,
    /// Envoy's limit on the header fields of a request, in bytes.
    pub(super) header_limit: usize,
}

/// A cluster in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterUse {
    /// The field that names it.
    pub path: String,
    /// The name of the cluster.
    pub cluster: String,
    /// The host that is called on it, if the configuration names it.
    pub host: Option<String>,
    /// Whether that host is called by https.
    pub is_https: bool,
}

/// A provider as written in the configuration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written<'a> {
    position: usize,
    fields: &'a Value,
}

impl Setup {
    /// Envoy's default for `max_request_headers_kb`, in bytes.
    pub const HEADER_LIMIT: usize = 60 * 1024;

    /// Reads a configuration from JSON. Environment variables need not be set.
    ///
    /// # Errors
    ///
    /// All faults that were found, each with the path of its field.
    pub fn new(json: &[u8]) -> Result<Self, ConfigError> {
        let config = Config::without_secrets(json)?;
        // `Config` has parsed it already.
        let document = without_byte_order_mark(json);
        let document = serde_json::from_slice(document).unwrap_or_default();
        Ok(Self { config, document, header_limit: Self::HEADER_LIMIT })
    }

    /// The faults because of the environment variables that the configuration names: those that are
    /// missing, or whose values are not usable.
    pub fn variable_faults(&self, variable: &dyn Fn(&str) -> Variable) -> Vec<String> {
        match Config::with_variables(self.document.to_string().as_bytes(), variable) {
            Ok(_) => Vec::new(),
            Err(refused) => refused.faults().map(ToString::to_string).collect(),
        }
    }

    /// Sets Envoy's limit on the header fields of a request, in bytes.
    #[must_use]
    pub fn with_header_limit(self, header_limit: usize) -> Self {
        Self { header_limit, ..self }
    }

    /// Maximum size of a token in bytes.
    #[must_use]
    pub fn max_token_size(&self) -> usize {
        self.config.max_token_size
    }

    /// True if an access rule or `exempt` names paths, or paths select the resource.
    #[must_use]
    pub fn names_paths(&self) -> bool {
        self.config.resources.outside().is_some()
            || self
                .config
                .resources
                .iter()
                .any(|resource| !resource.exempt.is_empty() || resource.access.names_paths())
    }

    /// True if an access rule may need the message in a request's body.
    #[must_use]
    pub fn reads_bodies(&self) -> bool {
        self.config.resources.iter().any(|resource| resource.access.reads_bodies())
    }

    /// The names of the active providers.
    pub fn provider_names(&self) -> impl Iterator<Item = &str> {
        self.config.providers.iter().map(|provider| provider.name.as_str())
    }

    /// The clusters that the plugin may call, in the order of the configuration.
    #[must_use]
    pub fn cluster_uses(&self) -> Vec<ClusterUse> {
        let of_providers = self.config.providers.iter().flat_map(|provider| {
            let path = self.written(provider).map(|written| written.path("")).unwrap_or_default();
            cluster_uses(provider, path.trim_end_matches('.'))
        });
        let scim = self.config.users.lookups().map(|lookups| {
            let base = &lookups.directory().base;
            let url = base.to_string();
            ClusterUse {
                path: "users.scim.cluster".to_owned(),
                cluster: base.cluster().to_owned(),
                host: host(&url),
                is_https: url.starts_with("https:"),
            }
        });
        let store = match &self.config.replay_store {
            ReplayStore::Local => None,
            ReplayStore::Fleet(store) => Some(ClusterUse {
                path: "replay_store.redis.cluster".to_owned(),
                cluster: store.cluster.clone(),
                host: None,
                is_https: false,
            }),
        };
        let login = self.config.login.iter().filter_map(|login| login.client_documents.as_ref());
        let documents = login.flat_map(|clusters| match clusters {
            Clusters::Any(_) => Vec::new(),
            Clusters::ByHost(hosts) => hosts.iter().map(client_metadata).collect(),
        });
        of_providers.chain(scim).chain(store).chain(documents).collect()
    }

    /// The provider as written.
    pub(super) fn written(&self, provider: &Provider) -> Option<Written<'_>> {
        let providers = self.document.get("providers").and_then(Value::as_array)?;
        let mut all =
            providers.iter().enumerate().map(|(position, fields)| Written { position, fields });
        all.find(|written| written.text("name") == Some(&provider.name))
    }

    /// The inactive provider that these claims would select at this resource if it were active, as
    /// written.
    pub(super) fn switched_off(
        &self,
        resource: ResourceId,
        claims: &Map<String, Value>,
    ) -> Option<Written<'_>> {
        let mut document = self.document.clone();
        for provider in document.get_mut("providers").and_then(Value::as_array_mut)? {
            if let Some(fields) = provider.as_object_mut() {
                fields.remove("active");
            }
        }
        let all = Config::without_secrets(document.to_string().as_bytes()).ok()?;
        // Resources are in the same order.
        let (_, resource) = all.resources.entries().find(|(id, _)| *id == resource)?;
        let (_, provider, _) = resource.providers.for_token(&all.providers, &claims.into())?;
        self.written(provider)
    }

    /// The user records as written.
    pub(super) fn written_records(&self) -> &[Value] {
        let records = self.document.pointer("/users/records").and_then(Value::as_array);
        records.map(Vec::as_slice).unwrap_or_default()
    }

    /// The path of the access rules of a resource.
    pub(super) fn access_path(&self, resource: ResourceId) -> String {
        match self.written_resource(resource) {
            Some((position, written)) if written.get("access").is_some() => {
                format!("resources[{position}].access")
            }
            _ => "access".to_owned(),
        }
    }

    /// One of several resources as it was written, and its place.
    pub(super) fn written_resource(&self, resource: ResourceId) -> Option<(usize, &Value)> {
        let position = self.config.resources.entries().position(|(id, _)| id == resource)?;
        Some((position, self.document.get("resources")?.get(position)?))
    }

    /// The field that holds the accepted audiences of this provider at this resource.
    pub(super) fn audience_field(&self, resource: ResourceId, provider: &Provider) -> String {
        let of_provider = || {
            let written = self.written(provider);
            written.map_or_else(String::new, |written| written.path("client_ids"))
        };
        let Some((position, written)) = self.written_resource(resource) else {
            return of_provider();
        };
        let at = format!("resources[{position}].audiences");
        match written.get("audiences") {
            Some(Value::Array(_)) => at,
            Some(map) if map.get(&provider.name).is_some() => format!("{at}.{}", provider.name),
            _ => of_provider(),
        }
    }

    /// Host and path of the request in question.
    ///
    /// # Errors
    ///
    /// The URL is not a URL, or is missing although there are several resources.
    pub(super) fn address(&self, question: &Question<'_>) -> Result<(String, String), String> {
        let mut resources = self.config.resources.iter();
        let url = match (question.url, resources.next(), resources.next()) {
            (Some(url), ..) => url,
            (None, Some(only), None) => only.url.as_str(),
            _ => {
                let urls = self.config.resources.iter().map(|resource| resource.url.as_str());
                let urls = listed(&urls.collect::<Vec<_>>(), "or");
                return Err(format!(
                    "several servers are configured; select one with --url: {urls}"
                ));
            }
        };
        let (_, rest) = url.split_once("://").ok_or_else(|| format!("{url}: is not a URL"))?;
        // Not parsed any further: odd spellings of a host are worth asking about.
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let path = path.split('#').next().unwrap_or_default();
        let path = question.path.unwrap_or(path);
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok((authority.to_owned(), format!("{slash}{path}")))
    }
}

impl<'a> Written<'a> {
    /// The path of a field of this provider.
    pub(super) fn path(&self, field: &str) -> String {
        format!("providers[{}].{field}", self.position)
    }

    /// The name of the provider's template.
    pub(super) fn template(&self) -> &'a str {
        self.text("template").unwrap_or("generic")
    }

    /// A field that is a string.
    pub(super) fn text(&self, field: &str) -> Option<&'a str> {
        self.fields.get(field).and_then(Value::as_str)
    }

    /// True if this field is given.
    pub(super) fn has(&self, field: &str) -> bool {
        self.fields.get(field).is_some()
    }
}

fn cluster_uses(provider: &Provider, path: &str) -> Vec<ClusterUse> {
    let KeySource::Remote(source) = &provider.key_source else { return vec![] };
    let (Start::Metadata(start) | Start::KeySet(start)) = &source.start;
    let url = start.to_string();
    let start_host = host(&url);
    let is_https = url.starts_with("https:");
    let by_host = |map: &BTreeMap<String, String>| {
        let uses = map.iter().map(|(host, cluster)| ClusterUse {
            path: format!("{path}.clusters[{host:?}]"),
            cluster: cluster.clone(),
            host: Some(host.clone()),
            // http is only for loopback hosts; a host that discovery found has no scheme here.
            is_https: if start_host.as_deref() == Some(host) { is_https } else { !is_local(host) },
        });
        uses.collect()
    };
    match &source.clusters {
        Clusters::Any(cluster) => vec![ClusterUse {
            path: format!("{path}.cluster"),
            cluster: cluster.clone(),
            host: start_host,
            is_https,
        }],
        Clusters::ByHost(map) => by_host(map),
    }
}

fn client_metadata((host, cluster): (&String, &String)) -> ClusterUse {
    ClusterUse {
        path: format!("login.client_metadata[{host:?}]"),
        cluster: cluster.clone(),
        host: Some(host.clone()),
        is_https: true,
    }
}

fn host(url: &str) -> Option<String> {
    let uri: http::Uri = url.parse().ok()?;
    uri.host().map(str::to_ascii_lowercase)
}

fn is_local(host: &str) -> bool {
    crate::callout::is_secure_url(&format!("http://{host}/"))
}
