// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One recording: a scenario with the kernel's answers.

use std::path::PathBuf;

use serde_json::Value;

/// What was done, and what was seen.
pub struct Step {
    /// The step as the scenario has it.
    pub what: Value,
    /// What the kernel answered.
    pub got: Value,
}

/// One scenario.
pub struct Recording {
    /// File name without its end.
    pub name: String,
    /// In order.
    pub steps: Vec<Step>,
}

impl Recording {
    /// Reads every recording whose name starts with one of `prefixes`, in order of name. With `PORTWAY_RECORDINGS` set, every
    /// recording in that folder instead: so a test can be run on what the kernel was just asked (`shared/oracle`).
    ///
    /// # Panics
    /// If a file cannot be read: the tests cannot go on.
    pub fn all(prefixes: &[&str]) -> Vec<Self> {
        let asked = std::env::var_os("PORTWAY_RECORDINGS").map(PathBuf::from);
        let prefixes = if asked.is_some() { &[""] } else { prefixes };
        let folder = asked.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("recordings"));
        let mut names: Vec<String> = std::fs::read_dir(&folder)
            .expect("the folder of recordings")
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".json").map(str::to_owned))
            .filter(|name| prefixes.iter().any(|prefix| name.starts_with(prefix)))
            .collect();
        names.sort_unstable();
        names
            .into_iter()
            .map(|name| {
                let text = std::fs::read_to_string(folder.join(format!("{name}.json"))).expect("a recording");
                let json: Value = serde_json::from_str(&text).expect("a recording is JSON");
                let steps = json["steps"].as_array().expect("a recording has steps");
                let steps = steps
                    .iter()
                    .map(|step| Step { what: step["do"].clone(), got: step["got"].clone() })
                    .collect();
                Self { name, steps }
            })
            .collect()
    }
}

/// The bytes that `hex` writes; `None` if it is not hex.
pub fn bytes_of_hex(hex: &str) -> Option<Vec<u8>> {
    if !hex.len().is_multiple_of(2) {
        return None;
    }
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect()
}

/// `bytes` in hex.
pub fn hex_of_bytes(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
