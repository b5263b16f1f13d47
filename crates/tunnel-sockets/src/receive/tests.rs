// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Trains over the loopback device, laid out as expected and otherwise: every byte is found again.

use std::net::UdpSocket;

use portway_buf::Pool;

use super::*;

/// linux/udp.h.
const UDP_SEGMENT: i32 = 103;

const LAYOUT: Layout = Layout { piece: 1400, start: 8, headers: 66 };

struct Rig {
    inbox: Inbox,
    sender: UdpSocket,
    pool: Pool,
}

impl Rig {
    fn new() -> Self {
        let inbox = Inbox::open(0, true).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.connect(("127.0.0.1", inbox.sockets[0].socket.local().unwrap().1)).unwrap();
        Self { inbox, sender, pool: Pool::new() }
    }

    /// Sends so many bytes as a train of such pieces, and receives it, expecting this layout.
    fn carry(&mut self, len: usize, piece: usize, layout: Option<Layout>) -> (Vec<u8>, Message) {
        let bytes: Vec<u8> = (0..len).map(|at| (at % 251) as u8 ^ (at / 251) as u8).collect();
        let size = (piece as i32).to_ne_bytes();
        // SAFETY: an option of four bytes, which live through the call.
        let done = unsafe {
            libc::setsockopt(self.sender.as_raw_fd(), libc::SOL_UDP, UDP_SEGMENT, size.as_ptr().cast(), 4)
        };
        assert_eq!(done, 0);
        assert_eq!(self.sender.send(&bytes).unwrap(), len);
        self.inbox.layout = layout;
        loop {
            self.inbox.look();
            if let Some(message) = self.inbox.next(&mut self.pool.as_ref()) {
                assert_eq!((message.datagram.len, message.datagram.piece), (len, piece.min(len)));
                return (bytes, message);
            }
            let mut fd = libc::pollfd { fd: self.inbox.event_source(), events: libc::POLLIN, revents: 0 };
            // SAFETY: one entry, which lives through the call.
            unsafe { libc::poll(&raw mut fd, 1, 10_000) };
        }
    }

    fn give(&mut self, message: Message) {
        self.pool.give(message.packet);
    }
}

/// The bytes of a message, read piece by piece.
fn read(message: &mut Message) -> Vec<u8> {
    let mut bytes = message.bytes().to_vec();
    if let Some(layout) = message.layout {
        for index in 1..message.datagram.len.div_ceil(layout.piece) {
            let (_, lead, payload) = message.piece(layout, index);
            bytes.extend(&*lead);
            bytes.extend(payload);
        }
    }
    bytes
}

#[test]
fn trains_are_found_again_whatever_was_expected() {
    let mut rig = Rig::new();
    let jumbo = Layout { piece: 8950, start: 8, headers: 54 };
    let short = Layout { piece: 100, ..LAYOUT };
    for len in [1, 60, 1400, 1401, 1450, 2800, 20_000, 44 * 1400, 60_000] {
        for layout in [None, Some(LAYOUT), Some(jumbo), Some(short)] {
            let (bytes, mut message) = rig.carry(len, 1400, layout);
            let scattered = layout.filter(|layout| layout.is_good() && len > layout.piece);
            assert_eq!(message.layout, scattered);
            assert_eq!(read(&mut message), bytes, "{len} {layout:?}");
            if let Some(layout) = message.layout {
                message.gather(layout, &mut rig.pool.as_ref());
                assert_eq!(message.bytes(), bytes);
            }
            rig.give(message);
        }
    }
}

#[test]
fn a_train_as_expected_has_its_payload_side_by_side() {
    let mut rig = Rig::new();
    let (bytes, mut message) = rig.carry(10 * 1400 + 700, 1400, Some(LAYOUT));
    let payload: Vec<u8> = bytes.chunks(1400).flat_map(|piece| &piece[LAYOUT.lead()..]).copied().collect();
    let at = message.start + LAYOUT.lead();
    assert_eq!(at % 64, 0);
    assert_eq!(message.packet.area_mut()[at..at + payload.len()], payload);
    rig.give(message);
}

#[test]
fn what_is_left_is_the_same_on_each_way() {
    let mut rig = Rig::new();
    for len in [1401, 1440, 2800, 3000, 20_000, 60_000] {
        for split_at in 1..4 {
            let (bytes, mut message) = rig.carry(len, 1400, Some(LAYOUT));
            let left = bytes.get(split_at * 1400..).unwrap_or_default();
            let split = message.split(LAYOUT, split_at, &mut rig.pool.as_ref());
            assert_eq!(split.is_some(), !left.is_empty());
            if let Some(mut split) = split {
                assert_eq!(read(&mut split), left, "split");
                rig.give(split);
            }
            assert_eq!(read(&mut message), bytes, "nothing has changed");
            for done in 1..=len.div_ceil(1400) {
                message.advance(1400);
                assert_eq!(
                    read(&mut message),
                    bytes.get(done * 1400..).unwrap_or_default(),
                    "step {done} of {len}"
                );
            }
            assert_eq!(message.datagram.len, 0);
            rig.give(message);
        }
    }
}
