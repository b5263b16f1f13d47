// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The port type itself.

use std::ffi::CStr;
use std::os::fd::RawFd;

use portway_buf::{Batch, Packet, PoolRef};
use portway_tunnel_sockets::Claims;
use portway_tunnel_sockets::gre::GrePort;
use portway_vport::abi::{PortInfo, TunnelInfo, TxReport};
use portway_vport::ops::{CreateParams, Errno, PortType};

/// MTU of the device, as the kernel module's has it.
const MTU: u32 = 65_497;

/// Namespaces that have a port of this type.
static CLAIMS: Claims = Claims::new();

/// One GRE end point.
pub struct GreType(GrePort);

impl PortType for GreType {
    const TYPE: u32 = 3;
    const NAME: &'static CStr = c"gre";
    const TUNNEL: bool = true;

    /// EEXIST: the namespace has such a port already. There are no options; what is given is not looked at.
    fn create(params: &CreateParams<'_>) -> Result<Self, Errno> {
        let claim = |netns| CLAIMS.take(netns, 0, 0, Errno::EEXIST, Errno::EEXIST);
        GrePort::create(params, MTU, claim).map(Self)
    }

    fn info(&self) -> PortInfo {
        self.0.info()
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

    fn egress_tunnel(&self, _packet: &Packet, info: &mut TunnelInfo) -> Result<(), Errno> {
        self.0.egress_tunnel(info)
    }
}
