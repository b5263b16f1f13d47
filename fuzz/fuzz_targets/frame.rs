// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Frames to the key extraction: `cargo +nightly fuzz run frame fuzz/corpus/frame tests/regress/cases/frame`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| portway_regress::frame::fuzz_one(data));
