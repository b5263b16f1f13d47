// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Outlets of netdev ports, as another process has them: what is sent through one leaves the device, until the port takes it back. Root.

mod lab;

use std::mem;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use lab::Space;
use portway_buf::{Batch, Pool};
use portway_vport::abi::OutletCounters;
use portway_vport::ops::{CreateParams, Errno, PortType};
use rustix::io::{Errno as Code, pwrite};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use vport_netdev::NetdevPort;

fn attach(space: &Space, device: &str) -> NetdevPort {
    let name = std::ffi::CString::new(device).unwrap();
    let netns = Some(space.netns.as_fd());
    let params =
        CreateParams { name: &name, netns, tx_queues: 1, options: &[], mac: [0; 6], is_local: false };
    NetdevPort::create(&params).unwrap()
}

/// Two ports at the two ends of a cable.
struct Cable {
    near: NetdevPort,
    far: NetdevPort,
    near_space: Space,
    _far_space: Space,
    pool: Pool,
}

impl Cable {
    fn new() -> Self {
        let (near_space, far_space) = (Space::new("near"), Space::new("far"));
        near_space.veth("p1", &far_space, "p2");
        let (near, far) = (attach(&near_space, "p1"), attach(&far_space, "p2"));
        Self { near, far, near_space, _far_space: far_space, pool: Pool::new() }
    }

    /// The next frame of ours that the far end receives; the devices may have something to say by themselves.
    fn arrives(&mut self) -> Vec<u8> {
        let deadline = Instant::now() + Duration::from_secs(120);
        while Instant::now() < deadline {
            let mut batch = Batch::new();
            self.far.rx(0, &mut self.pool.as_ref(), &mut batch).unwrap();
            if let Some(packet) = batch.iter().find(|packet| packet.frame()[12..14] == [0x88, 0xb5]) {
                return packet.frame().to_vec();
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("no frame has come");
    }
}

fn frame(number: u8) -> Vec<u8> {
    let mut frame = vec![number; 60];
    frame[..14].copy_from_slice(&[2, 0, 0, 0, 0, 0xaa, 2, 0, 0, 0, 0, 0xbb, 0x88, 0xb5]);
    frame
}

fn try_send(socket: &OwnedFd, frame: &[u8]) -> Result<usize, Code> {
    send(socket, frame, SendFlags::DONTWAIT)
}

/// Says that so many packets and bytes were sent.
fn count(counters: &OwnedFd, packets: u64, bytes: u64) {
    pwrite(counters, &[packets.to_ne_bytes(), bytes.to_ne_bytes()].concat(), 0).unwrap();
}

fn sent(packets: u64, bytes: u64) -> OutletCounters {
    OutletCounters { packets, bytes }
}

#[test]
fn what_is_sent_leaves_the_device_until_the_port_takes_it_back() {
    let mut cable = Cable::new();
    assert_eq!(cable.near.outlet_sent(), sent(0, 0));
    let (socket, counters) = cable.near.outlet_open().unwrap();
    assert_eq!(try_send(&socket, &frame(1)), Ok(60));
    assert_eq!(cable.arrives(), frame(1));
    count(&counters, 1, 60);
    assert_eq!(cable.near.outlet_sent(), sent(1, 60));
    // Another process has the same one.
    let (second, second_counters) = cable.near.outlet_open().unwrap();
    assert_eq!(try_send(&second, &frame(2)), Ok(60));
    assert_eq!(cable.arrives(), frame(2));
    count(&second_counters, 2, 120);
    assert_eq!(cable.near.outlet_sent(), sent(2, 120));

    cable.near.outlet_close();
    cable.near.outlet_close();
    for taken in [&socket, &second] {
        assert_eq!(try_send(taken, &frame(3)), Err(Code::NXIO));
    }
    assert_eq!(cable.near.outlet_sent(), sent(2, 120));
    // What was sent last may be counted afterwards.
    count(&counters, 5, 300);
    assert_eq!(cable.near.outlet_sent(), sent(5, 300));
    let (fresh, fresh_counters) = cable.near.outlet_open().unwrap();
    assert_eq!(try_send(&fresh, &frame(4)), Ok(60));
    assert_eq!(cable.arrives(), frame(4), "not the third");
    count(&fresh_counters, 1, 60);
    assert_eq!(cable.near.outlet_sent(), sent(6, 360));
    assert_eq!(try_send(&socket, &frame(5)), Err(Code::NXIO), "the old one stays what it is");
    for _ in 0..10 {
        cable.near.outlet_close();
        let (_socket, counters) = cable.near.outlet_open().unwrap();
        count(&counters, 1, 60);
    }
    assert_eq!(cable.near.outlet_sent(), sent(16, 960), "however many there were");
}

#[test]
fn a_port_that_goes_takes_it_along() {
    let Cable { near, far: _far, near_space, .. } = Cable::new();
    let (socket, _counters) = near.outlet_open().unwrap();
    assert_eq!(try_send(&socket, &frame(1)), Ok(60));
    drop(near);
    assert_eq!(try_send(&socket, &frame(2)), Err(Code::NXIO));
    // So does the device.
    let near = attach(&near_space, "p1");
    let (socket, _counters) = near.outlet_open().unwrap();
    near_space.ip("link del p1");
    let error = try_send(&socket, &frame(3)).unwrap_err();
    assert!([Code::NXIO, Code::NODEV, Code::NETDOWN].contains(&error), "{error}");
    near.outlet_close();
}

#[test]
fn the_numbers_are_only_numbers() {
    let cable = Cable::new();
    let (_socket, counters) = cable.near.outlet_open().unwrap();
    for len in [0, 8, 4095, 4097, 1 << 20] {
        assert_eq!(rustix::fs::ftruncate(&counters, len), Err(Code::PERM), "{len} bytes");
    }
    count(&counters, 7, 700);
    assert_eq!(cable.near.outlet_sent(), sent(7, 700));
    count(&counters, 3, u64::MAX);
    assert_eq!(cable.near.outlet_sent(), sent(7, u64::MAX), "they never go back");
    cable.near.outlet_close();
    let (_socket, counters) = cable.near.outlet_open().unwrap();
    count(&counters, u64::MAX, u64::MAX);
    cable.near.outlet_sent();
}

#[test]
fn nothing_can_be_received_with_it() {
    let mut cable = Cable::new();
    let (socket, _counters) = cable.near.outlet_open().unwrap();
    // Whoever has it tries to hear all that the device receives.
    // SAFETY: plain data.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    let index = cable.near_space.inside(|| rustix::net::netdevice::name_to_index(&socket, "p1").unwrap());
    address.sll_ifindex = index as i32;
    // SAFETY: an address of that size lives through the call.
    let bound =
        unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size_of_val(&address) as u32) };
    assert_eq!(bound, 0);
    let nothing = 0;
    // SAFETY: the value lives through the call.
    let detached = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_DETACH_FILTER,
            (&raw const nothing).cast(),
            size_of_val(&nothing) as u32,
        )
    };
    assert_eq!((detached, Code::from_io_error(&std::io::Error::last_os_error())), (-1, Some(Code::PERM)));
    let (far, _counters) = cable.far.outlet_open().unwrap();
    mem::swap(&mut cable.near, &mut cable.far);
    for number in 0..10 {
        assert_eq!(try_send(&far, &frame(number)), Ok(60));
        assert_eq!(cable.arrives(), frame(number), "the port has it");
    }
    assert_eq!(recv(&socket, &mut [0; 100], RecvFlags::DONTWAIT).unwrap_err(), Code::AGAIN);
}

#[test]
fn a_device_without_link_layer_has_none() {
    let space = Space::new("tun");
    space.ip("tuntap add tun0 mode tun");
    let port = attach(&space, "tun0");
    assert_eq!(port.outlet_open().unwrap_err(), Errno::EOPNOTSUPP);
    port.outlet_close();
    assert_eq!(port.outlet_sent(), sent(0, 0));
}
