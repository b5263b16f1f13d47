// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A port's one peer, among the port's options. Learning bridges know nothing of tunnel keys; with one peer they need not.

use std::net::IpAddr;

use portway_vport::abi::{TunnelInfo, option_kind, tunnel_flags};
use portway_vport::ops::{Errno, OptionDescription};
use portway_vport::options::{self, as_str, as_u32};

use crate::options::first;

/// Portway's own: the address of the one peer, as text.
const REMOTE: u16 = 1001;
/// Portway's own: the id or key for the one peer, u32.
const KEY: u16 = 1002;

/// Time to live of packets to the one peer.
const TTL: u8 = 64;

/// Where all packets of a port go to and come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// The network id or key of its packets; `None`: 0, or no key where a header can be without.
    pub key: Option<u32>,
}

impl Peer {
    /// How the address is given.
    pub const REMOTE: OptionDescription = OptionDescription {
        attr: REMOTE,
        kind: option_kind::STRING,
        name: c"remote",
        help: c"IP address of the one peer; without it flows say where to",
    };

    /// How the network id of 24 bits is given.
    pub const NETWORK_ID: OptionDescription = OptionDescription {
        attr: KEY,
        kind: option_kind::U32,
        name: c"key",
        help: c"network id for the one peer, 24 bits; default 0",
    };

    /// The highest network id.
    pub const NETWORK_ID_MAX: u32 = 0xff_ffff;

    /// How a key of 32 bits is given.
    pub const KEY: OptionDescription = OptionDescription {
        attr: KEY,
        kind: option_kind::U32,
        name: c"key",
        help: c"key for the one peer, 32 bits; without it packets have none",
    };

    /// The peer among a port's options, if there is one. Of a repeated option the first counts.
    ///
    /// # Errors
    /// EINVAL: no address, or a damaged option; ERANGE: a key above `key_max`.
    pub fn read(bytes: &[u8], key_max: u32) -> Result<Option<Self>, Errno> {
        let key = first(bytes, KEY).map(as_u32).transpose()?;
        if key.is_some_and(|key| key > key_max) {
            return Err(Errno::ERANGE);
        }
        let Some(text) = first(bytes, REMOTE) else { return Ok(None) };
        let address = as_str(text)?.parse().map_err(|_| Errno::EINVAL)?;
        Ok(Some(Self { address, key }))
    }

    /// As options.
    ///
    /// # Errors
    /// That of the builder, when there is no room.
    pub fn write(self, out: &mut Vec<u8>) -> Result<(), Errno> {
        options::push_str(out, REMOTE, &self.address.to_string())?;
        match self.key {
            Some(key) => options::push(out, KEY, &key.to_ne_bytes()),
            None => Ok(()),
        }
    }

    /// What the outer headers of packets to the peer say.
    pub fn info(self) -> TunnelInfo {
        let mut info = TunnelInfo { id: u64::from(self.key.unwrap_or(0)), ttl: TTL, ..TunnelInfo::default() };
        if self.key.is_some() {
            info.flags |= tunnel_flags::KEY;
        }
        match self.address {
            IpAddr::V4(address) => {
                info.ip_version = 4;
                info.dst[..4].copy_from_slice(&address.octets());
            }
            IpAddr::V6(address) => {
                // Over IPv6 a receiver may refuse UDP without a checksum (RFC 8200, section 8.1); ports do, unless told otherwise.
                info.flags |= tunnel_flags::CSUM;
                (info.ip_version, info.dst) = (6, address.octets());
            }
        }
        info
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str, key: Option<u32>) -> Peer {
        Peer { address: text.parse().unwrap(), key }
    }

    #[test]
    fn a_peer_comes_back() {
        for peer in [peer("10.0.0.1", None), peer("10.0.0.1", Some(0)), peer("fd00::1", Some(0xff_ffff))] {
            let mut bytes = Vec::new();
            peer.write(&mut bytes).unwrap();
            assert_eq!(Peer::read(&bytes, 0xff_ffff), Ok(Some(peer)));
        }
        assert_eq!(Peer::read(&[], u32::MAX), Ok(None));
        assert_eq!(peer("fd00::1", None).info().flags, tunnel_flags::CSUM);
        assert_eq!(peer("10.0.0.1", Some(0)).info().flags, tunnel_flags::KEY);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let max = 0xff_ffff;
        for (remote, key, error) in [
            ("10.0.0.300", 1, Errno::EINVAL),
            ("", 1, Errno::EINVAL),
            ("fd00::1%eth0", 1, Errno::EINVAL),
            ("10.0.0.1", max + 1, Errno::ERANGE),
            ("10.0.0.1", u32::MAX, Errno::ERANGE),
        ] {
            let mut bytes = Vec::new();
            options::push_str(&mut bytes, REMOTE, remote).unwrap();
            options::push(&mut bytes, KEY, &u32::to_ne_bytes(key)).unwrap();
            assert_eq!(Peer::read(&bytes, max), Err(error), "{remote} {key}");
        }
        let mut cut = Vec::new();
        options::push(&mut cut, KEY, &[1, 2]).unwrap();
        assert_eq!(Peer::read(&cut, max), Err(Errno::EINVAL));
    }
}
