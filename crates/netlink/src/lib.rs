// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Netlink messages, read and written as the kernel does it. Nothing here knows of Open vSwitch, opens a socket or
//! holds an errno, but for the functions named `errno`, which say what the kernel would return.
//!
//! Reading: [`Messages`] splits a datagram, [`Message::genl`] takes generic netlink's and the family's header off,
//! [`Policy::parse`] validates the attributes and sorts them by type, [`Attrs`] walks them in their order.
//! Writing: a [`Datagram`] takes messages, an [`AttrBuilder`] a message's attributes, [`ack`] answers.

#![forbid(unsafe_code)]

pub mod ack;
mod attr;
mod builder;
mod datagram;
mod error;
mod message;
mod policy;
mod validate;

pub use ack::{Ack, ExtAck};
pub use attr::{Attr, Attrs};
pub use builder::{AttrBuilder, Nest};
pub use datagram::{Datagram, Header};
pub use error::Error;
pub use message::{GenlMessage, Message, Messages};
pub use policy::{Kind, Policy, Rule, Validation};
pub use validate::{Reason, Rejected, Strictness, Table};

/// `len` rounded up to the alignment of messages and attributes, 4 bytes.
pub const fn align(len: usize) -> usize {
    len.next_multiple_of(4)
}
