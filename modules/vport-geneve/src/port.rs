// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The port type itself.

use std::ffi::CStr;

use portway_tunnel::{Header, Refusal, geneve};
use portway_tunnel_sockets::options::{DST_PORT, dst_port, dst_port_option};
use portway_tunnel_sockets::udp::{Codec, UdpPort};
use portway_tunnel_sockets::{Claims, Peer};
use portway_vport::abi::TunnelInfo;
use portway_vport::ops::{CreateParams, Errno, OptionDescription};
use portway_vport::options;

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
        dst_port_option(c"UDP port to listen at and to send to; 6081 is the assigned one"),
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
        let wanted = dst_port(params.options)?;
        let claim = |netns| CLAIMS.take(netns, wanted, 0, Errno::EBUSY, Errno::EBUSY);
        let peer = Peer::read(params.options, Peer::NETWORK_ID_MAX)?;
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
