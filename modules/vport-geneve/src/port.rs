// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The port type itself.

use std::ffi::CStr;

use portway_tunnel::{Header, Refusal, geneve};
use portway_tunnel_sockets::udp::{Codec, UdpPort};
use portway_tunnel_sockets::{Claims, Peer};
use portway_vport::abi::{TunnelInfo, option_kind};
use portway_vport::ops::{CreateParams, Errno, OptionDescription};
use portway_vport::options::{self, as_u16};

/// OVS_TUNNEL_ATTR_DST_PORT: u16, host order.
const DST_PORT: u16 = 1;
/// The highest network id: it has 24 bits.
const ID_MAX: u32 = 0xff_ffff;
/// MTU of the device, as the kernel module's has it.
const MTU: u32 = 65_465;

/// UDP ports in use by ports of this type.
static CLAIMS: Claims = Claims::new();

/// The Geneve header.
pub struct Geneve {
    /// The UDP port as it was asked for, which is what clients are told.
    wanted: u16,
    peer: Option<Peer>,
}

/// One Geneve end point.
pub type GenevePort = UdpPort<Geneve>;

impl Codec for Geneve {
    const TYPE: u32 = 5;
    const NAME: &'static CStr = c"geneve";
    const OPTIONS: &'static [OptionDescription] = &[
        OptionDescription {
            attr: DST_PORT,
            kind: option_kind::U16,
            name: c"dst_port",
            help: c"UDP port to listen at and to send to; 6081 is the assigned one",
        },
        Peer::REMOTE,
        Peer::NETWORK_ID,
    ];
    const ANY_DESTINATION_PORT: bool = false;
    const TAKES_ZERO_CHECKSUM6: bool = false;
    const SENDS_TTL_ZERO: bool = true;
    const REFUSES_CUT_FRAMES: bool = true;
    const COUNTS_NO_TUNNEL: bool = true;

    /// EBUSY: a port of this type has that UDP port in the namespace; EADDRINUSE: something else has.
    fn create(params: &CreateParams<'_>) -> Result<GenevePort, Errno> {
        let wanted = wanted_port(params.options)?;
        let claim = |netns| CLAIMS.take(netns, wanted, 0, Errno::EBUSY, Errno::EBUSY);
        let peer = Peer::read(params.options, ID_MAX)?;
        UdpPort::open(params, Self { wanted, peer }, wanted, MTU, peer.map(Peer::info), claim)
    }

    fn write_options(&self, out: &mut Vec<u8>) -> Result<(), Errno> {
        options::push(out, DST_PORT, &self.wanted.to_ne_bytes())?;
        self.peer.map_or(Ok(()), |peer| peer.write(out))
    }

    fn encode(&self, info: &TunnelInfo) -> Header {
        geneve::encode(info)
    }

    fn decode(&self, datagram: &[u8], info: &mut TunnelInfo) -> Result<usize, Refusal> {
        geneve::decode(datagram, info)
    }
}

/// The UDP port among the options. EINVAL: there is none, or it is damaged.
fn wanted_port(bytes: &[u8]) -> Result<u16, Errno> {
    // Of a repeated option the first counts, as in the kernel.
    let mut found = options::iter(bytes).filter_map(Result::ok).filter(|(attr, _)| *attr == DST_PORT);
    let (_, value) = found.next().ok_or(Errno::EINVAL)?;
    as_u16(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_port_counts_and_a_cut_one_is_refused() {
        let mut bytes = Vec::new();
        options::push(&mut bytes, 7, &[1, 2, 3]).unwrap();
        options::push(&mut bytes, DST_PORT, &6081u16.to_ne_bytes()).unwrap();
        options::push(&mut bytes, DST_PORT, &1u16.to_ne_bytes()).unwrap();
        assert_eq!(wanted_port(&bytes), Ok(6081));
        assert_eq!(wanted_port(&bytes[..4]), Err(Errno::EINVAL));
        let mut short = Vec::new();
        options::push(&mut short, DST_PORT, &[1]).unwrap();
        assert_eq!(wanted_port(&short), Err(Errno::EINVAL));
    }
}
