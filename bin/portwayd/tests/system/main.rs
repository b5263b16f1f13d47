// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The daemon on real devices, in network namespaces of its own. Needs root.

mod control;
mod lab;
mod lifecycle;
mod shortcuts;
mod traffic;
