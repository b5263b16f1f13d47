// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Netlink sockets whose other end is portwayd: the protocol, and the client's side of it.
//!
//! A netlink socket is a pair of connections.
//! * The *data* connection is a `SOCK_SEQPACKET` Unix socket to portwayd's path. Each datagram on it is what it would be
//!   on a netlink socket: messages, one or several. It polls as a netlink socket does.
//! * The *control* connection is one end of a socket pair; its other end goes to portwayd with the first datagram of
//!   the data connection, the [`Hello`], beside the client's network namespace and a [proof](make_proof) of what it may do
//!   there. Options are set on it, and on it
//!   portwayd says that it has finished with what it was sent.
//!
//! Everything that a client sends, on either connection, is answered by exactly one [`Answer`] on the control
//! connection, after all that it caused has been put on the data connection. So a client that waits for the answer
//! finds the replies there, as after `send` on a netlink socket. A dump goes on as the client reads; it has ended with
//! NLMSG_DONE or an error, and a client that reads a dump waits for that.
//!
//! Two kinds of datagrams are not the program's to see: one [`OVERRUN`] header says that messages were lost here, ENOBUFS; and
//! [`group_mark`] says for which multicast group the next one was made, to clients that asked for it. A client that listens much may
//! ask for several datagrams in one: a [`Bundle`].
//!
//! A client that sends many packets by OVS_PACKET_CMD_EXECUTE may ask for the ports' *outlets* ([`Command::Outlet`]) and send by itself.
//!
//! What a request answers is lost if the client's socket is full, as on a netlink socket; the [`Answer`] says so.
//!
//! A connection for NETLINK_ROUTE is for one thing: each datagram is one RTM_NEWLINK that asks for a tunnel device ([`TunnelDevice`]), and
//! its answer is the errno of that.

#![forbid(unsafe_code)]

mod bundle;
mod client;
mod proof;
mod protocol;
mod tunnel;

pub use bundle::{BUNDLE_MARK, Bundle, first_in_bundle, next_in_bundle};
pub use client::{Error, NetlinkSocket};
pub use proof::{make_proof, proves_net_admin};
pub use protocol::{
    Answer, Command, FLOW_FAMILY, HELLO_LEN, Hello, OVERRUN, PACKET_FAMILY, SOCKET_ENV, SOCKET_PATH, VERSION,
    group_mark, marked_group,
};
pub use tunnel::{TUNNEL_ALIAS, TunnelDevice, TunnelKind, is_tunnel_name};
