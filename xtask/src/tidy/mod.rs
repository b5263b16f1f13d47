// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask tidy`: the rules of the house, one module each. It is also a test, so `cargo test` runs it.
//!
//! A rule is a function from the [`tree::Tree`] to findings. Each has tests that show it failing on a bad sample.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "the enums matched here are syn's and toml's, and they grow"
)]

mod dead_files;
mod dependency_direction;
mod doc_links;
mod file_length;
mod function_length;
mod leftovers;
mod line_length;
mod packages;
mod pure_core;
mod report;
mod spdx;
mod test_code;
mod tree;
mod unsafe_code;

pub(crate) use report::run;
