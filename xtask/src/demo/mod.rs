// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask demo`: the product at its main job, on real traffic, before your eyes.

mod expect;
mod run;
mod show;
mod topology;

pub(crate) use run::{inside, run};
