// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Outer packets to the tunnel port types: `cargo +nightly fuzz run tunnel fuzz/corpus/tunnel tests/regress/cases/tunnel`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| portway_regress::tunnel::fuzz_one(data));
