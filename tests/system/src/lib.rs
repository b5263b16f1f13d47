// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What system tests need: hosts in namespaces of their own, portwayd, stock Open vSwitch programs on it. The tests are in `tests/`.
#![forbid(unsafe_code)]

mod lab;
mod ovn;
mod ovs;
mod run;
pub mod tunnel;

pub use lab::{Lab, Netns};
pub use ovn::Ovn;
pub use ovs::Ovs;
pub use run::{Background, Said, background, said, within};
