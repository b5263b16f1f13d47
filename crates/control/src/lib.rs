// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The generic-netlink server.

#![forbid(unsafe_code)]
