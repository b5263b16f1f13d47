// SPDX-License-Identifier: Apache-2.0 OR MIT
//! RTM_NEWLINK as a request for a tunnel device: what it asks for, and the kernel's refusals of what makes no sense.
//!
//! Of a device that takes metadata with each packet, some options mean nothing (its time to live, say): they are passed over,
//! as in the kernel. Those that would mean something here are refused with EOPNOTSUPP.

use portway_netlink::{Attr, Attrs, Messages, Policy, Rule, Strictness, Table};
use portway_netlink_socket::{TunnelDevice, TunnelKind};
use portway_uapi::Errno;

/// Numbers of linux/rtnetlink.h, linux/if_link.h and linux/if_tunnel.h.
const RTM_NEWLINK: u16 = 16;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const IFINFOMSG: usize = 16;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINKINFO: u16 = 18;
/// Attributes that say where a device is to be, or what only the kernel or the daemon may say: namespaces, the device below, the alias.
const REFUSED: [u16; 7] = [5, 19, 20, 28, 37, 45, 46];
const IFLA_EXT_MASK: u16 = 29;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;

/// The greatest MTU of a tunnel device in the kernel, and that of the TAP that stands for it.
const MTU_MAX: u32 = 65_535;
const TAP_MTU_MAX: u32 = 65_521;
/// The port that the kernel takes if none is said.
const VXLAN_PORT: u16 = 8472;
const GENEVE_PORT: u16 = 6081;
/// Network ids have 24 bits.
const NETWORK_IDS: u32 = 1 << 24;

const NAME_MAX: u16 = 15;
const LINK: Policy<{ IFLA_LINKINFO as usize + 1 }> = Policy::new()
    .with(IFLA_IFNAME, Rule::string(NAME_MAX))
    .with(IFLA_MTU, Rule::U32)
    .with(IFLA_LINKINFO, Rule::NESTED);
const INFO: Policy<3> =
    Policy::new().with(IFLA_INFO_KIND, Rule::string(0)).with(IFLA_INFO_DATA, Rule::NESTED);

/// The largest attribute type of a kind's data that is known here, plus one.
const DATA: usize = 35;

mod vxlan {
    pub(super) const ID: u16 = 1;
    pub(super) const LEARNING: u16 = 7;
    pub(super) const PORT_RANGE: u16 = 10;
    pub(super) const PORT: u16 = 15;
    pub(super) const UDP_ZERO_CSUM6_RX: u16 = 20;
    pub(super) const GBP: u16 = 23;
    pub(super) const COLLECT_METADATA: u16 = 25;
    /// Flags that ask for what is not here: REMCSUM_NOPARTIAL, GPE.
    pub(super) const FLAGS_REFUSED: [u16; 2] = [24, 27];
    /// Of no meaning: time to live, type of service, aging, limit of addresses, checksums to send, flow label, do not fragment.
    pub(super) const NEUTRAL: [u16; 11] = [5, 6, 8, 9, 18, 19, 26, 28, 29, 31, 32];
}

mod geneve {
    pub(super) const ID: u16 = 1;
    pub(super) const PORT: u16 = 5;
    pub(super) const COLLECT_METADATA: u16 = 6;
    pub(super) const UDP_ZERO_CSUM6_RX: u16 = 10;
    pub(super) const INNER_PROTO_INHERIT: u16 = 14;
    /// What a device has that gets no metadata: id, remote address, time to live, type of service, checksum, flow label.
    pub(super) const OWN_HEADER: [u16; 7] = [ID, 2, 3, 4, 7, 8, 11];
    /// Of no meaning: zero checksums to send, inherited time to live, do not fragment.
    pub(super) const NEUTRAL: [u16; 3] = [9, 12, 13];
}

mod gre {
    pub(super) const IFLAGS: u16 = 2;
    pub(super) const ENCAP_TYPE: u16 = 14;
    pub(super) const COLLECT_METADATA: u16 = 18;
    /// Version and routing, which GRE devices never have; in network order.
    pub(super) const BAD_FLAGS: u16 = 0x4007;
    /// Of no meaning: flags, time to live, type of service, path MTU, limits and ports of an encapsulation that is none.
    pub(super) const NEUTRAL: [u16; 12] = [2, 3, 8, 9, 10, 11, 12, 13, 15, 16, 17, 19];
}

const fn vxlan_policy() -> Policy<DATA> {
    let mut policy = Policy::new().with(vxlan::ID, Rule::U32).with(vxlan::PORT, Rule::U16);
    policy = policy.with(3, Rule::U32).with(vxlan::PORT_RANGE, Rule::at_least(4));
    policy = policy.with(2, Rule::at_least(4)).with(4, Rule::at_least(4));
    policy = policy.with(16, Rule::at_least(16)).with(17, Rule::at_least(16));
    let (mut at, bytes) = (0, [5, 6, 7, 11, 12, 13, 14, 18, 19, 20, 21, 22, 25, 29, 30, 31]);
    while at < bytes.len() {
        policy = policy.with(bytes[at], Rule::U8);
        at += 1;
    }
    policy.with(vxlan::GBP, Rule::FLAG).with(24, Rule::FLAG).with(27, Rule::FLAG)
}

const fn geneve_policy() -> Policy<DATA> {
    let mut policy = Policy::new().with(geneve::ID, Rule::U32).with(geneve::PORT, Rule::U16);
    policy = policy.with(2, Rule::at_least(4)).with(7, Rule::at_least(16)).with(11, Rule::U32);
    let (mut at, bytes) = (0, [3, 4, 8, 9, 10, 12, 13]);
    while at < bytes.len() {
        policy = policy.with(bytes[at], Rule::U8);
        at += 1;
    }
    policy.with(geneve::COLLECT_METADATA, Rule::FLAG).with(geneve::INNER_PROTO_INHERIT, Rule::FLAG)
}

const fn gre_policy() -> Policy<DATA> {
    let mut policy = Policy::new().with(1, Rule::U32).with(4, Rule::U32).with(5, Rule::U32);
    policy = policy.with(6, Rule::at_least(4)).with(7, Rule::at_least(4)).with(20, Rule::U32);
    let (mut at, words) = (0, [2, 3, 14, 15, 16, 17]);
    while at < words.len() {
        policy = policy.with(words[at], Rule::U16);
        at += 1;
    }
    policy.with(8, Rule::U8).with(9, Rule::U8).with(10, Rule::U8).with(gre::COLLECT_METADATA, Rule::FLAG)
}

const VXLAN: Policy<DATA> = vxlan_policy();
const GENEVE: Policy<DATA> = geneve_policy();
const GRE: Policy<DATA> = gre_policy();

/// A tunnel device that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewLink<'a> {
    pub(crate) name: &'a [u8],
    /// What it is.
    pub(crate) device: TunnelDevice,
    /// A device that is there already is an error.
    pub(crate) exclusive: bool,
    /// IFF_* to set, and which of them.
    pub(crate) flags: u32,
    pub(crate) change: u32,
    /// What else is asked for, as for any device: attributes.
    pub(crate) others: Vec<u8>,
}

impl<'a> NewLink<'a> {
    /// Reads a datagram that is one such request.
    ///
    /// # Errors
    /// The kernel's errno for it.
    pub(crate) fn decode(datagram: &'a [u8]) -> Result<Self, Errno> {
        let message = Messages::new(datagram).next().ok_or(Errno::EINVAL)?;
        let flags = message.header().nlmsg_flags;
        if message.header().nlmsg_type != RTM_NEWLINK || !message.is_request() || flags & NLM_F_CREATE == 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let payload = message.payload();
        let (header, attributes) = payload.split_at_checked(IFINFOMSG).ok_or(Errno::EINVAL)?;
        let word = |at: usize| header[at..at + 4].try_into().map_or(0, u32::from_ne_bytes);
        let link = parse(&LINK, Attrs::new(attributes))?;
        let info = parse(&INFO, nested(link.get(IFLA_LINKINFO)))?;
        let kind = info.get(IFLA_INFO_KIND).and_then(|kind| TunnelKind::from_name(kind.c_str()));
        let device = device(kind.ok_or(Errno::EOPNOTSUPP)?, info.get(IFLA_INFO_DATA))?;
        match word(4).cast_signed() {
            0 => {}
            index if index < 0 => return Err(Errno::EINVAL),
            _ => return Err(Errno::EOPNOTSUPP),
        }
        let name = link.get(IFLA_IFNAME).map(|name| name.c_str()).ok_or(Errno::EINVAL)?;
        // A pattern: nobody who asks for a tunnel device of that name knows what it would be called.
        if name.contains(&b'%') {
            return Err(Errno::EINVAL);
        }
        let others = others(attributes, device.kind)?;
        let exclusive = flags & NLM_F_EXCL != 0;
        Ok(Self { name, device, exclusive, flags: word(8), change: word(12), others })
    }
}

fn parse<'a, const N: usize>(policy: &Policy<N>, attributes: Attrs<'a>) -> Result<Table<'a, N>, Errno> {
    policy.parse(attributes, Strictness::LIBERAL).map_err(|rejected| rejected.errno())
}

fn nested(attr: Option<Attr<'_>>) -> Attrs<'_> {
    attr.map_or(Attrs::new(&[]), |attr| attr.nested())
}

/// The attributes that are for the TAP.
fn others(attributes: &[u8], kind: TunnelKind) -> Result<Vec<u8>, Errno> {
    let mut out = Vec::new();
    for attr in Attrs::new(attributes) {
        let refused = REFUSED.contains(&attr.kind()) && is_something(attr);
        match attr.kind() {
            _ if refused => return Err(Errno::EOPNOTSUPP),
            IFLA_IFNAME | IFLA_LINKINFO | IFLA_EXT_MASK => {}
            kind if REFUSED.contains(&kind) => {}
            IFLA_MTU => {
                let mtu = attr.u32().map_err(|_| Errno::EINVAL)?;
                // VXLAN's is cut to the most that there is.
                let fits = kind == TunnelKind::Vxlan && mtu <= MTU_MAX;
                put(&mut out, IFLA_MTU, &(if fits { mtu.min(TAP_MTU_MAX) } else { mtu }).to_ne_bytes());
            }
            _ => put(&mut out, attr.raw_kind(), attr.payload()),
        }
    }
    Ok(out)
}

fn put(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend(((4 + value.len()) as u16).to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// Whether an option says anything but the default.
fn is_something(attr: Attr<'_>) -> bool {
    attr.payload().iter().any(|byte| *byte != 0)
}

fn is_on<const N: usize>(data: &Table<'_, N>, kind: u16) -> bool {
    data.get(kind).is_some_and(is_something)
}

fn port<const N: usize>(data: &Table<'_, N>, kind: u16, default: u16) -> u16 {
    data.get(kind).and_then(|port| port.be16().ok()).unwrap_or(default)
}

/// What the kind's data say.
fn device(kind: TunnelKind, data: Option<Attr<'_>>) -> Result<TunnelDevice, Errno> {
    match kind {
        TunnelKind::Vxlan => vxlan_device(data.ok_or(Errno::EINVAL)?.nested()),
        TunnelKind::Geneve => geneve_device(data.ok_or(Errno::EINVAL)?.nested()),
        TunnelKind::Gretap => gre_device(nested(data)),
    }
}

/// EOPNOTSUPP: there is an option beside `known` and `neutral` that says something.
fn refuse_others(data: Attrs<'_>, known: &[u16], neutral: &[u16]) -> Result<(), Errno> {
    let mut others = data.filter(|attr| !known.contains(&attr.kind()) && !neutral.contains(&attr.kind()));
    if others.any(is_something) { Err(Errno::EOPNOTSUPP) } else { Ok(()) }
}

fn vxlan_device(attrs: Attrs<'_>) -> Result<TunnelDevice, Errno> {
    let data = parse(&VXLAN, attrs.clone())?;
    if data.get(vxlan::ID).is_some_and(|id| id.u32().is_ok_and(|id| id >= NETWORK_IDS)) {
        return Err(Errno::ERANGE);
    }
    if let Some(range) = data.get(vxlan::PORT_RANGE)
        && range.payload().get(2..4) < range.payload().get(..2)
    {
        return Err(Errno::EINVAL);
    }
    if !is_on(&data, vxlan::COLLECT_METADATA) || vxlan::FLAGS_REFUSED.iter().any(|flag| data.has(*flag)) {
        return Err(Errno::EOPNOTSUPP);
    }
    let known = [vxlan::LEARNING, vxlan::PORT, vxlan::UDP_ZERO_CSUM6_RX, vxlan::GBP, vxlan::COLLECT_METADATA];
    refuse_others(attrs, &known, &vxlan::NEUTRAL)?;
    let port = port(&data, vxlan::PORT, 0);
    Ok(TunnelDevice {
        gbp: data.has(vxlan::GBP),
        learning: is_on(&data, vxlan::LEARNING),
        zero_checksum6: is_on(&data, vxlan::UDP_ZERO_CSUM6_RX),
        ..TunnelDevice::new(TunnelKind::Vxlan, if port == 0 { VXLAN_PORT } else { port })
    })
}

fn geneve_device(attrs: Attrs<'_>) -> Result<TunnelDevice, Errno> {
    let data = parse(&GENEVE, attrs.clone())?;
    if data.get(geneve::ID).is_some_and(|id| id.u32().is_ok_and(|id| id >= NETWORK_IDS)) {
        return Err(Errno::ERANGE);
    }
    if !data.has(geneve::COLLECT_METADATA) {
        return Err(Errno::EOPNOTSUPP);
    }
    if geneve::OWN_HEADER.iter().any(|kind| is_on(&data, *kind)) {
        return Err(Errno::EINVAL);
    }
    if data.has(geneve::INNER_PROTO_INHERIT) {
        return Err(Errno::EOPNOTSUPP);
    }
    let known = [geneve::PORT, geneve::COLLECT_METADATA, geneve::UDP_ZERO_CSUM6_RX];
    refuse_others(attrs, &known, &geneve::NEUTRAL)?;
    Ok(TunnelDevice {
        zero_checksum6: is_on(&data, geneve::UDP_ZERO_CSUM6_RX),
        ..TunnelDevice::new(TunnelKind::Geneve, port(&data, geneve::PORT, GENEVE_PORT))
    })
}

fn gre_device(attrs: Attrs<'_>) -> Result<TunnelDevice, Errno> {
    let data = parse(&GRE, attrs.clone())?;
    let flags = [gre::IFLAGS, gre::IFLAGS + 1].map(|kind| port(&data, kind, 0));
    if (flags[0] | flags[1]) & gre::BAD_FLAGS != 0 {
        return Err(Errno::EINVAL);
    }
    if !data.has(gre::COLLECT_METADATA) {
        return Err(Errno::EOPNOTSUPP);
    }
    if is_on(&data, gre::ENCAP_TYPE) {
        return Err(Errno::EINVAL);
    }
    refuse_others(attrs, &[gre::COLLECT_METADATA], &gre::NEUTRAL)?;
    Ok(TunnelDevice::new(TunnelKind::Gretap, 0))
}

#[cfg(test)]
mod tests;
