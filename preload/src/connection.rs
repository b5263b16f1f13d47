// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The two connections of a netlink socket to portwayd. As `portway_netlink_socket::NetlinkSocket`, but interruptible by signals,
//! on a file descriptor that is the program's.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use portway_netlink_socket::{Answer, Command, Hello, SOCKET_ENV, SOCKET_PATH};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, IoSlice, IoSliceMut, retry_on_intr};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv, recvmsg, send,
    sendmsg, socket_with, socketpair,
};
use rustix::time::{ClockId, clock_gettime};

use crate::namespace::{Namespace, Proof};
use crate::notice;

/// How long requests wait for a portwayd that has gone away, if [`PATIENCE_ENV`] does not say it.
const PATIENCE: Duration = Duration::from_secs(5);
/// The environment variable that says it, in whole seconds; empty, it says nothing.
const PATIENCE_ENV: &str = "PORTWAY_PATIENCE";
/// How often it is looked for then.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A connection was opened once.
static SEEN: AtomicBool = AtomicBool::new(false);
/// When portwayd was missed first, by the monotonic clock; 0: it is there.
static AWAY_SINCE_MS: AtomicU64 = AtomicU64::new(0);

/// Why something was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// portwayd is not there, or not any more.
    Gone(Errno),
    /// It, or the operating system, says no.
    Refused(Errno),
}

/// Where a socket was opened, and what its opener might do there: a new connection of it has that, too.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) namespace: Arc<Namespace>,
    pub(crate) proof: Arc<Proof>,
}

impl Place {
    /// The calling thread's.
    pub(crate) fn current() -> Result<Self, Errno> {
        let namespace = Namespace::current()?;
        let proof = namespace.proof()?;
        Ok(Self { namespace, proof })
    }

    /// Whether its file descriptors are still what they were: programs may close what they do not know.
    pub(crate) fn is_open(&self) -> bool {
        self.namespace.is_open() && self.proof.is_open()
    }
}

/// A connection that was opened.
pub(crate) struct Opened {
    pub(crate) data: OwnedFd,
    pub(crate) control: OwnedFd,
    pub(crate) port_id: u32,
}

/// Where portwayd listens: as `PORTWAY_SOCKET` says when it is first needed.
pub(crate) fn path() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let named = std::env::var_os(SOCKET_ENV).filter(|path| !path.is_empty());
        named.unwrap_or_else(|| SOCKET_PATH.into()).into()
    })
}

fn refused(errno: Errno) -> Failure {
    Failure::Refused(errno)
}

/// A socket pair of the kind that connections are.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

/// Whether portwayd has ever been there in this process's life.
pub(crate) fn was_seen() -> bool {
    SEEN.load(Ordering::Relaxed)
}

/// As [`open`]. If portwayd has been there before, it is waited for: it is being restarted, and a program that is refused
/// everything meanwhile would draw its conclusions. All waiting together ends [`patience`] after portwayd was missed first.
pub(crate) fn open_patiently(place: &Place, port_id: u32) -> Result<Opened, Failure> {
    patiently(|| open(place, port_id))
}

/// As [`open_patiently`], to ask for tunnel devices.
pub(crate) fn open_for_links(place: &Place) -> Result<Opened, Failure> {
    patiently(|| open_for(libc::NETLINK_ROUTE, place, 0))
}

fn patiently(open: impl Fn() -> Result<Opened, Failure>) -> Result<Opened, Failure> {
    // Looked at first of all, so that a person who has written something else hears of it at once.
    let limit = patience();
    loop {
        match open() {
            Err(Failure::Gone(_)) if was_seen() && !is_given_up(limit) => std::thread::sleep(LOOK_AGAIN),
            result => return result,
        }
    }
}

/// How long requests wait for a portwayd that has gone away.
fn patience() -> Duration {
    static SAID: OnceLock<Duration> = OnceLock::new();
    *SAID.get_or_init(|| {
        let Some(said) = std::env::var_os(PATIENCE_ENV).filter(|said| !said.is_empty()) else {
            return PATIENCE;
        };
        match said.to_str().and_then(|said| said.parse::<u32>().ok()) {
            Some(seconds) => Duration::from_secs(seconds.into()),
            None => {
                notice::not_a_number(PATIENCE_ENV, &said, PATIENCE);
                PATIENCE
            }
        }
    })
}

/// Whether portwayd has been away for too long to be waited for.
fn is_given_up(limit: Duration) -> bool {
    let now = clock_gettime(ClockId::Monotonic);
    let now_ms = now.tv_sec.cast_unsigned() * 1000 + now.tv_nsec.cast_unsigned() / 1_000_000;
    let began = match AWAY_SINCE_MS.compare_exchange(0, now_ms, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => now_ms,
        Err(began) => began,
    };
    u128::from(now_ms.saturating_sub(began)) >= limit.as_millis()
}

/// Connects. `port_id`: the one wanted, or 0.
pub(crate) fn open(place: &Place, port_id: u32) -> Result<Opened, Failure> {
    open_for(libc::NETLINK_GENERIC, place, port_id)
}

fn open_for(protocol: i32, place: &Place, port_id: u32) -> Result<Opened, Failure> {
    let flags = SocketFlags::CLOEXEC;
    let data = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).map_err(refused)?;
    let address = SocketAddrUnix::new(path()).map_err(Failure::Gone)?;
    retry_on_intr(|| connect(&data, &address)).map_err(Failure::Gone)?;
    let (control, theirs) = pair().map_err(refused)?;
    let fds = [place.namespace.as_fd(), theirs.as_fd(), place.proof.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    let hello = Hello { protocol: protocol as u32, port_id }.encode();
    retry_on_intr(|| sendmsg(&data, &[IoSlice::new(&hello)], &mut ancillary, SendFlags::NOSIGNAL))
        .map_err(Failure::Gone)?;
    drop(theirs);
    let port_id = answer(control.as_fd())?;
    SEEN.store(true, Ordering::Relaxed);
    AWAY_SINCE_MS.store(0, Ordering::Relaxed);
    Ok(Opened { data, control, port_id })
}

/// Sets an option or a membership.
pub(crate) fn command(control: BorrowedFd<'_>, command: Command) -> Result<u32, Failure> {
    send_all(control, &command.encode())?;
    answer(control)
}

/// Asks for a port's outlet: its socket and its counters.
pub(crate) fn outlet(
    control: BorrowedFd<'_>,
    dp_ifindex: u32,
    port_no: u32,
) -> Result<(OwnedFd, OwnedFd), Failure> {
    drop_stale(control);
    send_all(control, &Command::Outlet { dp_ifindex, port_no }.encode())?;
    let mut bytes = [0; Answer::LEN];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = retry_on_intr(|| {
        recvmsg(control, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)
    });
    decode_answer(&bytes[..received.map_err(Failure::Gone)?.bytes])?;
    let mut fds = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    match <[OwnedFd; 2]>::try_from(fds) {
        Ok([socket, counters]) => Ok((socket, counters)),
        // The process may have no more file descriptors.
        Err(_) => Err(Failure::Refused(Errno::MFILE)),
    }
}

/// Sends a request, does something else `meanwhile`, and waits until the request has been carried out. `true`: something was lost,
/// perhaps the answer.
pub(crate) fn request(
    data: BorrowedFd<'_>,
    control: BorrowedFd<'_>,
    datagram: &[u8],
    meanwhile: impl FnOnce(),
) -> Result<bool, Failure> {
    drop_stale(control);
    send_all(data, datagram)?;
    meanwhile();
    answer(control).map(|value| value == Answer::LOST)
}

/// Whether the other end of a control connection has gone, as far as can be seen without asking it.
pub(crate) fn has_ended(control: BorrowedFd<'_>) -> bool {
    let seen = recv(control, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT);
    matches!(seen, Ok((_, 0)) | Err(Errno::CONNRESET))
}

/// An answer that nobody waited for (a request by `write`, or one whose sender died in a fork) is not that to the next request.
fn drop_stale(control: BorrowedFd<'_>) {
    let mut stale = [0; Answer::LEN];
    while recv(control, &mut stale, RecvFlags::DONTWAIT).is_ok_and(|(_, len)| len > 0) {}
}

/// Sends, also on a socket that does not wait: a netlink request never waits for a reader.
fn send_all(socket: BorrowedFd<'_>, datagram: &[u8]) -> Result<(), Failure> {
    loop {
        match send(socket, datagram, SendFlags::NOSIGNAL) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let _ = poll(&mut [PollFd::new(&socket, PollFlags::OUT)], None);
            }
            Err(errno @ (Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN)) => {
                return Err(Failure::Gone(errno));
            }
            Err(errno) => return Err(Failure::Refused(errno)),
        }
    }
}

fn answer(control: BorrowedFd<'_>) -> Result<u32, Failure> {
    let mut bytes = [0; Answer::LEN];
    let received = retry_on_intr(|| recv(control, &mut bytes, RecvFlags::empty()));
    let (_, len) = received.map_err(Failure::Gone)?;
    decode_answer(&bytes[..len.min(Answer::LEN)])
}

fn decode_answer(bytes: &[u8]) -> Result<u32, Failure> {
    match Answer::decode(bytes) {
        Some(Answer { errno: 0, value }) => Ok(value),
        Some(Answer { errno, .. }) => Err(Failure::Refused(Errno::from_raw_os_error(errno as i32))),
        None => Err(Failure::Gone(Errno::CONNRESET)),
    }
}
