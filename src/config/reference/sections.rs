//! Which fields the reference explains, in which order and under which headings.

/// The fields of one object of the configuration, or of its root.
pub(super) struct Section {
    pub(super) path: &'static str,
    pub(super) introduction: &'static str,
    pub(super) groups: &'static [Group],
}

/// Fields under one heading, or under that of their section.
pub(super) struct Group {
    pub(super) heading: &'static str,
    pub(super) fields: &'static [Entry],
}

/// A field's path relative to its section, and a link to more.
pub(super) type Entry = (&'static str, &'static str);

/// All fields in the order in which they are explained. Left out are `providers[].keys`, which has
/// the fields of `keys`, and the fields of the objects with which a resource overrides top-level
/// ones.
pub(super) const SECTIONS: [Section; 22] = [
    Section {
        path: "",
        introduction: "",
        groups: &[Group {
            heading: "",
            fields: &[
                ("resource", ""),
                ("resources", "[Several servers](several-servers.md)"),
                ("providers", "[Pages of providers](providers/README.md)"),
                ("users", "[Users](users.md)"),
                ("access", "[Access rules](access.md)"),
                ("identity", "[Header fields](../README.md#what-the-server-sees)"),
                ("exempt", "[Without a token](access.md#without-a-token)"),
                ("exempt[].path", ""),
                ("allowed_origins", "[An MCP server](mcp-server.md)"),
                ("keys", "[Key lifecycle](keys.md)"),
                ("max_token_size", ""),
                ("token_cache", ""),
                ("token_cache.entries", "[Speed](performance.md)"),
                ("replay_store", "[Single-use tokens](replay.md)"),
                ("secret", "[Secrets](login.md#secrets)"),
                ("login", "[Login](login.md)"),
                ("sessions", "[Sessions](sessions.md)"),
                ("audit", "[Audit](audit.md)"),
                ("audit.outcomes", "[Outcomes](audit.md#outcomes)"),
                ("errors", "[What the client sees](../README.md#what-the-client-sees)"),
                ("errors.format", ""),
                ("errors.details", "[Reasons](troubleshooting.md)"),
                ("mode", "[Trying rules out](access.md#trying-rules-out)"),
            ],
        }],
    },
    Section {
        path: "resource",
        introduction: "\
Published to clients at `/.well-known/oauth-protected-resource`. See [an MCP server in ten
minutes](mcp-server.md).",
        groups: &[Group {
            heading: "",
            fields: &[("url", ""), ("name", ""), ("documentation", ""), ("scopes_supported", "")],
        }],
    },
    Section {
        path: "resources[]",
        introduction: "\
How a request finds its server, and what else to set in Envoy, is in
[several-servers.md](several-servers.md).",
        groups: &[
            Group {
                heading: "",
                fields: &[
                    ("id", ""),
                    ("url", ""),
                    ("hosts", "[Hosts](several-servers.md#hosts-and-paths)"),
                    ("name", ""),
                    ("documentation", ""),
                    ("scopes_supported", ""),
                    ("providers", ""),
                    ("audiences", "[Audiences](audiences.md)"),
                ],
            },
            Group {
                heading: "Overrides of top-level fields",
                fields: &[
                    ("access", ""),
                    ("exempt", ""),
                    ("allowed_origins", ""),
                    ("identity", ""),
                    ("mode", ""),
                ],
            },
        ],
    },
    Section {
        path: "providers[]",
        introduction: "\
A name, `client_ids`, and a template with its inputs are usually enough.
[Each template](providers/README.md) has a page with a complete configuration.",
        groups: &[
            Group {
                heading: "Name and template",
                fields: &[
                    ("name", ""),
                    ("active", ""),
                    ("template", "[Templates](providers/README.md)"),
                    ("tenant", "[Entra ID](providers/entra_id.md)"),
                    ("domain", "[Okta](providers/okta.md), [Auth0](providers/auth0.md)"),
                    ("authorization_server", "[Okta](providers/okta.md)"),
                    ("host", "[AD FS](providers/adfs.md), [Keycloak](providers/keycloak.md)"),
                    ("realm", "[Keycloak](providers/keycloak.md)"),
                ],
            },
            Group {
                heading: "Where its keys come from",
                fields: &[
                    ("metadata_url", "[Discovery](keys.md#discovery)"),
                    ("jwks_url", ""),
                    ("jwks", ""),
                    ("jwks.keys", ""),
                    ("certificates", ""),
                    ("cluster", ""),
                    ("clusters", ""),
                    ("keys", "[Key lifecycle](keys.md)"),
                ],
            },
            Group {
                heading: "Login through the gateway",
                fields: &[("login", "[Login](login.md)")],
            },
            Group {
                heading: "Which tokens are accepted",
                fields: &[
                    ("issuer", ""),
                    ("additional_issuers", ""),
                    ("client_ids", ""),
                    ("audience_claim", "[What it costs](providers/generic.md#tokens-without-aud)"),
                    ("algorithms", ""),
                    ("token_types", ""),
                    ("clock_skew", ""),
                    ("max_token_age", ""),
                    ("required_claims", ""),
                    ("required_any_claim", "[Entra ID](providers/entra_id.md)"),
                    ("jti", "[Single-use tokens](replay.md)"),
                ],
            },
            Group {
                heading: "Users, scopes, roles and groups",
                fields: &[
                    ("user_claim", ""),
                    (
                        "service_user_claim",
                        "[Services without a user](providers/generic.md#services-without-a-user)",
                    ),
                    ("user_field", "[Users](users.md)"),
                    ("scope_claim", ""),
                    ("roles_claim", ""),
                    ("groups_claim", ""),
                    ("client_type", "[Service accounts](users.md)"),
                    ("auth_scopes", "[Providers](access.md#providers)"),
                    ("restrict_to_policies", "[Providers](access.md#providers)"),
                ],
            },
        ],
    },
    Section {
        path: "providers[].login",
        introduction: "\
How people log in at this provider through the gateway. [login.md](login.md) explains it, the
[page of each template](providers/README.md) what to register there.",
        groups: &[Group {
            heading: "",
            fields: &[
                ("client_id", ""),
                ("client_secret_env", ""),
                ("scopes", "[Scopes](login.md#scopes)"),
                ("always", ""),
                ("token", "[Tokens](login.md#tokens)"),
                ("parameters", ""),
            ],
        }],
    },
    Section {
        path: "users",
        introduction: "[users.md](users.md) explains how users are matched.",
        groups: &[Group {
            heading: "",
            fields: &[
                ("unknown", ""),
                ("records", ""),
                ("scim", "[A SCIM directory](users.md#a-scim-directory)"),
                (
                    "provision",
                    "[Provisioning on first login](users.md#provisioning-on-first-login)",
                ),
            ],
        }],
    },
    Section {
        path: "users.records[]",
        introduction: "",
        groups: &[Group {
            heading: "",
            fields: &[
                ("user_name", ""),
                ("*", ""),
                ("roles", ""),
                ("groups", ""),
                ("active", ""),
                ("locked", ""),
                ("web_service_access_only", ""),
                ("provider", "[Several providers](users.md#several-providers)"),
            ],
        }],
    },
    Section {
        path: "users.scim",
        introduction: "",
        groups: &[Group {
            heading: "",
            fields: &[
                ("url", ""),
                ("cluster", ""),
                ("bearer_token_env", "[Passing it to the plugin](users.md#a-scim-directory)"),
                ("cache_ttl", ""),
                ("timeout", ""),
                ("max_body", ""),
            ],
        }],
    },
    Section {
        path: "users.provision",
        introduction: "",
        groups: &[Group {
            heading: "",
            fields: &[("roles", ""), ("fields", "[Attributes](users.md#a-scim-directory)")],
        }],
    },
    Section {
        path: "access",
        introduction: "[access.md](access.md) has examples and the limits of rules.",
        groups: &[Group {
            heading: "",
            fields: &[("default", ""), ("rules", ""), ("scope_hierarchy", ""), ("mcp", "")],
        }],
    },
    Section {
        path: "access.rules[]",
        introduction: "",
        groups: &[Group { heading: "", fields: &[("name", ""), ("match", ""), ("require", "")] }],
    },
    Section {
        path: "access.rules[].match",
        introduction: "A missing or empty field matches everything.",
        groups: &[Group {
            heading: "",
            fields: &[
                ("paths", "[Paths](access.md#paths)"),
                ("path_prefixes", ""),
                ("methods", ""),
                ("mcp_methods", "[Tools and more](access.md#tools-prompts-and-resources)"),
                ("mcp_names", "[Tools and more](access.md#tools-prompts-and-resources)"),
            ],
        }],
    },
    Section {
        path: "access.rules[].require",
        introduction: "",
        groups: &[Group {
            heading: "",
            fields: &[
                ("scopes", ""),
                ("any_scope", ""),
                ("roles", ""),
                ("groups", ""),
                ("providers", ""),
                ("client_types", ""),
                ("claims", ""),
            ],
        }],
    },
    Section {
        path: "access.mcp",
        introduction: "",
        groups: &[Group {
            heading: "",
            fields: &[
                ("inspect", "[By the body](access.md#by-the-body)"),
                ("max_body", ""),
                ("filter_lists", "[Lists](access.md#lists)"),
                ("show_if_scopes_missing", "[Lists](access.md#lists)"),
                ("protocol_versions", "[By headers](access.md#by-headers)"),
                ("upstream_validates_headers", "[By headers](access.md#by-headers)"),
            ],
        }],
    },
    Section {
        path: "identity",
        introduction: "The [README](../README.md#what-the-server-sees) lists the header fields.",
        groups: &[Group {
            heading: "",
            fields: &[("header_prefix", ""), ("claims_to_headers", ""), ("forward_token", "")],
        }],
    },
    Section {
        path: "identity.claims_to_headers[]",
        introduction: "",
        groups: &[Group { heading: "", fields: &[("claim", ""), ("header", "")] }],
    },
    Section {
        path: "keys",
        introduction: "\
For all providers; `keys` of a provider overrides it. [keys.md](keys.md) explains what these values
mean for a request.",
        groups: &[Group {
            heading: "",
            fields: &[
                ("max_age", ""),
                ("max_age_cap", ""),
                ("refresh_ahead", ""),
                ("refresh_cooldown", ""),
                ("timeout", ""),
                ("max_stale", ""),
                ("max_body", ""),
            ],
        }],
    },
    Section {
        path: "replay_store<1>",
        introduction: "",
        groups: &[Group {
            heading: "",
            fields: &[
                ("redis", "[Several Envoys](replay.md#several-envoys)"),
                ("redis.cluster", ""),
                ("redis.authority", ""),
                ("redis.path_prefix", ""),
                ("redis.timeout", ""),
            ],
        }],
    },
    Section {
        path: "secret",
        introduction: "",
        groups: &[Group { heading: "", fields: &[("env", ""), ("previous_env", "")] }],
    },
    Section {
        path: "sessions",
        introduction: "",
        groups: &[Group { heading: "", fields: &[("bind", "")] }],
    },
    Section {
        path: "login",
        introduction: "Needs `secret`, and at least one provider with `login`.",
        groups: &[Group {
            heading: "",
            fields: &[
                ("issuer", ""),
                ("path", ""),
                ("registration", "[Which clients](login.md#which-clients)"),
                ("redirect_uris", ""),
                ("clients", ""),
                ("client_metadata", ""),
                ("consent", "[The page](login.md#the-page)"),
            ],
        }],
    },
    Section {
        path: "login.clients[]",
        introduction: "",
        groups: &[Group {
            heading: "",
            fields: &[("client_id", ""), ("redirect_uris", ""), ("name", "")],
        }],
    },
];
