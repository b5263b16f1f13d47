// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The Portway daemon.
#![forbid(unsafe_code)]

mod config;

fn main() {}
