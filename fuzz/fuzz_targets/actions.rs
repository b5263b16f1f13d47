// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Lists of actions, done to frames: `cargo +nightly fuzz run actions fuzz/corpus/actions tests/regress/cases/actions`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    portway_regress::actions::fuzz_one(data);
});
