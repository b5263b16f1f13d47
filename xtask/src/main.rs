// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The project's own commands: `cargo xtask setup | demo | test | bench | tidy | ci`.

fn main() {}
