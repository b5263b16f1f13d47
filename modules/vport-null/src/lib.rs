// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The `null` port type: swallows what is sent, never receives. For benches and for tests without root.

#![deny(unsafe_code)]

use std::ffi::CStr;

use portway_buf::{Batch, PoolRef};
use portway_vport::abi::{PortInfo, TxReport, info_flags};
use portway_vport::ops::{CreateParams, Errno, PortType, TYPE_NULL};

/// One null port.
#[derive(Debug)]
pub struct NullPort;

impl PortType for NullPort {
    const TYPE: u32 = TYPE_NULL;
    const NAME: &'static CStr = c"null";
    const RECEIVES: bool = false;

    fn create(_params: &CreateParams<'_>) -> Result<Self, Errno> {
        Ok(Self)
    }

    fn info(&self) -> PortInfo {
        let flags = info_flags::OFFLOAD | info_flags::NO_MTU;
        PortInfo { mtu: u32::from(u16::MAX), flags, link_up: 1, ..PortInfo::default() }
    }

    fn tx(&self, _queue: usize, pool: &mut PoolRef<'_>, batch: &mut Batch, report: &mut TxReport) {
        report.sent = batch.len() as u32;
        report.sent_bytes = batch.iter().map(|packet| packet.len() as u64).sum();
        pool.give_all(batch);
    }
}

portway_vport::port_module!(portway_vport_type_1000, NullPort);
