// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The port's options as clients give them: OVS_TUNNEL_ATTR_* (linux/openvswitch.h).

use portway_tunnel_sockets::Peer;
use portway_tunnel_sockets::options::{DST_PORT, dst_port, first};
use portway_vport::ops::Errno;
use portway_vport::options;

/// OVS_TUNNEL_ATTR_EXTENSION: a nest of OVS_VXLAN_EXT_*.
pub(crate) const EXTENSION: u16 = 2;
/// OVS_VXLAN_EXT_GBP: a flag.
const GBP: u16 = 1;

/// The port that the kernel takes for 0 (older than IANA's assignment).
const DEFAULT_PORT: u16 = 8472;

/// What a port is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) port: u16,
    pub(crate) gbp: bool,
    /// The one peer: then packets need no metadata.
    pub(crate) peer: Option<Peer>,
}

impl Options {
    /// EINVAL: none, no port among them, or damaged ones.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Errno> {
        let port = dst_port(bytes)?;
        let gbp = first(bytes, EXTENSION).map_or(Ok(false), read_extension)?;
        let peer = Peer::read(bytes, Peer::NETWORK_ID_MAX)?;
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
        self.peer.map_or(Ok(()), |peer| peer.write(out))
    }
}

/// Whether the nest has the group policy extension. What is not known is passed over. EINVAL: it is empty; ERANGE: a flag with a value.
fn read_extension(nest: &[u8]) -> Result<bool, Errno> {
    if nest.len() < 4 {
        return Err(Errno::EINVAL);
    }
    match first(nest, GBP) {
        Some(value) if !value.is_empty() => Err(Errno::ERANGE),
        flag => Ok(flag.is_some()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_come_back() {
        let peer = |text: &str, key| Some(Peer { address: text.parse().unwrap(), key: Some(key) });
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
        assert_eq!(read_extension(&[5, 0, 1, 0, 1, 0, 0, 0]), Err(Errno::ERANGE));
        assert_eq!(read_extension(&[4, 0, 9, 0]), Ok(false));
    }
}
