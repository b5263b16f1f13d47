// SPDX-License-Identifier: Apache-2.0 OR MIT
//! ARP and RARP (RFC 826, RFC 903), of IPv4 over Ethernet only.

use super::bytes;
use crate::key::{FlowKey, MacAddr};

/// Hardware Ethernet, protocol IPv4, and their address lengths.
const IPV4_OVER_ETHERNET: [u8; 6] = [0, 1, 8, 0, 6, 4];

/// Fills in the ARP fields; all stay zero when the message is short or about other kinds of address.
pub(super) fn parse(frame: &[u8], l3: usize, key: &mut FlowKey) -> Option<usize> {
    let message: &[u8; 28] = bytes(frame, l3)?;
    let (kind, rest) = message.split_first_chunk()?;
    if kind != &IPV4_OVER_ETHERNET {
        return None;
    }
    // The key has eight bits for the opcode; one that needs more is known as zero.
    if let [0, op, ..] = *rest {
        key.ip_proto = op;
    }
    key.arp_sha = MacAddr(*bytes(message, 8)?);
    key.ip_src[..4].copy_from_slice(&message[14..18]);
    key.arp_tha = MacAddr(*bytes(message, 18)?);
    key.ip_dst[..4].copy_from_slice(&message[24..28]);
    None
}
