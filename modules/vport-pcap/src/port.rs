// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One pcap port: its options, and the two files behind it.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use portway_buf::{Batch, PoolRef};
use portway_vport::abi::{PortInfo, TxReport, info_flags, log_level, option_kind};
use portway_vport::ops::{CreateParams, Errno, OptionDescription, PortType, TYPE_PCAP};
use portway_vport::{host, options};
use rustix::event::{EventfdFlags, eventfd};

use crate::capture::{Capture, Outcome};
use crate::replay::{Replay, ReplayError};

/// Option: the file to replay as input.
pub const ATTR_RX: u16 = 1;
/// Option: the file to write output to.
pub const ATTR_TX: u16 = 2;
/// Option: how often to replay the input; 0 or absent: without end.
pub const ATTR_LOOP: u16 = 3;

/// Bytes of a file name.
const PATH_BYTES_MAX: usize = 4095;

/// One pcap port.
pub struct PcapPort {
    settings: Settings,
    replay: Option<Replay>,
    /// For a replay that ends: readable until it has.
    pending: Option<OwnedFd>,
    capture: Option<Capture>,
}

#[derive(Default)]
struct Settings {
    rx: Option<PathBuf>,
    tx: Option<PathBuf>,
    passes: u32,
}

impl Settings {
    fn parse(attributes: &[u8]) -> Result<Self, Errno> {
        let mut settings = Self::default();
        for attribute in options::iter(attributes) {
            let (attr, value) = attribute?;
            match attr {
                ATTR_RX => settings.rx = Some(path_of(value)?),
                ATTR_TX => settings.tx = Some(path_of(value)?),
                ATTR_LOOP => settings.passes = options::as_u32(value)?,
                _ => return Err(Errno::EINVAL),
            }
        }
        Ok(settings)
    }
}

fn path_of(value: &[u8]) -> Result<PathBuf, Errno> {
    let path = options::as_str(value)?;
    if path.is_empty() {
        return Err(Errno::EINVAL);
    }
    if path.len() > PATH_BYTES_MAX { Err(Errno::ENAMETOOLONG) } else { Ok(PathBuf::from(path)) }
}

impl PortType for PcapPort {
    const TYPE: u32 = TYPE_PCAP;
    const NAME: &'static CStr = c"pcap";
    const OPTIONS: &'static [OptionDescription] = &[
        OptionDescription {
            attr: ATTR_RX,
            kind: option_kind::STRING,
            name: c"rx",
            help: c"File to replay as input (classic pcap, Ethernet).",
        },
        OptionDescription {
            attr: ATTR_TX,
            kind: option_kind::STRING,
            name: c"tx",
            help: c"File to write output to; without it, output is counted and discarded.",
        },
        OptionDescription {
            attr: ATTR_LOOP,
            kind: option_kind::U32,
            name: c"loop",
            help: c"How often to replay the input; 0: without end.",
        },
    ];

    fn create(params: &CreateParams<'_>) -> Result<Self, Errno> {
        let name = params.name.to_string_lossy();
        let settings = Settings::parse(params.options).inspect_err(|_| {
            let line = format!("port {name}: the options of a pcap port are rx=FILE, tx=FILE and loop=COUNT");
            host::log(log_level::ERROR, &line);
        })?;
        let replay =
            settings.rx.as_deref().map(|path| open_replay(&name, path, settings.passes)).transpose()?;
        let ends = replay.as_ref().is_some_and(|replay| !replay.is_endless());
        // The output comes last: an error after it would leave a file behind.
        let pending = ends.then(|| eventfd(1, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK));
        let pending = pending.transpose().map_err(|error| Errno(error.raw_os_error()))?;
        let capture = settings.tx.as_deref().map(|path| open_capture(&name, path, settings.rx.as_deref()));
        Ok(Self { capture: capture.transpose()?, settings, replay, pending })
    }

    fn info(&self) -> PortInfo {
        let endless = self.replay.as_ref().is_some_and(Replay::is_endless);
        PortInfo {
            mtu: u32::from(u16::MAX),
            flags: info_flags::NO_MTU | if endless { info_flags::BUSY_POLL } else { 0 },
            rx_queues: u32::from(self.replay.is_some()),
            link_up: 1,
            ..PortInfo::default()
        }
    }

    fn get_options(&self, out: &mut Vec<u8>) -> Result<bool, Errno> {
        for (attr, path) in [(ATTR_RX, &self.settings.rx), (ATTR_TX, &self.settings.tx)] {
            if let Some(path) = path {
                options::push_str(out, attr, &path.to_string_lossy())?;
            }
        }
        if self.settings.passes != 0 {
            options::push(out, ATTR_LOOP, &self.settings.passes.to_ne_bytes())?;
        }
        Ok(true)
    }

    #[inline]
    fn rx(&self, queue: usize, pool: &mut PoolRef<'_>, batch: &mut Batch) -> Result<(), Errno> {
        let Some(replay) = self.replay.as_ref().filter(|replay| queue == 0 && replay.is_live()) else {
            return Ok(());
        };
        replay.receive(pool, batch);
        if let Some(pending) = self.pending.as_ref().filter(|_| !replay.is_live()) {
            // Takes the count back to zero. That it was there is certain: only this line takes it.
            let _ = rustix::io::read(pending, &mut [0; 8]);
        }
        Ok(())
    }

    fn rx_fd(&self, queue: usize) -> Option<RawFd> {
        self.pending.as_ref().filter(|_| queue == 0).map(AsRawFd::as_raw_fd)
    }

    fn tx(&self, _queue: usize, pool: &mut PoolRef<'_>, batch: &mut Batch, report: &mut TxReport) {
        let outcome = self.capture.as_ref().map_or(Outcome::Written, |capture| capture.write(batch));
        match outcome {
            Outcome::Written => {
                report.sent = batch.len() as u32;
                report.sent_bytes = batch.iter().map(|packet| packet.len() as u64).sum();
            }
            Outcome::Failed(news) => {
                report.errors = batch.len() as u32;
                if let (Some(news), Some(path)) = (news, &self.settings.tx) {
                    host::log(log_level::ERROR, &format!("{}: {news}", path.display()));
                }
            }
        }
        pool.give_all(batch);
    }
}

/// Reads the input; the log says what is wrong with it.
fn open_replay(port: &str, path: &Path, passes: u32) -> Result<Replay, Errno> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let opened: io::Result<File> = {
        use std::os::unix::fs::OpenOptionsExt;
        // NONBLOCK: opening a pipe must not wait for a writer.
        std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path)
    };
    let read = opened.map_err(ReplayError::Io).and_then(|file| Replay::read(file, passes));
    read.map_err(|error| {
        host::log(log_level::ERROR, &format!("port {port}: {} {error}", path.display()));
        match error {
            ReplayError::Io(error) => errno_of(&error),
            ReplayError::TooLong(_) | ReplayError::TooMuch => Errno::EFBIG,
            ReplayError::NotRegular
            | ReplayError::NoHeader
            | ReplayError::Header(_)
            | ReplayError::NoFrames
            | ReplayError::Cut(_)
            | ReplayError::FrameLength { .. }
            | ReplayError::Snapped { .. }
            | ReplayError::Longer { .. } => Errno::EINVAL,
        }
    })
}

fn open_capture(port: &str, path: &Path, input: Option<&Path>) -> Result<Capture, Errno> {
    Capture::create(path, input).map_err(|error| {
        host::log(log_level::ERROR, &format!("port {port}: {} cannot be written: {error}", path.display()));
        errno_of(&error)
    })
}

fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EINVAL, Errno)
}
