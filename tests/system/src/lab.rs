// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A laboratory: hosts around a switch, each in a network namespace of its own, and portwayd in the switch's. All goes with the
//! values, also when a test fails.

use std::env;
use std::ffi::OsString;
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::run::{Background, Said, background, run, said, tail, within};

/// A named network namespace.
#[derive(Debug)]
pub struct Netns(String);

impl Netns {
    fn new(what: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("pws{}-{}-{what}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        run(Command::new("ip").args(["netns", "add", &name]));
        let netns = Self(name);
        netns.sh("ip link set lo up; sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1");
        netns
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// A command inside.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0]).arg(program);
        command
    }

    /// Runs a shell line inside that must succeed; its output.
    pub fn sh(&self, line: &str) -> String {
        run(self.command("sh").args(["-ec", line]))
    }

    /// Waits until an address answers.
    pub fn awaits(&self, address: &str) {
        within(&format!("{address} answers {}", self.0), || self.reaches(address));
    }

    /// Whether an address answers at least one of three pings.
    pub fn reaches(&self, address: &str) -> bool {
        said(self.command("ping").args(["-q", "-c", "3", "-i", "0.2", "-W", "1", address])).ok
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).output();
    }
}

/// Hosts around a switch, and the daemon.
#[derive(Debug)]
pub struct Lab {
    // Dropped in this order: the daemon before its namespace and its folder.
    daemon: Option<Background>,
    /// Where the switch is.
    pub switch: Netns,
    /// The hosts, with addresses 10.1.0.1 and up on `e0`; the cable's other end is `p1` and up.
    pub hosts: Vec<Netns>,
    folder: tempfile::TempDir,
}

/// The port types that are loaded on demand, with their numbers.
const TUNNELS: [(&str, u32); 3] = [("gre", 3), ("vxlan", 4), ("geneve", 5)];

/// The folder of the programs, built.
fn programs() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        // This test is target/<profile>/deps/<name>.
        let own = env::current_exe().expect("a test knows its file");
        let folder = own.ancestors().nth(2).expect("a target folder").to_owned();
        // `cargo xtask test` has built them.
        if env::var_os("PORTWAY_PROGRAMS_ARE_BUILT").is_some() {
            return folder;
        }
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "-q", "-p", "portwayd", "-p", "portway", "-p", "portway-preload"]);
        for (name, _) in TUNNELS {
            build.args(["-p", &format!("vport-{name}")]);
        }
        if folder.ends_with("release") {
            build.arg("--release");
        }
        run(build.env("CARGO_TARGET_DIR", folder.parent().expect("a target folder")));
        folder
    })
}

impl Lab {
    /// Hosts, and a daemon.
    pub fn new(hosts: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut lab = Self { daemon: None, switch: Netns::new("sw"), hosts: Vec::new(), folder };
        for number in 1..=hosts {
            let host = Netns::new(&format!("h{number}"));
            lab.switch.sh(&format!(
                "ip link add p{number} type veth peer name e0 netns {}; ip link set p{number} up",
                host.0
            ));
            host.sh(&format!(
                "ip link set e0 address 02:00:00:00:00:{number:02x} up; ip addr add 10.1.0.{number}/24 dev e0"
            ));
            lab.hosts.push(host);
        }
        lab.start_daemon();
        lab
    }

    /// Puts the tunnel port types where the daemon looks for them.
    pub fn install_tunnels(&self) {
        std::fs::create_dir(self.path("modules")).expect("a folder");
        for (name, number) in TUNNELS {
            let built = programs().join(format!("libvport_{name}.so"));
            std::fs::copy(built, self.path(&format!("modules/vport-type-{number}.so"))).expect("a module");
        }
    }

    /// A file of this laboratory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// How the daemon is started here.
    pub fn daemon_command(&self) -> Command {
        self.daemon_command_as(&[])
    }

    /// The same, with words before it.
    fn daemon_command_as(&self, before: &[&str]) -> Command {
        let words = before.iter().map(OsString::from).chain([programs().join("portwayd").into()]);
        let words: Vec<OsString> = words.collect();
        let mut command = self.switch.command(&words[0]);
        command.args(&words[1..]).args(["--config", "/dev/null", "--workers", "2"]);
        command.arg("--module-path").arg(self.path("modules"));
        command.arg("--socket-dir").arg(self.path("run")).arg("--state-dir").arg(self.path("state"));
        command
    }

    /// One of the project's programs.
    pub fn program(&self, name: &str) -> PathBuf {
        programs().join(name)
    }

    /// The library that is loaded into stock programs.
    pub fn preload(&self) -> PathBuf {
        programs().join("libportway_netlink.so")
    }

    /// Lets every user reach the folder of the sockets, as the unit does it, and the library.
    pub fn open_to_everybody(&self) {
        for path in [self.folder.path().to_owned(), self.path("run")] {
            std::fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("the test's own folder");
        }
    }

    /// Starts the daemon.
    pub fn start_daemon(&mut self) {
        self.start_daemon_as(&[]);
    }

    /// Starts the daemon by another program, whose words these are.
    pub fn start_daemon_as(&mut self, before: &[&str]) {
        let log = File::options().create(true).append(true).open(self.path("portwayd.log")).expect("a log");
        self.daemon = Some(background(self.daemon_command_as(before).stderr(log)));
        // One that was killed has left its socket.
        within("the daemon listens", || {
            std::os::unix::net::UnixStream::connect(self.path("run/portwayd.sock")).is_ok()
        });
    }

    /// Ends the daemon in good order.
    pub fn stop_daemon(&mut self) {
        let Some(mut daemon) = self.daemon.take() else { return };
        run(Command::new("kill").arg(daemon.0.id().to_string()));
        within("the daemon ends", || daemon.0.try_wait().is_ok_and(|status| status.is_some()));
    }

    /// Ends the daemon as `kill -9` does.
    pub fn kill_daemon(&mut self) {
        self.daemon = None;
    }

    /// Process id of the daemon.
    pub fn daemon_pid(&self) -> u32 {
        self.daemon.as_ref().expect("the daemon runs").0.id()
    }

    /// What the daemon has logged.
    pub fn daemon_log(&self) -> String {
        std::fs::read_to_string(self.path("portwayd.log")).unwrap_or_default()
    }

    /// A command under `portway wrap`.
    pub fn wrapped(&self, program: &str) -> Command {
        let mut command = self.switch.command(programs().join("portway"));
        command.env_remove("PORTWAY_SOCKET").arg("--socket").arg(self.path("run/portwayd.sock"));
        // However long it takes to start the daemon again here; a test of less says so.
        command.env("PORTWAY_PATIENCE", "60").args(["wrap", "--", program]);
        command
    }

    /// Runs `portway` with arguments separated by spaces.
    pub fn portway(&self, arguments: &str) -> Said {
        let mut command = self.switch.command(programs().join("portway"));
        said(command.arg("--socket").arg(self.path("run/portwayd.sock")).args(arguments.split(' ')))
    }

    /// Runs `ovs-dpctl` with arguments separated by spaces.
    pub fn try_dpctl(&self, arguments: &str) -> Said {
        said(self.wrapped("ovs-dpctl").args(arguments.split(' ')))
    }

    /// As [`Lab::try_dpctl`]; it must succeed without a warning. Its output.
    pub fn dpctl(&self, arguments: &str) -> String {
        let said = self.try_dpctl(arguments);
        assert!(
            said.ok && !said.err.contains("|WARN|"),
            "ovs-dpctl {arguments}: {said:?}\n{}",
            self.daemon_log()
        );
        said.out
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for question in ["show", "port stats", "flow list", "drops"] {
                let mut command = self.switch.command("timeout");
                command.arg("10").arg(programs().join("portway")).arg("--socket");
                command.arg(self.path("run/portwayd.sock")).args(question.split(' '));
                // Without the daemon there is nothing to tell, and this is the wrong place to fail.
                if let Ok(answer) = command.output() {
                    let text = [answer.stdout, answer.stderr].concat();
                    eprintln!("--- portway {question} ---\n{}", String::from_utf8_lossy(&text));
                }
            }
            eprintln!("--- the end of the daemon's log ---\n{}", tail(&self.path("portwayd.log")));
        }
    }
}
