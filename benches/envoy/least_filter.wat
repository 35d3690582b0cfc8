;; A proxy-wasm filter that makes only the host calls that the plugin's work requires, and no computation
;; of its own: the least cost of any filter in a Wasm VM. Its configuration says whether it verifies a
;; signature and whether it refuses, for all requests alike.
(module
  (import "env" "proxy_get_current_time_nanoseconds" (func $time (param i32) (result i32)))
  (import "env" "proxy_get_header_map_pairs" (func $fields (param i32 i32 i32) (result i32)))
  (import "env" "proxy_get_buffer_bytes" (func $buffer (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_shared_data"
    (func $get_shared (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_shared_data" (func $set_shared (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_define_metric" (func $define (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_increment_metric" (func $increment (param i32 i64) (result i32)))
  (import "env" "proxy_call_foreign_function"
    (func $foreign (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_remove_header_map_value" (func $remove (param i32 i32 i32) (result i32)))
  (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_property" (func $set_property (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_send_local_response"
    (func $respond (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))

  (memory (export "memory") 2)

  ;; 0 to 63: where the host writes its results. 0: fields, 8: time, 16: shared value, 32 and 36: counters,
  ;; 40: configuration, 48: the foreign function's result.
  ;; Names begin at multiples of 64, values 32 bytes later.
  (data (i32.const 64) "least_wasm_requests")
  (data (i32.const 128) "least_wasm_tokens")
  (data (i32.const 192) "authorization")
  (data (i32.const 256) "x-mcp-user")          (data (i32.const 288) "ada@example.com")
  (data (i32.const 320) "x-mcp-user-field")    (data (i32.const 352) "user_name")
  (data (i32.const 384) "x-mcp-subject")       (data (i32.const 416) "ada")
  (data (i32.const 448) "x-mcp-issuer")        (data (i32.const 480) "http://127.0.0.1:30000")
  (data (i32.const 512) "x-mcp-provider")      (data (i32.const 544) "demo")
  (data (i32.const 576) "x-mcp-client-id")     (data (i32.const 608) "demo-agent")
  (data (i32.const 640) "x-mcp-client-type")   (data (i32.const 672) "user")
  (data (i32.const 704) "x-mcp-scopes")        (data (i32.const 736) "mcp.tools")
  (data (i32.const 768) "x-mcp-roles")         (data (i32.const 800) "itil")
  (data (i32.const 832) "x-mcp-groups")        (data (i32.const 864) "ops")
  (data (i32.const 896) "x-mcp-token-id")      (data (i32.const 928) "AAECAwQFBgcICQoLDA0ODw")
  (data (i32.const 960) "x-mcp-token-expires") (data (i32.const 992) "1800000000")
  (data (i32.const 1024) "mcp_auth.user")
  (data (i32.const 1088) "mcp_auth.provider")
  (data (i32.const 1152) "mcp_auth.reason")
  (data (i32.const 1216) "bad_signature")      (data (i32.const 1248) "missing_token")
  (data (i32.const 1280) "verify_signature")
  ;; The state of a provider's keys, as long as the plugin's, under a name as long.
  (data (i32.const 1344) "least-wasm-filter/1/00112233445566778899aabbccddeeff/state")
  (data (i32.const 1408) "{\"lease\":null,\"failure\":null,\"unknown_key_fetch\":null,\"discovered\":{\"key_set_url\":\"http://127.0.0.1:30000/jwks\",\"at\":1800000000000,\"is_doubtful\":false},\"published\":{\"version\":1,\"at\":1800000000000,\"stated_lifetime\":null,\"jitter\":1234567890123456789}}")
  ;; The plugin's refusals: the header fields (their number, the lengths of names and values, and
  ;; all of these with a zero behind each), and the body.
  (data (i32.const 1728)
    (i32 3  12 16  13 8  16 184)
    "content-type\00application/json\00"
    "cache-control\00no-store\00"
    "www-authenticate\00Bearer error=\"invalid_token\", error_description=\"the token signature is invalid\", resource_metadata=\"http://127.0.0.1:10000/.well-known/oauth-protected-resource/mcp\", scope=\"mcp.tools\"\00")
  (data (i32.const 2240) "{\"error\":\"invalid_token\",\"error_description\":\"the token signature is invalid\",\"reason\":\"bad_signature\"}")
  (data (i32.const 2752)
    (i32 3  12 16  13 8  16 109)
    "content-type\00application/json\00"
    "cache-control\00no-store\00"
    "www-authenticate\00Bearer resource_metadata=\"http://127.0.0.1:10000/.well-known/oauth-protected-resource/mcp\", scope=\"mcp.tools\"\00")
  (data (i32.const 3264) "{\"error\":\"missing_token\",\"error_description\":\"an access token is required\",\"reason\":\"missing_token\"}")

  (global $heap (mut i32) (i32.const 4096))
  (global $next (mut i32) (i32.const 4096))

  ;; The configuration: a byte for whether filter state is set, a byte for whether requests are refused, and
  ;; the arguments of verify_signature, if any. A request that is refused without them has no token.
  (global $sets_filter_state (mut i32) (i32.const 0))
  (global $refuses (mut i32) (i32.const 0))
  (global $has_token (mut i32) (i32.const 0))
  (global $arguments (mut i32) (i32.const 0))
  (global $arguments_size (mut i32) (i32.const 0))

  ;; A failed host call must not pass as a measurement.
  (func $must_be_ok (param $status i32)
    (if (local.get $status) (then unreachable)))

  ;; Verifies the signature, which the host must find valid, or else invalid.
  (func $verify (param $is_good i32)
    (call $must_be_ok (call $foreign (i32.const 1280) (i32.const 16)
      (global.get $arguments) (global.get $arguments_size) (i32.const 48) (i32.const 52)))
    ;; The message VerifySignatureResult: field 1 is true; or it is absent, and field 2 is an error.
    (if (i32.eqz (select
        (i32.eq (i32.load16_u (i32.load (i32.const 48))) (i32.const 0x0108))
        (i32.eq (i32.load8_u (i32.load (i32.const 48))) (i32.const 0x12))
        (local.get $is_good)))
      (then unreachable)))

  (func (export "_initialize"))
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param $size i32) (result i32)
    global.get $next
    global.get $next
    local.get $size
    i32.add
    global.set $next)
  (func (export "proxy_on_vm_start") (param i32 i32) (result i32)
    i32.const 1)

  (func (export "proxy_on_configure") (param $context i32) (param $size i32) (result i32)
    (call $must_be_ok (call $define (i32.const 0) (i32.const 64) (i32.const 19) (i32.const 32)))
    (call $must_be_ok (call $define (i32.const 0) (i32.const 128) (i32.const 17) (i32.const 36)))
    (call $must_be_ok (call $set_shared
      (i32.const 1344) (i32.const 58) (i32.const 1408) (i32.const 249) (i32.const 0)))
    ;; Buffer 7 holds the configuration.
    (call $must_be_ok (call $buffer
      (i32.const 7) (i32.const 0) (local.get $size) (i32.const 40) (i32.const 44)))
    (global.set $sets_filter_state (i32.load8_u (i32.load (i32.const 40))))
    (global.set $refuses (i32.load8_u offset=1 (i32.load (i32.const 40))))
    (global.set $arguments (i32.add (i32.load (i32.const 40)) (i32.const 2)))
    (global.set $arguments_size (i32.sub (local.get $size) (i32.const 2)))
    (global.set $has_token
      (i32.or (i32.eqz (global.get $refuses)) (i32.ne (global.get $arguments_size) (i32.const 0))))
    (if (global.get $arguments_size)
      (then
        (call $verify (i32.const 1))
        ;; Key and signature are valid. The message comes last: another last byte makes it differ from
        ;; the signed one.
        (if (global.get $refuses)
          (then
            (i32.store8
              (i32.add (i32.load (i32.const 40)) (i32.sub (local.get $size) (i32.const 1)))
              (i32.const 0x21))))))
    ;; The configuration is kept.
    (global.set $heap (global.get $next))
    i32.const 1)

  (func (export "proxy_on_context_create") (param i32 i32))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    ;; The host's results for the last request are no longer needed.
    (global.set $next (global.get $heap))
    (call $must_be_ok (call $time (i32.const 8)))
    (call $must_be_ok (call $fields (i32.const 0) (i32.const 0) (i32.const 4)))
    (call $must_be_ok (call $increment (i32.load (i32.const 32)) (i64.const 1)))
    (if (global.get $has_token)
      (then
        (call $must_be_ok (call $get_shared
          (i32.const 1344) (i32.const 58) (i32.const 16) (i32.const 20) (i32.const 24)))
        (call $must_be_ok (call $increment (i32.load (i32.const 36)) (i64.const 1)))
        (if (global.get $arguments_size)
          (then (call $verify (i32.eqz (global.get $refuses)))))))
    (if (global.get $refuses)
      (then
        (call $refuse)
        (return (i32.const 1))))
    (call $edit)
    i32.const 0)

  (func $edit
    (call $must_be_ok (call $remove (i32.const 0) (i32.const 192) (i32.const 13)))
    (call $must_be_ok (call $add (i32.const 0) (i32.const 256) (i32.const 10) (i32.const 288) (i32.const 15)))
    (call $must_be_ok (call $add (i32.const 0) (i32.const 320) (i32.const 16) (i32.const 352) (i32.const 9)))
    (call $must_be_ok (call $add (i32.const 0) (i32.const 384) (i32.const 13) (i32.const 416) (i32.const 3)))
    (call $must_be_ok (call $add (i32.const 0) (i32.const 448) (i32.const 12) (i32.const 480) (i32.const 22)))
    (call $must_be_ok (call $add (i32.const 0) (i32.const 512) (i32.const 14) (i32.const 544) (i32.const 4)))
    (call $must_be_ok (call $add (i32.const 0) (i32.const 576) (i32.const 15) (i32.const 608) (i32.const 10)))
    (call $must_be_ok (call $add (i32.const 0) (i32.const 640) (i32.const 17) (i32.const 672) (i32.const 4)))
    (call $must_be_ok (call $add (i32.const 0) (i32.const 704) (i32.const 12) (i32.const 736) (i32.const 9)))
    (call $must_be_ok (call $add (i32.const 0) (i32.const 768) (i32.const 11) (i32.const 800) (i32.const 4)))
    (call $must_be_ok (call $add (i32.const 0) (i32.const 832) (i32.const 12) (i32.const 864) (i32.const 3)))
    (call $must_be_ok (call $add (i32.const 0) (i32.const 896) (i32.const 14) (i32.const 928) (i32.const 22)))
    (call $must_be_ok (call $add (i32.const 0) (i32.const 960) (i32.const 19) (i32.const 992) (i32.const 10)))
    (if (global.get $sets_filter_state)
      (then
        (call $must_be_ok (call $set_property
          (i32.const 1024) (i32.const 13) (i32.const 288) (i32.const 15)))
        (call $must_be_ok (call $set_property
          (i32.const 1088) (i32.const 17) (i32.const 544) (i32.const 4))))))

  (func $refuse
    (if (global.get $has_token)
      (then
        (if (global.get $sets_filter_state)
          (then
            (call $must_be_ok (call $set_property
              (i32.const 1152) (i32.const 15) (i32.const 1216) (i32.const 13)))
            (call $must_be_ok (call $set_property
              (i32.const 1088) (i32.const 17) (i32.const 544) (i32.const 4)))))
        (call $must_be_ok (call $respond (i32.const 401) (i32.const 0) (i32.const 0)
          (i32.const 2240) (i32.const 103) (i32.const 1728) (i32.const 283) (i32.const -1))))
      (else
        (if (global.get $sets_filter_state)
          (then
            (call $must_be_ok (call $set_property
              (i32.const 1152) (i32.const 15) (i32.const 1248) (i32.const 13)))))
        (call $must_be_ok (call $respond (i32.const 401) (i32.const 0) (i32.const 0)
          (i32.const 3264) (i32.const 100) (i32.const 2752) (i32.const 208) (i32.const -1))))))

  (func (export "proxy_on_delete") (param i32)))
