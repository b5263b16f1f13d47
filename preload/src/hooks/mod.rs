// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The functions that take the place of libc's. On a file descriptor that is none of ours each is libc's.

#![cfg_attr(test, expect(dead_code, reason = "a test program calls libc itself, past these"))]

mod descriptors;
mod names;
mod open;
mod plain;
mod receive;
mod result;
mod send;
