// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Why an action list is refused, and with which errno the kernel refuses it.

use portway_buf::DropReason;
use portway_uapi::errno::Errno;

/// A reason to refuse an action list. Offsets and limits are in the text where a person needs them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// OUTPUT names a port number that no datapath can have.
    #[error("output to port {0}, but port numbers end at 65534")]
    PortTooLarge(u32),
    /// Lists within lists beyond [`crate::Limits::depth_max`].
    #[error("actions are nested deeper than {0} levels")]
    TooDeep(u32),
    /// More actions than [`crate::Limits::actions_max`].
    #[error("more than {0} actions")]
    TooMany(usize),
    /// TRUNC shorter than an Ethernet header.
    #[error("truncation to {0} bytes would cut into the Ethernet header")]
    TruncateTooShort(u32),
    /// USERSPACE without a receiver.
    #[error("userspace action with port id 0")]
    NoReceiver,
    /// A value has bits outside its mask.
    #[error("a value to set has bits outside its mask")]
    ValueOutsideMask,
    /// SET of a field whose header the flow's key does not guarantee.
    #[error("set of {0}, which the flow's key does not guarantee to be there")]
    HeaderNotMatched(&'static str),
    /// SET would change a field that cannot be written.
    #[error("set would change {0}")]
    NotWritable(&'static str),
    /// An IPv6 flow label of more than 20 bits.
    #[error("IPv6 flow label of more than 20 bits")]
    LabelTooLarge,
    /// PUSH_VLAN with a TPID other than 0x8100 or 0x88a8.
    #[error("{0:#06x} is not a VLAN TPID")]
    BadTpid(u16),
    /// PUSH_VLAN without the bit that says that there is a tag.
    #[error("push_vlan without the CFI bit in the TCI")]
    NoCfi,
    /// An action on layer 2 for a packet that has no Ethernet header at that point.
    #[error("{0} needs an Ethernet header")]
    NeedsEthernet(&'static str),
    /// PUSH_ETH for a packet that has an Ethernet header.
    #[error("push_eth on a packet that has an Ethernet header")]
    HasEthernet,
    /// An action that cannot work under a VLAN tag.
    #[error("{0} under a VLAN tag")]
    UnderVlan(&'static str),
    /// An MPLS action with an ethertype that does not fit.
    #[error("{action} with ethertype {ethertype:#06x}")]
    BadMplsType {
        /// The action.
        action: &'static str,
        /// The ethertype in it, or of the packet at that point.
        ethertype: u16,
    },
    /// PUSH_NSH with a header that cannot be.
    #[error("push_nsh with a malformed header")]
    BadNsh,
    /// An NSH action on a packet whose next protocol NSH has no number for, or POP_NSH where the key does not fix it.
    #[error("{0} with an unknown next protocol")]
    UnknownNshProtocol(&'static str),
    /// CHECK_PKT_LEN with length 0.
    #[error("check_pkt_len against 0")]
    ZeroLength,
    /// An action behind one that ends the list.
    #[error("actions behind drop")]
    BehindDrop,
    /// PSAMPLE with a cookie of more than 16 bytes.
    #[error("psample cookie of {0} bytes, 16 are allowed")]
    CookieTooLong(usize),
}

impl Error {
    /// The errno with which the kernel answers.
    pub const fn errno(&self) -> Errno {
        match self {
            Self::TooDeep(_) => Errno::EOVERFLOW,
            Self::TooMany(_) => Errno::EMSGSIZE,
            Self::PortTooLarge(_)
            | Self::TruncateTooShort(_)
            | Self::NoReceiver
            | Self::ValueOutsideMask
            | Self::HeaderNotMatched(_)
            | Self::NotWritable(_)
            | Self::LabelTooLarge
            | Self::BadTpid(_)
            | Self::NoCfi
            | Self::NeedsEthernet(_)
            | Self::HasEthernet
            | Self::UnderVlan(_)
            | Self::BadMplsType { .. }
            | Self::BadNsh
            | Self::UnknownNshProtocol(_)
            | Self::ZeroLength
            | Self::BehindDrop
            | Self::CookieTooLong(_) => Errno::EINVAL,
        }
    }
}

/// Why an action cannot be carried out on a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The header that it works on is not there, or not whole.
    NoHeader,
    /// The buffer has no room for another header.
    NoRoom,
    /// The packet's headers are in an order that the action cannot work on.
    WrongOrder,
    /// The action never works.
    Impossible,
    /// NSH has no number for what the packet starts with.
    UnknownProtocol,
}

impl Failure {
    /// The errno with which the kernel's action fails.
    pub(crate) const fn errno(self) -> Errno {
        match self {
            Self::NoHeader | Self::NoRoom => Errno::ENOMEM,
            Self::WrongOrder => Errno::EPROTO,
            Self::Impossible => Errno::EINVAL,
            Self::UnknownProtocol => Errno::EAFNOSUPPORT,
        }
    }

    /// Under which reason the packet is counted.
    pub(crate) const fn reason(self) -> DropReason {
        match self {
            Self::NoRoom => DropReason::NoBuffer,
            Self::NoHeader | Self::WrongOrder | Self::Impossible | Self::UnknownProtocol => {
                DropReason::ActionFailed
            }
        }
    }
}
