// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The one list of steps that are not held against us, each with its reason. What is on it is counted apart, and so is what this
//! host cannot set up; neither is ever counted as a match. A step that matches counts as a match, on the list or not.

/// Why a step is excused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Excuse {
    /// A later part of the project brings what the step needs.
    Later(&'static str),
    /// Portway is other than the kernel on purpose, or cannot be the same.
    Different(&'static str),
}

impl Excuse {
    /// The reason.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Later(reason) | Self::Different(reason) => reason,
        }
    }
}

const CONNTRACK: Excuse = Excuse::Later("connection tracking is not there yet");
const PER_CPU: Excuse = Excuse::Different(
    "upcalls by CPU: the flow's hash, not the CPU that a packet was sent on, chooses the port id, so that a flow's packets stay in order",
);

const NUMBERS: Excuse =
    Excuse::Different("the port has another number because this host cannot make the devices before it");
const NEWER: Excuse =
    Excuse::Different("an action of newer kernels, which Portway has and Linux 6.1 refuses");
const USO: Excuse = Excuse::Different(
    "this host's kernel takes UDP super-packets from the scenario, Linux 6.1 refused to send them",
);
const NO_RX_HANDLER: Excuse = Excuse::Different(
    "a port's device takes other upper devices (macvlan), which the kernel's receive handler keeps out; so it can become a port",
);
const TAP_MTU: Excuse = Excuse::Different("an internal port is a TAP, whose MTU is at most 65521");

const REAL_TIME: Excuse = Excuse::Different(
    "a meter's bucket fills while the scenario runs: on a machine that stalls for 160 ms one packet more passes",
);

const NOT_IN_THE_WAY: Excuse =
    Excuse::Different("this host cannot make the device that is in the port's way (geneve, gretap)");
const GRE_SILENT: Excuse = Excuse::Different(
    "a GRE packet with something else than a frame inside is dropped without an ICMP answer: the host's stack leaves that to the port",
);

/// Steps by name, "scenario:step".
const BY_NAME: &[(&str, Excuse)] = &[
    ("datapath-percpu:12", PER_CPU),
    ("datapath-percpu:14", PER_CPU),
    ("datapath-percpu:17", PER_CPU),
    ("datapath-percpu:19", PER_CPU),
    ("datapath-percpu:22", PER_CPU),
    ("datapath-percpu:24", PER_CPU),
    ("datapath-percpu:26", PER_CPU),
    ("datapath-percpu:31", PER_CPU),
    ("datapath-percpu:32", PER_CPU),
    ("datapath-percpu:37", PER_CPU),
    ("datapath-percpu:39", PER_CPU),
    ("datapath-percpu:41", PER_CPU),
    ("datapath-percpu:42", PER_CPU),
    ("datapath-percpu:45", PER_CPU),
    ("datapath-percpu:46", PER_CPU),
    ("vport-vxlan-conflict:6", NOT_IN_THE_WAY),
    ("vport-vxlan-conflict:8", NOT_IN_THE_WAY),
    ("vport-vxlan-conflict:9", NUMBERS),
    ("vport-vxlan-conflict:12", NOT_IN_THE_WAY),
    ("tun-rx-gre:15", GRE_SILENT),
    ("tun-rx-gre:23", GRE_SILENT),
    ("vport-internal-dev:6", TAP_MTU),
    ("vport-netdev-kinds:18", NO_RX_HANDLER),
    ("keys-gso:8", USO),
    ("keys-gso:17", USO),
    ("act-hash:10", NEWER),
    ("act-hash:11", NEWER),
    ("act-hash:12", NEWER),
    ("act-output:48", NEWER),
    ("act-output:49", NEWER),
    ("meter-drop-kbps:9", REAL_TIME),
    ("meter-drop-kbps:10", REAL_TIME),
    ("vport-netdev-kinds:10", NUMBERS),
    ("vport-netdev-kinds:16", NUMBERS),
    ("vport-netdev-kinds:26", NUMBERS),
    ("vport-netdev-kinds:29", NUMBERS),
    ("vport-netdev-kinds:31", NUMBERS),
];

/// Steps that need connection tracking, by scenario: those whose actions have it, and what follows from them.
const NEED_CONNTRACK: &[(&str, &[usize])] = &[
    ("ct-clear", &[5, 6, 8, 9, 11, 12]),
    ("ct-execute", &[5, 6, 7, 8, 9]),
    ("ct-frag", &[5, 7, 9, 10, 11, 13, 14, 15, 16, 17, 18]),
    ("ct-frag-ipv6", &[5, 7, 9, 10, 11]),
    ("ct-frag-miss", &[5, 6, 7, 8]),
    ("ct-frag-size", &[5, 7, 9, 10]),
    ("ct-frag-vlan-mpls", &[5, 7, 8, 9, 10, 11, 12, 13]),
    ("ct-ftp", &[5, 6, 7, 9, 11, 13, 15, 17, 19]),
    ("ct-icmp", &[5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25]),
    ("ct-ipv6", &[5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27]),
    ("ct-limit", &[11, 12, 13, 14, 15, 16, 17, 19, 21, 22]),
    (
        "ct-mark-label",
        &[5, 6, 7, 9, 11, 13, 14, 16, 17, 18, 20, 21, 22, 24, 25, 26, 28, 29, 30, 32, 34, 37, 40, 43, 45],
    ),
    ("ct-match", &[5, 8, 10, 12, 14, 16, 18, 20]),
    (
        "ct-nat-attrs",
        &[
            7, 13, 14, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 53,
            54, 59, 60, 61, 62, 63, 64, 65, 66, 84, 85, 86,
        ],
    ),
    ("ct-nat-badcsum", &[5, 6, 9, 11, 13]),
    ("ct-nat-dst", &[5, 6, 9, 11, 13]),
    ("ct-nat-empty", &[5, 6, 9, 11]),
    ("ct-nat-icmp", &[5, 6, 9, 11]),
    ("ct-nat-ipv6", &[5, 6, 9, 11]),
    ("ct-nat-nocommit", &[6]),
    ("ct-nat-src", &[5, 6, 9, 11, 13, 15]),
    ("ct-nat-src-noaddr", &[5, 6, 9, 11]),
    ("ct-nat-src-port", &[5, 6, 9, 11, 13, 15]),
    ("ct-nat-src-portonly", &[5, 6, 9]),
    ("ct-nat-src-range", &[5, 6, 9, 11, 13, 15]),
    ("ct-nat-tcp", &[5, 6, 9, 11, 13, 15]),
    ("ct-non-ip", &[16, 17]),
    ("ct-sctp-other", &[5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31]),
    ("ct-tcp-commit", &[5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29]),
    ("ct-tcp-commit-zone", &[5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29]),
    ("ct-tcp-miss", &[5, 6, 7, 8, 9, 10, 11]),
    ("ct-tcp-nocommit", &[5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29]),
    ("ct-timeout", &[5, 7, 9, 10]),
    ("ct-udp", &[5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25]),
    ("ct-udp-badcsum", &[5, 7, 9, 12]),
    ("matrix-ct-commit", &[7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 18, 23, 24, 25, 26, 27, 28]),
];

/// The excuse of a step, if it has one.
pub fn excuse(scenario: &str, step: usize) -> Option<Excuse> {
    let name = format!("{scenario}:{step}");
    let named = BY_NAME.iter().find(|(known, _)| *known == name);
    let later = NEED_CONNTRACK.iter().any(|(known, steps)| *known == scenario && steps.contains(&step));
    named.map(|(_, excuse)| *excuse).or(later.then_some(CONNTRACK))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::path::Path;

    /// How many steps a recording has; `None`: there is no such recording.
    fn steps(scenario: &str) -> Option<usize> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings");
        let text = std::fs::read(folder.join(format!("{scenario}.json"))).ok()?;
        let recording: Value = serde_json::from_slice(&text).unwrap();
        recording["steps"].as_array().map(Vec::len)
    }

    #[test]
    fn what_is_excused_is_there() {
        for (name, _) in BY_NAME {
            let (scenario, step) = name.split_once(':').expect("one step of a scenario");
            assert!(step.parse::<usize>().unwrap() < steps(scenario).expect(scenario), "{name}");
        }
        for (scenario, excused) in NEED_CONNTRACK {
            let there = steps(scenario).expect(scenario);
            assert!(excused.is_sorted() && excused.iter().all(|step| *step < there), "{scenario}");
        }
    }
}
