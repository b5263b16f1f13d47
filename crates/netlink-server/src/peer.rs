// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Who is at the other end: which namespace its requests act in, and whether it may change things there.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use portway_control::Peer;
use portway_datapath::Netns;
use rustix::net::UCred;

/// CAP_NET_ADMIN's bit.
const NET_ADMIN: u64 = 1 << 12;

/// The namespace behind a file descriptor that a client sent; `None`: it is no network namespace.
fn netns(fd: OwnedFd) -> Option<Netns> {
    let kept = fd.try_clone().ok()?;
    // Looks at the file system, and enters the namespace to see that it is one of the network.
    let id = portway_netwatch::Netns::from_owned(fd).ok()?.id();
    Some(Netns::new(id, Some(Arc::new(kept))))
}

fn inode(path: &str) -> Option<u64> {
    fs::metadata(path).ok().map(|data| data.ino())
}

/// Effective capabilities of a process whose effective user is the one that connected.
fn capabilities(credentials: &UCred) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", credentials.pid.as_raw_nonzero())).ok()?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
    let euid: u32 = field("Uid:")?.split_whitespace().nth(1)?.parse().ok()?;
    let capabilities = u64::from_str_radix(field("CapEff:")?.trim(), 16).ok()?;
    (euid == credentials.uid.as_raw()).then_some(capabilities)
}

/// The peer, from what it passed and what the kernel says of it. A client without CAP_NET_ADMIN may only pass a
/// namespace that its process is in.
pub(crate) fn identify(credentials: &UCred, fd: OwnedFd) -> Option<Peer> {
    let netns = netns(fd)?;
    let process = credentials.pid.as_raw_nonzero();
    // Capabilities count in the user namespace that they are held in. Clients of others are taken as unprivileged.
    let same_user_ns = inode(&format!("/proc/{process}/ns/user")) == inode("/proc/self/ns/user");
    let admin = same_user_ns && capabilities(credentials).is_some_and(|held| held & NET_ADMIN != 0);
    if !admin && inode(&format!("/proc/{process}/ns/net")) != Some(netns.id().0) {
        return None;
    }
    Some(Peer { netns, admin })
}
