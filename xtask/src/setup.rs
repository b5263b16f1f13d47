// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask setup`: the programs that tests, demo and bench call, from Debian's packages.
//!
//! What is present is found by looking for the program, not for the package, so other distributions work once
//! the programs are there, and a run with nothing to do takes no time.

use crate::process;
use anyhow::{Result, bail};
use clap::ValueEnum;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is to be run.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
pub(crate) enum Purpose {
    /// `cargo xtask test`
    Test,
    /// `cargo xtask demo`
    Demo,
    /// `cargo xtask bench`
    Bench,
}

/// Installs what the purposes need and this machine lacks.
pub(crate) fn run(purposes: &[Purpose]) -> Result<()> {
    let missing = missing(purposes);
    if missing.is_empty() {
        return Ok(());
    }
    if process::find_program("apt-get").is_none() {
        let names: Vec<_> = missing.iter().map(|need| need.probe.name()).collect();
        bail!("these are missing and there is no apt-get to install them with: {}", names.join(", "));
    }
    let packages: Vec<String> = missing.iter().map(|need| need.package_name()).collect();
    if !process::is_root() {
        bail!("packages are missing; install them with: sudo apt-get install {}", packages.join(" "));
    }
    println!("setup: installing {}", packages.join(" "));
    install(&packages)?;
    match self::missing(purposes).as_slice() {
        [] => Ok(()),
        [need, ..] => {
            bail!("{} is still missing after `apt-get install {}`", need.probe.name(), need.package)
        }
    }
}

/// One program or library, and the package that brings it.
struct Need {
    package: &'static str,
    probe: Probe,
    purposes: &'static [Purpose],
}

/// How to see that it is there.
enum Probe {
    /// A program on the search path.
    Program(&'static str),
    /// A file with a fixed path.
    File(&'static str),
    /// A DPDK driver of this name; Debian numbers the package after DPDK's ABI.
    Driver(&'static str),
}

const ALL: &[Purpose] = &[Purpose::Test, Purpose::Demo, Purpose::Bench];

const NEEDS: &[Need] = &[
    Need { package: "iproute2", probe: Probe::Program("ip"), purposes: ALL },
    Need { package: "util-linux", probe: Probe::Program("unshare"), purposes: ALL },
    Need { package: "iperf3", probe: Probe::Program("iperf3"), purposes: ALL },
    Need { package: "iputils-ping", probe: Probe::Program("ping"), purposes: ALL },
    Need { package: "ethtool", probe: Probe::Program("ethtool"), purposes: ALL },
    Need { package: "tcpdump", probe: Probe::Program("tcpdump"), purposes: &[Purpose::Test] },
    Need { package: "tshark", probe: Probe::Program("tshark"), purposes: &[Purpose::Test] },
    Need { package: "python3", probe: Probe::Program("python3"), purposes: &[Purpose::Test] },
    Need { package: "systemd", probe: Probe::Program("systemd-analyze"), purposes: &[Purpose::Test] },
    Need { package: "gcc", probe: Probe::Program("cc"), purposes: &[Purpose::Test] },
    Need { package: "g++", probe: Probe::Program("c++"), purposes: &[Purpose::Test] },
    Need {
        package: "openvswitch-switch",
        probe: Probe::File("/usr/lib/openvswitch-switch/ovs-vswitchd"),
        purposes: &[Purpose::Test, Purpose::Bench],
    },
    Need {
        package: "ovn-central",
        probe: Probe::Program("ovn-northd"),
        purposes: &[Purpose::Test, Purpose::Bench],
    },
    Need {
        package: "ovn-host",
        probe: Probe::Program("ovn-controller"),
        purposes: &[Purpose::Test, Purpose::Bench],
    },
    Need {
        package: "openvswitch-switch-dpdk",
        probe: Probe::File("/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk"),
        purposes: &[Purpose::Bench],
    },
    Need {
        package: "librte-mempool-ring",
        probe: Probe::Driver("librte_mempool_ring.so"),
        purposes: &[Purpose::Bench],
    },
    Need {
        package: "librte-net-null",
        probe: Probe::Driver("librte_net_null.so"),
        purposes: &[Purpose::Bench],
    },
    Need {
        package: "librte-net-pcap",
        probe: Probe::Driver("librte_net_pcap.so"),
        purposes: &[Purpose::Bench],
    },
];

impl Need {
    /// The package's name in this Debian.
    fn package_name(&self) -> String {
        if !matches!(self.probe, Probe::Driver(_)) {
            return self.package.to_owned();
        }
        let pattern = format!("^{}[0-9]+$", self.package);
        let found = process::capture(Command::new("apt-cache").args(["search", "--names-only", &pattern]));
        let found = found.unwrap_or_default();
        found.split_whitespace().next().map_or_else(|| format!("{}23", self.package), str::to_owned)
    }
}

impl Probe {
    fn name(&self) -> &'static str {
        match self {
            Self::Program(name) | Self::File(name) | Self::Driver(name) => name,
        }
    }

    fn is_there(&self) -> bool {
        match self {
            Self::Program(name) => process::find_program(name).is_some(),
            Self::File(path) => Path::new(path).exists(),
            Self::Driver(name) => driver_is_there(name),
        }
    }
}

/// Looks into `/usr/lib/<architecture>/dpdk/pmds-*/`, where Debian keeps DPDK's drivers.
fn driver_is_there(name: &str) -> bool {
    let entries = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries("/usr/lib".into())
        .flat_map(|architecture| entries(architecture.path().join("dpdk")))
        .flat_map(|drivers| entries(drivers.path()))
        .any(|file| file.file_name().to_string_lossy().starts_with(name))
}

fn missing(purposes: &[Purpose]) -> Vec<&'static Need> {
    let wanted = |need: &&Need| need.purposes.iter().any(|purpose| purposes.contains(purpose));
    NEEDS.iter().filter(wanted).filter(|need| !need.probe.is_there()).collect()
}

fn install(packages: &[String]) -> Result<()> {
    let _quiet = NoServices::new()?;
    if !package_lists_are_there() {
        process::run(apt().args(["update", "-qq"]))?;
    }
    let install = || {
        let arguments = ["install", "--yes", "-qq", "--no-install-recommends"];
        process::run(apt().args(arguments).args(packages).stdout(std::process::Stdio::null()))
    };
    // Old lists name files that the mirror no longer has: one fresh try.
    install().or_else(|_| process::run(apt().args(["update", "-qq"])).and_then(|()| install()))?;
    keep_stopped(packages);
    Ok(())
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").stdin(std::process::Stdio::null());
    command
}

fn package_lists_are_there() -> bool {
    let entries = std::fs::read_dir("/var/lib/apt/lists").into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.file_name().to_string_lossy().contains("_Packages"))
}

/// The units of packages (those whose names begin so) that Debian enables.
const UNITS: &[(&str, &[&str])] = &[
    ("openvswitch", &["openvswitch-switch.service", "ovs-vswitchd.service", "ovsdb-server.service"]),
    (
        "ovn-central",
        &[
            "ovn-central.service",
            "ovn-northd.service",
            "ovn-ovsdb-server-nb.service",
            "ovn-ovsdb-server-sb.service",
        ],
    ),
    ("ovn-host", &["ovn-host.service", "ovn-controller.service"]),
];

/// Under systemd, Debian enables daemons for the next boot; the peers here are started by hand.
fn keep_stopped(packages: &[String]) {
    if !Path::new("/run/systemd/system").exists() {
        return;
    }
    for (prefix, units) in UNITS {
        if packages.iter().any(|package| package.starts_with(prefix)) {
            let _ = process::capture(Command::new("systemctl").args(["disable", "--now"]).args(*units));
        }
    }
}

/// While it lives, packages being installed start no daemon (Debian's policy-rc.d answers "forbidden").
struct NoServices {
    ours: bool,
}

impl NoServices {
    const POLICY: &str = "/usr/sbin/policy-rc.d";
    const ANSWER: &str =
        "#!/bin/sh\n# put here by `cargo xtask setup` while it installs packages\nexit 101\n";

    fn new() -> Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        // One of ours may be left from a run that was killed; anybody else's stays.
        if std::fs::read(Self::POLICY).is_ok_and(|there| there != Self::ANSWER.as_bytes()) {
            return Ok(Self { ours: false });
        }
        std::fs::write(Self::POLICY, Self::ANSWER)?;
        std::fs::set_permissions(Self::POLICY, std::fs::Permissions::from_mode(0o755))?;
        Ok(Self { ours: true })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.ours {
            let _ = std::fs::remove_file(Self::POLICY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_purpose_needs_something_and_demo_the_least() {
        let count = |purpose: Purpose| NEEDS.iter().filter(|need| need.purposes.contains(&purpose)).count();
        assert!(count(Purpose::Demo) > 0);
        assert!(count(Purpose::Demo) < count(Purpose::Test));
        assert!(count(Purpose::Demo) < count(Purpose::Bench));
    }

    #[test]
    fn probes_see_what_is_there_and_what_is_not() {
        assert!(Probe::Program("sh").is_there());
        assert!(!Probe::Program("no-such-program-here").is_there());
        assert!(Probe::File("/proc/self/status").is_there());
        assert!(!Probe::Driver("librte_no_such_driver.so").is_there());
    }
}
