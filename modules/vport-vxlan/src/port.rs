// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The port type itself.

use std::ffi::CStr;

use portway_tunnel::{Header, Refusal, vxlan};
use portway_tunnel_sockets::options::dst_port_option;
use portway_tunnel_sockets::udp::{Codec, UdpPort};
use portway_tunnel_sockets::{Claims, Peer};
use portway_vport::abi::TunnelInfo;
use portway_vport::ops::{CreateParams, Errno, OptionDescription};

use crate::options::Options;

/// MTU of the device, as the kernel module's has it: the longest packet.
const MTU: u32 = 65_535;

/// UDP ports in use by ports of this type.
static CLAIMS: Claims = Claims::new();

/// The VXLAN header, as the port's options have it.
pub struct Vxlan {
    options: Options,
}

/// One VXLAN end point.
pub type VxlanPort = UdpPort<Vxlan>;

impl Codec for Vxlan {
    const TYPE: u32 = 4;
    const NAME: &'static CStr = c"vxlan";
    const OPTIONS: &'static [OptionDescription] = &[
        dst_port_option(c"UDP port to listen at and to send to; 4789 is the assigned one"),
        Peer::REMOTE,
        Peer::NETWORK_ID,
    ];
    const ANY_DESTINATION_PORT: bool = true;
    const TAKES_ZERO_CHECKSUM6: bool = true;
    const SENDS_TTL_ZERO: bool = false;
    const REFUSES_CUT_FRAMES: bool = false;
    const COUNTS_NO_TUNNEL: bool = false;

    /// EEXIST: a port of the same kind has that UDP port in the namespace; EADDRINUSE: something else has.
    fn create(params: &CreateParams<'_>) -> Result<VxlanPort, Errno> {
        let options = Options::read(params.options)?;
        let claim = |netns| {
            let variant = u32::from(options.gbp);
            CLAIMS.take(netns, options.port, variant, Errno::EEXIST, Errno::EADDRINUSE)
        };
        UdpPort::open(params, Self { options }, options.port, MTU, options.peer.map(Peer::info), claim)
    }

    fn write_options(&self, out: &mut Vec<u8>) -> Result<(), Errno> {
        self.options.write(out)
    }

    fn encode(&self, info: &TunnelInfo) -> Header {
        vxlan::encode(info, self.options.gbp)
    }

    fn decode(&self, datagram: &[u8], info: &mut TunnelInfo) -> Result<usize, Refusal> {
        vxlan::decode(datagram, self.options.gbp, info)
    }
}
