// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the tunnel port types have in common: the host's stack carries the outer packets, through sockets in the port's namespace.
//!
//! [`udp::UdpPort`] is a whole port type but for the header and the options, which are a [`udp::Codec`]'s; [`gre::GrePort`] is one whole.

mod common;
mod device;
pub mod gre;
mod message;
pub mod options;
mod peer;
mod receive;
mod registry;
mod route;
mod send;
mod socket;
pub mod udp;

pub use device::{LASTING_ALIAS, OPTION_DEVICE, OPTION_ZERO_CHECKSUM6, make_lasting};
pub use peer::Peer;
pub use registry::{Claim, Claims};
