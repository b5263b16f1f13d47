// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whether a namespace is still somebody's. This process's own descriptors keep every namespace that it works in alive, so the
//! kernel never tells that one has gone; what counts is whether anybody else still has it: by a name (a bind mount of its
//! file, as `ip netns` and container engines make) or by being in it.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use portway_vport::NetnsId;

/// The mount table; polls with priority data when it changes.
pub(crate) const MOUNTS: &str = "/proc/self/mountinfo";

/// What holds a namespace, other than us.
#[derive(Debug)]
pub(crate) enum Anchor {
    /// It is this process's own.
    Own,
    /// It has a name.
    Mounted,
    /// This process, and maybe others, are in it; the descriptor polls readable when it ends.
    Process(OwnedFd),
}

/// What holds the namespace; `None`: nothing any more.
pub(crate) fn find(id: NetnsId) -> Option<Anchor> {
    if inode("/proc/self/ns/net") == Some(id.0) {
        return Some(Anchor::Own);
    }
    if fs::read_to_string(MOUNTS).is_ok_and(|table| is_mounted(&table, id)) {
        return Some(Anchor::Mounted);
    }
    let processes = fs::read_dir("/proc").ok()?.filter_map(Result::ok);
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    ids.filter_map(Pid::from_raw).find_map(|pid| resident(pid, id)).map(Anchor::Process)
}

/// Whether a mount table names the namespace: field 4, the root of the mount, says `net:[inode]`.
fn is_mounted(table: &str, id: NetnsId) -> bool {
    let root = format!("net:[{}]", id.0);
    table.lines().any(|line| line.split(' ').nth(3) == Some(&root))
}

/// A process that is in the namespace. Opened before it is looked at, so that it is the same one.
fn resident(pid: Pid, id: NetnsId) -> Option<OwnedFd> {
    let number = pid.as_raw_nonzero().get();
    if inode(&format!("/proc/{number}/ns/net")) != Some(id.0) {
        return None;
    }
    let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    (inode(&format!("/proc/{number}/ns/net")) == Some(id.0)).then_some(process)
}

fn inode(path: &str) -> Option<u64> {
    fs::metadata(path).ok().map(|metadata| metadata.ino())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Netns;

    #[test]
    fn the_mount_table_is_read_by_its_root_field() {
        let table = "22 1 0:5 net:[4026531840] /run/netns/a rw shared:5 - nsfs nsfs rw\n\
                     23 1 8:1 / /mnt/net:[7] rw - ext4 /dev/sda1 rw\n";
        assert!(is_mounted(table, NetnsId(4_026_531_840)));
        assert!(!is_mounted(table, NetnsId(402_653_184)));
        assert!(!is_mounted(table, NetnsId(7)));
    }

    #[test]
    fn our_own_namespace_never_goes() {
        assert!(matches!(find(Netns::current_id().unwrap()), Some(Anchor::Own)));
        assert!(find(NetnsId(1)).is_none());
    }
}
