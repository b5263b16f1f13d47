// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The C ABI between Portway and a port-type module (`vport-type-<N>.so`). The C header
//! `crates/vport/include/portway_vport.h` says the same in C; a test holds the two together.
//!
//! A module exports one symbol, `portway_vport_type_<N>`, of type [`PortModule`]. Modules in Rust do not write one by hand:
//! they implement [`crate::ops::PortType`] and use `portway_vport::port_module!`.
//!
//! # Rules for every callback
//! * Errors are returned as negative errno values; success is 0 (or a count).
//! * A callback must not unwind. (The Rust wrapper catches panics and returns [`E_PANIC`].)
//! * `rx(queue)` is called by one thread at a time for each queue, `tx(queue)` by one thread at a time for each queue;
//!   all else may be called by any thread at the same time as those.
//! * `destroy` is called once, after every other call on that port has returned and no reader holds it.
//! * Packets are owned: `rx` hands ownership to the caller, `tx` takes ownership of all packets it is given, also of those
//!   that it fails to send, and frees them through the pool that comes with the call.

#![allow(unsafe_code)]

pub mod export;
mod export_outlet;
mod export_shortcut;
pub(crate) mod handle;
pub mod host;
pub(crate) mod kind;
pub(crate) mod outlet;
pub(crate) mod shortcut;

use std::ffi::{c_char, c_void};

pub use portway_buf::tunnel_flags;
use portway_buf::{PoolHandle, RawPacket};

/// Version of this ABI. A module built for another one is refused by name.
pub const ABI_VERSION: u32 = 4;

/// First word of a [`PortModule`]: "PWVP".
pub const MAGIC: u32 = 0x5056_5750;

/// Returned by the Rust wrapper when a callback panicked; no errno has this value.
pub const E_PANIC: i32 = -4094;

/// A module exports its table as this name followed by the type's number.
pub const SYMBOL_PREFIX: &str = "portway_vport_type_";

/// Levels of [`HostApi::log`].
pub mod log_level {
    /// Something failed that should not.
    pub const ERROR: u32 = 1;
    /// Something a person may want to change.
    pub const WARNING: u32 = 2;
    /// An ordinary event.
    pub const INFO: u32 = 3;
    /// For the module's author.
    pub const DEBUG: u32 = 4;
}

/// Bytes for a device name with its terminating NUL (IFNAMSIZ, linux/if.h).
pub const NAME_SIZE: usize = 16;

/// Bits of [`PortInfo::flags`].
pub mod info_flags {
    /// The port carries bare layer-3 packets.
    pub const LAYER3: u32 = 1 << 0;
    /// The port takes partial checksums and super-packets; otherwise the switch completes them before `tx`.
    pub const OFFLOAD: u32 = 1 << 1;
    /// `rx` must be polled without pause: there is no file descriptor that says when (endless replay).
    pub const BUSY_POLL: u32 = 1 << 2;
    /// There is no over-MTU check for this port (null, pcap).
    pub const NO_MTU: u32 = 1 << 3;
    /// The port cuts TCP super-packets itself, though it does not declare `OFFLOAD`: those over IPv4, or IPv6 without extension
    /// headers, that follow Ethernet and at most two VLAN tags and end with the frame. All others are completed before `tx`.
    pub const CUTS_TCP: u32 = 1 << 4;
}

/// Bytes of room for tunnel options; 252 of Geneve are the most that there can be.
pub const TUNNEL_OPTIONS_MAX: usize = 256;

/// Tunnel metadata: what the outer headers of a received packet said, or what those of a packet to be sent shall say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct TunnelInfo {
    /// Tunnel id (VNI, GRE key), host order.
    pub id: u64,
    /// Outer source; IPv4 in the first four bytes; zeros in a packet to be sent: the host chooses.
    pub src: [u8; 16],
    /// Outer destination; IPv4 in the first four bytes.
    pub dst: [u8; 16],
    /// Outer IPv6 flow label, 20 bits, host order.
    pub label: u32,
    /// [`tunnel_flags`].
    pub flags: u16,
    /// Outer UDP source port, host order; 0 in a packet to be sent: from the flow's hash.
    pub tp_src: u16,
    /// Outer UDP destination port, host order; 0 in a packet to be sent: the port's own.
    pub tp_dst: u16,
    /// Outer type of service or traffic class.
    pub tos: u8,
    /// Outer time to live or hop limit.
    pub ttl: u8,
    /// Outer IP version: 4 or 6.
    pub ip_version: u8,
    /// Zero.
    pub pad: u8,
    /// Bytes of `options` in use.
    pub options_len: u16,
    /// Options, from the first byte on.
    pub options: [u8; TUNNEL_OPTIONS_MAX],
}

/// Why a port type refuses a packet that it received (flag `REFUSED`, number in `l4_offset`).
pub mod refused {
    /// The outer headers are damaged or say what the port does not accept.
    pub const BAD_HEADER: u16 = 1;
    /// The outer header says "congestion" and the frame inside cannot carry the mark (RFC 6040).
    pub const ECN: u16 = 2;
    /// The headers of the frame inside are cut.
    pub const BAD_FRAME: u16 = 3;
}

/// What a port says of itself; filled by `create` and `get_info`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct PortInfo {
    /// Interface index in the port's namespace; 0: no kernel device behind the port.
    pub ifindex: u32,
    /// Largest layer-3 packet in bytes.
    pub mtu: u32,
    /// [`info_flags`].
    pub flags: u32,
    /// Number of receive queues; 0: the port never receives.
    pub rx_queues: u32,
    /// Ethernet address; zeros: none.
    pub mac: [u8; 6],
    /// Whether the link is up (0 or 1).
    pub link_up: u8,
    /// Zero.
    pub pad: u8,
}

/// What `create` is given. Pointers are valid for the call only.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct PortParams {
    /// Port name, NUL-terminated, at most 15 bytes.
    pub name: *const c_char,
    /// The port's network namespace as an open file descriptor; -1: the namespace that the process is in.
    /// The module must restore the calling thread's namespace if it changes it.
    pub netns_fd: i32,
    /// How many threads may call `tx`: queues are `0..tx_queues`.
    pub tx_queues: u32,
    /// Options as netlink attributes (struct nlattr: u16 length, u16 type, value, padded to 4), numbers as in
    /// [`PortModule::options`].
    pub options: *const u8,
    /// Bytes in `options`; 0: none given.
    pub options_len: usize,
    /// For an internal port: the Ethernet address wanted; zeros: choose one.
    pub mac: [u8; 6],
    /// 1: the port is a datapath's own (port 0).
    pub is_local: u8,
    /// Zero.
    pub pad: u8,
}

/// What became of the packets of one `tx` call. All of them are consumed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TxReport {
    /// Packets sent.
    pub sent: u32,
    /// Packets that the driver refused (device gone, down, malformed).
    pub errors: u32,
    /// Packets for which there was no room.
    pub dropped: u32,
    /// How many of `errors` there was no route for (tunnels).
    pub no_route: u32,
    /// Bytes of the packets sent.
    pub sent_bytes: u64,
    /// How many of `dropped` were longer than the path takes.
    pub over_mtu: u32,
    /// How many of `dropped` had no tunnel metadata.
    pub no_tunnel: u32,
    /// Packets without tunnel metadata that the port counts nowhere.
    pub ignored: u32,
    /// How many of `sent` went a way on which the port's device does not count them in its own statistics.
    pub apart: u32,
    /// Bytes of those.
    pub apart_bytes: u64,
}

/// Kinds of option values, [`OptionSpec::kind`].
pub mod option_kind {
    /// A NUL-terminated string.
    pub const STRING: u32 = 0;
    /// u16, host order.
    pub const U16: u32 = 1;
    /// u32, host order.
    pub const U32: u32 = 2;
    /// Present or not.
    pub const FLAG: u32 = 3;
    /// u64, host order.
    pub const U64: u32 = 4;
}

/// One option of a port type: how the config file and the command line name an attribute.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct OptionSpec {
    /// Attribute number.
    pub attr: u32,
    /// [`option_kind`].
    pub kind: u32,
    /// Name in configs, NUL-terminated.
    pub name: *const c_char,
    /// One sentence of help, NUL-terminated.
    pub help: *const c_char,
}

// SAFETY: the pointers of an OptionSpec are to static strings.
unsafe impl Sync for OptionSpec {}

/// Services that the switch offers to a module; passed to `init`, valid until `exit`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct HostApi {
    /// `size_of::<HostApi>()`: later versions append.
    pub size: u32,
    /// [`ABI_VERSION`].
    pub abi_version: u32,
    /// Logs a line: level 1 error, 2 warning, 3 info, 4 debug; the text need not be NUL-terminated.
    pub log: unsafe extern "C" fn(level: u32, text: *const c_char, len: usize),
    /// Gives a received packet its tunnel metadata. Returns 0, or -EINVAL for more options than there can be.
    pub set_tunnel: unsafe extern "C" fn(packet: *mut RawPacket, info: *const TunnelInfo) -> i32,
    /// Writes what the outer headers of a packet to be sent shall say to `info`: of `options` only what is in use. Returns 0,
    /// or -ENOENT if the packet has no such metadata.
    pub get_tunnel: unsafe extern "C" fn(packet: *const RawPacket, info: *mut TunnelInfo) -> i32,
}

/// Header layouts of [`ShortcutMasks`] and [`ShortcutKey`]. Each is followed, one higher, by the same behind one VLAN tag.
pub mod shortcut_layout {
    /// Ethernet; what follows is not looked at. Not for lengths in place of an ethertype (IEEE 802.3), nor NSH, nor cut IP headers, nor
    /// TCP behind IPv4 options, nor IPv6 extension headers.
    pub const LINK: u32 = 0;
    /// IPv4 without options, no fragment; layer 4 is not looked at.
    pub const IPV4: u32 = 2;
    /// UDP in such a packet.
    pub const UDP4: u32 = 4;
    /// TCP in such a packet.
    pub const TCP4: u32 = 6;
    /// UDP directly in IPv6.
    pub const UDP6: u32 = 8;
    /// TCP directly in IPv6.
    pub const TCP6: u32 = 10;
}

/// Which header bits decide what happens to a frame, by layout. A frame of none of the layouts takes no shortcut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ShortcutMasks {
    /// 0: all frames are `LINK`. 1: IPv4 ones are `IPV4`. 2: they are `UDP4` or `TCP4`. IPv6 is not looked at, or as deep as layer 4.
    pub depth: u32,
    /// Zero.
    pub pad: u32,
    /// By [`shortcut_layout`]: the mask over the first bytes of a frame, a VLAN tag in its place.
    pub masks: [[u8; 80]; 12],
}

/// The frames that take one shortcut: those of this layout whose first bytes are these under its mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ShortcutKey {
    /// [`shortcut_layout`].
    pub layout: u32,
    /// Zero.
    pub pad: u32,
    /// The bytes, masked.
    pub window: [u8; 80],
}

/// What a shortcut has carried since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ShortcutCounters {
    /// Frames.
    pub packets: u64,
    /// Bytes, VLAN tags included.
    pub bytes: u64,
    /// When the last one came, monotonic nanoseconds; 0: never.
    pub used_ns: u64,
    /// TCP flags seen, ORed.
    pub tcp_flags: u64,
}

/// Shortcuts: what a port type offers that can carry frames from one of its ports to another without showing them to the switch.
/// The caller serializes these calls for each port.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ShortcutOps {
    /// Says which bits decide from now on; null: no shortcuts at all. All shortcuts of the port end, as by `end`.
    pub set_masks: unsafe extern "C" fn(port: *mut c_void, masks: *const ShortcutMasks) -> i32,
    /// Lets the frames of `key` go from `port` to `output`, another port of the same type, and writes the shortcut's number. They
    /// take it once what came before them has been sent. -EXDEV: not between these two ports; -ENOSPC: there are too many.
    pub add: unsafe extern "C" fn(
        port: *mut c_void,
        output: *mut c_void,
        key: *const ShortcutKey,
        id: *mut u64,
    ) -> i32,
    /// No frame that comes after this call takes the shortcut. Its counters stay readable until `free`.
    pub end: unsafe extern "C" fn(port: *mut c_void, id: u64) -> i32,
    /// Reads a shortcut's counters: sums that never go back.
    pub read: unsafe extern "C" fn(port: *mut c_void, id: u64, counters: *mut ShortcutCounters) -> i32,
    /// Forgets an ended shortcut, at least a second after its end or after `settle`.
    pub free: unsafe extern "C" fn(port: *mut c_void, id: u64),
    /// Waits until frames that came before the call are counted. May block, for tens of milliseconds.
    pub settle: unsafe extern "C" fn(port: *mut c_void),
}

/// A port's outlet: two file descriptors, which whoever is given them closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct OutletFds {
    /// A socket: each message that is written to it is a frame that leaves through the port's device.
    pub socket: i32,
    /// A file of at least 16 bytes that cannot shrink, for a shared mapping. Whoever sends adds to two u64 there, in host order: packets
    /// and bytes.
    pub counters: i32,
}

/// What has been sent through a port's outlets since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct OutletCounters {
    /// Frames.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Outlets: what a port type offers through whose ports other processes may send by themselves. The caller serializes `open` and `close`
/// for each port.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct OutletOps {
    /// Gives out the port's outlet: the same one until `close`. -EOPNOTSUPP: this port has none.
    pub open: unsafe extern "C" fn(port: *mut c_void, outlet: *mut OutletFds) -> i32,
    /// Nothing leaves through what `open` has given out any more: whoever has it finds that sending fails. `destroy` does so, too.
    pub close: unsafe extern "C" fn(port: *mut c_void),
    /// Reads the counters: sums over all outlets that there were. They are as true as those who sent.
    pub sent: unsafe extern "C" fn(port: *mut c_void, counters: *mut OutletCounters) -> i32,
}

/// The table that a module exports as `portway_vport_type_<N>`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct PortModule {
    /// [`MAGIC`].
    pub magic: u32,
    /// [`ABI_VERSION`] that the module was built for.
    pub abi_version: u32,
    /// Size of this struct.
    pub size: u32,
    /// OVS_VPORT_TYPE_* number; Portway's own types start at [`crate::ops::TYPE_PRIVATE`].
    pub port_type: u32,
    /// Type name as configs show it, NUL-terminated.
    pub name: *const c_char,
    /// Options that `create` and `set_options` take.
    pub options: *const OptionSpec,
    /// Number of `options`.
    pub n_options: usize,
    /// Called once after loading; a non-zero return refuses the module. May be absent.
    pub init: Option<unsafe extern "C" fn(host: *const HostApi) -> i32>,
    /// Called once before unloading, when no port is left. May be absent.
    pub exit: Option<unsafe extern "C" fn()>,
    /// Makes a port: fills `port` (the module's own pointer, not null, passed back in every call) and `info`.
    /// On failure nothing may be left behind: no device, no file descriptor.
    pub create:
        unsafe extern "C" fn(params: *const PortParams, port: *mut *mut c_void, info: *mut PortInfo) -> i32,
    /// Destroys a port and what it holds.
    pub destroy: unsafe extern "C" fn(port: *mut c_void),
    /// Changes options of a live port (attributes as in `PortParams::options`). Absent: EOPNOTSUPP.
    pub set_options: Option<unsafe extern "C" fn(port: *mut c_void, options: *const u8, len: usize) -> i32>,
    /// Writes the port's options as attributes to `out` (room for `cap` bytes) and returns their length, -EMSGSIZE if
    /// there is no room, -ENODATA if there are none to report. Absent: there are never any.
    pub get_options: Option<unsafe extern "C" fn(port: *mut c_void, out: *mut u8, cap: usize) -> isize>,
    /// Refreshes what `create` said (MTU, link, name's ifindex may change).
    pub get_info: unsafe extern "C" fn(port: *mut c_void, info: *mut PortInfo) -> i32,
    /// Receives up to `max` packets (never less than `portway_buf::BATCH_MAX`) into `out`; returns how many, 0 for none, or
    /// a negative errno if none was received (-ENETDOWN: the device is down or gone).
    pub rx: Option<
        unsafe extern "C" fn(
            port: *mut c_void,
            queue: u32,
            pool: *mut PoolHandle,
            out: *mut *mut RawPacket,
            max: u32,
        ) -> i32,
    >,
    /// A file descriptor that polls readable when `rx(queue)` has something; -1: none (see `BUSY_POLL`). It stays
    /// the port's; it is valid until `destroy`.
    pub rx_fd: Option<unsafe extern "C" fn(port: *mut c_void, queue: u32) -> i32>,
    /// Sends `n` packets (at most `portway_buf::BATCH_MAX`), consuming all of them also when it fails, and fills `report`
    /// (zeroed by the caller). A negative errno counts those that the report does not mention as errors.
    pub tx: unsafe extern "C" fn(
        port: *mut c_void,
        queue: u32,
        pool: *mut PoolHandle,
        packets: *mut *mut RawPacket,
        n: u32,
        report: *mut TxReport,
    ) -> i32,
    /// Completes `info`, the metadata that `packet` would be sent with, by what the port and the host's routes add: source
    /// address, UDP ports. Any thread. -ENETUNREACH: there is no route. Absent: the port is no tunnel.
    pub egress_tunnel: Option<
        unsafe extern "C" fn(port: *mut c_void, packet: *const RawPacket, info: *mut TunnelInfo) -> i32,
    >,
    /// How many packets for the port were lost since `create` because the host had no room to keep them for `rx`; never goes back. Any
    /// thread. Absent: none that is known of.
    pub rx_missed: Option<unsafe extern "C" fn(port: *mut c_void) -> i64>,
    /// Shortcuts between ports of this type; null: there are none.
    pub shortcuts: *const ShortcutOps,
    /// Outlets of ports of this type; null: there are none.
    pub outlets: *const OutletOps,
}

// SAFETY: a PortModule is a constant table: its pointers are to static strings, static arrays and functions.
unsafe impl Sync for PortModule {}
// SAFETY: as above.
unsafe impl Send for PortModule {}
