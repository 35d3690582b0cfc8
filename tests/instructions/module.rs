//! The shipped module in an interpreter that counts what it executes, with a host that responds
//! immediately and costs nothing.

use std::collections::HashMap;
use std::fs;
use std::sync::OnceLock;

use serde_json::Value;
use testkit::verify_signature_result;
use wasmi::{
    AsContextMut, Caller, Engine, Extern, ExternType, Instance, Linker, Store, TypedFunc, Val,
};

use crate::counted::{COUNTER, counted};

const OK: i32 = 0;
const NOT_FOUND: i32 = 1;
const BAD_ARGUMENT: i32 = 2;
const CAS_MISMATCH: i32 = 8;

const CALL_RESPONSE_BODY: u32 = 4;
const PLUGIN_CONFIGURATION: u32 = 7;

const ROOT: u32 = 1;

type Fields = Vec<(String, String)>;

/// The state of the host.
#[derive(Default)]
struct Host {
    /// Seconds since 1970. Constant, so that each run counts the same.
    now: u64,
    configuration: Vec<u8>,
    /// Values and their CAS numbers.
    shared: HashMap<Vec<u8>, (Vec<u8>, u32)>,
    metrics: u32,
    /// The header fields of the current request.
    request: Fields,
    /// The status of the response to it.
    status: Option<u32>,
    /// Paths that were called, by callout number.
    calls: Vec<(u32, String)>,
    last_call: u32,
    /// The body of the callout response that is being reported.
    call_body: Vec<u8>,
}

/// The outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Forwarded,
    Refused(u32),
}

/// A VM with one root context.
pub struct Module {
    store: Store<Host>,
    instance: Instance,
    last_context: u32,
}

impl Module {
    /// Starts a VM with this configuration, which the plugin must accept.
    pub fn start(configuration: &Value) -> Self {
        let engine = Engine::default();
        let module = wasmi::Module::new(&engine, code()).expect("it is well formed");
        let host = Host {
            now: testkit::now(),
            configuration: configuration.to_string().into_bytes(),
            ..Host::default()
        };
        let mut store = Store::new(&engine, host);
        let mut linker = Linker::new(&engine);
        for import in module.imports() {
            let ExternType::Func(kind) = import.ty() else { panic!("{import:?} is no function") };
            let name = import.name().to_owned();
            let function = move |mut caller: Caller<'_, Host>, given: &[Val], back: &mut [Val]| {
                let given: Vec<u32> = given.iter().map(number).collect();
                let status = host_call(&name, &mut Guest(&mut caller), &given);
                // All implemented host calls return a status.
                back[0] = Val::I32(status);
                Ok(())
            };
            let added = linker.func_new(import.module(), import.name(), kind.clone(), function);
            added.expect("each is imported once");
        }
        let instance =
            linker.instantiate_and_start(&mut store, &module).expect("it imports nothing else");
        let mut started = Self { store, instance, last_context: ROOT };
        started.call::<(), ()>("_initialize", ());
        started.call::<(u32, u32), ()>("proxy_on_context_create", (ROOT, 0));
        assert_eq!(started.call::<(u32, u32), u32>("proxy_on_vm_start", (ROOT, 0)), 1);
        let size = length(&started.store.data().configuration);
        assert_eq!(started.call::<(u32, u32), u32>("proxy_on_configure", (ROOT, size)), 1);
        started
    }

    /// Responds to the plugin's fetches with the documents at these paths.
    pub fn fetch(&mut self, documents: &HashMap<String, String>) {
        self.call::<u32, ()>("proxy_on_tick", ROOT);
        while let Some((number, path)) = self.store.data_mut().calls.pop() {
            let body = documents[&path].clone().into_bytes();
            let arguments = (ROOT, number, 1, length(&body), 0);
            self.store.data_mut().call_body = body;
            self.call::<(u32, u32, u32, u32, u32), ()>("proxy_on_http_call_response", arguments);
        }
    }

    /// Sends a request. Returns its outcome and the number of instructions executed.
    pub fn request(&mut self, fields: Fields) -> (Outcome, u64) {
        let before = self.executed();
        let count = u32::try_from(fields.len()).unwrap();
        let host = self.store.data_mut();
        host.request = fields;
        host.status = None;
        self.last_context += 1;
        let id = self.last_context;
        self.call::<(u32, u32), ()>("proxy_on_context_create", (id, ROOT));
        let action: u32 = self.call("proxy_on_request_headers", (id, count, 1));
        self.call::<u32, ()>("proxy_on_delete", id);
        let outcome = match (action, self.store.data().status) {
            (0, None) => Outcome::Forwarded,
            (1, Some(status)) => Outcome::Refused(status),
            other => panic!("a request waits, or is forwarded after a response: {other:?}"),
        };
        (outcome, self.executed() - before)
    }

    /// The header fields of the last request, as forwarded.
    pub fn forwarded(&self) -> &Fields {
        &self.store.data().request
    }

    /// Size of the module's memory in bytes.
    pub fn memory(&self) -> usize {
        let memory = self.instance.get_memory(&self.store, "memory").expect("it is exported");
        memory.data_size(&self.store)
    }

    /// The number of instructions executed so far.
    fn executed(&self) -> u64 {
        let counter = self.instance.get_global(&self.store, COUNTER).expect("it was added");
        match counter.get(&self.store) {
            Val::I64(count) => count.cast_unsigned(),
            other => panic!("{other:?} is no number of instructions"),
        }
    }

    fn call<P: wasmi::WasmParams, R: wasmi::WasmResults>(&mut self, name: &str, arguments: P) -> R {
        let function: TypedFunc<P, R> =
            self.instance.get_typed_func(&self.store, name).expect("it is exported");
        function.call(&mut self.store, arguments).unwrap_or_else(|trap| panic!("{name}: {trap}"))
    }
}

/// The shipped module, instrumented.
fn code() -> &'static [u8] {
    static CODE: OnceLock<Vec<u8>> = OnceLock::new();
    CODE.get_or_init(|| counted(&fs::read(testkit::module_path()).expect("the module is built")))
}

/// Performs a host function and returns its status.
#[expect(clippy::too_many_lines, reason = "one arm for each function of the host")]
fn host_call(function: &str, guest: &mut Guest<'_, '_>, given: &[u32]) -> i32 {
    match (function, given) {
        ("proxy_log", &[_, text, size]) => eprintln!("{}", guest.text(text, size)),
        ("proxy_get_current_time_nanoseconds", &[time]) => {
            let now = guest.host().now * 1_000_000_000;
            guest.write(time, &now.to_le_bytes());
        }
        ("proxy_get_buffer_bytes", &[buffer, first, max, data, size]) => {
            let whole = match buffer {
                PLUGIN_CONFIGURATION => guest.host().configuration.clone(),
                CALL_RESPONSE_BODY => guest.host().call_body.clone(),
                _ => return NOT_FOUND,
            };
            let end = whole.len().min(place(first.saturating_add(max)));
            guest.hand_over(&whole[place(first)..end], data, size);
        }
        ("proxy_get_header_map_pairs", &[_, data, size]) => {
            let bytes = encoded(&guest.host().request);
            guest.hand_over(&bytes, data, size);
        }
        // The plugin reads only callout responses in this way.
        ("proxy_get_header_map_value", &[_, name, name_size, data, size]) => {
            if guest.text(name, name_size) != ":status" {
                return NOT_FOUND;
            }
            guest.hand_over(b"200", data, size);
        }
        ("proxy_remove_header_map_value", &[_, name, size]) => {
            let name = guest.text(name, size);
            guest.host().request.retain(|(candidate, _)| *candidate != name);
        }
        ("proxy_add_header_map_value", &[_, name, name_size, value, size]) => {
            let field = (guest.text(name, name_size), guest.text(value, size));
            guest.host().request.push(field);
        }
        ("proxy_get_shared_data", &[name, name_size, data, size, cas]) => {
            let name = guest.read(name, name_size);
            let Some((bytes, number)) = guest.host().shared.get(&name).cloned() else {
                return NOT_FOUND;
            };
            guest.write_number(cas, number);
            guest.hand_over(&bytes, data, size);
        }
        ("proxy_set_shared_data", &[name, name_size, value, size, cas]) => {
            let (name, value) = (guest.read(name, name_size), guest.read(value, size));
            let known = guest.host().shared.get(&name).map_or(0, |(_, number)| *number);
            if known != 0 && cas != 0 && known != cas {
                return CAS_MISMATCH;
            }
            guest.host().shared.insert(name, (value, known + 1));
        }
        ("proxy_get_property", &[path, path_size, data, size]) => {
            match guest.text(path, path_size).as_str() {
                "plugin_root_id" => guest.hand_over(b"", data, size),
                _ => return NOT_FOUND,
            }
        }
        ("proxy_define_metric", &[_, _, _, id]) => {
            guest.host().metrics += 1;
            let number = guest.host().metrics;
            guest.write_number(id, number);
        }
        ("proxy_send_local_response", &[status, ..]) => guest.host().status = Some(status),
        ("proxy_http_call", &[_, _, fields, fields_size, _, _, _, _, _, id]) => {
            let fields = decoded(&guest.read(fields, fields_size));
            let path = fields.into_iter().find(|(name, _)| name == ":path").expect("it has one").1;
            guest.host().last_call += 1;
            let number = guest.host().last_call;
            guest.host().calls.push((number, path));
            guest.write_number(id, number);
        }
        ("proxy_call_foreign_function", &[name, name_size, call, call_size, data, size]) => {
            if guest.text(name, name_size) != "verify_signature" {
                return NOT_FOUND;
            }
            let Some(verdict) = verify_signature_result(&guest.read(call, call_size)) else {
                return BAD_ARGUMENT;
            };
            guest.hand_over(&verdict, data, size);
        }
        ("environ_sizes_get", &[count, size]) => {
            guest.write_number(count, 0);
            guest.write_number(size, 0);
        }
        // Constant, so that each run counts the same.
        ("random_get", &[data, size]) => guest.write(data, &vec![7; place(size)]),
        (
            "environ_get"
            | "proxy_increment_metric"
            | "proxy_record_metric"
            | "proxy_set_effective_context"
            | "proxy_set_property"
            | "proxy_set_tick_period_milliseconds",
            _,
        ) => {}
        _ => panic!("{function} was called with {given:?}"),
    }
    OK
}

/// The module that calls the host.
struct Guest<'a, 'b>(&'a mut Caller<'b, Host>);

impl Guest<'_, '_> {
    fn host(&mut self) -> &mut Host {
        self.0.data_mut()
    }

    fn read(&self, start: u32, size: u32) -> Vec<u8> {
        let memory = self.0.get_export("memory").and_then(Extern::into_memory);
        let memory = memory.expect("it is exported").data(&*self.0);
        memory[place(start)..place(start + size)].to_vec()
    }

    fn text(&self, start: u32, size: u32) -> String {
        String::from_utf8(self.read(start, size)).expect("names and values are text")
    }

    fn write(&mut self, start: u32, bytes: &[u8]) {
        let memory = self.0.get_export("memory").and_then(Extern::into_memory);
        let memory = memory.expect("it is exported");
        memory.write(&mut *self.0, place(start), bytes).expect("it is its own memory");
    }

    fn write_number(&mut self, start: u32, number: u32) {
        self.write(start, &number.to_le_bytes());
    }

    /// Writes bytes into memory that the module allocates, and their address and length.
    fn hand_over(&mut self, bytes: &[u8], data: u32, size: u32) {
        let allocate = self.0.get_export("proxy_on_memory_allocate").and_then(Extern::into_func);
        let allocate = allocate.expect("it is exported").typed::<u32, u32>(&*self.0);
        let allocate = allocate.expect("it takes a size and returns a place");
        let length = length(bytes);
        let start = allocate.call(self.0.as_context_mut(), length).expect("there is memory");
        self.write(start, bytes);
        self.write_number(data, start);
        self.write_number(size, length);
    }
}

fn number(value: &Val) -> u32 {
    match value {
        Val::I32(value) => value.cast_unsigned(),
        // The amount by which a metric changes.
        _ => 0,
    }
}

fn place(address: u32) -> usize {
    usize::try_from(address).expect("no smaller than that of a Wasm module")
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("it is no gigabyte")
}

/// Header fields in the form in which hosts and modules exchange them.
fn encoded(fields: &Fields) -> Vec<u8> {
    let mut bytes = u32::try_from(fields.len()).unwrap().to_le_bytes().to_vec();
    for (name, value) in fields {
        bytes.extend(length(name.as_bytes()).to_le_bytes());
        bytes.extend(length(value.as_bytes()).to_le_bytes());
    }
    for (name, value) in fields {
        bytes.extend(name.bytes().chain([0]).chain(value.bytes()).chain([0]));
    }
    bytes
}

fn decoded(bytes: &[u8]) -> Fields {
    let number =
        |start: usize| place(u32::from_le_bytes(bytes[start..start + 4].try_into().unwrap()));
    let count = number(0);
    let mut start = 4 + 8 * count;
    let mut next = |size: usize| {
        let text = String::from_utf8(bytes[start..start + size].to_vec()).unwrap();
        start += size + 1;
        text
    };
    (0..count).map(|value| (next(number(4 + 8 * value)), next(number(8 + 8 * value)))).collect()
}
