// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `psample`: samples of packets, as the action of that name gives them to whoever listens.

use portway_flow::{FlowKey, tunnel_flags};
use portway_netlink::{AttrBuilder, Error};
use portway_uapi::psample::*;

/// Bytes of a sample's attributes at most (the kernel's PSAMPLE_MAX_PACKET_SIZE): longer packets are cut.
const ATTRIBUTES_MAX: usize = 0xffff;

/// Bytes of an attribute's header, and to what attributes are aligned.
const HEADER: usize = 4;

/// A sample.
#[derive(Clone, Debug)]
pub struct Sample<'a> {
    /// Interface index of the port that the packet came in by; 0: none.
    pub ifindex: u32,
    /// The probability with which packets are sampled, in 2^-32.
    pub probability: u32,
    /// Bytes of the packet, without the outer VLAN tag.
    pub original_len: u32,
    /// The group.
    pub group: u32,
    /// When it was taken: nanoseconds since 1970.
    pub wall_ns: u64,
    /// The packet's first bytes, without the outer VLAN tag.
    pub data: &'a [u8],
    /// The packet's key: protocol and tunnel are told.
    pub key: &'a FlowKey,
    /// The action's own bytes.
    pub cookie: Option<&'a [u8]>,
}

impl Sample<'_> {
    /// Writes the attributes, in the kernel's order.
    pub fn encode(&self, b: &mut AttrBuilder<'_>) -> Result<(), Error> {
        let start = b.len();
        if self.ifindex != 0 {
            b.put_u16(PSAMPLE_ATTR_IIFINDEX, self.ifindex as u16)?;
        }
        b.put_u32(PSAMPLE_ATTR_SAMPLE_RATE, self.probability)?;
        b.put_u32(PSAMPLE_ATTR_ORIGSIZE, self.original_len)?;
        b.put_u32(PSAMPLE_ATTR_SAMPLE_GROUP, self.group)?;
        // The action makes a group for each sample, so they are all its first.
        b.put_u32(PSAMPLE_ATTR_GROUP_SEQ, 0)?;
        b.put_u64(PSAMPLE_ATTR_TIMESTAMP, self.wall_ns)?;
        b.put_u16(PSAMPLE_ATTR_PROTO, self.protocol())?;
        let mut rest = Vec::new();
        self.encode_rest(&mut AttrBuilder::new(&mut rest))?;
        let room = ATTRIBUTES_MAX.saturating_sub(b.len() - start + rest.len() + 2 * HEADER);
        let data = &self.data[..self.data.len().min(room)];
        if !data.is_empty() {
            b.put(PSAMPLE_ATTR_DATA, data)?;
        }
        self.encode_rest(b)
    }

    /// What comes behind the packet.
    fn encode_rest(&self, b: &mut AttrBuilder<'_>) -> Result<(), Error> {
        if self.key.tun_proto != 0 {
            b.nest_unmarked::<Error>(PSAMPLE_ATTR_TUNNEL, |b| put_tunnel(self.key, b))?;
        }
        if let Some(cookie) = self.cookie.filter(|cookie| !cookie.is_empty()) {
            b.put(PSAMPLE_ATTR_USER_COOKIE, cookie)?;
        }
        b.put_flag(PSAMPLE_ATTR_SAMPLE_PROBABILITY)
    }

    /// What the kernel has in `skb->protocol`: the Ethernet type behind the outer tag, which is the second tag's if there is one.
    fn protocol(&self) -> u16 {
        let inner_tag = self.key.cvlan_tci.get() & VLAN_PRESENT != 0;
        if inner_tag { self.key.cvlan_tpid.get() } else { self.key.eth_type.get() }
    }
}

/// The bit of a tag in a key that says that there is one.
const VLAN_PRESENT: u16 = 0x1000;

fn put_tunnel(key: &FlowKey, b: &mut AttrBuilder<'_>) -> Result<(), Error> {
    if key.tun_flags & tunnel_flags::KEY != 0 {
        b.put_be64(PSAMPLE_TUNNEL_KEY_ATTR_ID, key.tun_id.get())?;
    }
    let is_ipv4 = key.tun_proto == 4;
    let (len, source, destination) = if is_ipv4 {
        (4, PSAMPLE_TUNNEL_KEY_ATTR_IPV4_SRC, PSAMPLE_TUNNEL_KEY_ATTR_IPV4_DST)
    } else {
        (16, PSAMPLE_TUNNEL_KEY_ATTR_IPV6_SRC, PSAMPLE_TUNNEL_KEY_ATTR_IPV6_DST)
    };
    for (kind, address) in [(source, &key.tun_src), (destination, &key.tun_dst)] {
        if address[..len].iter().any(|&byte| byte != 0) {
            b.put(kind, &address[..len])?;
        }
    }
    if key.tun_tos != 0 {
        b.put_u8(PSAMPLE_TUNNEL_KEY_ATTR_TOS, key.tun_tos)?;
    }
    b.put_u8(PSAMPLE_TUNNEL_KEY_ATTR_TTL, key.tun_ttl)?;
    for (bit, kind) in [
        (tunnel_flags::DONT_FRAGMENT, PSAMPLE_TUNNEL_KEY_ATTR_DONT_FRAGMENT),
        (tunnel_flags::CSUM, PSAMPLE_TUNNEL_KEY_ATTR_CSUM),
    ] {
        if key.tun_flags & bit != 0 {
            b.put_flag(kind)?;
        }
    }
    for (port, kind) in [
        (key.tun_tp_src.get(), PSAMPLE_TUNNEL_KEY_ATTR_TP_SRC),
        (key.tun_tp_dst.get(), PSAMPLE_TUNNEL_KEY_ATTR_TP_DST),
    ] {
        if port != 0 {
            b.put_be16(kind, port)?;
        }
    }
    if key.tun_flags & tunnel_flags::OAM != 0 {
        b.put_flag(PSAMPLE_TUNNEL_KEY_ATTR_OAM)?;
    }
    let options = &key.tun_opts[key.tun_opts.len() - usize::from(key.tun_opts_len)..];
    if options.is_empty() {
        return Ok(());
    }
    if key.tun_flags & tunnel_flags::GENEVE_OPT != 0 {
        b.put(PSAMPLE_TUNNEL_KEY_ATTR_GENEVE_OPTS, options)?;
    } else if key.tun_flags & tunnel_flags::ERSPAN_OPT != 0 {
        b.put(PSAMPLE_TUNNEL_KEY_ATTR_ERSPAN_OPTS, options)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use portway_netlink::Attrs;
    use zerocopy::network_endian::{U16, U64};

    fn encoded(sample: &Sample<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        sample.encode(&mut AttrBuilder::new(&mut bytes)).expect("it fits");
        bytes
    }

    #[test]
    fn the_longest_packet_is_cut() {
        let (data, key, cookie) = (vec![7; 70_000], FlowKey::default(), Some(&[1; 16][..]));
        let sample = Sample {
            ifindex: 3,
            probability: 9,
            original_len: 70_000,
            group: 1,
            wall_ns: 5,
            data: &data,
            key: &key,
            cookie,
        };
        let bytes = encoded(&sample);
        assert!(bytes.len() <= ATTRIBUTES_MAX && bytes.len() > ATTRIBUTES_MAX - 16, "{}", bytes.len());
        let kinds: Vec<u16> = Attrs::new(&bytes).map(|attr| attr.kind()).collect();
        assert_eq!(kinds, [0, 5, 2, 3, 4, 13, 14, 6, 15, 16]);
    }

    #[test]
    fn a_tunnel_is_told() {
        let mut key = FlowKey {
            tun_proto: 4,
            tun_id: U64::new(77),
            tun_flags: tunnel_flags::KEY | tunnel_flags::CSUM | tunnel_flags::OAM | tunnel_flags::GENEVE_OPT,
            tun_tp_dst: U16::new(6081),
            tun_opts_len: 4,
            ..FlowKey::default()
        };
        key.tun_dst[..4].copy_from_slice(&[10, 0, 0, 1]);
        key.tun_opts[252..].copy_from_slice(&[1, 2, 3, 4]);
        let sample = Sample {
            ifindex: 0,
            probability: u32::MAX,
            original_len: 0,
            group: 1,
            wall_ns: 5,
            data: &[],
            key: &key,
            cookie: None,
        };
        let bytes = encoded(&sample);
        let mut attrs = Attrs::new(&bytes);
        let tunnel = attrs.find(|attr| attr.kind() == PSAMPLE_ATTR_TUNNEL).expect("a tunnel");
        let told: Vec<(u16, &[u8])> = tunnel.nested().map(|attr| (attr.kind(), attr.payload())).collect();
        let expected: [(u16, &[u8]); 7] = [
            (PSAMPLE_TUNNEL_KEY_ATTR_ID, &[0, 0, 0, 0, 0, 0, 0, 77]),
            (PSAMPLE_TUNNEL_KEY_ATTR_IPV4_DST, &[10, 0, 0, 1]),
            (PSAMPLE_TUNNEL_KEY_ATTR_TTL, &[0]),
            (PSAMPLE_TUNNEL_KEY_ATTR_CSUM, &[]),
            (PSAMPLE_TUNNEL_KEY_ATTR_TP_DST, &[0x17, 0xc1]),
            (PSAMPLE_TUNNEL_KEY_ATTR_OAM, &[]),
            (PSAMPLE_TUNNEL_KEY_ATTR_GENEVE_OPTS, &[1, 2, 3, 4]),
        ];
        assert_eq!(told, expected);
    }
}
