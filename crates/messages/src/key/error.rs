// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Why attributes are not a key. The kernel answers EINVAL to all of it and says the reason in its log; we have it to say.

use portway_uapi::Errno;

/// Why attributes are not a key or a mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A type that no version knows.
    #[error("key attribute {0} is unknown")]
    OutOfRange(u16),
    /// A type that is not for requests.
    #[error("key attribute {0} is not supported")]
    NotSupported(u16),
    /// An attribute twice.
    #[error("key attribute {0} is given twice")]
    Duplicate(u16),
    /// An attribute of the wrong length.
    #[error("key attribute {kind} has {len} bytes instead of {expected}")]
    Length {
        /// The attribute.
        kind: u16,
        /// Bytes that it has.
        len: usize,
        /// Bytes that it should have.
        expected: usize,
    },
    /// Bytes behind the last attribute, or too few of them.
    #[error("the attributes do not end where their nest does")]
    Leftover,
    /// An input port past the largest possible.
    #[error("input port {0} is larger than 65534")]
    Port(u32),
    /// Connection state bits that do not exist.
    #[error("connection state {0:#x} has unknown bits")]
    CtState(u32),
    /// An ethertype that is a length.
    #[error("ethertype {0:#06x} is less than 0x0600")]
    Ethertype(u16),
    /// Neither an Ethernet header nor an ethertype.
    #[error("an Ethernet header or an ethertype is required")]
    NoEthertype,
    /// A VLAN ethertype without the tag or without what is behind it, or a tag where there can be none.
    #[error("a VLAN tag needs the Ethernet header, a VLAN ethertype, the tag and what it encapsulates")]
    Vlan,
    /// A tag without the bit that says that there is one.
    #[error("VLAN tag {0:#06x} lacks the bit 0x1000")]
    VlanBit(u16),
    /// Fields behind a tag that was cut off.
    #[error("fields behind a VLAN tag that is cut off")]
    VlanCut,
    /// A mask behind a tag that the key does not have, or without the tag's exact ethertype.
    #[error(
        "the mask of what a VLAN tag encapsulates needs the tag in the key, and its whole ethertype in the mask"
    )]
    VlanMask,
    /// A fragment type that does not exist.
    #[error("fragment type {0} is unknown")]
    Fragment(u8),
    /// A flow label of more than 20 bits.
    #[error("flow label {0:#x} has more than 20 bits")]
    FlowLabel(u32),
    /// An ARP operation of more than eight bits.
    #[error("ARP operation {0} is larger than 255")]
    ArpOperation(u16),
    /// No label, or more than the key holds, or a part of one.
    #[error("{0} bytes are not one to three MPLS labels")]
    Labels(usize),
    /// A nested attribute that is unknown or of the wrong length.
    #[error("attribute {kind} in the {nest} nest is unknown or has a wrong length of {len} bytes")]
    Nested {
        /// Which nest.
        nest: &'static str,
        /// The attribute.
        kind: u16,
        /// Its bytes.
        len: usize,
    },
    /// A tunnel with options of two kinds.
    #[error("a tunnel key can have options of one kind only")]
    TunnelOptions,
    /// A mask of Geneve options that is not as long as the options.
    #[error("a mask of {mask} bytes for Geneve options of {key} bytes")]
    TunnelOptionsLength {
        /// Bytes of the key's options.
        key: usize,
        /// Bytes of the mask's.
        mask: usize,
    },
    /// A tunnel without a destination, with two kinds of addresses, or without a time to live.
    #[error("a tunnel key needs addresses of one kind, a destination and a time to live")]
    Tunnel,
    /// A network service header whose parts do not fit.
    #[error("a network service header needs one kind of metadata, the one that it names")]
    Nsh,
    /// Attributes that the others leave no room for.
    #[error("attributes {0:#x} (a bit each) are not expected")]
    Unexpected(u64),
    /// Attributes that the others require.
    #[error("attributes are missing: there are {present:#x} (a bit each), expected {expected:#x}")]
    Missing {
        /// Those that are there.
        present: u64,
        /// Those that must be there.
        expected: u64,
    },
    /// A mask on what the key does not fix.
    #[error("the mask has attributes {mask:#x} (a bit each), allowed are {allowed:#x}")]
    Mask {
        /// Those that are there.
        mask: u64,
        /// Those that may be there.
        allowed: u64,
    },
}

impl KeyError {
    /// The kernel's answer.
    pub fn errno(self) -> Errno {
        Errno::EINVAL
    }
}

impl From<KeyError> for crate::Refusal {
    fn from(error: KeyError) -> Self {
        error.errno().into()
    }
}
