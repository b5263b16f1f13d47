// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Netlink sockets whose other end is portwayd: the protocol, and the client's side of it.
//!
//! A netlink socket is a pair of connections.
//! * The *data* connection is a `SOCK_SEQPACKET` Unix socket to portwayd's path. Each datagram on it is what it would be
//!   on a netlink socket: messages, one or several. It polls as a netlink socket does.
//! * The *control* connection is one end of a socket pair; its other end goes to portwayd with the first datagram of
//!   the data connection, the [`Hello`], beside the client's network namespace. Options are set on it, and on it
//!   portwayd says that it has finished with what it was sent.
//!
//! Everything that a client sends, on either connection, is answered by exactly one [`Answer`] on the control
//! connection, after all that it caused has been put on the data connection. So a client that waits for the answer
//! finds the replies there, as after `send` on a netlink socket. A dump goes on as the client reads; it has ended with
//! NLMSG_DONE or an error, and a client that reads a dump waits for that.
//!
//! A datagram that is one [`OVERRUN`] header says that messages were lost here: ENOBUFS. A client that listens much may ask for
//! several datagrams in one: a [`Bundle`].
//!
//! A connection for NETLINK_ROUTE is for one thing: each datagram is one RTM_NEWLINK that asks for a tunnel device ([`TunnelDevice`]), and
//! its answer is the errno of that.

#![forbid(unsafe_code)]

mod bundle;
mod client;
mod protocol;
mod tunnel;

pub use bundle::{BUNDLE_MARK, Bundle, first_in_bundle, next_in_bundle};
pub use client::{Error, NetlinkSocket};
pub use protocol::{Answer, Command, HELLO_LEN, Hello, NOOP, OVERRUN, SOCKET_ENV, SOCKET_PATH, VERSION};
pub use tunnel::{TUNNEL_ALIAS, TunnelDevice, TunnelKind};
