{{/* The configuration of Envoy. envoy/login.yaml and envoy/status.yaml explain its parts. */}}
{{- define "envoy" -}}
# An Envoy that reads its certificate by a file needs a node id and cluster.
node: {id: {{ quote .Release.Name }}, cluster: {{ quote .Release.Name }}}

# For the operator only: anyone who can reach it can stop Envoy.
admin:
  address:
    socket_address: {address: 127.0.0.1, port_value: 9901}

stats_config:
  stats_tags:
  - {tag_name: provider, regex: '^wasmcustom\.mcp_auth_[a-z_]+(\.provider\.([a-z0-9_-]+))'}
  - {tag_name: method, regex: '^wasmcustom\.mcp_auth_calls(\.method\.([A-Za-z_/]+))'}
  - {tag_name: outcome, regex: '^wasmcustom\.mcp_auth_(?:requests|calls)\..*(\.outcome\.([a-z_]+))'}
  - {tag_name: reason, regex: '^wasmcustom\.mcp_auth_requests\..*(\.reason\.([a-z_]+))'}
  - {tag_name: resource, regex: '^wasmcustom\.mcp_auth_(?:requests|calls)\..*(\.resource\.([a-z0-9_-]+))$'}
  - {tag_name: step, regex: '^wasmcustom\.mcp_auth_logins\..*(\.step\.([a-z_]+))'}
  - {tag_name: result, regex: '^wasmcustom\.mcp_auth_(?:key_fetches|token_cache|user_lookups|logins).*(\.result\.([a-z_]+))'}

static_resources:
  listeners:
  - name: mcp
    address:
      socket_address: {address: 0.0.0.0, port_value: 8443}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: mcp
          use_remote_address: true
          xff_num_trusted_hops: {{ .Values.trustedProxies }}
          normalize_path: true
          merge_slashes: true
          path_with_escaped_slashes_action: REJECT_REQUEST
          common_http_protocol_options:
            headers_with_underscores_action: REJECT_REQUEST
          access_log:
          - name: envoy.access_loggers.stdout
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog
              log_format:
                json_format:
                  time: "%START_TIME%"
                  method: "%REQ(:METHOD)%"
                  path: "%PATH(NQ:ORIG_OR_PATH)%"
                  status: "%RESPONSE_CODE%"
                  user: "%FILTER_STATE(wasm.mcp_auth.user:PLAIN)%"
                  provider: "%FILTER_STATE(wasm.mcp_auth.provider:PLAIN)%"
                  reason: "%FILTER_STATE(wasm.mcp_auth.reason:PLAIN)%"
          route_config:
            name: mcp
            virtual_hosts:
            {{- include "hosts" . | nindent 12 }}
          http_filters:
          {{- if hasKey .Values.plugin "login" }}
          - name: envoy.filters.http.local_ratelimit
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit
              stat_prefix: login
          {{- end }}
          - name: envoy.filters.http.wasm
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
              config:
                name: mcp-federated-auth
                # Never use FAIL_OPEN: requests would pass without authentication.
                failure_policy: FAIL_RELOAD
                allow_on_headers_stop_iteration: true
                vm_config:
                  {{- include "vm" . | nindent 18 }}
                configuration:
                  "@type": type.googleapis.com/google.protobuf.Struct
                  value:
                    {{- toYaml .Values.plugin | nindent 20 }}
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
      {{- if .Values.tls.secretName }}
      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [h2, http/1.1]
            # By a file, and not here, so that Envoy reads a renewed certificate.
            tls_certificate_sds_secret_configs:
            - name: tls
              sds_config:
                resource_api_version: V3
                path_config_source: {path: /etc/envoy/configuration/tls.yaml}
      {{- end }}

  # The status page. Only `kubectl port-forward` reaches it.
  - name: status
    address:
      socket_address: {address: 127.0.0.1, port_value: 9902}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: status
          normalize_path: true
          route_config: {name: status}
          http_filters:
          - name: envoy.filters.http.wasm
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
              config:
                name: mcp-federated-auth-status
                root_id: mcp_auth_status
                failure_policy: FAIL_RELOAD
                vm_config:
                  {{- include "vm" . | nindent 18 }}
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router

  # What the kubelet and Prometheus read of the admin interface, and nothing else of it.
  - name: health
    address:
      socket_address: {address: 0.0.0.0, port_value: 8002}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: health
          route_config:
            name: health
            virtual_hosts:
            - name: health
              domains: ["*"]
              routes:
              - match: {path: /ready, headers: [{name: ":method", string_match: {exact: GET}}]}
                route: {cluster: admin}
              - match: {path: /stats/prometheus, headers: [{name: ":method", string_match: {exact: GET}}]}
                route: {cluster: admin}
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router

  clusters:
  - name: admin
    type: STATIC
    connect_timeout: 1s
    load_assignment:
      cluster_name: admin
      endpoints:
      - lb_endpoints:
        - endpoint:
            address:
              socket_address: {address: 127.0.0.1, port_value: 9901}
  {{- include "clusters" . | nindent 2 }}
{{- end }}

{{/* The host of the login, if it is not that of an MCP server. */}}
{{- define "login-host" -}}
{{- $plugin := .Values.plugin }}
{{- $login := $plugin.login | default dict }}
{{- $servers := list }}
{{- range concat (list ($plugin.resource | default dict)) ($plugin.resources | default list) }}
{{- with .url }}{{ $servers = append $servers (urlParse .).host }}{{ end }}
{{- end }}
{{- with $login.issuer }}
{{- $host := (urlParse .).host }}
{{- if not (has $host $servers) }}{{ $host }}{{ end }}
{{- end }}
{{- end }}

{{/* The default port of the login's issuer, such as ":443", if the issuer names no other port. */}}
{{- define "default-port" -}}
{{- $issuer := urlParse (dig "issuer" "" (.Values.plugin.login | default dict)) }}
{{- if not (regexMatch ":[0-9]+$" $issuer.host) }}
{{- ternary ":443" ":80" (eq $issuer.scheme "https") }}
{{- end }}
{{- end }}

{{/* The virtual hosts. The endpoints of a login have limits, and its own host has nothing else. */}}
{{- define "hosts" -}}
{{- $host := include "login-host" . }}
{{- with $host }}
- name: login
  # The plugin accepts the host with the default port as well, so the limits must apply there, too.
  domains: [{{ quote . }}{{ with include "default-port" $ }}, {{ printf "%s%s" $host . | quote }}{{ end }}]
  routes:
  {{- include "login" $ | nindent 2 }}
  - match: {prefix: /}
    direct_response: {status: 404}
{{- end }}
- name: mcp
  domains: ["*"]
  routes:
  {{- if and (hasKey .Values.plugin "login") (not $host) }}
  {{- include "login" . | nindent 2 }}
  {{- end }}
  - match: {prefix: /}
    route:
      cluster: mcp_server
      timeout: 0s
      idle_timeout: 3600s
{{- end }}

{{/* The plugin answers these, so they lead nowhere. Anyone may call them, so they have limits. */}}
{{- define "login" -}}
{{- $path := dig "path" "/oauth" (.Values.plugin.login | default dict) }}
{{- range $name := list "register" "authorize" "token" "callback" }}
- match: { {{- if eq $name "callback" }}path_separated_prefix{{ else }}path{{ end }}: {{ printf "%s/%s" $path $name | quote -}} }
  direct_response: {status: 404}
  typed_per_filter_config:
    envoy.filters.http.local_ratelimit:
      "@type": type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit
      stat_prefix: {{ $name }}
      filter_enabled: {default_value: {numerator: 100}}
      filter_enforced: {default_value: {numerator: 100}}
      # For all clients together, and for each address (of IPv6, each /64, which one client has);
      # tokens for each address alone, because anyone can use up what all share.
      token_bucket: {max_tokens: 1000, tokens_per_fill: 1000, fill_interval: 60s}
      {{- if eq $name "token" }}
      always_consume_default_token_bucket: false
      {{- end }}
      rate_limits:
      - actions:
        - masked_remote_address: {v4_prefix_mask_len: 32, v6_prefix_mask_len: 64}
      descriptors:
      - entries: [{key: masked_remote_address}]
        token_bucket: {max_tokens: 60, tokens_per_fill: 60, fill_interval: 60s}
      # The number of addresses that Envoy counts. By default it is 20: with more addresses, Envoy
      # forgets how often the others have called.
      max_dynamic_descriptors: 10000
      response_headers_to_add:
      - header: {key: retry-after, value: "5"}
      {{- if has $name (list "register" "token") }}
      # Web pages may read the response, too.
      - header: {key: access-control-allow-origin, value: "*"}
      {{- end }}
{{- end }}
{{- end }}

{{- define "vm" -}}
vm_id: mcp-federated-auth
runtime: envoy.wasm.runtime.v8
code:
  local: {filename: {{ .Values.module.path | default "/etc/envoy/module/plugin.wasm" | quote }}}
{{- with .Values.secret.keys }}
environment_variables:
  host_env_keys: {{ toJson . }}
{{- end }}
{{- end }}

{{/* The clusters. The chart makes those whose host the configuration names; the others are values. */}}
{{- define "clusters" -}}
- name: mcp_server
  type: STRICT_DNS
  connect_timeout: 2s
  load_assignment:
    cluster_name: mcp_server
    endpoints:
    - lb_endpoints:
      - endpoint:
          address:
            socket_address: {address: {{ .Values.server.host | quote }}, port_value: {{ .Values.server.port }}}
{{- $plugin := .Values.plugin }}
{{- $hosts := dict "admin" "Envoy itself" "mcp_server" "the MCP server" }}
{{- range .Values.clusters }}{{ $_ := set $hosts .name "" }}{{ end }}
{{- $maps := list (dig "client_metadata" dict ($plugin.login | default dict)) }}
{{- range $plugin.providers }}{{ $maps = append $maps (.clusters | default dict) }}{{ end }}
{{- range $map := $maps }}
{{- range $host, $name := $map }}
{{- $known := get $hosts $name }}
{{- if not (hasKey $hosts $name) }}
{{- $_ := set $hosts $name $host }}
- name: {{ quote $name }}
  type: LOGICAL_DNS
  dns_lookup_family: ALL
  connect_timeout: 2s
  load_assignment:
    cluster_name: {{ quote $name }}
    endpoints:
    - lb_endpoints:
      - endpoint:
          address:
            socket_address:
              address: {{ regexReplaceAll ":[0-9]+$" $host "" | quote }}
              port_value: {{ regexFind ":[0-9]+$" $host | trimPrefix ":" | default "443" }}
  transport_socket:
    name: envoy.transport_sockets.tls
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
      sni: {{ regexReplaceAll ":[0-9]+$" $host "" | quote }}
      common_tls_context:
        validation_context:
          trusted_ca: {filename: /etc/ssl/certs/ca-certificates.crt}
          match_typed_subject_alt_names:
          - san_type: DNS
            matcher: {exact: {{ regexReplaceAll ":[0-9]+$" $host "" | quote }}}
{{- else if and $known (ne $known $host) }}
{{- fail (printf "plugin: the cluster %s is for %s and for %s: each host needs its own" $name $known $host) }}
{{- end }}
{{- end }}
{{- end }}
{{- /* It may also be the word `local`. */}}
{{- $store := ternary $plugin.replay_store dict (kindIs "map" $plugin.replay_store) }}
{{- $single := dict
  "users.scim.cluster" (dig "scim" "cluster" "" ($plugin.users | default dict))
  "replay_store.redis.cluster" (dig "redis" "cluster" "" $store) }}
{{- range $index, $provider := $plugin.providers }}
{{- $_ := set $single (printf "providers[%d].cluster" $index) ($provider.cluster | default "") }}
{{- end }}
{{- range $field, $name := $single }}
{{- if and $name (not (hasKey $hosts $name)) }}
{{- fail (printf "plugin.%s: there is no cluster %s: add it to clusters, in Envoy's form" $field $name) }}
{{- end }}
{{- end }}
{{- with .Values.clusters }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The certificate of the listener. Kubernetes replaces the directory as a whole. */}}
{{- define "tls" -}}
resources:
- "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret
  name: tls
  tls_certificate:
    certificate_chain: {filename: /etc/envoy/tls/tls.crt}
    private_key: {filename: /etc/envoy/tls/tls.key}
    watched_directory: {path: /etc/envoy/tls}
{{- end }}
