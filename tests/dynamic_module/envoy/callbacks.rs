//! The callbacks that Envoy exports to the module.

use super::*;

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_log(level: u32, line: Buffer) {
    let line = text(line);
    with(|proxy| proxy.log.push((level, line)));
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_log_enabled(level: u32) -> bool {
    level >= 2
}

fn define(name: Buffer, labels: *const Buffer, count: usize, id: *mut usize) -> u32 {
    // SAFETY: the module guarantees that there are `count` labels until the callback returns.
    let labels = unsafe { std::slice::from_raw_parts(labels, count) };
    let labels = labels.iter().map(|label| text(*label)).collect();
    with(|proxy| {
        if proxy.is_freezing {
            return 3;
        }
        let mut metrics = METRICS.lock().unwrap();
        metrics.push((text(name), labels));
        // SAFETY: the module guarantees that there is room for an ID.
        unsafe { *id = metrics.len() - 1 };
        0
    })
}

fn record(id: usize, values: *const Buffer, count: usize, change: impl Fn(u64) -> u64) -> u32 {
    // SAFETY: the module guarantees that there are `count` values until the callback returns.
    let values = unsafe { std::slice::from_raw_parts(values, count) };
    let (name, labels) = METRICS.lock().unwrap()[id].clone();
    with(|proxy| {
        assert_eq!(labels.len(), values.len(), "{name}");
        let labels = labels.iter().zip(values);
        let labels: Vec<_> =
            labels.map(|(label, value)| format!("{label}={}", text(*value))).collect();
        let value = proxy.values.entry(format!("{name}{{{}}}", labels.join(","))).or_default();
        *value = change(*value);
    });
    0
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_config_define_counter(
    _config: *mut c_void,
    name: Buffer,
    labels: *const Buffer,
    count: usize,
    id: *mut usize,
) -> u32 {
    define(name, labels, count, id)
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_config_define_gauge(
    _config: *mut c_void,
    name: Buffer,
    labels: *const Buffer,
    count: usize,
    id: *mut usize,
) -> u32 {
    define(name, labels, count, id)
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_increment_counter(
    stream: *mut c_void,
    id: usize,
    values: *const Buffer,
    count: usize,
    amount: u64,
) -> u32 {
    with(|proxy| proxy.stream(stream).status);
    record(id, values, count, |value| value + amount)
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_set_gauge(
    stream: *mut c_void,
    id: usize,
    values: *const Buffer,
    count: usize,
    amount: u64,
) -> u32 {
    with(|proxy| proxy.stream(stream).status);
    record(id, values, count, |_| amount)
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_config_http_callout(
    config: *mut c_void,
    id: *mut u64,
    cluster: Buffer,
    raw: *const RawField,
    count: usize,
    _body: Buffer,
    milliseconds: u64,
) -> u32 {
    static LAST: AtomicUsize = AtomicUsize::new(0);
    let callout = Callout {
        id: LAST.fetch_add(1, Ordering::SeqCst) as u64,
        config: config.addr(),
        cluster: text(cluster),
        fields: fields(raw, count),
        milliseconds,
    };
    // SAFETY: the module guarantees that there is room for an ID.
    unsafe { *id = callout.id };
    with(|proxy| {
        if proxy.refuses_callouts {
            return 4;
        }
        proxy.callouts.push(callout);
        0
    })
}

fn new_scheduler(number: usize) -> *mut c_void {
    SCHEDULERS.fetch_add(1, Ordering::SeqCst);
    Box::into_raw(Box::new((thread::current().id(), number))).cast()
}

fn commit(scheduler: *mut c_void, is_config: bool) {
    // SAFETY: the pointer is from `new_scheduler`, and the module does not use it after `delete`.
    let (thread, number) = unsafe { *scheduler.cast::<(ThreadId, usize)>() };
    EVENTS.lock().unwrap().entry(thread).or_default().push_back((is_config, number));
}

fn delete(scheduler: *mut c_void) {
    SCHEDULERS.fetch_sub(1, Ordering::SeqCst);
    // SAFETY: the pointer is from `new_scheduler`, and the module deletes it once.
    drop(unsafe { Box::from_raw(scheduler.cast::<(ThreadId, usize)>()) });
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_config_scheduler_new(
    config: *mut c_void,
) -> *mut c_void {
    new_scheduler(config.addr())
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_config_scheduler_commit(
    scheduler: *mut c_void,
    _event: u64,
) {
    commit(scheduler, true);
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_config_scheduler_delete(
    scheduler: *mut c_void,
) {
    delete(scheduler);
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_scheduler_new(
    stream: *mut c_void,
) -> *mut c_void {
    let_happen(with(|proxy| proxy.before_scheduler.take()));
    with(|proxy| proxy.stream(stream).status);
    new_scheduler(stream.addr())
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_scheduler_commit(
    scheduler: *mut c_void,
    _event: u64,
) {
    commit(scheduler, false);
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_scheduler_delete(scheduler: *mut c_void) {
    delete(scheduler);
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_get_headers_size(
    stream: *mut c_void,
    map: u32,
) -> usize {
    with(|proxy| proxy.stream(stream).map(map).len())
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_get_headers(
    stream: *mut c_void,
    map: u32,
    out: *mut RawField,
) -> bool {
    with(|proxy| {
        let stream = proxy.stream(stream);
        for (index, (name, value)) in stream.map(map).clone().iter().enumerate() {
            let field = RawField { name: stream.lend(name), value: stream.lend(value) };
            // SAFETY: the module guarantees room for as many fields as the map has.
            unsafe { out.add(index).write(field) };
        }
    });
    true
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_set_header(
    stream: *mut c_void,
    map: u32,
    name: Buffer,
    value: Buffer,
) -> bool {
    let name = bytes(name).to_vec();
    with(|proxy| {
        let stream = proxy.stream(stream);
        stream.map(map).retain(|(known, _)| *known != name);
        if !value.data.is_null() {
            stream.map(map).push((name, bytes(value).to_vec()));
        }
        stream.spoil();
    });
    true
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_add_header(
    stream: *mut c_void,
    map: u32,
    name: Buffer,
    value: Buffer,
) -> bool {
    let field = (bytes(name).to_vec(), bytes(value).to_vec());
    with(|proxy| {
        let stream = proxy.stream(stream);
        stream.map(map).push(field);
        stream.spoil();
    });
    true
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_clear_route_cache(stream: *mut c_void) {
    with(|proxy| proxy.stream(stream).spoil());
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_send_response(
    stream: *mut c_void,
    status: u32,
    raw: *const RawField,
    count: usize,
    body: Buffer,
    details: Buffer,
) {
    let fields = if count == 0 { vec![] } else { fields(raw, count) };
    let response =
        LocalResponse { status, fields, body: bytes(body).to_vec(), details: text(details) };
    let ends = with(|proxy| {
        let stream = proxy.stream(stream);
        stream.spoil();
        assert!(stream.response.is_none(), "responded twice");
        stream.response = Some(response);
        stream.ends_with_response
    });
    if ends {
        destroy(stream.addr());
    }
}

fn part(stream: &EnvoyStream, part: u32) -> Vec<u8> {
    match part {
        0 => stream.received.clone(),
        1 => stream.buffered.clone(),
        other => panic!("no part {other}"),
    }
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_get_body_size(
    stream: *mut c_void,
    number: u32,
) -> usize {
    with(|proxy| part(proxy.stream(stream), number).len())
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_get_body_chunks_size(
    stream: *mut c_void,
    number: u32,
) -> usize {
    with(|proxy| if part(proxy.stream(stream), number).is_empty() { 0 } else { 2 })
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_get_body_chunks(
    stream: *mut c_void,
    number: u32,
    out: *mut Buffer,
) -> bool {
    with(|proxy| {
        let stream = proxy.stream(stream);
        let body = part(stream, number);
        if body.is_empty() {
            return false;
        }
        let (first, second) = body.split_at(body.len() / 2);
        for (index, half) in [first, second].into_iter().enumerate() {
            let lent = stream.lend(half);
            // SAFETY: the module guarantees room for as many chunks as there are, which is two.
            unsafe { out.add(index).write(lent) };
        }
        true
    })
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_received_buffered_request_body(
    _stream: *mut c_void,
) -> bool {
    false
}

/// This Envoy receives no upstream responses.
#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_received_buffered_response_body(
    _stream: *mut c_void,
) -> bool {
    false
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_drain_body(
    _stream: *mut c_void,
    _part: u32,
    _bytes: usize,
) -> bool {
    false
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_append_body(
    _stream: *mut c_void,
    _part: u32,
    _bytes: Buffer,
) -> bool {
    false
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_set_filter_state_bytes(
    stream: *mut c_void,
    key: Buffer,
    value: Buffer,
) -> bool {
    let (key, value) = (text(key), text(value));
    // Envoy 1.38 calls a second value a bug, and ignores it.
    let earlier = with(|proxy| proxy.stream(stream).filter_state.insert(key.clone(), value));
    assert_eq!(earlier, None, "{key} is set again");
    true
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_continue_decoding(stream: *mut c_void) {
    with(|proxy| {
        let stream = proxy.stream(stream);
        assert!(stream.response.is_none(), "responded to and resumed");
        // Envoy does not know yet that the stream is stopped, and ignores this.
        if !stream.is_in_callback {
            stream.resumed += 1;
            stream.spoil();
        }
    });
    let_happen(with(|proxy| proxy.at_resumption.take()));
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_get_most_specific_route_config(
    stream: *mut c_void,
) -> *const c_void {
    let route = with(|proxy| proxy.stream(stream).route);
    if route == 0 { std::ptr::null() } else { std::ptr::with_exposed_provenance(route) }
}
