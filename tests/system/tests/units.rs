// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is shipped for systemd, as systemd reads it: portwayd's unit, and the drop-in for Debian's `ovs-vswitchd`.
#![forbid(unsafe_code)]

use std::fs;
use std::process::Command;

use portway_system::{Lab, said};

#[test]
fn systemd_has_nothing_to_say_of_the_units() {
    let lab = Lab::new(0);
    let folder = lab.path("units");
    let drop_ins = folder.join("ovs-vswitchd.service.d");
    fs::create_dir_all(&drop_ins).unwrap();
    // The program is where it was built.
    let program = lab.preload().with_file_name("portwayd");
    let unit = include_str!("../../../dist/portwayd.service")
        .replace("/usr/sbin/portwayd", program.to_str().unwrap());
    let drop_in = include_str!("../../../dist/openvswitch/ovs-vswitchd.conf");
    let verified = |unit: &str, drop_in: &str| {
        fs::write(folder.join("portwayd.service"), unit).unwrap();
        fs::write(drop_ins.join("portway.conf"), drop_in).unwrap();
        let mut command = Command::new("systemd-analyze");
        // The colon at the end: and where units are otherwise.
        command.env("SYSTEMD_UNIT_PATH", format!("{}:", folder.display()));
        command.args([
            "verify",
            "--man=no",
            "portwayd.service",
            "ovs-vswitchd.service",
            "openvswitch-switch.service",
        ]);
        said(&mut command)
    };
    let answer = verified(&unit, drop_in);
    assert!(answer.ok && answer.out.is_empty() && answer.err.is_empty(), "{answer:?}");
    // It would say so.
    let answer = verified(
        &unit.replace("RuntimeDirectory=", "RuntimeFolder="),
        &drop_in.replace("Environment=", "Surroundings="),
    );
    assert!(answer.err.contains("'RuntimeFolder'") && answer.err.contains("'Surroundings'"), "{answer:?}");
}
