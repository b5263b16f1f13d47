// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A device belongs to the switch: a BPF program at its tcx ingress hook drops every frame after the packet socket has
//! seen it, so the host's stack gets none (`rx_handler` in the kernel module's place). Frames that take a shortcut are redirected
//! there (`filter.rs`).
//!
//! The program is held by a link, and the link by this process: no trace is left when it goes. Its name is the claim on the
//! device. Looking for it and attaching are tied together by the hook's revision, so of two claimants one gets EBUSY,
//! in whatever process they are.

use std::os::fd::OwnedFd;
use std::sync::OnceLock;

use portway_bpf::{Hook, ProgramKind};
use portway_vport::abi::log_level;
use portway_vport::host;
use portway_vport::ops::Errno;

use crate::filter;
use crate::shortcut;

const NAME: &[u8; 16] = b"portway_port\0\0\0\0";

/// How often a claim is tried again because somebody else changed the hook meanwhile.
const RETRIES: usize = 16;

/// The claim on one device; dropping it gives the device back to the host.
#[derive(Debug)]
pub(crate) struct Claim {
    _link: OwnedFd,
}

impl Claim {
    /// Claims the device of the calling thread's namespace. EBUSY: it is a port already, here or in another process.
    /// EOPNOTSUPP: this kernel has no tcx (it came with Linux 6.6).
    pub(crate) fn new(ifindex: u32) -> Result<Self, Errno> {
        let program = &program()?.fd;
        for _ in 0..RETRIES {
            let revision = unclaimed_revision(ifindex)?;
            match portway_bpf::attach_tcx(program, ifindex, Hook::Ingress, revision) {
                Ok(link) => return Ok(Self { _link: link }),
                Err(Errno(libc::ESTALE)) => {}
                Err(errno) => return Err(errno),
            }
        }
        Err(Errno(libc::EBUSY))
    }
}

/// The program at the ports' ingress hooks.
struct Program {
    fd: OwnedFd,
    /// Whether it carries verdicts out.
    redirects: bool,
}

/// Whether frames can take shortcuts at all.
pub(crate) fn redirects() -> bool {
    program().is_ok_and(|program| program.redirects)
}

/// The program, loaded once and used for every port.
fn program() -> Result<&'static Program, Errno> {
    static PROGRAM: OnceLock<Program> = OnceLock::new();
    if let Some(program) = PROGRAM.get() {
        return Ok(program);
    }
    let load = |code: &[_]| portway_bpf::load(ProgramKind::SchedCls, NAME, code);
    let redirecting = shortcut::verdict().map(|verdict| load(&filter::claim(verdict.raw_fd())));
    let program = match redirecting {
        Some(Ok(fd)) => Program { fd, redirects: true },
        Some(Err(_)) | None => Program { fd: load(&filter::plain_claim())?, redirects: false },
    };
    Ok(PROGRAM.get_or_init(|| program))
}

/// The hook's revision while no program of ours is there.
fn unclaimed_revision(ifindex: u32) -> Result<u64, Errno> {
    let (ids, revision) = match portway_bpf::query_tcx(ifindex) {
        Ok(answer) => answer,
        // Without tcx the attach type is unknown.
        Err(Errno(libc::EINVAL)) => {
            host::log(
                log_level::ERROR,
                "this kernel has no tcx (Linux 6.6 or later has): netdev ports are not possible",
            );
            return Err(Errno(libc::EOPNOTSUPP));
        }
        Err(errno) => return Err(errno),
    };
    // A program that may not be looked at is somebody else's.
    let is_ours = |&id: &u32| portway_bpf::program_name(id).as_ref() == Some(NAME);
    if ids.iter().any(is_ours) { Err(Errno(libc::EBUSY)) } else { Ok(revision) }
}
