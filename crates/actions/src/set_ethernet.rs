// SPDX-License-Identifier: Apache-2.0 OR MIT
//! set(eth): the two Ethernet addresses.

use portway_buf::Packet;
use portway_flow::MacAddr;
use portway_flow::Masked;

use crate::compile::check_bits;
use crate::error::{Error, Failure};

/// Both addresses as they stand in the header: destination, then source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EthernetRewrite {
    value: [u8; 12],
    keep: [u8; 12],
}

impl EthernetRewrite {
    pub(crate) fn new(src: &Masked<MacAddr>, dst: &Masked<MacAddr>) -> Result<Self, Error> {
        let mut rewrite = Self { value: [0; 12], keep: [0; 12] };
        for (at, address) in [(0, dst), (6, src)] {
            check_bits(&address.value.0, address.mask.as_ref().map(|mask| mask.0.as_slice()))?;
            rewrite.value[at..at + 6].copy_from_slice(&address.value.0);
            let mask = address.mask.map_or([0xff; 6], |mask| mask.0);
            rewrite.keep[at..at + 6].copy_from_slice(&mask.map(|byte| !byte));
        }
        Ok(rewrite)
    }

    #[inline]
    pub(crate) fn apply(&self, packet: &mut Packet) -> Result<(), Failure> {
        let addresses = packet.frame_mut().first_chunk_mut::<12>().ok_or(Failure::NoHeader)?;
        for (byte, (value, keep)) in addresses.iter_mut().zip(self.value.iter().zip(&self.keep)) {
            *byte = (*byte & keep) | value;
        }
        Ok(())
    }
}
