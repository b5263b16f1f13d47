// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A stock OVN over a laboratory's Open vSwitch: its databases, `ovn-northd` and `ovn-controller`.

use std::path::PathBuf;
use std::process::Command;

use crate::run::{Background, background, run, said, tail, within};
use crate::{Lab, Ovs};

/// How long a program of OVN may wait for what it asks for, in seconds.
const PATIENCE: &str = "--timeout=120";

/// The daemons; they end with this value.
#[derive(Debug)]
pub struct Ovn {
    // Dropped in this order: who asks before who answers.
    _controller: Background,
    _northd: Background,
    _databases: Vec<Background>,
    folder: PathBuf,
}

impl Ovn {
    /// Starts it on the laboratory's switch, whose `br-int` the controller makes.
    pub fn new(lab: &Lab, ovs: &Ovs) -> Self {
        let folder = lab.path("ovn");
        std::fs::create_dir(&folder).expect("a folder");
        let socket = |name: &str| format!("unix:{}", folder.join(name).display());
        let daemon = |program: &str, log: &str| {
            let mut command = lab.switch.command(program);
            command.env("OVN_RUNDIR", &folder).env("OVS_RUNDIR", lab.path("ovs")).arg("-vconsole:off");
            command.arg(format!("--log-file={}", folder.join(format!("{log}.log")).display()));
            command
        };
        let mut databases = Vec::new();
        for name in ["nb", "sb"] {
            let file = folder.join(format!("{name}.db"));
            let schema = format!("/usr/share/ovn/ovn-{name}.ovsschema");
            run(Command::new("ovsdb-tool").arg("create").arg(&file).arg(schema));
            let mut command = daemon("ovsdb-server", name);
            command.arg(&file).arg(format!("--remote=p{}", socket(&format!("{name}.sock"))));
            databases.push(background(&mut command));
            within("the database listens", || folder.join(format!("{name}.sock")).exists());
            let tool = format!("ovn-{name}ctl");
            run(Command::new(tool)
                .arg(PATIENCE)
                .arg(format!("--db={}", socket(&format!("{name}.sock"))))
                .arg("init"));
        }
        let mut command = daemon("ovn-northd", "northd");
        command.arg(format!("--ovnnb-db={}", socket("nb.sock")));
        let northd = background(command.arg(format!("--ovnsb-db={}", socket("sb.sock"))));
        ovs.vsctl(&format!(
            "set Open_vSwitch . external-ids:system-id=here external-ids:ovn-remote={} \
             external-ids:ovn-encap-type=geneve external-ids:ovn-encap-ip=127.0.0.1",
            socket("sb.sock")
        ));
        let mut command = daemon("ovn-controller", "controller");
        let controller = background(command.arg(format!("unix:{}", lab.path("ovs/db.sock").display())));
        let ovn = Self { _controller: controller, _northd: northd, _databases: databases, folder };
        within("the controller makes its bridge", || {
            ovs.vsctl("list-br").lines().any(|bridge| bridge == "br-int")
        });
        ovn
    }

    /// `ovn-nbctl` with these arguments.
    pub fn nbctl(&self, arguments: &[&str]) -> String {
        let database = format!("--db=unix:{}", self.folder.join("nb.sock").display());
        run(Command::new("ovn-nbctl").args([PATIENCE, &database]).args(arguments))
    }

    /// Waits until `ovs-vswitchd` has all that was asked for.
    pub fn sync(&self) {
        self.nbctl(&["--wait=hv", "sync"]);
    }

    /// Says what a failed test wants to know.
    fn tell(&self) {
        let database = format!("--db=unix:{}", self.folder.join("sb.sock").display());
        let flows = said(Command::new("ovn-sbctl").args(["--timeout=5", &database, "show"]));
        eprintln!("--- ovn-sbctl show ---\n{}{}", flows.out, flows.err);
        for daemon in ["northd", "controller"] {
            let log = self.folder.join(format!("{daemon}.log"));
            eprintln!("--- the end of {daemon}'s log ---\n{}", tail(&log));
        }
    }
}

impl Drop for Ovn {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell();
        }
    }
}
