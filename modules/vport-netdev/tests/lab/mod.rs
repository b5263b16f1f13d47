// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A laboratory of network namespaces for system tests: made by root, gone with the value, whatever happens.
//! (Shared by the tests of several crates.)
#![allow(dead_code, unreachable_pub, reason = "shared by test binaries, each of which uses a part")]

use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use portway_netwatch::Netns;

/// Runs a program and returns what it said; panics if it failed.
pub fn run(program: &str, args: &[&str]) -> String {
    let output = attempt(program, args);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{program} {args:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// Runs a program that may fail.
pub fn attempt(program: &str, args: &[&str]) -> Output {
    let output = Command::new(program).args(args).output();
    output.unwrap_or_else(|error| {
        panic!("these tests need {program} (Debian: iproute2, iputils-ping): {error}")
    })
}

/// `ip` with a command line in one text.
pub fn ip(line: &str) -> String {
    run("ip", &line.split_whitespace().collect::<Vec<_>>())
}

/// Whether `condition` comes true soon. What a port gives back is free at once, unless another test has just forked: its child
/// holds copies of all descriptors until it runs its program.
pub fn soon(mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        if condition() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A namespace with a unique name, deleted on drop. IPv6 is off in it so that no stray frames appear.
pub struct Space {
    pub name: String,
    pub netns: Netns,
}

impl Space {
    pub fn new(hint: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        assert!(
            rustix::process::geteuid().is_root(),
            "these tests make network namespaces: run them as root"
        );
        let name = format!("pw{}-{}-{hint}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        run("ip", &["netns", "add", &name]);
        let space = Self { netns: Netns::by_name(&name).expect("just made"), name };
        space.inside(|| {
            for scope in ["all", "default"] {
                // A kernel without IPv6 has nothing to switch off.
                let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"), "1");
            }
        });
        space.ip("link set lo up");
        space
    }

    /// `ip` in this namespace.
    pub fn ip(&self, line: &str) -> String {
        let words = ["-n", &self.name].into_iter().chain(line.split_whitespace()).collect::<Vec<_>>();
        run("ip", &words)
    }

    /// A program in this namespace.
    pub fn attempt(&self, program: &str, args: &[&str]) -> Output {
        let words = ["netns", "exec", &self.name, program].into_iter().chain(args.iter().copied());
        attempt("ip", &words.collect::<Vec<_>>())
    }

    /// Runs `job` on a thread in this namespace.
    pub fn inside<T: Send>(&self, job: impl FnOnce() -> T + Send) -> T {
        self.netns.run(job).expect("entering a namespace of our own")
    }

    /// A veth pair: `device` here, `peer_device` in `peer`; both up.
    pub fn veth(&self, device: &str, peer: &Self, peer_device: &str) {
        self.ip(&format!("link add {device} type veth peer name {peer_device} netns {}", peer.name));
        self.ip(&format!("link set {device} up"));
        peer.ip(&format!("link set {peer_device} up"));
    }

    /// Whether `count` pings to `address` are all answered; the answer count is returned.
    pub fn ping(&self, address: &str, count: u32) -> u32 {
        let output =
            self.attempt("ping", &["-n", "-c", &count.to_string(), "-i", "0.05", "-W", "1", address]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let words: Vec<_> = said.split_whitespace().collect();
        let at = words
            .iter()
            .position(|word| word.starts_with("received"))
            .unwrap_or_else(|| panic!("ping: {said}"));
        words[at - 1].parse().expect("ping counts answers")
    }

    /// A statistic of a device (`rx_packets`, ...).
    pub fn statistic(&self, device: &str, name: &str) -> u64 {
        let said = self.ip(&format!("-j -s link show {device}"));
        let json: serde_json::Value = serde_json::from_str(&said).expect("ip -j prints JSON");
        let (direction, counter) = name.split_once('_').expect("rx_packets and the like");
        json[0]["stats64"][direction][counter].as_u64().expect("a counter of that name")
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = attempt("ip", &["netns", "del", &self.name]);
    }
}
