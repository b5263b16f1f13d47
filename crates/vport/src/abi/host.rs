// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The services that the switch offers to port types ([`HostApi`]), from both ends: what the switch hands out, and how a
//! type written in Rust calls it, linked in or loaded.

use std::ffi::c_char;
use std::sync::atomic::{AtomicPtr, Ordering};

use portway_buf::{Packet, RawPacket, TunnelKey};

use crate::abi::{ABI_VERSION, HostApi, TUNNEL_OPTIONS_MAX, TunnelInfo, log_level};
use crate::ops::Errno;

/// Bytes of a log line from a module that are kept: what comes after is cut.
const LINE_MAX: usize = 4096;

/// What the switch hands to each module's `init`.
pub static HOST_API: HostApi = HostApi {
    size: size_of::<HostApi>() as u32,
    abi_version: ABI_VERSION,
    log: log_to_tracing,
    set_tunnel: set_tunnel_of_packet,
    get_tunnel: get_tunnel_of_packet,
};

/// The table that this copy of the library was given by its switch; null before `init`.
///
/// A loaded module has its own copy of this crate, hence of this variable: without it, its lines would go to a `tracing`
/// that nobody listens to.
static GIVEN: AtomicPtr<HostApi> = AtomicPtr::new(std::ptr::null_mut());

/// Remembers the switch's table for [`log`].
pub(crate) fn set_host(host: *const HostApi) {
    GIVEN.store(host.cast_mut(), Ordering::Release);
}

/// The switch's table: the one given, or, in the switch itself, its own.
fn api() -> &'static HostApi {
    let given = GIVEN.load(Ordering::Acquire);
    // SAFETY: the switch's table is valid from `init` to `exit`, hence while any code of the port type runs.
    if given.is_null() { &HOST_API } else { unsafe { &*given } }
}

/// Gives a received packet its tunnel metadata. EINVAL for more options than there can be.
pub fn set_tunnel(packet: &mut Packet, info: &TunnelInfo) -> Result<(), Errno> {
    // SAFETY: a packet that we own (a `Packet` is one pointer to its header, repr(transparent)), and metadata to read.
    let code = unsafe {
        let raw = std::ptr::from_mut(packet).cast::<*mut RawPacket>().read();
        (api().set_tunnel)(raw, info)
    };
    if code == 0 { Ok(()) } else { Err(Errno(-code)) }
}

/// What the outer headers of a packet to be sent shall say, written to `info`; false: nothing, `info` is as it was.
pub fn egress_tunnel(packet: &Packet, info: &mut TunnelInfo) -> bool {
    // SAFETY: a packet that we hold, as above, and metadata to write.
    unsafe {
        let raw = std::ptr::from_ref(packet).cast::<*const RawPacket>().read();
        (api().get_tunnel)(raw, info) == 0
    }
}

/// Logs a line through the switch; `level` is one of [`log_level`]. Not for the fast path.
pub fn log(level: u32, text: &str) {
    // SAFETY: pointer and length are those of `text`, which outlives the call.
    unsafe { (api().log)(level, text.as_ptr().cast(), text.len()) };
}

/// [`HostApi::log`] of the switch.
unsafe extern "C" fn log_to_tracing(level: u32, text: *const c_char, len: usize) {
    if text.is_null() {
        return;
    }
    // SAFETY: the caller passes `len` readable bytes (contract of `HostApi::log`).
    let bytes = unsafe { std::slice::from_raw_parts(text.cast::<u8>(), len.min(LINE_MAX)) };
    let line: String =
        String::from_utf8_lossy(bytes).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match level {
        log_level::ERROR => tracing::error!(target: "portway::module", "{line}"),
        log_level::WARNING => tracing::warn!(target: "portway::module", "{line}"),
        log_level::INFO => tracing::info!(target: "portway::module", "{line}"),
        _ => tracing::debug!(target: "portway::module", "{line}"),
    }
}

impl Default for TunnelInfo {
    fn default() -> Self {
        Self {
            id: 0,
            src: [0; 16],
            dst: [0; 16],
            label: 0,
            flags: 0,
            tp_src: 0,
            tp_dst: 0,
            tos: 0,
            ttl: 0,
            ip_version: 0,
            pad: 0,
            options_len: 0,
            options: [0; TUNNEL_OPTIONS_MAX],
        }
    }
}

impl TunnelInfo {
    /// The options in use.
    pub fn options(&self) -> &[u8] {
        &self.options[..usize::from(self.options_len).min(TUNNEL_OPTIONS_MAX)]
    }

    /// Sets the options; what is more than there is room for is cut.
    pub fn set_options(&mut self, options: &[u8]) {
        let len = options.len().min(TUNNEL_OPTIONS_MAX);
        self.options[..len].copy_from_slice(&options[..len]);
        self.options_len = len as u16;
    }

    /// As a packet carries it.
    pub fn to_key(&self) -> TunnelKey {
        let mut key = TunnelKey::default();
        self.write_key(&mut key);
        key
    }

    /// As a packet carries it, in a key's place.
    fn write_key(&self, key: &mut TunnelKey) {
        key.id = self.id;
        key.src = self.src;
        key.dst = self.dst;
        key.ipv6 = self.ip_version == 6;
        key.tos = self.tos;
        key.ttl = self.ttl;
        key.flags = self.flags;
        key.label = self.label;
        key.tp_src = self.tp_src;
        key.tp_dst = self.tp_dst;
        key.options.clear();
        key.options.extend_from_slice(self.options());
    }

    /// From what a packet carries.
    pub fn set_key(&mut self, key: &TunnelKey) {
        self.id = key.id;
        self.src = key.src;
        self.dst = key.dst;
        self.ip_version = if key.ipv6 { 6 } else { 4 };
        self.tos = key.tos;
        self.ttl = key.ttl;
        self.flags = key.flags;
        self.label = key.label;
        self.tp_src = key.tp_src;
        self.tp_dst = key.tp_dst;
        self.set_options(&key.options);
    }
}

/// [`HostApi::set_tunnel`] of the switch.
unsafe extern "C" fn set_tunnel_of_packet(packet: *mut RawPacket, info: *const TunnelInfo) -> i32 {
    // SAFETY: the caller owns the packet and passes readable metadata (contract of `HostApi::set_tunnel`); the packet is
    // only borrowed: `ManuallyDrop` keeps it from being released here.
    unsafe {
        let Some(raw) = std::ptr::NonNull::new(packet) else { return -Errno::EINVAL.0 };
        let mut packet = std::mem::ManuallyDrop::new(Packet::from_raw(raw));
        if usize::from((*info).options_len) > TUNNEL_OPTIONS_MAX {
            return -Errno::EINVAL.0;
        }
        (*info).write_key(packet.extension_mut().tunnel_mut());
    }
    0
}

/// [`HostApi::get_tunnel`] of the switch.
unsafe extern "C" fn get_tunnel_of_packet(packet: *const RawPacket, info: *mut TunnelInfo) -> i32 {
    // SAFETY: the caller holds the packet and passes metadata to write (contract of `HostApi::get_tunnel`); the packet is
    // only read and not released here.
    unsafe {
        let Some(raw) = std::ptr::NonNull::new(packet.cast_mut()) else { return -Errno::EINVAL.0 };
        let packet = std::mem::ManuallyDrop::new(Packet::from_raw(raw));
        match packet.extension().and_then(|extension| extension.egress.as_deref()) {
            Some(key) => (*info).set_key(key),
            None => return -Errno::ENOENT.0,
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn metadata_goes_down_and_comes_up() {
        let mut info =
            TunnelInfo { id: 7, ip_version: 6, src: [1; 16], tp_dst: 4789, ttl: 3, ..TunnelInfo::default() };
        info.set_options(&[9; 255]);
        let mut packet = Packet::copied_from(&[0; 60]).unwrap();
        assert!(!egress_tunnel(&packet, &mut TunnelInfo::default()), "nobody has said where to");
        set_tunnel(&mut packet, &info).unwrap();
        let received = packet.extension().unwrap().tunnel.as_deref().unwrap().clone();
        assert_eq!((received.id, received.ipv6, received.options.len()), (7, true, 255));
        assert!(
            !egress_tunnel(&packet, &mut TunnelInfo::default()),
            "where it came from is not where it goes"
        );

        packet.extension_mut().egress = Some(Arc::new(received));
        let mut sent = TunnelInfo::default();
        assert!(egress_tunnel(&packet, &mut sent));
        assert_eq!(sent, info);
        let too_long = TunnelInfo { options_len: 257, ..info };
        assert_eq!(set_tunnel(&mut packet, &too_long), Err(Errno::EINVAL));
    }
}
