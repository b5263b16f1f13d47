// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Tunnel devices that are asked for by rtnetlink: what they are made with, as both ends know it.
//!
//! A kernel with the tunnel's module makes a device of its kind. Here it is a TAP that stands for it, and what it stands for is its
//! *alias*: so whoever sees the device knows it, and nobody has to remember it, over restarts of the daemon and of clients.

/// Every tunnel device's alias begins with this.
pub const TUNNEL_ALIAS: &str = "portway tunnel device";

/// How Open vSwitch names the devices behind its tunnel ports, and the kind of those that Portway makes.
const NAMES: [(&[u8], Option<TunnelKind>); 7] = [
    (b"vxlan_sys_", Some(TunnelKind::Vxlan)),
    (b"genev_sys_", Some(TunnelKind::Geneve)),
    (b"gre_sys", Some(TunnelKind::Gretap)),
    (b"ip6gre_sys", None),
    (b"erspan_sys", None),
    (b"ip6erspan_sys", None),
    (b"udp_sys_", None),
];

/// Attributes of linux/if_link.h.
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_VXLAN_ID: u16 = 1;
const IFLA_VXLAN_LEARNING: u16 = 7;
const IFLA_VXLAN_PORT: u16 = 15;
const IFLA_VXLAN_UDP_ZERO_CSUM6_RX: u16 = 20;
const IFLA_VXLAN_GBP: u16 = 23;
const IFLA_VXLAN_COLLECT_METADATA: u16 = 25;
const IFLA_GENEVE_PORT: u16 = 5;
const IFLA_GENEVE_COLLECT_METADATA: u16 = 6;
const IFLA_GENEVE_UDP_ZERO_CSUM6_RX: u16 = 10;
const IFLA_GRE_COLLECT_METADATA: u16 = 18;

/// Kinds of tunnel devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelKind {
    /// VXLAN (RFC 7348).
    Vxlan,
    /// Geneve (RFC 8926).
    Geneve,
    /// Ethernet over GRE (RFC 2784 and 2890).
    Gretap,
}

impl TunnelKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Vxlan, Self::Geneve, Self::Gretap];

    /// As IFLA_INFO_KIND has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vxlan => "vxlan",
            Self::Geneve => "geneve",
            Self::Gretap => "gretap",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name().as_bytes() == name)
    }

    /// The kind that a device has to which Open vSwitch gives that name; `None`: it is not such a name, or the kind is none of these.
    pub fn of_device(name: &[u8]) -> Option<Self> {
        named(name)?.1
    }
}

/// Whether that is how Open vSwitch names the device behind a tunnel port, of whatever kind.
pub fn is_tunnel_name(name: &[u8]) -> bool {
    named(name).is_some()
}

fn named(name: &[u8]) -> Option<&'static (&'static [u8], Option<TunnelKind>)> {
    NAMES.iter().find(|(prefix, _)| name.starts_with(prefix))
}

/// What a tunnel device is made with. Each takes the metadata of a packet from whoever sends it, and gives it with what it receives
/// ("external", "collect metadata").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelDevice {
    /// Its kind.
    pub kind: TunnelKind,
    /// UDP port; 0: GRE has none.
    pub port: u16,
    /// VXLAN: with the group policy extension.
    pub gbp: bool,
    /// VXLAN: asked to learn, which means nothing to a device that gets metadata.
    pub learning: bool,
    /// Takes IPv6 datagrams without a checksum.
    pub zero_checksum6: bool,
}

impl TunnelDevice {
    /// A device of that kind and port, and nothing else.
    pub fn new(kind: TunnelKind, port: u16) -> Self {
        Self { kind, port, gbp: false, learning: false, zero_checksum6: false }
    }

    /// Its alias: less than 100 bytes.
    pub fn alias(&self) -> String {
        let mut alias = format!("{TUNNEL_ALIAS}: {}", self.kind.name());
        if self.kind != TunnelKind::Gretap {
            alias.push_str(&format!(" port {}", self.port));
        }
        for (is_set, word) in self.words() {
            if is_set {
                alias.push(' ');
                alias.push_str(word);
            }
        }
        alias
    }

    fn words(&self) -> [(bool, &'static str); 3] {
        [(self.gbp, "gbp"), (self.learning, "learning"), (self.zero_checksum6, "zero-checksum6")]
    }

    /// The device that has that alias; `None`: it is none, or somebody has changed it.
    pub fn from_alias(alias: &[u8]) -> Option<Self> {
        let words = alias.strip_prefix(TUNNEL_ALIAS.as_bytes())?.strip_prefix(b": ")?;
        let mut words = std::str::from_utf8(words).ok()?.split(' ');
        let kind = TunnelKind::from_name(words.next()?.as_bytes())?;
        let mut device = Self::new(kind, 0);
        while let Some(word) = words.next() {
            match word {
                "port" => device.port = words.next()?.parse().ok()?,
                "gbp" => device.gbp = true,
                "learning" => device.learning = true,
                "zero-checksum6" => device.zero_checksum6 = true,
                _ => return None,
            }
        }
        // Nothing that this would not have written.
        (device.alias().as_bytes() == alias).then_some(device)
    }

    /// The payload of IFLA_LINKINFO that the kernel's device would have, as far as it matters to a device that gets metadata.
    pub fn link_info(&self) -> Vec<u8> {
        let mut data = Vec::new();
        let port = self.port.to_be_bytes();
        let zero_checksum6 = [u8::from(self.zero_checksum6)];
        match self.kind {
            TunnelKind::Vxlan => {
                put(&mut data, IFLA_VXLAN_ID, &[0; 4]);
                put(&mut data, IFLA_VXLAN_LEARNING, &[u8::from(self.learning)]);
                put(&mut data, IFLA_VXLAN_PORT, &port);
                put(&mut data, IFLA_VXLAN_UDP_ZERO_CSUM6_RX, &zero_checksum6);
                if self.gbp {
                    put(&mut data, IFLA_VXLAN_GBP, &[]);
                }
                put(&mut data, IFLA_VXLAN_COLLECT_METADATA, &[1]);
            }
            TunnelKind::Geneve => {
                put(&mut data, IFLA_GENEVE_PORT, &port);
                put(&mut data, IFLA_GENEVE_COLLECT_METADATA, &[]);
                put(&mut data, IFLA_GENEVE_UDP_ZERO_CSUM6_RX, &zero_checksum6);
            }
            TunnelKind::Gretap => put(&mut data, IFLA_GRE_COLLECT_METADATA, &[]),
        }
        let mut info = Vec::new();
        put(&mut info, IFLA_INFO_KIND, &[self.kind.name().as_bytes(), &[0]].concat());
        put(&mut info, IFLA_INFO_DATA, &data);
        info
    }
}

/// Appends an attribute.
fn put(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend(((4 + value.len()) as u16).to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devices() -> impl Iterator<Item = TunnelDevice> {
        (0..24_u16).map(|bits| {
            let kind = TunnelKind::ALL[usize::from(bits % 3)];
            let set = |bit: u16| (bits / 3) & (1 << bit) != 0;
            let (gbp, learning, zero_checksum6) = (set(0), set(1), set(2));
            let port = if kind == TunnelKind::Gretap { 0 } else { 65_535 - bits };
            TunnelDevice { kind, port, gbp, learning, zero_checksum6 }
        })
    }

    #[test]
    fn an_alias_says_all() {
        for device in devices() {
            let alias = device.alias();
            assert!(alias.len() < 100 && alias.starts_with(TUNNEL_ALIAS), "{alias}");
            assert_eq!(TunnelDevice::from_alias(alias.as_bytes()), Some(device));
        }
        let alias = TunnelDevice::new(TunnelKind::Vxlan, 4789).alias();
        assert_eq!(alias, "portway tunnel device: vxlan port 4789");
    }

    #[test]
    fn other_aliases_are_nobodys() {
        for alias in [
            "",
            "portway tunnel port",
            "portway tunnel device",
            "portway tunnel device: vlan",
            "portway tunnel device: vxlan",
            "portway tunnel device: vxlan port 65536",
            "portway tunnel device: vxlan port 04789",
            "portway tunnel device: vxlan port 4789 ",
            "portway tunnel device: vxlan port 4789 learning gbp",
            "portway tunnel device: vxlan port 4789 port 4789",
            "portway tunnel device: gretap port 1",
        ] {
            assert_eq!(TunnelDevice::from_alias(alias.as_bytes()), None, "{alias}");
        }
        assert_eq!(TunnelDevice::from_alias(b"portway tunnel device: vxlan port 4789 \xff"), None);
    }

    #[test]
    fn names_of_devices_are_open_vswitchs() {
        for (name, is_tunnel, kind) in [
            (&b"vxlan_sys_4789"[..], true, Some(TunnelKind::Vxlan)),
            (b"genev_sys_6081\0", true, Some(TunnelKind::Geneve)),
            (b"gre_sys", true, Some(TunnelKind::Gretap)),
            (b"ip6gre_sys", true, None),
            (b"udp_sys_6635", true, None),
            (b"gre0", false, None),
            (b"my_vxlan_sys_1", false, None),
            (b"", false, None),
        ] {
            assert_eq!((is_tunnel_name(name), TunnelKind::of_device(name)), (is_tunnel, kind), "{name:?}");
        }
    }

    #[test]
    fn link_info_is_the_kernels() {
        let device = TunnelDevice { zero_checksum6: true, ..TunnelDevice::new(TunnelKind::Geneve, 6081) };
        #[rustfmt::skip]
        assert_eq!(device.link_info(), [
            11, 0, 1, 0, b'g', b'e', b'n', b'e', b'v', b'e', 0, 0,
            24, 0, 2, 0,
            6, 0, 5, 0, 0x17, 0xc1, 0, 0, 4, 0, 6, 0, 5, 0, 10, 0, 1, 0, 0, 0,
        ]);
        // A TAP's own, with its alias, is never shorter: a message does not grow when one takes the other's place.
        for device in devices() {
            assert!(4 + device.link_info().len() <= 4 + 8 + 44 + 4 + device.alias().len());
        }
    }
}
