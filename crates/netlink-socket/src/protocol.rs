// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The protocol's messages. Numbers are in host order: both ends are on one machine.

/// Version of this protocol.
pub const VERSION: u32 = 2;
/// The first word of a [`Hello`]: "PWNL".
const MAGIC: u32 = 0x4c4e_5750;
/// Where portwayd listens if nothing else is said.
pub const SOCKET_PATH: &str = "/run/portway/netlink.sock";
/// The environment variable that says where portwayd listens.
pub const SOCKET_ENV: &str = "PORTWAY_SOCKET";
/// Message types of the families that a client sends packets and flows with: portwayd gives families these numbers, always.
pub const PACKET_FAMILY: u16 = 0x23;
/// See [`PACKET_FAMILY`].
pub const FLOW_FAMILY: u16 = 0x22;
/// Bytes of a [`Hello`].
pub const HELLO_LEN: usize = 16;

/// A datagram that says that messages were lost: a message header of type NLMSG_OVERRUN and nothing else.
pub const OVERRUN: [u8; 16] = {
    let mut bytes = [0; 16];
    bytes[0] = 16_u32.to_ne_bytes()[0];
    bytes[3] = 16_u32.to_ne_bytes()[3];
    bytes[4] = 4_u16.to_ne_bytes()[0];
    bytes[5] = 4_u16.to_ne_bytes()[1];
    bytes
};

/// A datagram of one NLMSG_NOOP header: the next datagram was made for this multicast group. 0, which is never said of a datagram of
/// its own accord, says nothing ([`Command::Wake`]).
pub fn group_mark(group: u32) -> [u8; 16] {
    words(&[16, 1, group, 0])
}

/// The group that a [`group_mark`] names; `None`: the datagram is none.
pub fn marked_group(datagram: &[u8]) -> Option<u32> {
    match read::<4>(datagram)? {
        [16, 1, group, 0] => Some(group),
        _ => None,
    }
}

/// The first datagram of a data connection. Three file descriptors travel with it: the client's network namespace,
/// portwayd's end of the control connection, and a [proof](crate::make_proof) made in that namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The netlink protocol: NETLINK_GENERIC or NETLINK_ROUTE.
    pub protocol: u32,
    /// The port id that the client wants; 0: any.
    pub port_id: u32,
}

impl Hello {
    /// The bytes.
    pub fn encode(&self) -> [u8; HELLO_LEN] {
        words(&[MAGIC, VERSION, self.protocol, self.port_id])
    }

    /// From bytes; `None`: it is none, or of another version.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let [MAGIC, VERSION, protocol, port_id] = read(bytes)? else { return None };
        Some(Self { protocol, port_id })
    }
}

/// What a client asks on the control connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Take this port id (`bind`).
    Bind(u32),
    /// Say this in acknowledgements: NETLINK_CAP_ACK and NETLINK_EXT_ACK.
    SetAck {
        /// Leave the request's payload out of errors.
        capped: bool,
        /// Send the extended part.
        extended: bool,
    },
    /// Join a multicast group.
    Join(u32),
    /// Leave a multicast group.
    Leave(u32),
    /// Send a [`group_mark`] of 0 on the data connection. For a connection that takes another's place: whoever polls the file
    /// descriptor looks at the new one only when something can be read there.
    Wake,
    /// Datagrams on the data connection may come in bundles from now on.
    TakeBundles,
    /// From now on send a [`group_mark`] before each datagram that was made for a group.
    TellGroups,
    /// The data connection may hold this many bytes for the client, counted as the kernel counts SO_RCVBUF; within limits.
    Room(u32),
    /// Hand over a port's outlet: a packet socket through which the client may send frames out of the port by itself, as
    /// OVS_PACKET_CMD_EXECUTE with that one output would, and a page of memory in which it counts what it has sent (two u64 in host
    /// order: packets, bytes). Both travel with the answer, in that order. When sending fails the client asks for the frames to be
    /// executed instead: the port may have gone, or be watched.
    Outlet {
        /// The datapath, as in `ovs_header`.
        dp_ifindex: u32,
        /// OVS_VPORT_ATTR_PORT_NO.
        port_no: u32,
    },
}

impl Command {
    /// The bytes.
    pub fn encode(&self) -> [u8; 16] {
        words(&match *self {
            Self::Bind(port_id) => [1, port_id, 0, 0],
            Self::SetAck { capped, extended } => [2, u32::from(capped), u32::from(extended), 0],
            Self::Join(group) => [3, group, 0, 0],
            Self::Leave(group) => [4, group, 0, 0],
            Self::Wake => [5, 0, 0, 0],
            Self::TakeBundles => [6, 0, 0, 0],
            Self::TellGroups => [7, 0, 0, 0],
            Self::Room(bytes) => [8, bytes, 0, 0],
            Self::Outlet { dp_ifindex, port_no } => [9, dp_ifindex, port_no, 0],
        })
    }

    /// From bytes; `None`: it is none.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        match read::<4>(bytes)? {
            [1, port_id, ..] => Some(Self::Bind(port_id)),
            [2, capped, extended, _] => Some(Self::SetAck { capped: capped != 0, extended: extended != 0 }),
            [3, group, ..] => Some(Self::Join(group)),
            [4, group, ..] => Some(Self::Leave(group)),
            [5, ..] => Some(Self::Wake),
            [6, ..] => Some(Self::TakeBundles),
            [7, ..] => Some(Self::TellGroups),
            [8, bytes, ..] => Some(Self::Room(bytes)),
            [9, dp_ifindex, port_no, _] => Some(Self::Outlet { dp_ifindex, port_no }),
            _ => None,
        }
    }
}

/// What portwayd answers on the control connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// 0, or an errno.
    pub errno: u32,
    /// To the hello and to `Bind`: the port id. To a request: [`Answer::LOST`] or 0.
    pub value: u32,
}

impl Answer {
    /// Something was lost, since the client's socket has no room: ENOBUFS, before what it can still read.
    pub const LOST: u32 = 1;
    /// Bytes of an answer.
    pub const LEN: usize = 8;

    /// The bytes.
    pub fn encode(&self) -> [u8; 8] {
        words(&[self.errno, self.value])
    }

    /// From bytes; `None`: it is none.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        read::<2>(bytes).map(|[errno, value]| Self { errno, value })
    }
}

fn words<const W: usize, const B: usize>(values: &[u32; W]) -> [u8; B] {
    let mut bytes = [0; B];
    for (place, value) in bytes.chunks_exact_mut(4).zip(values) {
        place.copy_from_slice(&value.to_ne_bytes());
    }
    bytes
}

fn read<const W: usize>(bytes: &[u8]) -> Option<[u32; W]> {
    let (chunks, []) = bytes.as_chunks::<4>() else { return None };
    let chunks: &[[u8; 4]; W] = chunks.try_into().ok()?;
    Some(chunks.map(u32::from_ne_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_and_refusals() {
        let hello = Hello { protocol: 16, port_id: 77 };
        assert_eq!(Hello::decode(&hello.encode()), Some(hello));
        let mut other = hello.encode();
        other[4] ^= 3;
        assert_eq!(Hello::decode(&other), None, "another version");
        for command in [
            Command::Bind(5),
            Command::SetAck { capped: true, extended: false },
            Command::Join(32),
            Command::Leave(33),
            Command::Wake,
            Command::TakeBundles,
            Command::TellGroups,
            Command::Room(1 << 20),
            Command::Outlet { dp_ifindex: 4, port_no: 65_534 },
        ] {
            assert_eq!(Command::decode(&command.encode()), Some(command));
        }
        assert_eq!(Command::decode(&[10; 16]), None);
        assert_eq!(Command::decode(&[1; 15]), None);
        let answer = Answer { errno: 98, value: 3 };
        assert_eq!(Answer::decode(&answer.encode()), Some(answer));
    }

    #[test]
    fn what_is_no_message_is_a_message_header() {
        assert_eq!(OVERRUN[..4], 16_u32.to_ne_bytes());
        assert_eq!(OVERRUN[4..6], 4_u16.to_ne_bytes());
        let mark = group_mark(9);
        assert_eq!((&mark[..4], &mark[4..6]), (&OVERRUN[..4], &1_u16.to_ne_bytes()[..]));
        assert_eq!((marked_group(&mark), marked_group(&group_mark(0))), (Some(9), Some(0)));
        assert_eq!(
            (marked_group(&OVERRUN), marked_group(&mark[..12]), marked_group(&[0; 20])),
            (None, None, None)
        );
    }
}
