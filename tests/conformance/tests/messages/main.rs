// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Keys and actions as messages have them: what extraction makes of every frame that the kernel sent up, and which keys, masks
//! and actions of every flow that was asked for are taken, and how they are shown.

mod actions;
mod extraction;
mod flows;

use std::fmt::Write;

use portway_conformance::{bytes_of_hex, hex_of_bytes};
use portway_netlink::Attrs;

/// What was compared.
#[derive(Default)]
struct Tally {
    matched: usize,
    differences: Vec<String>,
}

impl Tally {
    fn compare<T: PartialEq>(&mut self, place: &str, ours: &T, kernel: &T, show: impl Fn(&T) -> String) {
        if ours == kernel {
            self.matched += 1;
        } else {
            self.differences.push(format!("{place}\n    ours   {}\n    kernel {}", show(ours), show(kernel)));
        }
    }

    /// Says how many matched, and fails if any did not.
    fn finish(self, what: &str, at_least: usize) {
        let mut report = String::new();
        for difference in self.differences.iter().take(20) {
            let _ = writeln!(report, "{difference}");
        }
        eprintln!("{what}: {} match, {} differ", self.matched, self.differences.len());
        assert!(self.differences.is_empty(), "{} differ:\n{report}", self.differences.len());
        assert!(self.matched >= at_least, "only {} were compared", self.matched);
    }
}

#[expect(clippy::ptr_arg, reason = "what Tally::compare gives")]
fn hex(bytes: &Vec<u8>) -> String {
    hex_of_bytes(bytes)
}

/// The bytes of a recorded message. Those that differ from run to run get a value of their own: not zero, which is often left out.
fn raw(message: &serde_json::Value) -> Vec<u8> {
    raw_with(message, "11")
}

/// The bytes of a recorded message, and two digits for each that differs from run to run.
fn raw_with(message: &serde_json::Value, volatile: &str) -> Vec<u8> {
    let text = message["raw"].as_str().expect("a recorded message has its bytes");
    bytes_of_hex(&text.replace("..", volatile)).expect("hexadecimal digits")
}

/// The payload of an attribute of a message; of several, the last counts.
fn attribute(message: &[u8], kind: u16) -> Option<Vec<u8>> {
    Attrs::new(message).filter(|attr| attr.kind() == kind).last().map(|attr| attr.payload().to_vec())
}
