// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A host: a network namespace with one Ethernet device, whose other end is a port for a switch.

use super::Daemon;
use crate::process;
use anyhow::{Context, Result, anyhow};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A host with one device, `eth0`.
pub(crate) struct Host {
    /// The name of its namespace.
    pub(crate) name: String,
    /// Its IPv4 address; the network is a /24.
    pub(crate) address: String,
    /// Its Ethernet address.
    pub(crate) mac: String,
}

/// What a TCP stream between two hosts came to.
#[derive(Clone, Copy)]
pub(crate) struct Stream {
    /// Received payload, in 10^9 bits a second.
    pub(crate) gbits: f64,
    /// Segments sent again.
    pub(crate) retransmits: u64,
}

impl Host {
    /// A host on one end of a veth pair; the other end is `port`, here.
    pub(crate) fn on_veth(number: u8, name: &str, port: &str) -> Result<Self> {
        let host = Self::bare(number, name)?;
        ip(&["link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", name])?;
        quiet(None, port)?;
        ip(&["link", "set", port, "up"])?;
        host.dress()?;
        Ok(host)
    }

    /// A host on a device of this namespace, which moves into its own.
    pub(crate) fn on_device(number: u8, name: &str, device: &str) -> Result<Self> {
        let host = Self::bare(number, name)?;
        ip(&["link", "set", device, "netns", name, "name", "eth0"])?;
        host.dress()?;
        Ok(host)
    }

    fn bare(number: u8, name: &str) -> Result<Self> {
        ip(&["netns", "add", name])?;
        Ok(Self {
            name: name.to_owned(),
            address: format!("10.77.0.{number}"),
            mac: format!("02:00:00:00:00:{number:02x}"),
        })
    }

    fn dress(&self) -> Result<()> {
        quiet(Some(&self.name), "eth0")?;
        ip(&["-n", &self.name, "link", "set", "lo", "up"])?;
        ip(&["-n", &self.name, "link", "set", "eth0", "address", &self.mac])?;
        ip(&["-n", &self.name, "addr", "add", &format!("{}/24", self.address), "dev", "eth0"])?;
        ip(&["-n", &self.name, "link", "set", "eth0", "up"])
    }

    /// A command that runs on the host.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Writes the other's Ethernet address down, so that no ARP is in the way of a measurement.
    pub(crate) fn knows(&self, other: &Self) -> Result<()> {
        ip(&["-n", &self.name, "neigh", "replace", &other.address, "lladdr", &other.mac, "dev", "eth0"])
    }

    /// Sends `count` echo requests and gives how many were answered.
    pub(crate) fn ping(&self, other: &Self, count: u32) -> Result<u32> {
        let mut command = self.command("ping");
        command.args(["-q", "-n", "-i", "0.1", "-W", "1", "-c", &count.to_string(), &other.address]);
        // ping fails when nothing is answered, which is an answer to us.
        let output = command.output().context("cannot start ping")?;
        let text = String::from_utf8_lossy(&output.stdout);
        answered(&text).ok_or_else(|| anyhow!("ping said: {text}{}", String::from_utf8_lossy(&output.stderr)))
    }

    /// One TCP stream to `other`.
    pub(crate) fn stream(&self, other: &Self, seconds: u32, scratch: &Path) -> Result<Stream> {
        let log = scratch.join("iperf3-server.log");
        let mut server = Daemon::start(other.command("iperf3").args(["-s", "-1", "--forceflush"]), &log)?;
        // It says so once it listens.
        let said = log.clone();
        server.wait_until(Duration::from_secs(5), || {
            std::fs::read_to_string(&said).is_ok_and(|text| text.contains("listening"))
        })?;
        let seconds = seconds.to_string();
        let report =
            process::capture(self.command("iperf3").args(["-J", "-t", &seconds, "-c", &other.address]))?;
        Stream::read(&report).with_context(|| format!("iperf3 said: {report}"))
    }
}

impl Stream {
    fn read(report: &str) -> Option<Self> {
        let report: serde_json::Value = serde_json::from_str(report).ok()?;
        let end = report.get("end")?;
        Some(Self {
            gbits: end.get("sum_received")?.get("bits_per_second")?.as_f64()? / 1e9,
            retransmits: end
                .get("sum_sent")?
                .get("retransmits")
                .and_then(serde_json::Value::as_u64)
                .unwrap_or(0),
        })
    }
}

/// The number before `received` in what ping prints at its end.
fn answered(text: &str) -> Option<u32> {
    text.split(", ").find_map(|part| part.strip_suffix(" received"))?.parse().ok()
}

/// Keeps the kernel's own IPv6 chatter off a device: only the hosts' traffic is to be seen.
fn quiet(namespace: Option<&str>, device: &str) -> Result<()> {
    let file = format!("/proc/sys/net/ipv6/conf/{device}/disable_ipv6");
    let write = format!("[ ! -e {file} ] || echo 1 > {file}");
    match namespace {
        Some(name) => process::run(Command::new("ip").args(["netns", "exec", name, "sh", "-c", &write])),
        None => process::run(Command::new("sh").args(["-c", &write])),
    }
}

fn ip(arguments: &[&str]) -> Result<()> {
    process::capture(Command::new("ip").args(arguments)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ping_says_is_understood() {
        let text = "2 packets transmitted, 1 received, 50% packet loss, time 101ms\n";
        assert_eq!(answered(text), Some(1));
        let text = "3 packets transmitted, 0 received, +3 errors, 100% packet loss, time 2055ms\n";
        assert_eq!(answered(text), Some(0));
        assert_eq!(answered("no route"), None);
    }

    #[test]
    fn what_iperf3_says_is_understood() {
        let text = r#"{"end": {"sum_sent": {"retransmits": 3}, "sum_received": {"bits_per_second": 2.5e9}}}"#;
        let stream = Stream::read(text).unwrap();
        assert!((stream.gbits - 2.5).abs() < 1e-9);
        assert_eq!(stream.retransmits, 3);
        assert!(Stream::read("{}").is_none());
    }
}
