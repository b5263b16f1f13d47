// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Clients over real sockets: good ones, silent ones, deaf ones, ones that send nonsense or vanish. Needs root.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use portway_control::Limits;
use portway_datapath::{Switch, SwitchConfig};
use portway_netlink_server::NetlinkServer;
use portway_netlink_socket::{Command, NetlinkSocket, first_in_bundle, next_in_bundle};
use portway_vport::Registry;
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, send, socket_with,
};

const GENERIC: u32 = 16;

fn open(path: &Path, port_id: u32) -> Result<NetlinkSocket, portway_netlink_socket::Error> {
    let netns = File::open("/proc/self/ns/net").unwrap();
    NetlinkSocket::open(path, netns.as_fd(), GENERIC, port_id)
}

/// GETFAMILY of `ovs_flow`, with an acknowledgement.
fn get_family() -> Vec<u8> {
    let body = [&[3, 1, 0, 0, 13, 0, 2, 0][..], b"ovs_flow\0", &[0; 3]].concat();
    let mut bytes = (16 + body.len() as u32).to_ne_bytes().to_vec();
    bytes.extend([16, 0, 5, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend(body);
    bytes
}

#[test]
fn clients_of_all_kinds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("netlink.sock");
    let switch = Switch::new(SwitchConfig::default(), Registry::new());
    let mut server = NetlinkServer::bind(&path, switch.clone(), Limits::default()).unwrap();
    assert!(NetlinkServer::bind(&path, switch, Limits::default()).is_err(), "somebody listens there");
    let handle = server.handle();
    let thread = std::thread::spawn(move || server.run());

    let good = open(&path, 0).unwrap();
    assert_ne!(good.port_id(), 0);
    assert_eq!(good.command(Command::Bind(4711)).unwrap(), 4711);
    assert!(open(&path, 4711).is_err(), "EADDRINUSE");
    assert!(good.command(Command::Join(9999)).is_err(), "no such group");
    good.command(Command::Join(10)).unwrap();

    // It connects and says nothing, or the wrong thing; and many come and go.
    assert!(UnixStream::connect(&path).is_err(), "another kind of socket is refused");
    let file = File::open("/proc/self/status").unwrap();
    assert!(NetlinkSocket::open(&path, file.as_fd(), GENERIC, 0).is_err(), "no namespace");
    let netns = File::open("/proc/self/ns/mnt").unwrap();
    assert!(NetlinkSocket::open(&path, netns.as_fd(), GENERIC, 0).is_err(), "no network namespace");
    for _ in 0..1000 {
        open(&path, 0).unwrap();
    }
    for nonsense in [&[0_u8][..], &[0xff; 100], &[0; 60_000]] {
        good.send(nonsense).unwrap();
    }

    // The answer is there when `send` returns.
    good.send(&get_family()).unwrap();
    let reply = good.receive(0).unwrap().expect("the family");
    assert!(reply.windows(8).any(|part| part == b"ovs_flow"));
    assert!(good.receive(0).unwrap().is_some(), "the acknowledgement");
    assert!(good.receive(0).unwrap().is_none());

    // Answers to many requests come one by one, unless the client takes them as one.
    let many = get_family().repeat(20);
    good.send(&many).unwrap();
    let one_by_one: Vec<_> = std::iter::from_fn(|| good.receive(0).unwrap()).collect();
    assert_eq!(one_by_one.len(), 40, "each with an acknowledgement");
    good.command(Command::TakeBundles).unwrap();
    good.send(&many).unwrap();
    let bundle = good.receive(0).unwrap().unwrap();
    let mut at = first_in_bundle(&bundle).expect("a bundle");
    for expected in &one_by_one {
        let (datagram, next) = next_in_bundle(&bundle, at).expect("as many as one by one");
        assert_eq!(datagram, expected);
        at = next;
    }
    assert!(next_in_bundle(&bundle, at).is_none() && good.receive(0).unwrap().is_none());
    // One alone, too: without an acknowledgement there is but the answer.
    let mut quiet = get_family();
    quiet[6] = 1;
    good.send(&quiet).unwrap();
    let bundle = good.receive(0).unwrap().unwrap();
    let (datagram, next) = next_in_bundle(&bundle, first_in_bundle(&bundle).expect("a bundle")).unwrap();
    assert_eq!(datagram, one_by_one[0]);
    assert!(next_in_bundle(&bundle, next).is_none() && good.receive(0).unwrap().is_none());
    good.send(b"no message at all").unwrap();
    good.send(&get_family()[..20]).unwrap();
    assert!(good.receive(0).unwrap().is_none(), "nothing is no bundle");

    handle.stop();
    thread.join().unwrap().unwrap();
    assert!(!path.exists(), "the socket goes with the server");
}

/// File descriptors of this process.
fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn silent(path: &Path) -> OwnedFd {
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    connect(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    socket
}

#[test]
fn silent_and_deaf_clients_harm_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("netlink.sock");
    let switch = Switch::new(SwitchConfig::default(), Registry::new());
    let limits = Limits { queue_bytes: 64 << 10, ..Limits::default() };
    let mut server = NetlinkServer::bind(&path, switch, limits).unwrap();
    let handle = server.handle();
    let thread = std::thread::spawn(move || server.run());
    let good = open(&path, 0).unwrap();
    let before = open_files();

    // They connect and say nothing; half a hello; a hello without its file descriptors; one twice as long.
    let quiet: Vec<OwnedFd> = (0..300).map(|_| silent(&path)).collect();
    for (socket, len) in quiet.iter().zip([1, 8, 15, 16, 32, 4096]) {
        send(socket, &vec![0x50; len], SendFlags::NOSIGNAL).unwrap();
    }
    // It asks and asks, and never reads: what is too much is lost, and told once.
    let deaf = open(&path, 0).unwrap();
    for _ in 0..30_000 {
        deaf.send(&get_family()).unwrap();
    }
    good.send(&get_family()).unwrap();
    assert!(good.receive(0).unwrap().is_some() && good.receive(0).unwrap().is_some());
    let told = deaf.receive(0);
    assert!(matches!(told, Err(portway_netlink_socket::Error::Overrun)), "{told:?}");
    // What there was room for comes then, and nothing after that: answers do not come later than the request ends.
    let mut received = 0_usize;
    while let Some(datagram) = deaf.receive(0).expect("it is told once") {
        received += datagram.len();
    }
    assert!((1..1 << 20).contains(&received), "{received} bytes waited for it");
    // From then on it is served as everybody.
    deaf.send(&get_family()).unwrap();
    assert!(deaf.receive(0).unwrap().is_some());

    drop((quiet, deaf));
    // What they had is given back: the server's ends are closed.
    let start = std::time::Instant::now();
    while open_files() > before {
        assert!(start.elapsed() < std::time::Duration::from_secs(120), "{} files are open", open_files());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    handle.stop();
    thread.join().unwrap().unwrap();
}
