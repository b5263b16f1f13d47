// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The output side: frames to a capture file.
//!
//! Each batch is one write. A write that fails part-way is taken back by cutting the file, so the file always ends with a
//! whole frame and the counters are exact: what is counted as sent is in it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use portway_buf::Batch;

use crate::format;

/// An open capture.
pub(crate) struct Capture {
    state: Mutex<State>,
}

struct State {
    file: File,
    /// Bytes of whole frames in the file.
    len: u64,
    buffer: Vec<u8>,
    /// The last write failed, and a line says so.
    failing: bool,
}

/// What happened to a batch.
pub(crate) enum Outcome {
    Written,
    /// Nothing of the batch is in the file; the text is for the log, if there is anything new to say.
    Failed(Option<String>),
}

impl Capture {
    /// Makes the file, or empties it. `input` is the file being replayed, which must be another one.
    pub(crate) fn create(path: &Path, input: Option<&Path>) -> io::Result<Self> {
        let existed = path.symlink_metadata().is_ok();
        // NONBLOCK: opening a pipe that nobody reads must fail, not wait.
        let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).custom_flags(flags).open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        let same = |other: std::fs::Metadata| (other.dev(), other.ino()) == (metadata.dev(), metadata.ino());
        if input.and_then(|input| input.metadata().ok()).is_some_and(same) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is the file that is replayed"));
        }
        let header = format::file_header();
        let begun = file.set_len(0).and_then(|()| file.write_all_at(&header, 0));
        if let Err(error) = begun {
            if !existed {
                // Nothing may be left behind; if that fails too, the first error is the one to report.
                let _ = std::fs::remove_file(path);
            }
            return Err(error);
        }
        let (len, buffer) = (header.len() as u64, Vec::new());
        Ok(Self { state: Mutex::new(State { file, len, buffer, failing: false }) })
    }

    /// Writes the frames of a batch. Threads take turns.
    pub(crate) fn write(&self, batch: &Batch) -> Outcome {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        state.buffer.clear();
        for packet in batch {
            let header = format::record_header(now.as_secs() as u32, now.subsec_nanos(), packet.len() as u32);
            state.buffer.extend_from_slice(&header);
            state.buffer.extend_from_slice(packet.frame());
        }
        match state.file.write_all_at(&state.buffer, state.len) {
            Ok(()) => {
                state.len += state.buffer.len() as u64;
                state.failing = false;
                Outcome::Written
            }
            Err(error) => {
                let whole = state.file.set_len(state.len);
                let news = (!state.failing).then(|| match whole {
                    Ok(()) => format!("cannot be written: {error}; frames are lost until it can"),
                    Err(cut) => format!("cannot be written: {error}; nor cut to its last whole frame: {cut}"),
                });
                state.failing = true;
                Outcome::Failed(news)
            }
        }
    }
}
