// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The input side: a capture file in memory, each frame on cache lines of its own.
//!
//! Reading is done once, at creation; `receive` is the generator of the benchmarks: it takes buffers for a batch
//! in one call and copies each frame in whole lines.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use portway_buf::{BLOCK, Batch, Block, Class, FRAME_MAX, PoolRef};

use crate::format::{self, FILE_HEADER, HeaderError, RECORD_HEADER};

/// The longest file that is replayed, in bytes; also the most memory that its frames may take.
pub(crate) const FILE_MAX: u64 = 1 << 30;

/// How many frames ahead of the copy the processor is asked to fetch the source.
const PREFETCH_AHEAD: usize = 24;

/// Why a file cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplayError {
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("is not a regular file")]
    NotRegular,
    #[error("has {0} bytes; at most {FILE_MAX} are replayed")]
    TooLong(u64),
    #[error("needs more than {FILE_MAX} bytes of memory; split it")]
    TooMuch,
    #[error("is empty or shorter than a pcap file's header of {FILE_HEADER} bytes")]
    NoHeader,
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error("has no frames")]
    NoFrames,
    #[error("ends within frame {0}; the capture is incomplete")]
    Cut(usize),
    #[error("frame {frame} has {len} bytes; frames have 1 to {FRAME_MAX}")]
    FrameLength { frame: usize, len: u32 },
    #[error(
        "frame {frame} was cut by the capture's snap length ({captured} of {len} bytes); capture with -s 0"
    )]
    Snapped { frame: usize, captured: u32, len: u32 },
    #[error("frame {frame} has {captured} bytes captured of {len}, which cannot be")]
    Longer { frame: usize, captured: u32, len: u32 },
}

/// Where a frame is.
#[derive(Clone, Copy)]
struct Place {
    block: u32,
    len: u32,
}

/// A file's frames, and how far the replay has come. One thread at a time receives.
pub(crate) struct Replay {
    blocks: Box<[Block]>,
    frames: Box<[Place]>,
    /// All frames fit the small class: buffers are taken a batch at a time.
    small: bool,
    next: AtomicUsize,
    /// Frames still to come; `u64::MAX`: without end.
    left: AtomicU64,
}

impl Replay {
    /// Reads a whole file, to be replayed `passes` times; 0: without end.
    pub(crate) fn read(file: File, passes: u32) -> Result<Self, ReplayError> {
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(ReplayError::NotRegular);
        }
        if metadata.len() > FILE_MAX {
            return Err(ReplayError::TooLong(metadata.len()));
        }
        // The file may grow while it is read.
        let (blocks, frames) = parse(BufReader::with_capacity(1 << 16, file.take(FILE_MAX)))?;
        let left = if passes == 0 { u64::MAX } else { u64::from(passes) * frames.len() as u64 };
        let small = frames.iter().all(|place| place.len as usize <= Class::Small.frame_max());
        Ok(Self { blocks, frames, small, next: AtomicUsize::new(0), left: AtomicU64::new(left) })
    }

    /// Whether frames are still to come.
    pub(crate) fn is_live(&self) -> bool {
        self.left.load(Ordering::Relaxed) != 0
    }

    /// Whether it never ends.
    pub(crate) fn is_endless(&self) -> bool {
        self.left.load(Ordering::Relaxed) == u64::MAX
    }

    /// Fills `batch` with the next frames, each a fresh copy in a buffer of its own.
    #[inline]
    pub(crate) fn receive(&self, pool: &mut PoolRef<'_>, batch: &mut Batch) {
        let left = self.left.load(Ordering::Relaxed);
        let wanted = batch.remaining_capacity().min(usize::try_from(left).unwrap_or(usize::MAX));
        let start = batch.len();
        let mut at = self.next.load(Ordering::Relaxed);
        if self.small {
            pool.take_into(Class::Small, wanted, batch);
            for packet in &mut batch[start..] {
                self.prefetch(at + PREFETCH_AHEAD);
                let place = self.frames[at];
                packet.set_frame_blocks(&self.blocks[place.block as usize..], place.len as usize);
                at = if at + 1 == self.frames.len() { 0 } else { at + 1 };
            }
        } else {
            at = self.receive_mixed(pool, batch, wanted, at);
        }
        self.next.store(at, Ordering::Relaxed);
        if left != u64::MAX {
            self.left.store(left - (batch.len() - start) as u64, Ordering::Relaxed);
        }
    }

    /// As `receive`, each frame in a buffer of its class.
    fn receive_mixed(
        &self,
        pool: &mut PoolRef<'_>,
        batch: &mut Batch,
        wanted: usize,
        mut at: usize,
    ) -> usize {
        for _ in 0..wanted {
            let place = self.frames[at];
            let class = Class::for_frame(place.len as usize).unwrap_or(Class::Large);
            let Some(mut packet) = pool.take(class) else { break };
            packet.set_frame_blocks(&self.blocks[place.block as usize..], place.len as usize);
            batch.push(packet);
            at = if at + 1 == self.frames.len() { 0 } else { at + 1 };
        }
        at
    }

    /// Asks the processor for the first line of a frame that comes later.
    #[inline]
    #[allow(unsafe_code)]
    fn prefetch(&self, frame: usize) {
        #[cfg(target_arch = "x86_64")]
        if let Some(place) = self.frames.get(frame) {
            let line = self.blocks.as_ptr().wrapping_add(place.block as usize);
            // SAFETY: prefetching has no effect on memory and never faults.
            unsafe { std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(line.cast()) };
        }
    }
}

type Frames = (Box<[Block]>, Box<[Place]>);

fn parse(mut file: impl Read) -> Result<Frames, ReplayError> {
    let mut header = [0; FILE_HEADER];
    if fill(&mut file, &mut header)? != FILE_HEADER {
        return Err(ReplayError::NoHeader);
    }
    let order = format::read_file_header(&header)?;
    let (mut blocks, mut frames) = (Vec::new(), Vec::new());
    loop {
        let frame = frames.len() + 1;
        let mut header = [0; RECORD_HEADER];
        match fill(&mut file, &mut header)? {
            0 if frames.is_empty() => return Err(ReplayError::NoFrames),
            0 => return Ok((blocks.into_boxed_slice(), frames.into_boxed_slice())),
            RECORD_HEADER => {}
            _ => return Err(ReplayError::Cut(frame)),
        }
        let (captured, len) = format::read_record_header(order, &header);
        check_lengths(frame, captured, len)?;
        let block = blocks.len();
        let end = block + (len as usize).div_ceil(BLOCK);
        if (end * BLOCK) as u64 > FILE_MAX {
            return Err(ReplayError::TooMuch);
        }
        blocks.resize(end, Block([0; BLOCK]));
        frames.push(Place { block: block as u32, len });
        let mut rest = len as usize;
        for Block(bytes) in &mut blocks[block..] {
            let part = rest.min(BLOCK);
            if fill(&mut file, &mut bytes[..part])? != part {
                return Err(ReplayError::Cut(frame));
            }
            rest -= part;
        }
    }
}

fn check_lengths(frame: usize, captured: u32, len: u32) -> Result<(), ReplayError> {
    if captured > len {
        return Err(ReplayError::Longer { frame, captured, len });
    }
    if len == 0 || len as usize > FRAME_MAX {
        return Err(ReplayError::FrameLength { frame, len });
    }
    if captured < len {
        return Err(ReplayError::Snapped { frame, captured, len });
    }
    Ok(())
}

/// Reads until `buffer` is full or the file ends, and returns how many bytes.
fn fill(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match file.read(&mut buffer[got..]) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}
