/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The C ABI between Portway and a port-type module (vport-type-<N>.so).
 *
 * Generated from crates/vport/src/abi.rs and crates/buf/src by the test `header` of crate portway-vport; run it with
 * PORTWAY_BLESS=1 to write this file anew. docs/howto-port.md walks through a module.
 *
 * The C ABI between Portway and a port-type module (`vport-type-<N>.so`). The C header
 * `crates/vport/include/portway_vport.h` says the same in C; a test holds the two together.
 *
 * A module exports one symbol, `portway_vport_type_<N>`, of type `PortModule`. Modules in Rust do not write one by hand:
 * they implement `PortType` and use `portway_vport::port_module!`.
 *
 * # Rules for every callback
 * * Errors are returned as negative errno values; success is 0 (or a count).
 * * A callback must not unwind. (The Rust wrapper catches panics and returns `E_PANIC`.)
 * * `rx(queue)` is called by one thread at a time for each queue, `tx(queue)` by one thread at a time for each queue;
 *   all else may be called by any thread at the same time as those.
 * * `destroy` is called once, after every other call on that port has returned and no reader holds it.
 * * Packets are owned: `rx` hands ownership to the caller, `tx` takes ownership of all packets it is given, also of those
 *   that it fails to send, and frees them through the pool that comes with the call.
 */
#ifndef PORTWAY_VPORT_H
#define PORTWAY_VPORT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The most packets that travel together from rx to tx. */
#define PORTWAY_BATCH_MAX 64

/*
 * Bytes kept free in front of a received frame: room for the largest encapsulation
 * (Ethernet, IPv6, UDP, Geneve with 252 bytes of options) without moving the frame.
 */
#define PORTWAY_HEADROOM 384

/* The longest frame that the switch carries, in bytes: a 64 KiB segment with its headers. */
#define PORTWAY_FRAME_MAX (65535 + 256)

/*
 * Bits of a tunnel's `flags`, in the order of the kernel's TUNNEL_* flags; others are zero. The same in metadata, in the flow key and in
 * the ABI of modules.
 */
/* The outer header has a checksum (OVS_TUNNEL_KEY_ATTR_CSUM). */
#define PORTWAY_TUNNEL_CSUM (1 << 0)
/* The tunnel id counts (OVS_TUNNEL_KEY_ATTR_ID was given). */
#define PORTWAY_TUNNEL_KEY (1 << 2)
/* Do not fragment the outer packet (OVS_TUNNEL_KEY_ATTR_DONT_FRAGMENT). */
#define PORTWAY_TUNNEL_DONT_FRAGMENT (1 << 8)
/* Operations and maintenance packet (OVS_TUNNEL_KEY_ATTR_OAM, Geneve). */
#define PORTWAY_TUNNEL_OAM (1 << 9)
/* There are options that must be understood (Geneve). */
#define PORTWAY_TUNNEL_CRIT_OPT (1 << 10)
/* `options` are Geneve options. */
#define PORTWAY_TUNNEL_GENEVE_OPT (1 << 11)
/* `options` is VXLAN's group policy: a u32, host order, laid out as the header's first word. */
#define PORTWAY_TUNNEL_VXLAN_OPT (1 << 12)
/* `options` is ERSPAN metadata. */
#define PORTWAY_TUNNEL_ERSPAN_OPT (1 << 14)

/* Bits of `RawPacket::flags`. */
/*
 * The checksum at `csum_start + csum_offset` covers only the pseudo-header: the rest is still to be
 * added (VIRTIO_NET_HDR_F_NEEDS_CSUM).
 */
#define PORTWAY_PACKET_PARTIAL_CSUM (1 << 0)
/* The receiver has verified the checksum (VIRTIO_NET_HDR_F_DATA_VALID). */
#define PORTWAY_PACKET_CSUM_VALID (1 << 1)
/* The frame starts with a layer-3 header; there is no Ethernet header. */
#define PORTWAY_PACKET_LAYER3 (1 << 2)
/*
 * Metadata other than `in_port` and `recirc_id` is present (mark, priority, dp_hash, extension):
 * the flow look-up must take the general way.
 */
#define PORTWAY_PACKET_METADATA (1 << 3)
/* Something in the header's second cache line is set: it must be cleared before the buffer is used again. */
#define PORTWAY_PACKET_COLD (1 << 4)
/* The port type hands a received packet over only to have it counted as dropped; `l4_offset` says why. */
#define PORTWAY_PACKET_REFUSED (1 << 5)

/* Version of this ABI. A module built for another one is refused by name. */
#define PORTWAY_ABI_VERSION 4

/* First word of a `PortModule`: "PWVP". */
#define PORTWAY_MAGIC 0x50565750u

/* Returned by the Rust wrapper when a callback panicked; no errno has this value. */
#define PORTWAY_E_PANIC (-4094)

/* A module exports its table as this name followed by the type's number. */
#define PORTWAY_SYMBOL_PREFIX "portway_vport_type_"

/* Levels of `HostApi::log`. */
/* Something failed that should not. */
#define PORTWAY_LOG_ERROR 1
/* Something a person may want to change. */
#define PORTWAY_LOG_WARNING 2
/* An ordinary event. */
#define PORTWAY_LOG_INFO 3
/* For the module's author. */
#define PORTWAY_LOG_DEBUG 4

/* Bytes for a device name with its terminating NUL (IFNAMSIZ, linux/if.h). */
#define PORTWAY_NAME_SIZE 16

/* Bits of `PortInfo::flags`. */
/* The port carries bare layer-3 packets. */
#define PORTWAY_INFO_LAYER3 (1 << 0)
/* The port takes partial checksums and super-packets; otherwise the switch completes them before `tx`. */
#define PORTWAY_INFO_OFFLOAD (1 << 1)
/* `rx` must be polled without pause: there is no file descriptor that says when (endless replay). */
#define PORTWAY_INFO_BUSY_POLL (1 << 2)
/* There is no over-MTU check for this port (null, pcap). */
#define PORTWAY_INFO_NO_MTU (1 << 3)
/*
 * The port cuts TCP super-packets itself, though it does not declare `OFFLOAD`: those over IPv4, or IPv6 without extension
 * headers, that follow Ethernet and at most two VLAN tags and end with the frame. All others are completed before `tx`.
 */
#define PORTWAY_INFO_CUTS_TCP (1 << 4)

/* Bytes of room for tunnel options; 252 of Geneve are the most that there can be. */
#define PORTWAY_TUNNEL_OPTIONS_MAX 256

/* Why a port type refuses a packet that it received (flag `REFUSED`, number in `l4_offset`). */
/* The outer headers are damaged or say what the port does not accept. */
#define PORTWAY_REFUSED_BAD_HEADER 1
/* The outer header says "congestion" and the frame inside cannot carry the mark (RFC 6040). */
#define PORTWAY_REFUSED_ECN 2
/* The headers of the frame inside are cut. */
#define PORTWAY_REFUSED_BAD_FRAME 3

/* Kinds of option values, `OptionSpec::kind`. */
/* A NUL-terminated string. */
#define PORTWAY_OPTION_STRING 0
/* u16, host order. */
#define PORTWAY_OPTION_U16 1
/* u32, host order. */
#define PORTWAY_OPTION_U32 2
/* Present or not. */
#define PORTWAY_OPTION_FLAG 3
/* u64, host order. */
#define PORTWAY_OPTION_U64 4

/* Header layouts of `ShortcutMasks` and `ShortcutKey`. Each is followed, one higher, by the same behind one VLAN tag. */
/*
 * Ethernet; what follows is not looked at. Not for lengths in place of an ethertype (IEEE 802.3), nor NSH, nor cut IP headers, nor
 * TCP behind IPv4 options, nor IPv6 extension headers.
 */
#define PORTWAY_SHORTCUT_LINK 0
/* IPv4 without options, no fragment; layer 4 is not looked at. */
#define PORTWAY_SHORTCUT_IPV4 2
/* UDP in such a packet. */
#define PORTWAY_SHORTCUT_UDP4 4
/* TCP in such a packet. */
#define PORTWAY_SHORTCUT_TCP4 6
/* UDP directly in IPv6. */
#define PORTWAY_SHORTCUT_UDP6 8
/* TCP directly in IPv6. */
#define PORTWAY_SHORTCUT_TCP6 10

/*
 * A packet buffer's header as the module ABI shows it (`struct portway_packet` in `portway_vport.h`).
 *
 * The first cache line holds all that the fast path touches. Fields are public because modules in C
 * see them; Rust code uses `Packet`'s methods.
 *
 * Invariants, relied on by every safe method of `Packet`: `area` points to `capacity` initialised
 * bytes owned by this buffer; `data + len <= capacity`.
 */
struct portway_packet {
	/* First byte of the data area. */
	uint8_t *area;
	/* Bytes in the data area. */
	uint32_t capacity;
	/* Offset of the frame's first byte in the data area. */
	uint32_t data;
	/* Length of the frame in bytes. */
	uint32_t len;
	/* Bits of `flags`. */
	uint16_t flags;
	/* Where a partial checksum's coverage starts, in bytes from the frame's start. */
	uint16_t csum_start;
	/* Where the checksum field is, in bytes from `csum_start`. */
	uint16_t csum_offset;
	/* Payload bytes of each segment of a super-packet; 0: not one. */
	uint16_t gso_size;
	/* VIRTIO_NET_HDR_GSO_* (linux/virtio_net.h): 0 none, 1 TCPv4, 3 UDP, 4 TCPv6, 5 UDP_L4; 0x80: ECN. */
	uint8_t gso_type;
	/* Buffer class, see `Class`. */
	uint8_t size_class;
	/* Ethertype (host order) of a frame without an Ethernet header (`flags::LAYER3`). */
	uint16_t l3_protocol;
	/* Hash of the flow as the receiver computed it; 0: not known. */
	uint32_t rx_hash;
	/* Number of the port that received the packet. */
	uint32_t in_port;
	/* skb mark (OVS_KEY_ATTR_SKB_MARK). */
	uint32_t mark;
	/* skb priority (OVS_KEY_ATTR_PRIORITY). */
	uint32_t priority;
	/* Recirculation id (OVS_KEY_ATTR_RECIRC_ID); 0 for a packet fresh from a port. */
	uint32_t recirc_id;
	/* Datapath hash set by the hash action (OVS_KEY_ATTR_DP_HASH). */
	uint32_t dp_hash;
	/* Gives the buffer back to the allocator that made it; called by whoever drops the packet last. */
	void (*release)(struct portway_packet *arg0);
	/* Tunnel and connection state; null: none. Owned; made by `Packet::extension_mut`. */
	void *extension;
	/* Offset of the layer-3 header from the frame's start, where an earlier stage found it. */
	uint16_t l3_offset;
	/* Offset of the layer-4 header from the frame's start, where an earlier stage found it. */
	uint16_t l4_offset;
	/* Largest fragment of the datagram that this packet was reassembled from; 0: not reassembled. */
	uint16_t mru;
	/* How often the packet was recirculated. */
	uint16_t recirculations;
} __attribute__((aligned(64)));

/* The part of a pool that modules see: two functions (`struct portway_pool` in `portway_vport.h`). */
struct portway_pool {
	/*
	 * Fills `out[0..n]` with empty packets of `class` (0 small, 1 large) and returns how many there are
	 * (always `n` today; a pool with a limit may give fewer).
	 */
	uint32_t (*alloc)(struct portway_pool *pool,
		uint32_t size_class,
		struct portway_packet **out,
		uint32_t n);
	/* Takes `packets[0..n]` back. */
	void (*free)(struct portway_pool *pool, struct portway_packet **packets, uint32_t n);
};

/* Tunnel metadata: what the outer headers of a received packet said, or what those of a packet to be sent shall say. */
struct portway_tunnel_info {
	/* Tunnel id (VNI, GRE key), host order. */
	uint64_t id;
	/* Outer source; IPv4 in the first four bytes; zeros in a packet to be sent: the host chooses. */
	uint8_t src[16];
	/* Outer destination; IPv4 in the first four bytes. */
	uint8_t dst[16];
	/* Outer IPv6 flow label, 20 bits, host order. */
	uint32_t label;
	/* `tunnel_flags`. */
	uint16_t flags;
	/* Outer UDP source port, host order; 0 in a packet to be sent: from the flow's hash. */
	uint16_t tp_src;
	/* Outer UDP destination port, host order; 0 in a packet to be sent: the port's own. */
	uint16_t tp_dst;
	/* Outer type of service or traffic class. */
	uint8_t tos;
	/* Outer time to live or hop limit. */
	uint8_t ttl;
	/* Outer IP version: 4 or 6. */
	uint8_t ip_version;
	/* Zero. */
	uint8_t pad;
	/* Bytes of `options` in use. */
	uint16_t options_len;
	/* Options, from the first byte on. */
	uint8_t options[PORTWAY_TUNNEL_OPTIONS_MAX];
};

/* What a port says of itself; filled by `create` and `get_info`. */
struct portway_port_info {
	/* Interface index in the port's namespace; 0: no kernel device behind the port. */
	uint32_t ifindex;
	/* Largest layer-3 packet in bytes. */
	uint32_t mtu;
	/* `info_flags`. */
	uint32_t flags;
	/* Number of receive queues; 0: the port never receives. */
	uint32_t rx_queues;
	/* Ethernet address; zeros: none. */
	uint8_t mac[6];
	/* Whether the link is up (0 or 1). */
	uint8_t link_up;
	/* Zero. */
	uint8_t pad;
};

/* What `create` is given. Pointers are valid for the call only. */
struct portway_port_params {
	/* Port name, NUL-terminated, at most 15 bytes. */
	const char *name;
	/*
	 * The port's network namespace as an open file descriptor; -1: the namespace that the process is in.
	 * The module must restore the calling thread's namespace if it changes it.
	 */
	int32_t netns_fd;
	/* How many threads may call `tx`: queues are `0..tx_queues`. */
	uint32_t tx_queues;
	/*
	 * Options as netlink attributes (struct nlattr: u16 length, u16 type, value, padded to 4), numbers as in
	 * `PortModule::options`.
	 */
	const uint8_t *options;
	/* Bytes in `options`; 0: none given. */
	size_t options_len;
	/* For an internal port: the Ethernet address wanted; zeros: choose one. */
	uint8_t mac[6];
	/* 1: the port is a datapath's own (port 0). */
	uint8_t is_local;
	/* Zero. */
	uint8_t pad;
};

/* What became of the packets of one `tx` call. All of them are consumed. */
struct portway_tx_report {
	/* Packets sent. */
	uint32_t sent;
	/* Packets that the driver refused (device gone, down, malformed). */
	uint32_t errors;
	/* Packets for which there was no room. */
	uint32_t dropped;
	/* How many of `errors` there was no route for (tunnels). */
	uint32_t no_route;
	/* Bytes of the packets sent. */
	uint64_t sent_bytes;
	/* How many of `dropped` were longer than the path takes. */
	uint32_t over_mtu;
	/* How many of `dropped` had no tunnel metadata. */
	uint32_t no_tunnel;
	/* Packets without tunnel metadata that the port counts nowhere. */
	uint32_t ignored;
	/* How many of `sent` went a way on which the port's device does not count them in its own statistics. */
	uint32_t apart;
	/* Bytes of those. */
	uint64_t apart_bytes;
};

/* One option of a port type: how the config file and the command line name an attribute. */
struct portway_option_spec {
	/* Attribute number. */
	uint32_t attr;
	/* `option_kind`. */
	uint32_t kind;
	/* Name in configs, NUL-terminated. */
	const char *name;
	/* One sentence of help, NUL-terminated. */
	const char *help;
};

/* Services that the switch offers to a module; passed to `init`, valid until `exit`. */
struct portway_host_api {
	/* `size_of::<HostApi>()`: later versions append. */
	uint32_t size;
	/* `ABI_VERSION`. */
	uint32_t abi_version;
	/* Logs a line: level 1 error, 2 warning, 3 info, 4 debug; the text need not be NUL-terminated. */
	void (*log)(uint32_t level, const char *text, size_t len);
	/* Gives a received packet its tunnel metadata. Returns 0, or -EINVAL for more options than there can be. */
	int32_t (*set_tunnel)(struct portway_packet *packet, const struct portway_tunnel_info *info);
	/*
	 * Writes what the outer headers of a packet to be sent shall say to `info`: of `options` only what is in use. Returns 0,
	 * or -ENOENT if the packet has no such metadata.
	 */
	int32_t (*get_tunnel)(const struct portway_packet *packet, struct portway_tunnel_info *info);
};

/* Which header bits decide what happens to a frame, by layout. A frame of none of the layouts takes no shortcut. */
struct portway_shortcut_masks {
	/* 0: all frames are `LINK`. 1: IPv4 ones are `IPV4`. 2: they are `UDP4` or `TCP4`. IPv6 is not looked at, or as deep as layer 4. */
	uint32_t depth;
	/* Zero. */
	uint32_t pad;
	/* By `shortcut_layout`: the mask over the first bytes of a frame, a VLAN tag in its place. */
	uint8_t masks[12][80];
};

/* The frames that take one shortcut: those of this layout whose first bytes are these under its mask. */
struct portway_shortcut_key {
	/* `shortcut_layout`. */
	uint32_t layout;
	/* Zero. */
	uint32_t pad;
	/* The bytes, masked. */
	uint8_t window[80];
};

/* What a shortcut has carried since it was made. */
struct portway_shortcut_counters {
	/* Frames. */
	uint64_t packets;
	/* Bytes, VLAN tags included. */
	uint64_t bytes;
	/* When the last one came, monotonic nanoseconds; 0: never. */
	uint64_t used_ns;
	/* TCP flags seen, ORed. */
	uint64_t tcp_flags;
};

/*
 * Shortcuts: what a port type offers that can carry frames from one of its ports to another without showing them to the switch.
 * The caller serializes these calls for each port.
 */
struct portway_shortcut_ops {
	/* Says which bits decide from now on; null: no shortcuts at all. All shortcuts of the port end, as by `end`. */
	int32_t (*set_masks)(void *port, const struct portway_shortcut_masks *masks);
	/*
	 * Lets the frames of `key` go from `port` to `output`, another port of the same type, and writes the shortcut's number. They
	 * take it once what came before them has been sent. -EXDEV: not between these two ports; -ENOSPC: there are too many.
	 */
	int32_t (*add)(void *port, void *output, const struct portway_shortcut_key *key, uint64_t *id);
	/* No frame that comes after this call takes the shortcut. Its counters stay readable until `free`. */
	int32_t (*end)(void *port, uint64_t id);
	/* Reads a shortcut's counters: sums that never go back. */
	int32_t (*read)(void *port, uint64_t id, struct portway_shortcut_counters *counters);
	/* Forgets an ended shortcut, at least a second after its end or after `settle`. */
	void (*free)(void *port, uint64_t id);
	/* Waits until frames that came before the call are counted. May block, for tens of milliseconds. */
	void (*settle)(void *port);
};

/* A port's outlet: two file descriptors, which whoever is given them closes. */
struct portway_outlet_fds {
	/* A socket: each message that is written to it is a frame that leaves through the port's device. */
	int32_t socket;
	/*
	 * A file of at least 16 bytes that cannot shrink, for a shared mapping. Whoever sends adds to two u64 there, in host order: packets
	 * and bytes.
	 */
	int32_t counters;
};

/* What has been sent through a port's outlets since it was made. */
struct portway_outlet_counters {
	/* Frames. */
	uint64_t packets;
	/* Bytes. */
	uint64_t bytes;
};

/*
 * Outlets: what a port type offers through whose ports other processes may send by themselves. The caller serializes `open` and `close`
 * for each port.
 */
struct portway_outlet_ops {
	/* Gives out the port's outlet: the same one until `close`. -EOPNOTSUPP: this port has none. */
	int32_t (*open)(void *port, struct portway_outlet_fds *outlet);
	/* Nothing leaves through what `open` has given out any more: whoever has it finds that sending fails. `destroy` does so, too. */
	void (*close)(void *port);
	/* Reads the counters: sums over all outlets that there were. They are as true as those who sent. */
	int32_t (*sent)(void *port, struct portway_outlet_counters *counters);
};

/* The table that a module exports as `portway_vport_type_<N>`. */
struct portway_port_module {
	/* `MAGIC`. */
	uint32_t magic;
	/* `ABI_VERSION` that the module was built for. */
	uint32_t abi_version;
	/* Size of this struct. */
	uint32_t size;
	/* OVS_VPORT_TYPE_* number; Portway's own types start at `TYPE_PRIVATE`. */
	uint32_t port_type;
	/* Type name as configs show it, NUL-terminated. */
	const char *name;
	/* Options that `create` and `set_options` take. */
	const struct portway_option_spec *options;
	/* Number of `options`. */
	size_t n_options;
	/* Called once after loading; a non-zero return refuses the module. May be absent. */
	int32_t (*init)(const struct portway_host_api *host);
	/* Called once before unloading, when no port is left. May be absent. */
	void (*exit)(void);
	/*
	 * Makes a port: fills `port` (the module's own pointer, not null, passed back in every call) and `info`.
	 * On failure nothing may be left behind: no device, no file descriptor.
	 */
	int32_t (*create)(const struct portway_port_params *params,
		void **port,
		struct portway_port_info *info);
	/* Destroys a port and what it holds. */
	void (*destroy)(void *port);
	/* Changes options of a live port (attributes as in `PortParams::options`). Absent: EOPNOTSUPP. */
	int32_t (*set_options)(void *port, const uint8_t *options, size_t len);
	/*
	 * Writes the port's options as attributes to `out` (room for `cap` bytes) and returns their length, -EMSGSIZE if
	 * there is no room, -ENODATA if there are none to report. Absent: there are never any.
	 */
	ssize_t (*get_options)(void *port, uint8_t *out, size_t cap);
	/* Refreshes what `create` said (MTU, link, name's ifindex may change). */
	int32_t (*get_info)(void *port, struct portway_port_info *info);
	/*
	 * Receives up to `max` packets (never less than `portway_buf::BATCH_MAX`) into `out`; returns how many, 0 for none, or
	 * a negative errno if none was received (-ENETDOWN: the device is down or gone).
	 */
	int32_t (*rx)(void *port,
		uint32_t queue,
		struct portway_pool *pool,
		struct portway_packet **out,
		uint32_t max);
	/*
	 * A file descriptor that polls readable when `rx(queue)` has something; -1: none (see `BUSY_POLL`). It stays
	 * the port's; it is valid until `destroy`.
	 */
	int32_t (*rx_fd)(void *port, uint32_t queue);
	/*
	 * Sends `n` packets (at most `portway_buf::BATCH_MAX`), consuming all of them also when it fails, and fills `report`
	 * (zeroed by the caller). A negative errno counts those that the report does not mention as errors.
	 */
	int32_t (*tx)(void *port,
		uint32_t queue,
		struct portway_pool *pool,
		struct portway_packet **packets,
		uint32_t n,
		struct portway_tx_report *report);
	/*
	 * Completes `info`, the metadata that `packet` would be sent with, by what the port and the host's routes add: source
	 * address, UDP ports. Any thread. -ENETUNREACH: there is no route. Absent: the port is no tunnel.
	 */
	int32_t (*egress_tunnel)(void *port,
		const struct portway_packet *packet,
		struct portway_tunnel_info *info);
	/*
	 * How many packets for the port were lost since `create` because the host had no room to keep them for `rx`; never goes back. Any
	 * thread. Absent: none that is known of.
	 */
	int64_t (*rx_missed)(void *port);
	/* Shortcuts between ports of this type; null: there are none. */
	const struct portway_shortcut_ops *shortcuts;
	/* Outlets of ports of this type; null: there are none. */
	const struct portway_outlet_ops *outlets;
};

/* The type of a module's one exported symbol: PORTWAY_MODULE(42) = { ... }; */
#ifdef __cplusplus
}
/* Declared first: a constant has internal linkage otherwise. */
#define PORTWAY_MODULE(type) \
	extern "C" __attribute__((visibility("default"))) const struct portway_port_module portway_vport_type_##type; \
	const struct portway_port_module portway_vport_type_##type
#else
#define PORTWAY_MODULE(type) \
	__attribute__((visibility("default"))) const struct portway_port_module portway_vport_type_##type
#endif

#endif /* PORTWAY_VPORT_H */
