// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a client may do, and where: shown by a socket that it passes.
//!
//! A request is permitted if its sender has CAP_NET_ADMIN in the user namespace that owns the network namespace of the socket; the
//! sender may be in another user namespace, or in another process namespace. `/proc` cannot say that: it knows what a process
//! has at the moment when it is looked at, which may be another program by then. The kernel does say it: SO_TXTIME takes a clock other
//! than CLOCK_MONOTONIC from exactly those who have that capability over the socket's network namespace. So the client makes a socket
//! and tries to set the clock; the socket says to portwayd whether that went well, and in which namespace it was made. It has no
//! other use, and on a Unix socket the option has no effect: nobody has such a socket by accident.
//!
//! As with a netlink socket it counts who opened it. Unlike the kernel, portwayd does not look again at who sends.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::fstat;
use rustix::io::{Errno, Result};
use rustix::net::sockopt::{get_txtime, set_txtime, socket_domain};
use rustix::net::{AddressFamily, SocketFlags, SocketType, TxTimeFlags, socket_with};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use rustix::time::ClockId;

/// What is set.
const CLOCK: ClockId = ClockId::Realtime;
/// Beside it, since a socket on which nothing was set says the same clock.
const FLAGS: TxTimeFlags = TxTimeFlags::DEADLINE_MODE;

/// Makes a proof: of what the calling thread may do in the network namespace that it is in.
///
/// # Errors
/// What the operating system says. To have no privileges is no error.
pub fn make_proof() -> Result<OwnedFd> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    match set_txtime(&socket, CLOCK, FLAGS) {
        Ok(()) | Err(Errno::PERM) => Ok(socket),
        Err(errno) => Err(errno),
    }
}

/// As [`make_proof`], in a network namespace that the thread may enter.
pub(crate) fn make_proof_in(netns: BorrowedFd<'_>) -> Result<OwnedFd> {
    let current = rustix::fs::stat("/proc/thread-self/ns/net")?;
    if fstat(netns)?.st_ino == current.st_ino {
        return make_proof();
    }
    let inside = || {
        move_into_link_name_space(netns, Some(LinkNameSpaceType::Network))?;
        make_proof()
    };
    // A thread of its own, so that none is left in the wrong namespace.
    std::thread::scope(|scope| scope.spawn(inside).join().unwrap_or(Err(Errno::FAULT)))
}

/// Whether a proof shows CAP_NET_ADMIN over the network namespace that it was made in.
pub fn proves_net_admin(proof: impl AsFd) -> bool {
    let is_unix = socket_domain(&proof) == Ok(AddressFamily::UNIX);
    is_unix && get_txtime(&proof) == Ok((CLOCK, FLAGS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_sockets_prove_nothing() {
        let unix =
            socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        assert!(!proves_net_admin(&unix));
        set_txtime(&unix, ClockId::Monotonic, FLAGS).unwrap();
        assert!(!proves_net_admin(&unix), "everybody may do that");
        let inet = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None).unwrap();
        // With it, one that a program uses for something else.
        let _ = set_txtime(&inet, CLOCK, FLAGS);
        assert!(!proves_net_admin(&inet));
        assert!(!proves_net_admin(std::fs::File::open("/proc/self/status").unwrap()));
    }
}
