// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Names of bits, for the fields that are written as flags.

use crate::key::tunnel_flags;

/// Bits and their names, the lowest first.
pub(super) type Names = &'static [(u32, &'static str)];

/// OVS_CS_F_* bits.
pub(super) const CT_STATE: Names = &[
    (0x01, "new"),
    (0x02, "est"),
    (0x04, "rel"),
    (0x08, "rpl"),
    (0x10, "inv"),
    (0x20, "trk"),
    (0x40, "snat"),
    (0x80, "dnat"),
];

/// TCP flags; those that have lost their names or never had any go by their values.
pub(super) const TCP_FLAGS: Names = &[
    (0x001, "fin"),
    (0x002, "syn"),
    (0x004, "rst"),
    (0x008, "psh"),
    (0x010, "ack"),
    (0x020, "urg"),
    (0x040, "ece"),
    (0x080, "cwr"),
    (0x100, "ns"),
    (0x200, "[200]"),
    (0x400, "[400]"),
    (0x800, "[800]"),
];

/// Tunnel flags that have names, in the order in which they are written; the others say which options there are.
pub(super) const TUNNEL_FLAGS: Names = &[
    (tunnel_flags::OAM as u32, "oam"),
    (tunnel_flags::DONT_FRAGMENT as u32, "df"),
    (tunnel_flags::CSUM as u32, "csum"),
    (tunnel_flags::KEY as u32, "key"),
];

/// All bits of a set of names.
pub(super) fn all(names: Names) -> u32 {
    names.iter().fold(0, |bits, (bit, _)| bits | bit)
}

/// The bits that are set, joined by `|`; `0` for none.
pub(super) fn joined(names: Names, bits: u32) -> String {
    let set: Vec<_> = names.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| *name).collect();
    if set.is_empty() { "0".to_owned() } else { set.join("|") }
}

/// Each bit of the mask by name, with `+` or `-`.
pub(super) fn signed(names: Names, bits: u32, mask: u32) -> String {
    let masked = names.iter().filter(|(bit, _)| mask & bit != 0);
    masked.map(|(bit, name)| format!("{}{name}", if bits & bit != 0 { '+' } else { '-' })).collect()
}
