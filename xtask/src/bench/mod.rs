// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask bench`: whole programs measured, most of them against a peer that does the same work.
//!
//! Ours and the peer's rounds alternate, so that what else the machine does weighs on both; the verdict is on the
//! median of the rounds' ratios. `docs/performance.md` says how each figure is made.

mod capture;
mod contest;
mod flows;
mod hosts;
mod huge_pages;
mod memory;
mod parts;
mod peers;
mod row;
mod run;
mod scale;
mod streams;
mod tunnels;

pub(crate) use run::{Options, inside, run};
