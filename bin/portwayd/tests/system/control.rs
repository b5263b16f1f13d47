// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The control socket and its requests: who may, what is refused and how, limits.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::lab::{Lab, bridge_add, port_add, within};
use portway_api::{
    BridgeSpec, Client, ClientError, FailureKind, PortSpec, REQUEST_MAX, Reply, Request, Response, Vlans,
};

const NOBODY: u32 = 65534;
const AS_NOBODY: &str = "PORTWAY_TEST_SOCKET_AS_NOBODY";

fn text(reply: &[u8]) -> Response {
    serde_json::from_slice(reply)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(reply)))
}

/// Sends bytes and returns what is answered until the daemon closes or has answered a line.
fn raw(socket: &Path, bytes: &[u8], half_close: bool) -> Vec<u8> {
    let mut stream = UnixStream::connect(socket).unwrap();
    // A refusal may come, and the connection go, before all is sent.
    let _ = stream.write_all(bytes);
    if half_close {
        stream.shutdown(std::net::Shutdown::Write).unwrap();
    }
    let mut line = Vec::new();
    let _ = BufReader::new(stream).read_until(b'\n', &mut line);
    line
}

#[test]
fn nonsense_is_answered_and_harms_nobody() {
    let lab = Lab::new(0);
    let daemon = lab.start("");
    let refusal = |bytes: &[u8], half_close| match text(&raw(daemon.socket(), bytes, half_close)) {
        Response::Error(failure) => failure.message,
        Response::Ok(reply) => panic!("{reply:?}"),
    };
    assert!(refusal(b"hello\n", false).contains("not understood"));
    assert!(refusal(b"\n", false).contains("not understood"));
    assert!(refusal(b"\xff\xfe\x00\n", false).contains("not understood"));
    assert!(refusal(b"{\"request\":\"show\"}", true).contains("does not end with a newline"));
    assert!(refusal(&vec![b'['; REQUEST_MAX + 10], false).contains("longer than"));
    // Deeply nested, within the length.
    let mut nested = vec![b'['; REQUEST_MAX - 10];
    nested.push(b'\n');
    assert!(refusal(&nested, false).contains("not understood"));
    assert!(raw(daemon.socket(), b"", true).is_empty());
    assert!(matches!(daemon.ask(&Request::BridgeList), Reply::Bridges(bridges) if bridges.is_empty()));
}

#[test]
fn too_many_clients_are_told_so() {
    let lab = Lab::new(0);
    let daemon = lab.start("");
    let held: Vec<_> = (0..64).map(|_| daemon.client()).collect();
    within(Duration::from_secs(120), "one client too many is refused", || {
        match daemon.client().call(&Request::Show) {
            Err(ClientError::Refused(failure)) => {
                assert!(failure.message.contains("64 clients"), "{failure}");
                true
            }
            Ok(_) => false,
            Err(error) => panic!("{error}"),
        }
    });
    drop(held);
    within(Duration::from_secs(120), "there is room again", || daemon.client().call(&Request::Show).is_ok());
}

#[test]
fn others_may_not() {
    let lab = Lab::new(0);
    let daemon = lab.start("");
    let try_as_nobody = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "control::as_nobody", "--ignored", "--nocapture"]);
        let output = command.env(AS_NOBODY, daemon.socket()).uid(NOBODY).gid(NOBODY).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    let open = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    for folder in daemon.socket().ancestors().skip(1).take(2) {
        open(folder, 0o755);
    }
    let said = try_as_nobody();
    assert!(said.contains("belongs to another user"), "the file's mode: {said}");
    // Even if somebody opens the file's mode, the daemon looks at who is there.
    open(daemon.socket(), 0o666);
    let said = try_as_nobody();
    assert!(said.contains("only root and the user that portwayd runs as"), "{said}");
}

#[test]
#[ignore = "others_may_not runs it as another user"]
fn as_nobody() {
    let Some(socket) = std::env::var_os(AS_NOBODY) else { return };
    let answer = Client::connect(Path::new(&socket)).and_then(|mut client| client.call(&Request::Show));
    eprintln!("{}", answer.map(|_| "let in".to_owned()).unwrap_or_else(|error| error.to_string()));
}

/// A request, and what is said to it.
type Refusal = (Request, FailureKind, &'static str);

fn refused_bridges() -> Vec<Refusal> {
    let name = |name: &str| name.to_owned();
    vec![
        (bridge_add("br0"), FailureKind::Exists, "bridge \"br0\" exists"),
        (bridge_add("p1"), FailureKind::Exists, "\"p1\" is a port of bridge br0"),
        (bridge_add("lb"), FailureKind::Exists, "there is already a device \"lb\""),
        (bridge_add(""), FailureKind::BadRequest, "the name is empty"),
        (bridge_add("sixteen-bytes-xx"), FailureKind::BadRequest, "16 bytes; Linux allows 15"),
        (bridge_add("a/b"), FailureKind::BadRequest, "contains '/'"),
        (
            Request::BridgeAdd(BridgeSpec { mac_limit: 0, ..BridgeSpec::new("b") }),
            FailureKind::BadRequest,
            "mac limit 0 is out of range",
        ),
        (Request::BridgeDel { name: name("br1") }, FailureKind::NotFound, "there is no bridge \"br1\""),
        (Request::BridgeFdb { name: name("nope") }, FailureKind::NotFound, "there is no bridge \"nope\""),
    ]
}

fn refused_ports() -> Vec<Refusal> {
    let with_vlans = |vlans| port_add("br0", PortSpec { vlans, ..PortSpec::new("p9") });
    let of_type = |port_type: &str| {
        port_add("br0", PortSpec { port_type: port_type.to_owned(), ..PortSpec::new("p9") })
    };
    let name = |name: &str| name.to_owned();
    vec![
        (port_add("brr0", PortSpec::new("p2")), FailureKind::NotFound, "there is no bridge \"brr0\""),
        (port_add("br0", PortSpec::new("p1")), FailureKind::Exists, "port \"p1\" is already in bridge br0"),
        (port_add("br0", PortSpec::new("br0")), FailureKind::Exists, "\"br0\" is a bridge"),
        (port_add("br0", PortSpec::new("p77")), FailureKind::NotFound, "there is no device \"p77\""),
        (port_add("br0", PortSpec::new("p2")), FailureKind::Busy, "device \"p2\" is in use"),
        (port_add("br0", PortSpec::new("lo")), FailureKind::BadRequest, "device \"lo\" cannot be a port"),
        (
            port_add("br0", PortSpec { netns: Some(name("nowhere")), ..PortSpec::new("p9") }),
            FailureKind::NotFound,
            "there is no network namespace \"nowhere\"",
        ),
        (of_type("netdv"), FailureKind::Unsupported, "there is no port type \"netdv\""),
        (of_type("777"), FailureKind::Unsupported, "777"),
        (
            with_vlans(Vlans { access: Some(4095), ..Vlans::default() }),
            FailureKind::BadRequest,
            "4095 is not a VLAN id",
        ),
        (
            with_vlans(Vlans { access: Some(1), native: Some(2), ..Vlans::default() }),
            FailureKind::BadRequest,
            "an access port or a trunk",
        ),
        (
            Request::PortDel { name: name("br0"), netns: None },
            FailureKind::BadRequest,
            "own port of bridge br0",
        ),
        (
            Request::PortDel { name: name("p0"), netns: None },
            FailureKind::NotFound,
            "there is no port \"p0\"",
        ),
        (
            Request::PortStats { name: Some(name("p0")), netns: None },
            FailureKind::NotFound,
            "there is no port \"p0\"",
        ),
    ]
}

fn refused_others() -> Vec<Refusal> {
    let flow = |flow: &str, actions: &str| Request::FlowAdd {
        bridge: "br0".to_owned(),
        flow: flow.to_owned(),
        actions: actions.to_owned(),
    };
    let name = |name: &str| name.to_owned();
    vec![
        (flow("in_prt(1)", "2"), FailureKind::BadRequest, "flow: column 1"),
        (flow("in_port(1),eth()", "fly"), FailureKind::BadRequest, "actions: column 1"),
        (
            Request::FlowDel { bridge: name("br0"), flow: Some(name("in_port(9),eth()")) },
            FailureKind::NotFound,
            "has no such flow",
        ),
        (Request::ModuleUnload { module: name("netdev") }, FailureKind::Denied, "built in"),
        (Request::ModuleLoad { module: name("777") }, FailureKind::Unsupported, "777"),
    ]
}

#[test]
fn every_refusal_names_the_thing_and_the_remedy() {
    let lab = Lab::new(2);
    let daemon = lab.start(&lab.config(1));
    lab.switch.sh("ip link add lb type bridge; ip link set p2 master lb");
    for (request, kind, message) in
        refused_bridges().into_iter().chain(refused_ports()).chain(refused_others())
    {
        let failure = daemon.refused(&request);
        assert!(failure.message.contains(message), "{request:?}: {failure}");
        assert_eq!(failure.kind, kind, "{request:?}: {failure}");
    }
    let name = |name: &str| name.to_owned();
    let remedy = |request: &Request| daemon.refused(request).remedy.unwrap();
    assert_eq!(remedy(&Request::BridgeFdb { name: name("bro") }), "did you mean \"br0\"?");
    assert_eq!(remedy(&Request::PortDel { name: name("p11"), netns: None }), "did you mean \"p1\"?");
    assert!(remedy(&port_add("br0", PortSpec::new("p2"))).contains("ip link set p2 nomaster"));
    let names: Vec<_> = daemon.ports().into_iter().map(|port| port.name).collect();
    assert_eq!(names, ["br0", "p1"], "refusals leave nothing behind");
}

#[test]
fn a_slow_client_keeps_nobody_waiting() {
    let lab = Lab::new(0);
    let daemon = lab.start("");
    let mut slow = UnixStream::connect(daemon.socket()).unwrap();
    slow.write_all(b"{\"request\":").unwrap();
    let mut other = daemon.client();
    for _ in 0..3 {
        assert!(other.call(&Request::Show).is_ok());
    }
    slow.write_all(b"\"bridge-list\"}\n").unwrap();
    let mut answer = [0; 6];
    slow.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"{\"ok\":");
}
