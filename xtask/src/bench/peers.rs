// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The peers: stock programs that do the same work, each behind a script in `bench/peers/`.

use crate::{process, workspace};
use anyhow::{Context, Result};
use std::path::Path;
use std::process::Command;

/// A switch between devices that a script brings up and takes down.
pub(super) struct Peer {
    script: &'static str,
}

impl Peer {
    /// Has the peer switch between these devices.
    pub(super) fn up(script: &'static str, devices: &[&str]) -> Result<Self> {
        Self::up_behind("", script, devices)
    }

    /// The same with words before the peer's command line, and what else its script takes before the devices.
    pub(super) fn up_behind(wrap: &str, script: &'static str, arguments: &[&str]) -> Result<Self> {
        let peer = Self { script };
        process::capture(self::script(script).arg("up").args(arguments).env("WRAP", wrap))?;
        Ok(peer)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = process::capture(script(self.script).arg("down"));
    }
}

/// Millions of packets a second that OVS-DPDK forwards under an OpenFlow rule.
pub(super) fn ovs_dpdk(capture: &Path, seconds: u32, rule: &str) -> Result<f64> {
    let mut command = script("ovs-dpdk.sh");
    mpps(&process::capture(command.arg(capture).arg(seconds.to_string()).arg(rule))?)
}

/// The figure in `{"mpps_per_cpu_second": N}`, which is how peers and our own measuring program answer: millions of
/// packets per second of the polling threads' CPU time.
pub(super) fn mpps(answer: &str) -> Result<f64> {
    number(answer, "mpps_per_cpu_second")
}

/// A number by its name in an answer's JSON object.
pub(super) fn number(answer: &str, name: &str) -> Result<f64> {
    let value: serde_json::Value = serde_json::from_str(answer).with_context(|| answer.to_owned())?;
    value.get(name).and_then(serde_json::Value::as_f64).with_context(|| format!("no `{name}` in {answer}"))
}

fn script(name: &str) -> Command {
    let mut command = Command::new("bash");
    command.arg(workspace::root().join("bench/peers").join(name));
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        assert!((mpps("{\"mpps_per_cpu_second\": 12.5}\n").unwrap() - 12.5).abs() < 1e-9);
        assert!(mpps("{}").unwrap_err().to_string().contains("no `mpps_per_cpu_second`"));
        assert!(mpps("oops").is_err());
    }
}
