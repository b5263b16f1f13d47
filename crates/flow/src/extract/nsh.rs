// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Network service header (RFC 8300). The only header whose damage costs the packet: what it encapsulates cannot be told.

use portway_buf::DropReason;
use zerocopy::network_endian::U32;

use super::bytes;
use crate::key::FlowKey;

/// Bytes of a header with metadata type 1, whose context has a fixed size.
const TYPE1_LEN: usize = 24;

/// Fills in the NSH fields.
pub(super) fn parse(frame: &[u8], l3: usize, key: &mut FlowKey) -> Result<Option<usize>, DropReason> {
    let header: &[u8; 8] = bytes(frame, l3).ok_or(DropReason::BadFrame)?;
    let [w0, w1, mdtype, np, path @ ..] = *header;
    let word = u16::from_be_bytes([w0, w1]);
    let (version, length) = (word >> 14, usize::from(word & 0x3f) * 4);
    if version != 0 || frame.len() < l3 + length {
        return Err(DropReason::BadFrame);
    }
    key.nsh_flags = (word >> 12 & 0x3) as u8;
    key.nsh_ttl = (word >> 6 & 0x3f) as u8;
    key.nsh_mdtype = mdtype;
    key.nsh_np = np;
    key.nsh_path = U32::from_bytes(path);
    match mdtype {
        1 if length == TYPE1_LEN => {
            let context: &[u8; 16] = bytes(frame, l3 + header.len()).ok_or(DropReason::BadFrame)?;
            key.nsh_context = zerocopy::transmute!(*context);
            Ok(None)
        }
        2 => Ok(None),
        _ => Err(DropReason::BadFrame),
    }
}
