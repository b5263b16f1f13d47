// SPDX-License-Identifier: Apache-2.0 OR MIT
//! MPLS label stacks (RFC 3032).

use zerocopy::network_endian::U32;

use super::bytes;
use crate::key::FlowKey;

const BOTTOM_OF_STACK: u32 = 0x100;

/// Keeps the outermost labels. A stack whose bottom is not in the frame counts as none, though its labels stay in the key.
pub(super) fn parse(frame: &[u8], l3: usize, key: &mut FlowKey) -> Option<usize> {
    let mut count = 0;
    loop {
        let entry = U32::from_bytes(*bytes(frame, l3 + count * 4)?);
        if let Some(slot) = key.mpls_lse.get_mut(count) {
            *slot = entry;
        }
        count += 1;
        if entry.get() & BOTTOM_OF_STACK != 0 {
            break;
        }
    }
    key.mpls_count = (1 << count.min(key.mpls_lse.len())) - 1;
    None
}
