// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A laboratory: hosts in network namespaces of their own around a switch in another, and the daemon in that one. All of it goes when
//! the values are dropped, also when a test fails.

use std::fs::File;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use portway_api::{BridgeSpec, Client, ClientError, Done, Failure, PortInfo, PortSpec, Reply, Request};

/// Waits until something holds; panics with `what` if it does not within `limit`. Returns how long it took.
pub(crate) fn within(limit: Duration, what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
    start.elapsed()
}

fn output(command: &mut Command) -> Output {
    let output = command.output();
    output.unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn run(command: &mut Command) -> String {
    let output = output(command);
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

/// A named network namespace.
pub(crate) struct Netns(pub(crate) String);

impl Netns {
    pub(crate) fn new(what: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("pwd{}-{}-{what}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        run(Command::new("ip").args(["netns", "add", &name]));
        let netns = Self(name);
        netns.sh("ip link set lo up; sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1");
        netns
    }

    /// A command inside.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0, program]);
        command
    }

    /// Runs a shell line inside; it must succeed.
    pub(crate) fn sh(&self, line: &str) -> String {
        run(self.command("sh").args(["-ec", line]))
    }

    /// Whether a shell line succeeds inside.
    pub(crate) fn try_sh(&self, line: &str) -> bool {
        output(self.command("sh").args(["-ec", line])).status.success()
    }

    pub(crate) fn has_device(&self, name: &str) -> bool {
        self.try_sh(&format!("ip link show {name}"))
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).output();
    }
}

/// A switch's namespace and hosts around it.
pub(crate) struct Lab {
    pub(crate) switch: Netns,
    pub(crate) hosts: Vec<Netns>,
    folder: tempfile::TempDir,
}

impl Lab {
    /// Hosts `10.1.0.1` and up on `e0`, each wired to `p1` and up in the switch's namespace.
    pub(crate) fn new(hosts: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut lab = Self { switch: Netns::new("sw"), hosts: Vec::new(), folder };
        for number in 1..=hosts {
            lab.hosts.push(Netns::new(&format!("h{number}")));
            lab.wire(number);
        }
        lab
    }

    /// Makes the cable of a host anew.
    pub(crate) fn wire(&self, number: usize) {
        let host = &self.hosts[number - 1];
        self.switch.sh(&format!(
            "ip link add p{number} type veth peer name e0 netns {}; ip link set p{number} up",
            host.0
        ));
        host.sh(&format!(
            "ip link set e0 address 02:00:00:00:00:{number:02x} up; ip addr add 10.1.0.{number}/24 dev e0"
        ));
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A bridge with the ports `p1` to `p<count>`.
    pub(crate) fn config(&self, count: usize) -> String {
        let ports = (1..=count).map(|number| format!("[[bridge.port]]\nname = \"p{number}\"\n"));
        format!("[[bridge]]\nname = \"br0\"\n{}", ports.collect::<String>())
    }

    pub(crate) fn write_config(&self, config: &str) {
        std::fs::write(self.path("portway.toml"), config).unwrap();
    }

    /// The daemon's command, with this lab's folders.
    pub(crate) fn command(&self) -> Command {
        let mut command = self.switch.command(env!("CARGO_BIN_EXE_portwayd"));
        command.arg("--config").arg(self.path("portway.toml")).arg("--socket-dir").arg(self.path("run"));
        command.arg("--state-dir").arg(self.path("state")).arg("--module-path").arg(self.path("modules"));
        command
    }

    /// Starts the daemon and waits until it answers.
    pub(crate) fn start(&self, config: &str) -> Daemon {
        self.start_with(config, &["--workers", "2"])
    }

    /// As [`Lab::start`], with these arguments.
    pub(crate) fn start_with(&self, config: &str, arguments: &[&str]) -> Daemon {
        self.write_config(config);
        let log = self.path("log");
        let file = File::options().create(true).append(true).open(&log).unwrap();
        let mut command = self.command();
        command.args(arguments);
        // It ends with the test's thread, should that die without dropping it.
        let child = command.stderr(file).stdin(Stdio::null()).process_group(0).spawn().unwrap();
        let mut daemon = Daemon { child, socket: self.path("run").join(portway_api::SOCKET_NAME), log };
        let limit = Duration::from_secs(120);
        within(limit, "the daemon answers", || {
            let ended = daemon.child.try_wait().unwrap();
            assert!(ended.is_none(), "the daemon ended: {ended:?}\n{}", daemon.log());
            Client::connect(&daemon.socket).is_ok_and(|mut client| client.call(&Request::Show).is_ok())
        });
        daemon
    }

    /// Compiles the port type that is written in C, as that number, where the daemon finds it.
    pub(crate) fn compile_module(&self, number: u32) {
        let modules = self.path("modules");
        std::fs::create_dir_all(&modules).unwrap();
        let vport = concat!(env!("CARGO_MANIFEST_DIR"), "/../../crates/vport");
        let mut cc = Command::new("cc");
        cc.args(["-std=c11", "-D_DEFAULT_SOURCE", "-shared", "-fPIC"]).arg(format!("-DTYPE={number}"));
        cc.arg("-o").arg(modules.join(format!("vport-type-{number}.so")));
        run(cc.args(["-I", &format!("{vport}/include"), &format!("{vport}/tests/c/loop.c")]));
    }

    /// Whether a host reaches another; patient with a slow machine.
    pub(crate) fn reaches(&self, from: usize, to: usize) -> bool {
        self.hosts[from - 1].try_sh(&format!("ping -c 2 -i 0.3 -W 15 -q 10.1.0.{to}"))
    }

    /// Whether a host does not reach another: a moment without an answer says so.
    pub(crate) fn is_cut_off(&self, from: usize, to: usize) -> bool {
        !self.hosts[from - 1].try_sh(&format!("ping -c 1 -W 1 -q 10.1.0.{to}"))
    }
}

/// A running daemon.
pub(crate) struct Daemon {
    child: Child,
    socket: PathBuf,
    log: PathBuf,
}

impl Daemon {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(&self.socket).unwrap_or_else(|error| panic!("{error}\n{}", self.log()))
    }

    pub(crate) fn ask(&self, request: &Request) -> Reply {
        self.client().call(request).unwrap_or_else(|error| panic!("{request:?}: {error}\n{}", self.log()))
    }

    pub(crate) fn done(&self, request: &Request) -> Done {
        let reply = self.ask(request);
        let Reply::Done(done) = reply else { panic!("{reply:?}") };
        done
    }

    pub(crate) fn refused(&self, request: &Request) -> Failure {
        match self.client().call(request) {
            Err(ClientError::Refused(failure)) => failure,
            other => panic!("{request:?}: {other:?}"),
        }
    }

    pub(crate) fn ports(&self) -> Vec<PortInfo> {
        let reply = self.ask(&Request::PortList { bridge: None, netns: None });
        let Reply::Ports(ports) = reply else { panic!("{reply:?}") };
        ports
    }

    pub(crate) fn port(&self, name: &str) -> PortInfo {
        let found = self.ports().into_iter().find(|port| port.name == name);
        found.unwrap_or_else(|| panic!("no port {name}: {:?}", self.ports()))
    }

    pub(crate) fn signal(&self, name: &str) {
        run(Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()));
    }

    /// Waits for the daemon's end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        within(Duration::from_secs(120), "the daemon ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the daemon's log ---\n{}", self.log());
        }
    }
}

/// What a program that should end by itself says and returns.
pub(crate) fn finish(command: &mut Command) -> (bool, String) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut text = String::new();
    within(Duration::from_secs(120), "the program ends", || child.try_wait().unwrap().is_some());
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    (child.wait().unwrap().success(), text)
}

pub(crate) fn bridge_add(name: &str) -> Request {
    Request::BridgeAdd(BridgeSpec::new(name))
}

pub(crate) fn port_add(bridge: &str, port: PortSpec) -> Request {
    Request::PortAdd { bridge: bridge.to_owned(), port }
}
