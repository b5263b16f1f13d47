// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Protocol headers as they are on the wire: one file per protocol.
//!
//! **`View`** reads a header in place. Its constructor checks that the header is whole (and nothing else, unless said: a
//! switch forwards what an end host would refuse); after that no accessor can fail or panic. Numbers are in host order,
//! addresses are byte arrays. `field` gives the places of the fields, for those who change them in place.
//!
//! **`Repr`** is a header as a value, for those who build one: `to_bytes` gives its bytes.
//!
//! | layer | modules |
//! |---|---|
//! | 2 | [`ethernet`], [`vlan`], [`mpls`], [`nsh`], [`arp`] |
//! | 3 | [`ipv4`], [`ipv6`], [`ipv6_ext`] |
//! | 4 | [`tcp`], [`udp`], [`sctp`], [`nd`] |
//! | tunnels | [`vxlan`], [`geneve`], [`gre`] |
//! | sums | [`checksum`] |

#![forbid(unsafe_code)]

mod bytes;

pub mod arp;
pub mod checksum;
pub mod error;
pub mod ethernet;
pub mod geneve;
pub mod gre;
pub mod ip_proto;
pub mod ipv4;
pub mod ipv6;
pub mod ipv6_ext;
pub mod mpls;
pub mod nd;
pub mod nsh;
pub mod sctp;
pub mod tcp;
pub mod udp;
pub mod vlan;
pub mod vxlan;

pub use error::Error;
