// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From a port type written in Rust to the C table that the switch calls: one generic set of `extern "C"` functions.
//!
//! Every callback catches panics: an unwind must not cross the C ABI, and a port type that fails must not take the switch
//! with it. The packets of the call are given back, the panic's text goes to the log, and the caller gets [`E_PANIC`].

use std::ffi::{CStr, c_void};
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

use portway_buf::{BATCH_MAX, Batch, Packet, PoolHandle, PoolRef, RawPacket};

use crate::abi::host;
use crate::abi::{
    ABI_VERSION, E_PANIC, HostApi, MAGIC, OptionSpec, PortInfo, PortModule, PortParams, TunnelInfo, TxReport,
    log_level,
};
use crate::ops::{CreateParams, Errno, PortType};

/// The most options that a port type may describe.
pub const OPTIONS_MAX: usize = 32;

/// Defines a port type's table under the exported name `portway_vport_type_<N>`, and as `MODULE` for programs that link
/// the type in.
///
/// ```ignore
/// portway_vport::port_module!(portway_vport_type_1000, NullPort);
/// ```
///
/// A number in the name that is not the type's own does not compile.
#[macro_export]
macro_rules! port_module {
    ($symbol:ident, $port:ty) => {
        /// The port type as a loader finds it.
        #[allow(unsafe_code, non_upper_case_globals, reason = "the loader looks for this very symbol")]
        // SAFETY: the name contains the type's number, which is assigned once.
        #[unsafe(no_mangle)]
        pub static $symbol: $crate::abi::PortModule = {
            assert!(
                $crate::export::symbol_is_of(stringify!($symbol), <$port as $crate::ops::PortType>::TYPE),
                "the symbol must be portway_vport_type_<TYPE>"
            );
            $crate::export::module_table::<$port>()
        };

        /// The port type for programs that link it in: give it to `Registry::register`.
        pub const MODULE: $crate::LinkedModule = $crate::LinkedModule::of::<$port>();
    };
}

/// A port type that is part of the program.
#[derive(Clone, Copy)]
pub struct LinkedModule(PortModule);

impl LinkedModule {
    /// The module of a port type.
    pub const fn of<T: PortType>() -> Self {
        Self(module_table::<T>())
    }

    /// OVS_VPORT_TYPE_* or a private number.
    pub const fn port_type(&self) -> u32 {
        self.0.port_type
    }

    pub(crate) const fn table(&self) -> PortModule {
        self.0
    }
}

/// Whether `symbol` is `portway_vport_type_<port_type>`. For [`port_module!`].
pub const fn symbol_is_of(symbol: &str, port_type: u32) -> bool {
    let prefix = crate::abi::SYMBOL_PREFIX.as_bytes();
    let symbol = symbol.as_bytes();
    let mut at = symbol.len();
    let mut rest = port_type;
    while at > prefix.len() {
        at -= 1;
        if symbol[at] != b'0' + (rest % 10) as u8 {
            return false;
        }
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if rest != 0 || at != prefix.len() {
        return false;
    }
    while at > 0 {
        at -= 1;
        if symbol[at] != prefix[at] {
            return false;
        }
    }
    true
}

/// The C table of a port type.
pub const fn module_table<T: PortType>() -> PortModule {
    PortModule {
        magic: MAGIC,
        abi_version: ABI_VERSION,
        size: size_of::<PortModule>() as u32,
        port_type: T::TYPE,
        name: T::NAME.as_ptr(),
        options: Options::<T>::SPECS.as_ptr(),
        n_options: T::OPTIONS.len(),
        init: Some(init),
        exit: None,
        create: create::<T>,
        destroy: destroy::<T>,
        set_options: Some(set_options::<T>),
        get_options: Some(get_options::<T>),
        get_info: get_info::<T>,
        rx: if T::RECEIVES { Some(rx::<T>) } else { None },
        rx_fd: if T::RECEIVES { Some(rx_fd::<T>) } else { None },
        tx: tx::<T>,
        egress_tunnel: if T::TUNNEL { Some(egress_tunnel::<T>) } else { None },
        rx_missed: if T::RECEIVES { Some(rx_missed::<T>) } else { None },
        shortcuts: if T::SHORTCUTS {
            &raw const *super::export_shortcut::Table::<T>::OPS
        } else {
            std::ptr::null()
        },
        outlets: if T::OUTLETS {
            &raw const *super::export_outlet::Table::<T>::OPS
        } else {
            std::ptr::null()
        },
    }
}

/// A type's options in C; a generic constant cannot size an array by `T::OPTIONS`, hence the fixed length.
struct Options<T>(std::marker::PhantomData<T>);

impl<T: PortType> Options<T> {
    const SPECS: &'static [OptionSpec; OPTIONS_MAX] = &{
        assert!(T::OPTIONS.len() <= OPTIONS_MAX, "too many options");
        let unused = OptionSpec { attr: 0, kind: 0, name: std::ptr::null(), help: std::ptr::null() };
        let mut specs = [unused; OPTIONS_MAX];
        let mut index = 0;
        while index < T::OPTIONS.len() {
            let option = &T::OPTIONS[index];
            let (name, help) = (option.name.as_ptr(), option.help.as_ptr());
            specs[index] = OptionSpec { attr: option.attr as u32, kind: option.kind, name, help };
            index += 1;
        }
        specs
    };
}

/// Runs a callback's body; `None`: it panicked, and the log says where and why.
#[inline]
pub(super) fn contain<T: PortType, R>(callback: &str, body: impl FnOnce() -> R) -> Option<R> {
    // What the closures capture is either not used after a panic or, for batches, valid at every point.
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(result) => Some(result),
        Err(payload) => {
            report_panic(T::NAME, callback, &*payload);
            // A payload's own destructor may panic in turn; what that one throws is leaked, to make an end.
            if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
                std::mem::forget(second);
            }
            None
        }
    }
}

#[cold]
fn report_panic(name: &CStr, callback: &str, payload: &(dyn std::any::Any + Send)) {
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no text)");
    let line = format!("port type {}: {callback} panicked: {text}", name.to_string_lossy());
    host::log(log_level::ERROR, &line);
}

pub(super) fn code(result: Option<Result<(), Errno>>) -> i32 {
    match result {
        Some(Ok(())) => 0,
        Some(Err(errno)) => negative(errno),
        None => E_PANIC,
    }
}

/// A negative errno; a type that says "error 0" means some error all the same.
fn negative(errno: Errno) -> i32 {
    if (1..4094).contains(&errno.0) { -errno.0 } else { -Errno::EINVAL.0 }
}

unsafe extern "C" fn init(host: *const HostApi) -> i32 {
    host::set_host(host);
    0
}

unsafe extern "C" fn create<T: PortType>(
    params: *const PortParams,
    port: *mut *mut c_void,
    info: *mut PortInfo,
) -> i32 {
    code(contain::<T, _>("create", || {
        // SAFETY: the caller's pointers are valid for this call (contract of `PortModule::create`).
        let params = unsafe { read_params(&*params) };
        let made = Box::new(T::create(&params)?);
        let now = made.info();
        // SAFETY: as above.
        unsafe {
            info.write(now);
            port.write(Box::into_raw(made).cast());
        }
        Ok(())
    }))
}

/// # Safety
/// The pointers and the file descriptor in `params` must be as `PortParams` says, for `'a`.
unsafe fn read_params(params: &PortParams) -> CreateParams<'_> {
    // SAFETY: the caller vouches for the pointers; a null pointer goes with the length 0.
    unsafe {
        CreateParams {
            name: CStr::from_ptr(params.name),
            netns: (params.netns_fd >= 0).then(|| BorrowedFd::borrow_raw(params.netns_fd)),
            tx_queues: params.tx_queues as usize,
            options: bytes(params.options, params.options_len),
            mac: params.mac,
            is_local: params.is_local != 0,
        }
    }
}

/// # Safety
/// `data` must point to `len` readable bytes for `'a`, or `len` be 0.
unsafe fn bytes<'a>(data: *const u8, len: usize) -> &'a [u8] {
    if len == 0 {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(data, len) }
}

/// # Safety
/// `port` must come from `create::<T>` and not have been destroyed during `'a`.
#[inline]
pub(super) unsafe fn port_of<'a, T: PortType>(port: *mut c_void) -> &'a T {
    // SAFETY: the caller's promise; all methods take `&self` and `T` is `Sync`, so concurrent callbacks are fine.
    unsafe { &*port.cast::<T>() }
}

unsafe extern "C" fn destroy<T: PortType>(port: *mut c_void) {
    // SAFETY: `create` made the box; `destroy` is called once, after every other call has returned.
    contain::<T, _>("destroy", || drop(unsafe { Box::from_raw(port.cast::<T>()) }));
}

unsafe extern "C" fn set_options<T: PortType>(port: *mut c_void, options: *const u8, len: usize) -> i32 {
    // SAFETY: a live port, and `len` bytes of options, for this call.
    let (port, options) = unsafe { (port_of::<T>(port), bytes(options, len)) };
    code(contain::<T, _>("set_options", || port.set_options(options)))
}

unsafe extern "C" fn get_options<T: PortType>(port: *mut c_void, out: *mut u8, cap: usize) -> isize {
    // SAFETY: a live port for this call.
    let port = unsafe { port_of::<T>(port) };
    let mut options = Vec::new();
    let result = match contain::<T, _>("get_options", || port.get_options(&mut options)) {
        Some(Ok(true)) if options.len() <= cap => {
            // SAFETY: `out` has room for `cap` bytes.
            unsafe { std::ptr::copy_nonoverlapping(options.as_ptr(), out, options.len()) };
            return options.len() as isize;
        }
        Some(Ok(true)) => negative(Errno::EMSGSIZE),
        Some(Ok(false)) => negative(Errno::ENODATA),
        Some(Err(errno)) => negative(errno),
        None => E_PANIC,
    };
    result as isize
}

unsafe extern "C" fn get_info<T: PortType>(port: *mut c_void, info: *mut PortInfo) -> i32 {
    // SAFETY: a live port for this call.
    let port = unsafe { port_of::<T>(port) };
    match contain::<T, _>("get_info", || port.info()) {
        Some(now) => {
            // SAFETY: `info` is valid for writing.
            unsafe { info.write(now) };
            0
        }
        None => E_PANIC,
    }
}

unsafe extern "C" fn rx_fd<T: PortType>(port: *mut c_void, queue: u32) -> i32 {
    // SAFETY: a live port for this call.
    let port = unsafe { port_of::<T>(port) };
    match contain::<T, _>("rx_fd", || port.rx_fd(queue as usize)) {
        Some(fd) => fd.unwrap_or(-1),
        None => E_PANIC,
    }
}

unsafe extern "C" fn rx<T: PortType>(
    port: *mut c_void,
    queue: u32,
    pool: *mut PoolHandle,
    out: *mut *mut RawPacket,
    max: u32,
) -> i32 {
    let Some(handle) = NonNull::new(pool) else { return negative(Errno::EINVAL) };
    if (max as usize) < BATCH_MAX {
        return negative(Errno::EINVAL);
    }
    // SAFETY: a live port, and a pool that nothing else uses, for this call.
    let (port, mut pool) = unsafe { (port_of::<T>(port), PoolRef::from_handle(handle)) };
    let mut batch = Batch::new();
    let result = contain::<T, _>("rx", || port.rx(queue as usize, &mut pool, &mut batch));
    match result {
        None => {
            pool.give_all(&mut batch);
            E_PANIC
        }
        Some(Err(errno)) if batch.is_empty() => negative(errno),
        Some(_) => {
            let n = batch.len();
            // SAFETY: `out` has room for `max >= BATCH_MAX >= n` pointers; a `Packet` is one pointer
            // (repr(transparent)), and the batch forgets those whose ownership goes to the caller.
            unsafe {
                std::ptr::copy_nonoverlapping(batch.as_ptr().cast::<*mut RawPacket>(), out, n);
                batch.set_len(0);
            }
            n as i32
        }
    }
}

unsafe extern "C" fn egress_tunnel<T: PortType>(
    port: *mut c_void,
    packet: *const RawPacket,
    info: *mut TunnelInfo,
) -> i32 {
    let Some(raw) = NonNull::new(packet.cast_mut()) else { return negative(Errno::EINVAL) };
    // SAFETY: a live port, a packet that the caller holds (only borrowed: it is not released here), and metadata to
    // change, for this call.
    let (port, packet, info) =
        unsafe { (port_of::<T>(port), std::mem::ManuallyDrop::new(Packet::from_raw(raw)), &mut *info) };
    code(contain::<T, _>("egress_tunnel", || port.egress_tunnel(&packet, info)))
}

unsafe extern "C" fn rx_missed<T: PortType>(port: *mut c_void) -> i64 {
    // SAFETY: a live port.
    let port = unsafe { port_of::<T>(port) };
    let missed = contain::<T, _>("rx_missed", || port.rx_missed());
    missed.map_or(i64::from(E_PANIC), |missed| i64::try_from(missed).unwrap_or(i64::MAX))
}

unsafe extern "C" fn tx<T: PortType>(
    port: *mut c_void,
    queue: u32,
    pool: *mut PoolHandle,
    packets: *mut *mut RawPacket,
    n: u32,
    report: *mut TxReport,
) -> i32 {
    let mut batch = Batch::new();
    let n = (n as usize).min(BATCH_MAX);
    // SAFETY: the caller gives up ownership of `n` packets (at most BATCH_MAX, contract of `tx`) in a readable array.
    unsafe {
        std::ptr::copy_nonoverlapping(packets.cast::<Packet>(), batch.as_mut_ptr(), n);
        batch.set_len(n);
    }
    // Without a pool the packets go back to their allocator when `batch` drops.
    let Some(handle) = NonNull::new(pool) else { return negative(Errno::EINVAL) };
    // SAFETY: a live port, a pool that nothing else uses, and a report to write to, for this call.
    let (port, mut pool, report) =
        unsafe { (port_of::<T>(port), PoolRef::from_handle(handle), &mut *report) };
    let result = contain::<T, _>("tx", || port.tx(queue as usize, &mut pool, &mut batch, report));
    if !batch.is_empty() {
        pool.give_all(&mut batch);
    }
    if result.is_some() { 0 } else { E_PANIC }
}
