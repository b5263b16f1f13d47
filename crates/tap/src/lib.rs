// SPDX-License-Identifier: Apache-2.0 OR MIT
//! TAPs, for port types: made or opened, described and set up by ioctl. A device is found by its file: it may have been renamed.

mod file;

pub use file::{State, TapFile};
