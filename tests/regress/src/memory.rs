// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Port types without devices, under the numbers that netlink clients ask for.

use std::ffi::CStr;
use std::sync::atomic::{AtomicU32, Ordering};

use portway_buf::{Batch, PoolRef};
use portway_vport::abi::{PortInfo, TxReport, info_flags};
use portway_vport::ops::{CreateParams, Errno, PortType};

/// A port that swallows what it is sent and has an interface index of its own.
pub(crate) struct Memory<const TYPE: u32> {
    ifindex: u32,
    options: Vec<u8>,
}

impl<const T: u32> PortType for Memory<T> {
    const TYPE: u32 = T;
    const NAME: &'static CStr = c"memory";

    fn create(params: &CreateParams<'_>) -> Result<Self, Errno> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        Ok(Self { ifindex: NEXT.fetch_add(1, Ordering::Relaxed), options: params.options.to_vec() })
    }

    fn info(&self) -> PortInfo {
        PortInfo {
            ifindex: self.ifindex,
            mtu: 1500,
            flags: info_flags::OFFLOAD,
            link_up: 1,
            ..PortInfo::default()
        }
    }

    fn get_options(&self, out: &mut Vec<u8>) -> Result<bool, Errno> {
        out.extend(&self.options);
        Ok(!self.options.is_empty())
    }

    fn tx(&self, _queue: usize, pool: &mut PoolRef<'_>, batch: &mut Batch, report: &mut TxReport) {
        report.sent = batch.len() as u32;
        pool.give_all(batch);
    }
}

/// OVS_VPORT_TYPE_NETDEV.
pub(crate) mod netdev {
    portway_vport::port_module!(portway_vport_type_1, super::Memory<1>);
}

/// OVS_VPORT_TYPE_INTERNAL.
pub(crate) mod internal {
    portway_vport::port_module!(portway_vport_type_2, super::Memory<2>);
}

/// OVS_VPORT_TYPE_VXLAN.
pub(crate) mod vxlan {
    portway_vport::port_module!(portway_vport_type_4, super::Memory<4>);
}
