// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The device that stands for a tunnel port on the host: a TAP of the port's name, up, that takes nothing and gives nothing.
//!
//! The kernel module's tunnel ports are devices; programs look them up by name, read their index, and delete them to get rid
//! of the port. Traffic goes through sockets.
//!
//! Or the device was there before the port and stays after it: one that was asked for by rtnetlink, as the kernel's tunnel devices are.
//! Then its alias says what it is ([`make_lasting`]), and a port takes it up ([`OPTION_DEVICE`]).

use std::ffi::{CStr, c_int};
use std::os::fd::AsRawFd;
use std::sync::Mutex;

use portway_netwatch::Links;
use portway_tap::{State, TapFile};
use portway_vport::abi::{PortInfo, info_flags};
use portway_vport::ops::{CreateParams, Errno};
use portway_vport::options;

use crate::common::lock;
use crate::socket::{Family, NOTHING, Socket};

/// Option: a flag. The port's device is there already, made by [`make_lasting`], and stays when the port goes. For the daemon, not for
/// people, as is the next.
pub const OPTION_DEVICE: u16 = 0x3f02;
/// Option: u8, 1 if IPv6 datagrams without a checksum are taken, whatever the type does by itself.
pub const OPTION_ZERO_CHECKSUM6: u16 = 0x3f03;
/// What the alias of every lasting device begins with.
pub const LASTING_ALIAS: &str = "portway tunnel device";

/// Alias of the device of every other tunnel port.
const ALIAS: &str = "portway tunnel port";
/// The largest MTU of a TAP.
const MTU_MAX: c_int = 65_521;

/// The device.
#[derive(Debug)]
pub(crate) struct Device {
    file: TapFile,
    control: Socket,
    /// What it was when it was seen last.
    last: Mutex<PortInfo>,
}

/// The value of one of the options above.
pub(crate) fn option(options: &[u8], wanted: u16) -> Option<&[u8]> {
    let mut found = options::iter(options).filter_map(Result::ok).filter(|(attr, _)| *attr == wanted);
    found.next().map(|(_, value)| value)
}

fn of_netwatch(error: portway_netwatch::Error) -> Errno {
    Errno(error.errno())
}

/// Makes a device in the calling thread's namespace that is there until somebody deletes it, with an alias that says what it is.
/// `prepare` is given its index and sets it up. Returns the index. EEXIST: a device has that name. Whatever fails, nothing is left.
pub fn make_lasting(
    name: &CStr,
    alias: &str,
    prepare: impl FnOnce(u32) -> Result<(), Errno>,
) -> Result<u32, Errno> {
    let device = Device::fresh(name)?;
    let index = device.seen().ok_or(Errno(libc::ENODEV))?.ifindex;
    Links::open().and_then(|mut links| links.set_alias(index, alias)).map_err(of_netwatch)?;
    prepare(index)?;
    device.file.set_lasting(true)?;
    Ok(index)
}

impl Device {
    /// The device of a port that is being made, in the calling thread's namespace: the one that is there, if the options say so, or a
    /// new one with this MTU or the most that a TAP can have. EEXIST: a device has that name.
    pub(crate) fn of_port(params: &CreateParams<'_>, mtu: u32) -> Result<Self, Errno> {
        let device = match option(params.options, OPTION_DEVICE) {
            Some(_) => Self::adopt(params.name)?,
            None => {
                let device = Self::fresh(params.name)?;
                device.set_up(mtu.min(MTU_MAX as u32) as c_int)?;
                device
            }
        };
        *lock(&device.last) = device.seen().ok_or(Errno(libc::ENODEV))?;
        Ok(device)
    }

    /// A new device, down.
    fn fresh(name: &CStr) -> Result<Self, Errno> {
        let device = Self::new(TapFile::create(name, 0)?)?;
        device.discard()?;
        Ok(device)
    }

    /// The lasting device of that name. EBUSY: a port has it. ENODEV: there is none, or it is another's.
    fn adopt(name: &CStr) -> Result<Self, Errno> {
        let device = Self::new(TapFile::open(name, 0)?)?;
        let index = device.seen().ok_or(Errno(libc::ENODEV))?.ifindex;
        let link = Links::open().and_then(|mut links| links.by_index(index)).map_err(of_netwatch)?;
        // One that was made just now, since there was none, goes again.
        if !link.alias.starts_with(LASTING_ALIAS) {
            return Err(Errno(libc::ENODEV));
        }
        device.discard()?;
        Ok(device)
    }

    fn new(file: TapFile) -> Result<Self, Errno> {
        Ok(Self { file, control: Socket::udp(Family::V4)?, last: Mutex::default() })
    }

    /// What the host sends to the device is lost, and takes no memory.
    fn discard(&self) -> Result<(), Errno> {
        let program = libc::sock_fprog { len: NOTHING.len() as u16, filter: NOTHING.as_ptr().cast_mut() };
        // SAFETY: the program is read during the call.
        let result = unsafe {
            libc::ioctl(self.file.as_raw_fd(), libc::TUNATTACHFILTER as libc::Ioctl, &raw const program)
        };
        if result < 0 { Err(Errno::last()) } else { Ok(()) }
    }

    fn set_up(&self, mtu: c_int) -> Result<(), Errno> {
        self.file.set_mtu(&self.control, mtu)?;
        let index = self.file.index(&self.control).unwrap_or(0);
        Links::open().and_then(|mut links| links.set_alias(index, ALIAS)).map_err(of_netwatch)?;
        self.file.set_up(&self.control)
    }

    /// As `PortType::info` of a tunnel port, which has one receive queue and no MTU of its own. One whose device has gone, or to another
    /// namespace, is what it was, but down.
    pub(crate) fn info(&self) -> PortInfo {
        let mut last = lock(&self.last);
        match self.seen() {
            Some(info) => *last = info,
            None => last.link_up = 0,
        }
        PortInfo { flags: info_flags::NO_MTU, rx_queues: 1, ..*last }
    }

    /// Index, MTU, address and state; `None`: it has gone, or to another namespace.
    fn seen(&self) -> Option<PortInfo> {
        let State { ifindex, mtu, mac, flags } = self.file.state(&self.control).ok()?;
        Some(PortInfo {
            ifindex,
            mtu,
            mac,
            link_up: u8::from(flags & libc::IFF_UP != 0),
            ..PortInfo::default()
        })
    }
}
