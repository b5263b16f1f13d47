// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The port's options as clients give them: OVS_TUNNEL_ATTR_* (linux/openvswitch.h).

use std::net::IpAddr;

use portway_vport::abi::{TunnelInfo, tunnel_flags};
use portway_vport::ops::Errno;
use portway_vport::options::{self, as_str, as_u16, as_u32};

/// OVS_TUNNEL_ATTR_DST_PORT: u16, host order.
pub(crate) const DST_PORT: u16 = 1;
/// OVS_TUNNEL_ATTR_EXTENSION: a nest of OVS_VXLAN_EXT_*.
pub(crate) const EXTENSION: u16 = 2;
/// OVS_VXLAN_EXT_GBP: a flag.
const GBP: u16 = 1;

/// Portway's own: the address of the one peer, as text.
pub(crate) const REMOTE: u16 = 1001;
/// Portway's own: the network id for the one peer, u32.
pub(crate) const KEY: u16 = 1002;

/// Time to live of packets to the one peer.
const TTL: u8 = 64;

/// The port that the kernel takes for 0 (older than IANA's assignment).
const DEFAULT_PORT: u16 = 8472;

/// What a port is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) port: u16,
    pub(crate) gbp: bool,
    /// The one peer and its network id: then packets need no metadata.
    pub(crate) peer: Option<(IpAddr, u32)>,
}

impl Options {
    /// EINVAL: none, no port among them, or damaged ones.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Errno> {
        // Of a repeated option the first counts, as in the kernel.
        let find = |wanted| {
            options::iter(bytes)
                .filter_map(Result::ok)
                .find(|(attr, _)| *attr == wanted)
                .map(|(_, value)| value)
        };
        let port = as_u16(find(DST_PORT).ok_or(Errno::EINVAL)?)?;
        let gbp = find(EXTENSION).map_or(Ok(false), read_extension)?;
        let key = find(KEY).map_or(Ok(0), as_u32)?;
        let peer = match find(REMOTE) {
            Some(text) => Some((as_str(text)?.parse().map_err(|_| Errno::EINVAL)?, key)),
            None => None,
        };
        if key >> 24 != 0 {
            return Err(Errno::ERANGE);
        }
        Ok(Self { port: if port == 0 { DEFAULT_PORT } else { port }, gbp, peer })
    }

    /// As attributes.
    pub(crate) fn write(self, out: &mut Vec<u8>) -> Result<(), Errno> {
        options::push(out, DST_PORT, &self.port.to_ne_bytes())?;
        if self.gbp {
            let mut nest = Vec::new();
            options::push(&mut nest, GBP, &[])?;
            options::push(out, EXTENSION, &nest)?;
        }
        if let Some((address, key)) = self.peer {
            options::push_str(out, REMOTE, &address.to_string())?;
            options::push(out, KEY, &key.to_ne_bytes())?;
        }
        Ok(())
    }

    /// What the outer headers to the one peer say.
    pub(crate) fn fixed(self) -> Option<TunnelInfo> {
        let (address, key) = self.peer?;
        let mut info =
            TunnelInfo { id: u64::from(key), flags: tunnel_flags::KEY, ttl: TTL, ..TunnelInfo::default() };
        match address {
            IpAddr::V4(address) => {
                info.ip_version = 4;
                info.dst[..4].copy_from_slice(&address.octets());
            }
            IpAddr::V6(address) => (info.ip_version, info.dst) = (6, address.octets()),
        }
        Some(info)
    }
}

/// Whether the nest has the group policy extension. What is not known is passed over. EINVAL: it is empty; ERANGE: a flag with a value.
fn read_extension(nest: &[u8]) -> Result<bool, Errno> {
    if nest.len() < 4 {
        return Err(Errno::EINVAL);
    }
    let mut flags = options::iter(nest).filter_map(Result::ok).filter(|(attr, _)| *attr == GBP);
    match flags.next() {
        Some((_, value)) if !value.is_empty() => Err(Errno::ERANGE),
        flag => Ok(flag.is_some()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_come_back() {
        let peer = |text: &str, key| Some((text.parse().unwrap(), key));
        for options in [
            Options { port: 4789, gbp: false, peer: None },
            Options { port: 1, gbp: true, peer: peer("10.0.0.1", 5) },
            Options { port: 1, gbp: false, peer: peer("fd00::1", 0xff_ffff) },
        ] {
            let mut bytes = Vec::new();
            options.write(&mut bytes).unwrap();
            assert_eq!(Options::read(&bytes), Ok(options));
        }
        let mut zero = Vec::new();
        options::push(&mut zero, DST_PORT, &0u16.to_ne_bytes()).unwrap();
        assert_eq!(Options::read(&zero), Ok(Options { port: 8472, gbp: false, peer: None }));
        options::push(&mut zero, EXTENSION, &[]).unwrap();
        assert_eq!(Options::read(&zero), Err(Errno::EINVAL));
        assert_eq!(Options::read(&[]), Err(Errno::EINVAL));
        for (remote, key, error) in
            [("10.0.0.300", 1, Errno::EINVAL), ("", 1, Errno::EINVAL), ("10.0.0.1", 1 << 24, Errno::ERANGE)]
        {
            let mut bytes = Vec::new();
            options::push(&mut bytes, DST_PORT, &4789u16.to_ne_bytes()).unwrap();
            options::push_str(&mut bytes, REMOTE, remote).unwrap();
            options::push(&mut bytes, KEY, &u32::to_ne_bytes(key)).unwrap();
            assert_eq!(Options::read(&bytes), Err(error), "{remote}");
        }
        assert_eq!(read_extension(&[5, 0, 1, 0, 1, 0, 0, 0]), Err(Errno::ERANGE));
        assert_eq!(read_extension(&[4, 0, 9, 0]), Ok(false));
    }
}
