// SPDX-License-Identifier: Apache-2.0 OR MIT
//! OVS_KEY_ATTR_TUNNEL: a nest, in keys, in masks and in `set(tunnel)` actions.

use portway_buf::TunnelKey;
use portway_flow::{FlowKey, tunnel_flags};
use portway_netlink::{Attr, AttrBuilder, Attrs, Error};
use portway_uapi::openvswitch as ovs;
use zerocopy::network_endian::{U16, U64};

use super::KeyError;

const NEST: &str = "tunnel";
/// Bytes of `struct vxlan_metadata` and `struct erspan_metadata`.
const VXLAN_LEN: usize = 4;
const ERSPAN_LEN: usize = 12;
/// The most bytes of options.
const OPTIONS_MAX: usize = 255;

/// The flags that have an attribute of their own, in the kernel's order.
const BEFORE_PORTS: [(u16, u16); 2] = [
    (ovs::OVS_TUNNEL_KEY_ATTR_DONT_FRAGMENT, tunnel_flags::DONT_FRAGMENT),
    (ovs::OVS_TUNNEL_KEY_ATTR_CSUM, tunnel_flags::CSUM),
];

/// Writes the nest. `proto` and `opts_len` are the key's, also for a mask.
pub(crate) fn put_tunnel(
    out: &mut AttrBuilder<'_>,
    key: &FlowKey,
    proto: u8,
    opts_len: u8,
) -> Result<(), Error> {
    out.nest_unmarked(ovs::OVS_KEY_ATTR_TUNNEL, |out| put_fields(out, key, proto, opts_len))
}

/// Writes the nest of a set action, which, unlike a match, may ask for the metadata of a bridge port: only then it has no destination.
pub(crate) fn put_set_tunnel(out: &mut AttrBuilder<'_>, key: &FlowKey) -> Result<(), Error> {
    if key.tun_proto != 4 || key.tun_dst[..4] != [0; 4] {
        return put_tunnel(out, key, key.tun_proto, key.tun_opts_len);
    }
    out.nest_unmarked(ovs::OVS_KEY_ATTR_TUNNEL, |out| {
        if key.tun_flags & tunnel_flags::KEY != 0 {
            out.put_be64(ovs::OVS_TUNNEL_KEY_ATTR_ID, key.tun_id.get())?;
        }
        out.put_flag(ovs::OVS_TUNNEL_KEY_ATTR_IPV4_INFO_BRIDGE)
    })
}

/// Writes a tunnel's metadata as a nest of this kind.
///
/// # Errors
/// No room.
pub fn put_tunnel_info(out: &mut AttrBuilder<'_>, kind: u16, tunnel: &TunnelKey) -> Result<(), Error> {
    let mut key = FlowKey::default();
    portway_flow::put_tunnel(tunnel, &mut key);
    out.nest_unmarked(kind, |out| put_fields(out, &key, key.tun_proto, key.tun_opts_len))
}

fn put_fields(out: &mut AttrBuilder<'_>, key: &FlowKey, proto: u8, opts_len: u8) -> Result<(), Error> {
    if key.tun_flags & tunnel_flags::KEY != 0 {
        out.put_be64(ovs::OVS_TUNNEL_KEY_ATTR_ID, key.tun_id.get())?;
    }
    let (len, kinds) = match proto {
        4 => (4, [ovs::OVS_TUNNEL_KEY_ATTR_IPV4_SRC, ovs::OVS_TUNNEL_KEY_ATTR_IPV4_DST]),
        _ => (16, [ovs::OVS_TUNNEL_KEY_ATTR_IPV6_SRC, ovs::OVS_TUNNEL_KEY_ATTR_IPV6_DST]),
    };
    for (kind, address) in kinds.into_iter().zip([&key.tun_src[..len], &key.tun_dst[..len]]) {
        if proto != 0 && address.iter().any(|&byte| byte != 0) {
            out.put(kind, address)?;
        }
    }
    if key.tun_tos != 0 {
        out.put_u8(ovs::OVS_TUNNEL_KEY_ATTR_TOS, key.tun_tos)?;
    }
    out.put_u8(ovs::OVS_TUNNEL_KEY_ATTR_TTL, key.tun_ttl)?;
    for (kind, flag) in BEFORE_PORTS {
        if key.tun_flags & flag != 0 {
            out.put_flag(kind)?;
        }
    }
    for (kind, port) in
        [(ovs::OVS_TUNNEL_KEY_ATTR_TP_SRC, key.tun_tp_src), (ovs::OVS_TUNNEL_KEY_ATTR_TP_DST, key.tun_tp_dst)]
    {
        if port.get() != 0 {
            out.put_be16(kind, port.get())?;
        }
    }
    if key.tun_flags & tunnel_flags::OAM != 0 {
        out.put_flag(ovs::OVS_TUNNEL_KEY_ATTR_OAM)?;
    }
    put_options(out, key, opts_len)
}

fn put_options(out: &mut AttrBuilder<'_>, key: &FlowKey, opts_len: u8) -> Result<(), Error> {
    let options = &key.tun_opts[key.tun_opts.len() - usize::from(opts_len)..];
    if options.is_empty() {
        Ok(())
    } else if key.tun_flags & tunnel_flags::GENEVE_OPT != 0 {
        out.put(ovs::OVS_TUNNEL_KEY_ATTR_GENEVE_OPTS, options)
    } else if key.tun_flags & tunnel_flags::VXLAN_OPT != 0 {
        let word = options.first_chunk::<VXLAN_LEN>().copied().unwrap_or_default();
        out.nest_unmarked(ovs::OVS_TUNNEL_KEY_ATTR_VXLAN_OPTS, |out| out.put(ovs::OVS_VXLAN_EXT_GBP, &word))
    } else if key.tun_flags & tunnel_flags::ERSPAN_OPT != 0 {
        out.put(ovs::OVS_TUNNEL_KEY_ATTR_ERSPAN_OPTS, options)
    } else {
        Ok(())
    }
}

/// What a nest has said so far.
#[derive(Default)]
struct Seen {
    flags: u16,
    ipv4: bool,
    ipv6: bool,
    ttl: bool,
    options: bool,
    /// OVS_TUNNEL_KEY_ATTR_IPV4_INFO_BRIDGE: a key that asks for the tunnel metadata of a bridge port, with nothing else in it.
    bridge: bool,
}

/// Reads the nest into `to`: a key, or the mask of a `key`.
pub(crate) fn read_tunnel(nest: Attr<'_>, to: &mut FlowKey, key: Option<&FlowKey>) -> Result<(), KeyError> {
    let mut seen = Seen::default();
    let mut attrs = nest.nested();
    for attr in attrs.by_ref() {
        read_attribute(attr, to, key.map(|key| key.tun_opts_len), &mut seen)?;
    }
    if !attrs.leftover().is_empty() {
        return Err(KeyError::Leftover);
    }
    to.tun_flags = seen.flags;
    to.tun_proto = match (key, seen.ipv6) {
        (Some(_), _) => 0xff,
        (None, true) => 6,
        (None, false) => 4,
    };
    if seen.ipv4 && seen.ipv6 {
        return Err(KeyError::Tunnel);
    }
    match key {
        Some(key) => other_family(to, key.tun_proto, &seen),
        None if !is_complete(to, &seen) => return Err(KeyError::Tunnel),
        None => {}
    }
    Ok(())
}

/// A mask of addresses of the other family than the key's: in the kernel's key, source and destination of IPv4 lie in the first
/// eight bytes of the IPv6 source.
fn other_family(mask: &mut FlowKey, key_proto: u8, seen: &Seen) {
    let (src, dst) = (mask.tun_src, mask.tun_dst);
    if key_proto == 4 && seen.ipv6 {
        (mask.tun_src, mask.tun_dst) = ([0; 16], [0; 16]);
        mask.tun_src[..4].copy_from_slice(&src[..4]);
        mask.tun_dst[..4].copy_from_slice(&src[4..8]);
    } else if key_proto == 6 && seen.ipv4 {
        mask.tun_dst = [0; 16];
        mask.tun_src[4..8].copy_from_slice(&dst[..4]);
    }
}

/// Whether a key names what every tunnel packet has.
fn is_complete(key: &FlowKey, seen: &Seen) -> bool {
    if seen.bridge {
        let plain = key.tun_src[..4] == [0; 4]
            && key.tun_dst[..4] == [0; 4]
            && key.tun_tp_src.get() == 0
            && key.tun_tp_dst.get() == 0
            && key.tun_ttl == 0
            && key.tun_tos == 0;
        return plain && seen.flags & !tunnel_flags::KEY == 0;
    }
    let len = if seen.ipv6 { 16 } else { 4 };
    (seen.ipv4 || seen.ipv6) && seen.ttl && key.tun_dst[..len].iter().any(|&byte| byte != 0)
}

/// A copy of an attribute's payload, if it has the right length.
fn exact<const N: usize>(attr: Attr<'_>) -> Result<[u8; N], KeyError> {
    let wrong = KeyError::Nested { nest: NEST, kind: attr.kind(), len: attr.len() };
    attr.payload().try_into().map_err(|_| wrong)
}

fn read_attribute(
    attr: Attr<'_>,
    to: &mut FlowKey,
    key_opts_len: Option<u8>,
    seen: &mut Seen,
) -> Result<(), KeyError> {
    match attr.kind() {
        ovs::OVS_TUNNEL_KEY_ATTR_ID => {
            to.tun_id = U64::from_bytes(exact(attr)?);
            seen.flags |= tunnel_flags::KEY;
        }
        kind @ (ovs::OVS_TUNNEL_KEY_ATTR_IPV4_SRC | ovs::OVS_TUNNEL_KEY_ATTR_IPV4_DST) => {
            let source = kind == ovs::OVS_TUNNEL_KEY_ATTR_IPV4_SRC;
            let address = if source { &mut to.tun_src } else { &mut to.tun_dst };
            address[..4].copy_from_slice(&exact::<4>(attr)?);
            seen.ipv4 = true;
        }
        kind @ (ovs::OVS_TUNNEL_KEY_ATTR_IPV6_SRC | ovs::OVS_TUNNEL_KEY_ATTR_IPV6_DST) => {
            let source = kind == ovs::OVS_TUNNEL_KEY_ATTR_IPV6_SRC;
            *(if source { &mut to.tun_src } else { &mut to.tun_dst }) = exact(attr)?;
            seen.ipv6 = true;
        }
        ovs::OVS_TUNNEL_KEY_ATTR_TOS => [to.tun_tos] = exact(attr)?,
        ovs::OVS_TUNNEL_KEY_ATTR_TTL => {
            [to.tun_ttl] = exact(attr)?;
            seen.ttl = true;
        }
        ovs::OVS_TUNNEL_KEY_ATTR_TP_SRC => to.tun_tp_src = U16::from_bytes(exact(attr)?),
        ovs::OVS_TUNNEL_KEY_ATTR_TP_DST => to.tun_tp_dst = U16::from_bytes(exact(attr)?),
        ovs::OVS_TUNNEL_KEY_ATTR_DONT_FRAGMENT => {
            exact::<0>(attr)?;
            seen.flags |= tunnel_flags::DONT_FRAGMENT;
        }
        ovs::OVS_TUNNEL_KEY_ATTR_CSUM => {
            exact::<0>(attr)?;
            seen.flags |= tunnel_flags::CSUM;
        }
        ovs::OVS_TUNNEL_KEY_ATTR_OAM => {
            exact::<0>(attr)?;
            seen.flags |= tunnel_flags::OAM;
        }
        ovs::OVS_TUNNEL_KEY_ATTR_PAD => drop(exact::<0>(attr)?),
        ovs::OVS_TUNNEL_KEY_ATTR_IPV4_INFO_BRIDGE => {
            exact::<0>(attr)?;
            (seen.bridge, seen.ipv4) = (true, true);
        }
        ovs::OVS_TUNNEL_KEY_ATTR_GENEVE_OPTS
        | ovs::OVS_TUNNEL_KEY_ATTR_VXLAN_OPTS
        | ovs::OVS_TUNNEL_KEY_ATTR_ERSPAN_OPTS => {
            if std::mem::replace(&mut seen.options, true) {
                return Err(KeyError::TunnelOptions);
            }
            seen.flags |= read_options(attr, to, key_opts_len)?;
        }
        kind => return Err(KeyError::Nested { nest: NEST, kind, len: attr.len() }),
    }
    Ok(())
}

/// Reads options and returns the flag of their kind.
fn read_options(attr: Attr<'_>, to: &mut FlowKey, key_opts_len: Option<u8>) -> Result<u16, KeyError> {
    let word;
    let (flag, bytes, len) = match attr.kind() {
        ovs::OVS_TUNNEL_KEY_ATTR_VXLAN_OPTS => {
            word = read_gbp(attr.nested())?;
            (tunnel_flags::VXLAN_OPT, &word[..], VXLAN_LEN)
        }
        ovs::OVS_TUNNEL_KEY_ATTR_ERSPAN_OPTS => (tunnel_flags::ERSPAN_OPT, attr.payload(), ERSPAN_LEN),
        _ => (tunnel_flags::GENEVE_OPT, attr.payload(), attr.len()),
    };
    let geneve = flag == tunnel_flags::GENEVE_OPT;
    if bytes.len() > OPTIONS_MAX || (geneve && bytes.len() % 4 != 0) {
        return Err(KeyError::Nested { nest: NEST, kind: attr.kind(), len: attr.len() });
    }
    if let Some(key) = key_opts_len.map(usize::from).filter(|key| geneve && *key != bytes.len()) {
        return Err(KeyError::TunnelOptionsLength { key, mask: bytes.len() });
    }
    to.tun_opts_len = if key_opts_len.is_some() { 0xff } else { len as u8 };
    let start = to.tun_opts.len() - bytes.len();
    to.tun_opts[start..].copy_from_slice(bytes);
    Ok(flag)
}

/// Reads the VXLAN extensions: the group policy is the only one.
fn read_gbp(mut attrs: Attrs<'_>) -> Result<[u8; VXLAN_LEN], KeyError> {
    let mut word = [0; VXLAN_LEN];
    for attr in attrs.by_ref() {
        if attr.kind() != ovs::OVS_VXLAN_EXT_GBP {
            return Err(KeyError::Nested { nest: "VXLAN", kind: attr.kind(), len: attr.len() });
        }
        word = exact(attr)?;
    }
    if attrs.leftover().is_empty() { Ok(word) } else { Err(KeyError::Leftover) }
}
