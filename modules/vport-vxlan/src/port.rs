// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The port type itself.

use std::ffi::CStr;
use std::os::fd::RawFd;

use portway_buf::{Batch, Packet, PoolRef};
use portway_tunnel::{Header, Refusal, vxlan};
use portway_tunnel_sockets::Claims;
use portway_tunnel_sockets::udp::{Codec, UdpPort};
use portway_vport::abi::{PortInfo, TunnelInfo, TxReport, option_kind};
use portway_vport::ops::{CreateParams, Errno, OptionDescription, PortType};

use crate::options::{DST_PORT, KEY, Options, REMOTE};

/// MTU of the device, as the kernel module's has it: the longest packet.
const MTU: u32 = 65_535;

/// UDP ports in use by ports of this type.
static CLAIMS: Claims = Claims::new();

struct Vxlan {
    options: Options,
}

impl Codec for Vxlan {
    const ANY_DESTINATION_PORT: bool = true;
    const TAKES_ZERO_CHECKSUM6: bool = true;
    const SENDS_TTL_ZERO: bool = false;
    const REFUSES_CUT_FRAMES: bool = false;
    const COUNTS_NO_TUNNEL: bool = false;

    fn encode(&self, info: &TunnelInfo) -> Header {
        vxlan::encode(info, self.options.gbp)
    }

    fn decode(&self, datagram: &[u8], info: &mut TunnelInfo) -> Result<usize, Refusal> {
        vxlan::decode(datagram, self.options.gbp, info)
    }
}

/// One VXLAN end point.
pub struct VxlanPort(UdpPort<Vxlan>);

impl PortType for VxlanPort {
    const TYPE: u32 = 4;
    const NAME: &'static CStr = c"vxlan";
    const TUNNEL: bool = true;
    const OPTIONS: &'static [OptionDescription] = &[
        OptionDescription {
            attr: DST_PORT,
            kind: option_kind::U16,
            name: c"dst_port",
            help: c"UDP port to listen at and to send to; 4789 is the assigned one",
        },
        OptionDescription {
            attr: REMOTE,
            kind: option_kind::STRING,
            name: c"remote",
            help: c"IP address of the one peer; without it flows say where to",
        },
        OptionDescription {
            attr: KEY,
            kind: option_kind::U32,
            name: c"key",
            help: c"network id for the one peer, 24 bits; default 0",
        },
    ];

    /// EEXIST: a port of the same kind has that UDP port in the namespace; EADDRINUSE: something else has.
    fn create(params: &CreateParams<'_>) -> Result<Self, Errno> {
        let options = Options::read(params.options)?;
        let claim = |netns| {
            let variant = u32::from(options.gbp);
            CLAIMS.take(netns, options.port, variant, Errno::EEXIST, Errno::EADDRINUSE)
        };
        UdpPort::create(params, Vxlan { options }, options.port, MTU, options.fixed(), claim).map(Self)
    }

    fn info(&self) -> PortInfo {
        self.0.info()
    }

    fn get_options(&self, out: &mut Vec<u8>) -> Result<bool, Errno> {
        self.0.codec().options.write(out).map(|()| true)
    }

    fn rx(&self, _queue: usize, pool: &mut PoolRef<'_>, batch: &mut Batch) -> Result<(), Errno> {
        self.0.rx(pool, batch);
        Ok(())
    }

    fn rx_fd(&self, _queue: usize) -> Option<RawFd> {
        Some(self.0.rx_fd())
    }

    fn tx(&self, queue: usize, pool: &mut PoolRef<'_>, batch: &mut Batch, report: &mut TxReport) {
        self.0.tx(queue, pool, batch, report);
    }

    fn egress_tunnel(&self, packet: &Packet, info: &mut TunnelInfo) -> Result<(), Errno> {
        self.0.egress_tunnel(packet, info)
    }
}
