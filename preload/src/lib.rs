// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `libportway_netlink.so`: loaded with `LD_PRELOAD`, it gives an unmodified program generic-netlink sockets whose other end is
//! portwayd instead of the kernel.
//!
//! * `NETLINK_GENERIC` sockets are connections to portwayd ([`portway_netlink_socket`] is the protocol); the file descriptor
//!   that the program holds is a real `SOCK_SEQPACKET` socket, so `poll`, `select` and `epoll` need no help.
//! * A request is complete when `send` returns, and while a dump goes on a receive waits for its next part: programs take
//!   EAGAIN as "no answer" or as "the end".
//! * A generic-netlink family that portwayd does not know and that is no `ovs_*` is looked for in the kernel: the socket that asked
//!   for it becomes the kernel's, with its port id and options. A socket with memberships stays, and dumps of `nlctrl` list
//!   portwayd's families only.
//! * `NETLINK_ROUTE` sockets stay with the kernel, but for requests about the tunnel devices of Open vSwitch: portwayd makes these, or,
//!   for programs that can do without, they fail (`route.rs`).
//! * All other protocols are the kernel's alone.
//! * If portwayd is not there, sockets are the kernel's, whose answer is ENOENT, and a line on the standard error says so once. If it
//!   goes away, sockets wait for it: a request waits up to five seconds (`PORTWAY_PATIENCE` says another number), then it is answered
//!   ENOENT, and when it is back, sockets are connected again with their port ids, options and memberships. Those with
//!   memberships are told ENOBUFS once, since they have missed something (`loss.rs` says when). Sockets that only listen are connected
//!   again, too: a thread looks for portwayd while it is away.
//!
//! Packets that a program has executed with one output it sends itself, through sockets that portwayd hands over (`execute.rs`,
//! `outlet.rs`): so it is in the kernel, too.
//!
//! For which multicast group a message was made is known once the program has shown that it may want that: by `bind`, a membership,
//! NETLINK_PKTINFO, or a receive that asks for the address.
//!
//! What it does not see: system calls that do not go through libc's functions, as `stdio`'s own do not; two processes that share one
//! socket after `fork` and use it at the same time; a socket that is passed to another program by `exec` or `SCM_RIGHTS`. An
//! epoll set must be told again of a socket that was connected again.
//!
//! Reading order: `hooks/`, the functions that libc has, too; `table.rs`, which file descriptors are ours; `socket.rs`, one netlink
//! socket; `connection.rs`, its two connections.

mod address;
mod ancillary;
mod connection;
mod execute;
mod hooks;
mod kernel;
mod links;
mod listen;
mod lock;
mod loss;
mod message;
mod namespace;
mod notice;
mod options;
mod outlet;
mod real;
mod receive;
mod request;
mod route;
mod scratch;
mod socket;
mod table;
mod watch;
