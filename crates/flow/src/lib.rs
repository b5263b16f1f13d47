// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Flows: what is matched ([`FlowKey`], [`FlowMask`]), how a packet becomes a key, what a flow does
//! ([`Action`], data only), and how flows are found.
//!
//! This crate knows nothing of netlink, of ports' drivers or of time: see `docs/architecture.md`.
#![forbid(unsafe_code)]

mod action;
mod cache;
mod classifier;
mod extract;
pub mod field;
mod key;
mod lens;
mod mask;
mod packed;
pub mod text;

pub use action::{
    Action, CheckPacketLength, Hash, HashAlgorithm, Ipv4Fields, Ipv6Fields, Masked, MplsPush, Ports, Psample,
    PushEth, PushNsh, PushVlan, Sample, Set, Userspace,
};
pub use cache::{Cached, KeyCache, Place, WindowCache, WindowKey};
pub use classifier::{Classified, Classifier, ClassifierError};
pub use extract::{extract, extract_into, put_tunnel};
pub use key::{FlowKey, Frag, KEY_WORDS, MacAddr, mac_proto, tunnel_flags};
pub use lens::{Depth, Head, Lens, Shape, WINDOW, Window};
pub use mask::{FlowMask, hash_words};
pub use packed::PackedKey;
