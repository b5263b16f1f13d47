// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `NETLINK_ROUTE` sockets. They are the kernel's; only what is about the tunnel devices of Open vSwitch goes another way.
//!
//! There are two ways to such a device. Programs up to Open vSwitch 3.7 ask the kernel for one by rtnetlink, and if that does not know
//! the kind they ask the datapath for a port of the tunnel's type. Later ones have the first way only. The old ones are known by a
//! question that they ask first (for a device of the kind `ovs_geneve`): they get EOPNOTSUPP and take their second way. For the others
//! portwayd makes the device, a TAP that stands for it, and whoever asks the kernel for it through this library is told of a device of the
//! kind that was asked for.

use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::io::Errno;

use crate::connection::{self, Failure, Place};
use crate::links::{self, Wanted};
use crate::lock::ForkLock;
use crate::message::{Message, messages};

/// The environment variable that chooses the way, whoever asks: `ports` or `devices`.
const WAY_ENV: &str = "PORTWAY_TUNNELS";
/// Refusals that nobody has read; of more, the oldest show the kernel's errno.
const REFUSALS_MAX: usize = 64;

/// How the process gets its tunnels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Way {
    /// It has not asked yet.
    Unknown = 0,
    /// As ports of the datapath.
    Ports = 1,
    /// As devices.
    Devices = 2,
}

static WAY: AtomicU8 = AtomicU8::new(Way::Unknown as u8);

/// The way that was chosen for the process.
fn chosen() -> Option<Way> {
    static CHOSEN: OnceLock<Option<Way>> = OnceLock::new();
    *CHOSEN.get_or_init(|| match std::env::var_os(WAY_ENV)?.as_encoded_bytes() {
        b"ports" => Some(Way::Ports),
        b"devices" => Some(Way::Devices),
        _ => None,
    })
}

fn way() -> Way {
    chosen().unwrap_or_else(|| match WAY.load(Ordering::Relaxed) {
        1 => Way::Ports,
        2 => Way::Devices,
        _ => Way::Unknown,
    })
}

fn take(way: Way) {
    WAY.store(way as u8, Ordering::Relaxed);
}

/// A socket of the kernel's.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) inode: u64,
    /// Where it was opened; `None`: that could not be told.
    place: Option<Place>,
    /// What portwayd has refused, for which the kernel has been sent something that it refuses.
    refused: ForkLock<VecDeque<Refused>>,
}

#[derive(Debug)]
struct Refused {
    sequence: u32,
    /// `None`: as the kernel says.
    errno: Option<i32>,
    request: Vec<u8>,
}

impl Route {
    /// A socket that the calling thread has opened just now.
    pub(crate) fn new(inode: u64) -> Self {
        Self { inode, place: Place::current().ok(), refused: ForkLock::new(VecDeque::new()) }
    }

    /// What is to be sent to the kernel, one after the other; `None`: the datagram as it is.
    pub(crate) fn requests<'a>(&'a self, datagram: &'a [u8]) -> Option<impl Iterator<Item = Vec<u8>> + 'a> {
        let concerns = messages(datagram).any(|message| links::wanted(&message) != Wanted::Nothing);
        // One by one: what portwayd does, it does in its place between the others.
        concerns.then(|| messages(datagram).map(|message| self.request(&message)))
    }

    fn request(&self, message: &Message<'_>) -> Vec<u8> {
        match links::wanted(message) {
            Wanted::Nothing => message.bytes.to_vec(),
            Wanted::Probe => {
                take(Way::Ports);
                self.spoil(message, links::of_no_kind, None)
            }
            Wanted::Make(false) => self.spoil(message, links::of_no_kind, None),
            Wanted::Make(true) if way() == Way::Ports => self.spoil(message, links::of_no_kind, None),
            Wanted::Make(true) => {
                take(Way::Devices);
                self.make(message)
            }
            // Old programs look for one as they start, and end if it is there and not of the kernel's kind, which that of a port is not.
            Wanted::Geneve if way() != Way::Devices => self.spoil(message, links::of_no_name, None),
            Wanted::Geneve => message.bytes.to_vec(),
            // The datapath has deleted it with its port. They take only this for no error.
            Wanted::Delete(name) if way() == Way::Ports && !is_there(&name) => {
                self.spoil(message, links::of_the_loopback, None)
            }
            Wanted::Delete(_) => message.bytes.to_vec(),
        }
    }

    /// Has portwayd make a device.
    fn make(&self, message: &Message<'_>) -> Vec<u8> {
        match self.ask(message.bytes) {
            Ok(()) => links::done(message),
            Err(Failure::Refused(errno)) => self.spoil(message, links::of_no_kind, Some(errno)),
            // As a kernel without the module.
            Err(Failure::Gone(_)) => self.spoil(message, links::of_no_kind, None),
        }
    }

    /// The request in a form that the kernel refuses. The program will be told that its own was refused, with that errno, or the kernel's.
    fn spoil(
        &self,
        message: &Message<'_>,
        form: fn(&Message<'_>) -> Vec<u8>,
        errno: Option<Errno>,
    ) -> Vec<u8> {
        let mut refused = self.refused.lock();
        if refused.len() == REFUSALS_MAX {
            refused.pop_front();
        }
        refused.push_back(Refused {
            sequence: links::sequence(message),
            errno: errno.map(Errno::raw_os_error),
            request: message.bytes.to_vec(),
        });
        form(message)
    }

    fn ask(&self, request: &[u8]) -> Result<(), Failure> {
        let Some(place) = self.place.as_ref().filter(|place| place.is_open()) else {
            return Err(Failure::Gone(Errno::BADF));
        };
        let opened = connection::open_for_links(place)?;
        connection::request(opened.data.as_fd(), opened.control.as_fd(), request, || ()).map(drop)
    }

    /// What the program is to receive in the place of this datagram, not longer; `None`: the datagram itself.
    pub(crate) fn received(&self, datagram: &[u8], is_peek: bool) -> Option<Vec<u8>> {
        let mut refused = self.refused.lock();
        if refused.is_empty() && !links::may_be_tunnel(datagram) {
            return None;
        }
        links::replaced(datagram, |message| {
            let sequence = links::sequence(message);
            let Some(at) = refused.iter().position(|refused| refused.sequence == sequence) else {
                return links::as_tunnel(message);
            };
            let told = links::refusal(message, refused[at].errno, &refused[at].request);
            if told.is_some() && !is_peek {
                refused.remove(at);
            }
            told.or_else(|| links::as_tunnel(message))
        })
    }
}

/// Whether the calling thread's namespace has a device of that name.
fn is_there(name: &[u8]) -> bool {
    let Ok(name) = std::ffi::CString::new(name) else { return false };
    // SAFETY: a NUL-terminated name.
    unsafe { libc::if_nametoindex(name.as_ptr()) != 0 }
}
