// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Packets that a client has executed and that its own thread sends: they come out where portwayd would have sent them, and it knows.
#![forbid(unsafe_code)]

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Stdio};

use portway_system::{Background, Lab, Netns, background, within};

/// A client that has packets executed (`python/execute.py`).
struct Client {
    _process: Background,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Client {
    fn new(lab: &Lab) -> Self {
        let mut command = lab.wrapped("python3");
        command.args(["-c", include_str!("python/execute.py"), "dp0"]);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let output = BufReader::new(output).lines();
        Self { _process: Background::from(process), input, output }
    }

    /// How many packet sockets it has then, and what it was answered.
    fn execute(&mut self, port: u32, word: &str, count: u32) -> String {
        writeln!(self.input, "{port} {word} {count}").unwrap();
        self.output.next().unwrap().unwrap()
    }
}

/// What a host receives (`python/payloads.py`).
struct Payloads {
    _process: Background,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Payloads {
    fn new(host: &Netns) -> Self {
        let mut command = host.command("python3");
        command.args(["-c", include_str!("python/payloads.py"), "e0"]).stdout(Stdio::piped());
        let mut process = background(&mut command);
        let mut lines = process.take_output().lines();
        assert_eq!(lines.next().unwrap().unwrap(), "listens");
        Self { _process: process, lines }
    }

    /// The next are these, and no other comes between.
    fn expect(&mut self, word: &str, count: u32) {
        for number in 0..count {
            assert_eq!(self.lines.next().unwrap().unwrap(), format!("{word}{number}"));
        }
    }
}

/// Packets and bytes that Portway has sent out of a port.
fn sent(lab: &Lab, port: &str) -> (u64, u64) {
    let said = lab.portway("--json port stats");
    assert!(said.ok, "{said:?}");
    let ports: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let found = ports.as_array().unwrap().iter().find(|found| found["name"] == port).unwrap();
    let count = |what: &str| found[what].as_u64().unwrap();
    (count("tx_packets"), count("tx_bytes"))
}

fn lab() -> Lab {
    let lab = Lab::new(3);
    lab.dpctl("add-dp dp0");
    lab.dpctl("add-if dp0 p1 p2");
    lab
}

#[test]
fn the_clients_thread_sends_and_portwayd_knows() {
    let lab = lab();
    let (mut client, mut second) = (Client::new(&lab), Payloads::new(&lab.hosts[1]));
    let before = sent(&lab, "p2");
    assert_eq!(client.execute(2, "a", 40), "1");
    second.expect("a", 40);
    // 44 or 45 bytes each: "a0" to "a39" behind 42 bytes of headers.
    let now = sent(&lab, "p2");
    assert_eq!((now.0 - before.0, now.1 - before.1), (40, 10 * 44 + 30 * 45));
    assert_eq!(client.execute(1, "b", 1), "2", "each port has its own");
    // What portwayd says of other requests in the same datagram is said.
    assert_eq!(client.execute(2, "flow", 3), "2 EINVAL");
    second.expect("flow", 3);
    // No such port: as if it had been sent into nothing.
    assert_eq!(client.execute(77, "c", 2), "2");
    assert_eq!(client.execute(0, "d", 2), "2", "an internal port has no outlet");
    assert_eq!(client.execute(2, "e", 1), "2");
    second.expect("e", 1);
}

/// Whether a text stands in a file.
fn has(file: &Path, text: &str) -> bool {
    std::fs::read(file).is_ok_and(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
}

#[test]
fn what_is_captured_is_captured_whoever_sends() {
    let lab = lab();
    let (mut client, mut second) = (Client::new(&lab), Payloads::new(&lab.hosts[1]));
    assert_eq!(client.execute(2, "a", 2), "1");
    second.expect("a", 2);
    let file = lab.path("capture.pcapng");
    let mut capture = lab.switch.command(lab.program("portway"));
    capture.arg("--socket").arg(lab.path("run/portwayd.sock")).args(["capture", "p2", "--write"]).arg(&file);
    let capturing = background(&mut capture);
    // One by one, until the capture has begun: then none is missed.
    let mut executed = 0;
    within("the capture sees a packet", || {
        client.execute(2, "begins", 1);
        executed += 1;
        has(&file, "begins0")
    });
    (0..executed).for_each(|_| second.expect("begins", 1));
    assert_eq!(client.execute(2, "all", 30), "0", "it has no outlet now");
    second.expect("all", 30);
    within("the capture sees them all", || (0..30).all(|number| has(&file, &format!("all{number}"))));
    drop(capturing);
}

#[test]
fn nothing_leaves_through_a_port_that_has_gone() {
    let mut lab = lab();
    let (mut client, mut second) = (Client::new(&lab), Payloads::new(&lab.hosts[1]));
    let mut third = Payloads::new(&lab.hosts[2]);
    assert_eq!(client.execute(2, "a", 2), "1");
    second.expect("a", 2);
    lab.dpctl("del-if dp0 p2");
    client.execute(2, "lost", 5);
    // Another device under the same number.
    lab.dpctl("add-if dp0 p3,port_no=2");
    // Portwayd is asked for an outlet again only some time after it had none to give.
    client.execute(2, "b", 3);
    third.expect("b", 3);
    // The host that had the port hears only what it is sent otherwise.
    lab.dpctl("add-if dp0 p2,port_no=5");
    client.execute(5, "c", 1);
    second.expect("c", 1);
    // What is to be there again after a restart is written down in the background.
    within("the ports are kept", || {
        let kept = std::fs::read_to_string(lab.path("state/netlink.json")).unwrap_or_default();
        kept.contains("p2") && kept.contains("p3")
    });
    // A portwayd that was killed could take nothing back; with its connection the client gives it up.
    lab.kill_daemon();
    lab.start_daemon();
    client.execute(2, "d", 2);
    third.expect("d", 2);
    // The device itself goes.
    lab.switch.sh("ip link del p3");
    client.execute(2, "gone", 2);
    client.execute(5, "e", 1);
    second.expect("e", 1);
}
