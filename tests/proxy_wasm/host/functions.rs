//! The functions that the plugin imports.

use super::*;

impl Host {
    fn map(&mut self, map: u32) -> Option<&mut Fields> {
        match map {
            REQUEST_HEADERS => {
                let stream = self.streams.get_mut(&self.effective)?;
                (!stream.is_released).then_some(&mut stream.request)
            }
            REQUEST_TRAILERS => {
                let stream = self.streams.get_mut(&self.effective)?;
                Some(&mut stream.trailers)
            }
            CALL_RESPONSE_HEADERS if self.effective == self.root => {
                self.call_response.as_mut().map(|(fields, _)| fields)
            }
            _ => None,
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_log(level: u32, data: *const u8, size: usize) -> u32 {
    // SAFETY: see above.
    let message = unsafe { text(data, size) };
    if level == 5 {
        eprintln!("{message}");
    }
    HOST.with(|host| {
        if let Ok(mut host) = host.try_borrow_mut()
            && let Some(host) = host.as_mut()
        {
            host.log.push((level, message));
        }
    });
    OK
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32 {
    let now = with_host(|host| host.now);
    // SAFETY: see above.
    unsafe { *time = u64::try_from(now.as_nanos()).unwrap() };
    OK
}

#[unsafe(no_mangle)]
extern "C" fn proxy_set_tick_period_milliseconds(period: u32) -> u32 {
    with_host(|host| host.tick_period = Some(period));
    OK
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_buffer_bytes(
    buffer: u32,
    start: usize,
    most: usize,
    data: *mut *mut u8,
    size: *mut usize,
) -> u32 {
    with_host(|host| {
        let whole = match buffer {
            REQUEST_BODY => match host.streams.get(&host.effective) {
                Some(stream) => &stream.held,
                None => return NOT_FOUND,
            },
            PLUGIN_CONFIGURATION => &host.configuration,
            CALL_RESPONSE_BODY => match &host.call_response {
                Some((_, body)) if host.effective == host.root => body,
                _ => return NOT_FOUND,
            },
            _ => return NOT_FOUND,
        };
        let end = whole.len().min(start.saturating_add(most));
        // SAFETY: see above.
        unsafe { hand_over(whole.get(start..end).unwrap_or_default(), data, size) };
        OK
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_header_map_pairs(
    map: u32,
    data: *mut *mut u8,
    size: *mut usize,
) -> u32 {
    with_host(|host| match host.map(map) {
        // SAFETY: see above.
        Some(fields) => unsafe {
            hand_over(&serialize(fields), data, size);
            OK
        },
        None => BAD_ARGUMENT,
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_header_map_value(
    map: u32,
    name: *const u8,
    name_size: usize,
    data: *mut *mut u8,
    size: *mut usize,
) -> u32 {
    // SAFETY: see above.
    let name = unsafe { text(name, name_size) };
    with_host(|host| match host.map(map) {
        Some(fields) => match fields.iter().find(|(candidate, _)| *candidate == name) {
            // SAFETY: see above.
            Some((_, value)) => unsafe {
                hand_over(value, data, size);
                OK
            },
            None => NOT_FOUND,
        },
        None => BAD_ARGUMENT,
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_remove_header_map_value(
    map: u32,
    name: *const u8,
    name_size: usize,
) -> u32 {
    // SAFETY: see above.
    let name = unsafe { text(name, name_size) };
    with_host(|host| match host.map(map) {
        Some(fields) => {
            fields.retain(|(field, _)| *field != name);
            OK
        }
        None => BAD_ARGUMENT,
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_add_header_map_value(
    map: u32,
    name: *const u8,
    name_size: usize,
    value: *const u8,
    value_size: usize,
) -> u32 {
    // SAFETY: see above.
    let field = unsafe { (text(name, name_size), bytes(value, value_size)) };
    with_host(|host| match host.map(map) {
        Some(fields) => {
            fields.push(field);
            OK
        }
        None => BAD_ARGUMENT,
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_set_property(
    path: *const u8,
    path_size: usize,
    value: *const u8,
    value_size: usize,
) -> u32 {
    // SAFETY: see above.
    let (name, value) = unsafe { (text(path, path_size), text(value, value_size)) };
    with_host(|host| match host.streams.get_mut(&host.effective) {
        Some(stream) => {
            stream.filter_state.insert(name, value);
            OK
        }
        None => NOT_FOUND,
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_shared_data(
    name: *const u8,
    name_size: usize,
    data: *mut *mut u8,
    size: *mut usize,
    cas: *mut u32,
) -> u32 {
    // SAFETY: see above.
    let name = unsafe { text(name, name_size) };
    let shared = with_host(|host| host.shared.clone());
    let value = shared.0.lock().unwrap().values.get(&name).cloned();
    // Lets other workers run between a read and the write that follows it.
    std::thread::yield_now();
    match &value {
        // SAFETY: see above.
        Some((value, own_cas)) => unsafe {
            hand_over(value, data, size);
            *cas = *own_cas;
            OK
        },
        None => NOT_FOUND,
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_set_shared_data(
    name: *const u8,
    name_size: usize,
    value: *const u8,
    value_size: usize,
    cas: u32,
) -> u32 {
    // SAFETY: see above.
    let (name, value) = unsafe { (text(name, name_size), bytes(value, value_size)) };
    let shared = with_host(|host| host.shared.clone());
    let mut shared = shared.0.lock().unwrap();
    if let Some((_, own_cas)) = shared.values.get(&name)
        && cas != 0
        && cas != *own_cas
    {
        return CAS_MISMATCH;
    }
    shared.last_cas += 1;
    let next = shared.last_cas;
    shared.values.insert(name, (value, next));
    OK
}

#[unsafe(no_mangle)]
extern "C" fn proxy_continue_stream(_stream: u32) -> u32 {
    with_host(|host| {
        let effective = host.effective;
        match host.streams.get_mut(&effective) {
            Some(stream) => {
                stream.release();
                OK
            }
            None => BAD_ARGUMENT,
        }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_send_local_response(
    status: u32,
    _details: *const u8,
    _details_size: usize,
    body: *const u8,
    body_size: usize,
    headers: *const u8,
    headers_size: usize,
    _grpc_status: i32,
) -> u32 {
    // SAFETY: see above.
    let (body, headers) = unsafe { (bytes(body, body_size), bytes(headers, headers_size)) };
    let response = LocalResponse { status, headers: deserialize(&headers), body };
    with_host(|host| {
        let effective = host.effective;
        match host.streams.get_mut(&effective) {
            Some(stream) => {
                assert!(stream.response.is_none(), "a request got two responses");
                stream.response = Some(response);
                OK
            }
            None => BAD_ARGUMENT,
        }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_define_metric(
    _kind: u32,
    name: *const u8,
    name_size: usize,
    id: *mut u32,
) -> u32 {
    // SAFETY: see above.
    let name = unsafe { text(name, name_size) };
    with_host(|host| {
        assert!(host.metrics.iter().all(|(metric, _)| *metric != name), "{name} is defined twice");
        // SAFETY: see above.
        unsafe { *id = host.metrics.len().try_into().unwrap() };
        host.metrics.push((name, 0));
        OK
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_increment_metric(id: u32, offset: i64) -> u32 {
    with_metric(id, |value| *value = value.checked_add_signed(offset).unwrap())
}

#[unsafe(no_mangle)]
extern "C" fn proxy_record_metric(id: u32, new: u64) -> u32 {
    with_metric(id, |value| *value = new)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_metric(id: u32, value: *mut u64) -> u32 {
    with_metric(id, |item| {
        // SAFETY: see above.
        unsafe { *value = *item }
    })
}

fn with_metric(id: u32, action: impl FnOnce(&mut u64)) -> u32 {
    with_host(|host| match host.metrics.get_mut(usize::try_from(id).unwrap()) {
        Some((_, value)) => {
            action(value);
            OK
        }
        None => NOT_FOUND,
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_property(
    path: *const u8,
    path_size: usize,
    data: *mut *mut u8,
    size: *mut usize,
) -> u32 {
    // SAFETY: see above.
    let path = unsafe { text(path, path_size) };
    let value = with_host(|host| match path.as_str() {
        "plugin_root_id" => Some(host.root_id.as_bytes().to_vec()),
        "request\0total_size" => {
            let stream = host.streams.get(&host.effective)?;
            let fields = stream.request.iter();
            let head: usize = fields.map(|(name, value)| name.len() + value.len()).sum();
            let body = stream.held.len() + stream.passed.len() + stream.unseen.len();
            Some(u64::try_from(head + body).unwrap().to_le_bytes().to_vec())
        }
        _ => None,
    });
    let Some(value) = value else { return NOT_FOUND };
    // SAFETY: see above.
    unsafe { hand_over(&value, data, size) };
    OK
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_http_call(
    cluster: *const u8,
    cluster_size: usize,
    headers: *const u8,
    headers_size: usize,
    body: *const u8,
    body_size: usize,
    _trailers: *const u8,
    _trailers_size: usize,
    timeout: u32,
    token: *mut u32,
) -> u32 {
    // SAFETY: see above.
    let (cluster, headers) = unsafe { (text(cluster, cluster_size), bytes(headers, headers_size)) };
    // SAFETY: see above.
    let body = unsafe { bytes(body, body_size) };
    with_host(|host| {
        assert_eq!(host.effective, host.root, "calls are made by the root context");
        if host.refuse_calls {
            return INTERNAL_FAILURE;
        }
        let call = new_number();
        host.calls.push(Call {
            id: call,
            cluster,
            headers: deserialize(&headers),
            body,
            timeout: Duration::from_millis(timeout.into()),
        });
        // SAFETY: see above.
        unsafe { *token = call };
        OK
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_set_effective_context(context_id: u32) -> u32 {
    with_host(|host| {
        if context_id != host.root && !host.streams.contains_key(&context_id) {
            return BAD_ARGUMENT;
        }
        host.effective = context_id;
        OK
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_call_foreign_function(
    name: *const u8,
    name_size: usize,
    arguments: *const u8,
    arguments_size: usize,
    data: *mut *mut u8,
    size: *mut usize,
) -> u32 {
    // SAFETY: see above.
    let (name, arguments) = unsafe { (text(name, name_size), bytes(arguments, arguments_size)) };
    if name != "verify_signature" {
        return NOT_FOUND;
    }
    let crypto = with_host(|host| {
        host.crypto_calls += 1;
        host.crypto
    });
    let result = match crypto {
        HostCrypto::Returns(result) => Ok(result.to_vec()),
        HostCrypto::Fails(status) => Err(status),
        HostCrypto::Works => testkit::verify_signature_result(&arguments).ok_or(BAD_ARGUMENT),
    };
    match result {
        // SAFETY: see above.
        Ok(result) => unsafe {
            hand_over(&result, data, size);
            OK
        },
        Err(status) => status,
    }
}
