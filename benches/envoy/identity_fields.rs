// The fields that the least filters add to each request. `native_filter.rs` is compiled alone, so
// it includes this file.
const FIELDS: [(&str, &str); 12] = [
    ("x-mcp-user", "ada@example.com"),
    ("x-mcp-user-field", "user_name"),
    ("x-mcp-subject", "ada"),
    ("x-mcp-issuer", "http://127.0.0.1:30000"),
    ("x-mcp-provider", "demo"),
    ("x-mcp-client-id", "demo-agent"),
    ("x-mcp-client-type", "user"),
    ("x-mcp-scopes", "mcp.tools"),
    ("x-mcp-roles", "itil"),
    ("x-mcp-groups", "ops"),
    ("x-mcp-token-id", "AAECAwQFBgcICQoLDA0ODw"),
    ("x-mcp-token-expires", "1800000000"),
];
