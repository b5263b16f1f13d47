// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Flows and requests as text: `cargo +nightly fuzz run text fuzz/corpus/text tests/regress/cases/text`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| portway_regress::frame::fuzz_text(data));
