// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A folder is used by one daemon at a time: a lock that the kernel lets go of however the daemon ends.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// The lock's file in the folder.
const LOCK_NAME: &str = "portwayd.lock";

/// Why a folder could not be locked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Somebody has it.
    #[error("portwayd is already running{pid} and uses {folder}; stop it, or give this one folders of its own \
             (--socket-dir, --state-dir)", pid = pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default())]
    Taken {
        /// The folder.
        folder: PathBuf,
        /// The other daemon.
        pid: Option<u32>,
    },
    /// It cannot be used.
    #[error("cannot use the folder {folder}: {error}")]
    Unusable {
        /// The folder.
        folder: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// A locked folder, for as long as this value lives.
#[derive(Debug)]
pub(crate) struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Makes the folder if it is missing, and locks it.
    pub(crate) fn take(folder: &Path) -> Result<Self, Error> {
        let unusable = |error| Error::Unusable { folder: folder.to_owned(), error };
        std::fs::create_dir_all(folder).map_err(unusable)?;
        let path = folder.join(LOCK_NAME);
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .open(path)
            .map_err(unusable)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
                return Err(Error::Taken { folder: folder.to_owned(), pid });
            }
            Err(errno) => return Err(unusable(errno.into())),
        }
        // The pid is for messages: a disk that is full does not stop the daemon here.
        let note = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        if let Err(error) = note {
            tracing::warn!("cannot note the process id in {}: {error}", folder.display());
        }
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/deep");
        let first = FolderLock::take(&path).unwrap();
        let error = FolderLock::take(&path).unwrap_err();
        assert!(matches!(error, Error::Taken { pid: Some(pid), .. } if pid == std::process::id()));
        assert!(error.to_string().contains(&format!("already running (pid {})", std::process::id())));
        drop(first);
        FolderLock::take(&path).unwrap();
        assert!(matches!(FolderLock::take(Path::new("/proc/none")), Err(Error::Unusable { .. })));
    }
}
