// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Stock `ovsdb-server` and `ovs-vswitchd` in a laboratory.

use std::path::PathBuf;
use std::process::Command;

use crate::run::{Background, background, run, tail, within};
use crate::{Lab, Netns};

/// The two daemons; they end with this value.
#[derive(Debug)]
pub struct Ovs {
    vswitchd: Option<Background>,
    _database: Background,
    folder: PathBuf,
    environment: Vec<(String, String)>,
}

impl Ovs {
    /// Starts both, on the laboratory's Portway.
    pub fn new(lab: &Lab) -> Self {
        Self::with(lab, &[])
    }

    /// The same, `ovs-vswitchd` with these variables in its environment.
    pub fn with(lab: &Lab, environment: &[(&str, &str)]) -> Self {
        let mut ovs = Self::with_database(lab.path("ovs"), &lab.switch);
        ovs.environment =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        ovs.start(lab);
        ovs
    }

    /// Starts both somewhere else and without Portway: bridges are to have OVS's own datapath in user space (`datapath_type=netdev`).
    pub fn elsewhere(lab: &Lab, netns: &Netns) -> Self {
        let mut ovs = Self::with_database(lab.path("ovs-elsewhere"), netns);
        ovs.start_as(netns.command("/usr/lib/openvswitch-switch/ovs-vswitchd"));
        ovs
    }

    fn with_database(folder: PathBuf, netns: &Netns) -> Self {
        std::fs::create_dir(&folder).expect("a folder");
        let file = folder.join("conf.db");
        run(Command::new("ovsdb-tool")
            .arg("create")
            .arg(&file)
            .arg("/usr/share/openvswitch/vswitch.ovsschema"));
        let mut command = netns.command("ovsdb-server");
        command.arg(&file).arg(format!("--remote=punix:{}", folder.join("db.sock").display()));
        command.arg(format!("--unixctl={}", folder.join("db.ctl").display())).arg("-vconsole:off");
        let database = background(&mut command);
        within("the database listens", || folder.join("db.sock").exists());
        let ovs = Self { vswitchd: None, _database: database, folder, environment: Vec::new() };
        ovs.vsctl("--no-wait init");
        ovs
    }

    /// Starts `ovs-vswitchd`.
    pub fn start(&mut self, lab: &Lab) {
        self.start_as(lab.wrapped("ovs-vswitchd"));
    }

    fn start_as(&mut self, mut command: Command) {
        command
            .envs(self.environment.iter().cloned())
            .env("OVS_RUNDIR", &self.folder)
            .arg(format!("unix:{}", self.folder.join("db.sock").display()));
        command.arg(format!("--unixctl={}", self.folder.join("vs.ctl").display())).arg("-vconsole:off");
        command.arg(format!("--log-file={}", self.folder.join("vs.log").display()));
        self.vswitchd = Some(background(&mut command));
        within("ovs-vswitchd answers", || {
            let mut command = Command::new("ovs-appctl");
            command.arg("-t").arg(self.folder.join("vs.ctl")).arg("version");
            crate::said(&mut command).ok
        });
    }

    /// Process id of `ovs-vswitchd`.
    pub fn pid(&self) -> Option<u32> {
        Some(self.vswitchd.as_ref()?.0.id())
    }

    /// Whether that process is alive.
    pub fn is_alive(&mut self) -> bool {
        self.vswitchd.as_mut().is_some_and(|child| child.0.try_wait().is_ok_and(|status| status.is_none()))
    }

    /// Ends `ovs-vswitchd` in good order, as `ovs-ctl stop` and `restart` do it: the datapath stays.
    pub fn exit(&mut self) {
        let Some(mut vswitchd) = self.vswitchd.take() else { return };
        self.appctl("exit");
        within("ovs-vswitchd ends", || vswitchd.0.try_wait().is_ok_and(|status| status.is_some()));
    }

    /// Kills `ovs-vswitchd`, which cannot do anything about it.
    pub fn kill(&mut self) {
        self.vswitchd = None;
        let _ = std::fs::remove_file(self.folder.join("vs.ctl"));
    }

    /// `ovs-vsctl` with arguments separated by spaces.
    pub fn vsctl(&self, arguments: &str) -> String {
        let mut command = Command::new("ovs-vsctl");
        command.args(["-t", "60"]).arg(format!("--db=unix:{}", self.folder.join("db.sock").display()));
        run(command.args(arguments.split(' ')))
    }

    /// `ovs-ofctl COMMAND BRIDGE ...`.
    pub fn ofctl(&self, command: &str, bridge: &str, arguments: &[&str]) -> String {
        let bridge = format!("unix:{}", self.folder.join(format!("{bridge}.mgmt")).display());
        run(Command::new("ovs-ofctl").args([command, &bridge]).args(arguments))
    }

    /// `ovs-appctl` to `ovs-vswitchd`, with arguments separated by spaces.
    pub fn appctl(&self, arguments: &str) -> String {
        run(Command::new("ovs-appctl").arg("-t").arg(self.folder.join("vs.ctl")).args(arguments.split(' ')))
    }

    /// Says what a failed test wants to know of `ovs-vswitchd`: what it thinks of its bridges and the datapath, and what it has logged.
    fn tell(&self) {
        if self.vswitchd.is_some() {
            for question in ["dpif/show", "dpctl/show --statistics", "dpctl/dump-flows", "upcall/show"] {
                let mut command = Command::new("ovs-appctl");
                command.args(["-T", "5", "-t"]).arg(self.folder.join("vs.ctl")).args(question.split(' '));
                // Without the child there is nothing to tell, and this is the wrong place to fail.
                if let Ok(answer) = command.output() {
                    let text = [answer.stdout, answer.stderr].concat();
                    eprintln!("--- ovs-appctl {question} ---\n{}", String::from_utf8_lossy(&text));
                }
            }
        }
        eprintln!("--- the end of ovs-vswitchd's log ---\n{}", tail(&self.folder.join("vs.log")));
    }

    /// Lines of the log of level WARN and above, but for those that say that the machine is slow, or that a port went while its
    /// status was being told to the database.
    pub fn complaints(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.folder.join("vs.log")).unwrap_or_default();
        let bad = |line: &&str| ["|WARN|", "|ERR|", "|EMER|"].iter().any(|level| line.contains(level));
        let slow = |line: &&str| {
            [
                "|timeval|WARN|",
                "|timeval(",
                "|WARN|Spent an unreasonably long",
                "no response to inactivity probe",
            ]
            .iter()
            .any(|say| line.contains(say))
        };
        let gone = |line: &&str| line.contains("STP status on nonexistent port");
        log.lines().filter(bad).filter(|line| !slow(line) && !gone(line)).map(str::to_owned).collect()
    }
}

impl Drop for Ovs {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell();
        }
        if self.vswitchd.is_some() {
            self.kill();
        }
    }
}
