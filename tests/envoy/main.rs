//! Real Envoy with the plugin, one file for each behaviour.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unreachable,
    clippy::unwrap_used
)]

mod accepted;
mod access_log;
mod access_rules;
mod audit;
mod audit_plain_text;
mod audit_without_response;
mod bad_bytes;
mod bound_sessions;
mod browsers;
mod challenge;
mod client_audience;
mod error_formats;
mod examples;
mod exempt_paths;
mod header_limit;
mod host_crypto;
mod identity_headers;
mod identity_routes;
mod key_failures;
mod key_forms;
mod key_refresh;
mod key_sources;
mod key_unknown;
mod key_updates;
mod key_withdrawn;
mod list_bypasses;
mod list_readings;
mod list_sizes;
mod lists;
mod log_lines;
mod login_attacks;
mod login_codes;
mod login_floods;
mod login_outages;
mod login_replicas;
mod login_resources;
mod login_responses;
mod login_secrets;
mod login_servers;
mod login_shapes;
mod login_status;
mod login_support;
mod mcp_messages;
mod mcp_rules;
mod method_case;
mod metrics;
mod nameless_tokens;
mod no_authorization_server;
mod no_way_through;
mod origins;
mod plugin_only;
mod refused_configuration;
mod refused_tokens;
mod replay;
mod replay_fleet;
mod report_mode;
mod resource_metadata;
mod resources_choice;
mod resources_documents;
mod resources_policies;
mod resources_reports;
mod resources_spellings;
mod resources_step_up;
mod resources_tokens;
mod responses_together;
mod roles_in_objects;
mod service_users;
mod servicenow;
mod session_ids;
mod session_support;
mod sessions;
mod several_configurations;
mod start_line;
mod status_page;
mod streaming;
mod support;
mod templates;
mod token_cache;
mod trailers;
mod two_servers;
mod upgrades;
mod user_names;
mod user_providers;
mod users;
mod users_scim;
mod users_scim_documents;
mod waiting_places;
mod withheld_bodies;
