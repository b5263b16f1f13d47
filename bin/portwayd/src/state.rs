// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What was added at the command line, kept over restarts. The file is replaced in one step: whenever the daemon or the machine
//! stops, it is the old one or the new one.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use portway_api::{BridgeSpec, PortSpec};
use serde::{Deserialize, Serialize};

const STATE_NAME: &str = "state.json";
const VERSION: u32 = 1;

/// What is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    version: u32,
    /// Bridges that were added.
    pub(crate) bridges: Vec<BridgeSpec>,
    /// Ports that were added, to these bridges or to those of the config file.
    pub(crate) ports: Vec<KeptPort>,
}

/// A port and its bridge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeptPort {
    pub(crate) bridge: String,
    pub(crate) port: PortSpec,
}

impl Default for State {
    fn default() -> Self {
        Self { version: VERSION, bridges: Vec::new(), ports: Vec::new() }
    }
}

/// Why a state could not be read or kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The file is there and cannot be read.
    #[error("cannot read {path}: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file does not make sense.
    #[error("{path} is damaged or of another version: {reason}; it was put aside as {aside}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
        /// Where it is now.
        aside: PathBuf,
    },
    /// The new file could not be written: the old one is untouched.
    #[error("cannot keep the change in {path}: {error}")]
    NotKept {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// The state file in its folder.
#[derive(Debug)]
pub(crate) struct StateFile {
    folder: PathBuf,
}

impl StateFile {
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    fn path(&self) -> PathBuf {
        self.folder.join(STATE_NAME)
    }

    /// What was kept; nothing if there is no file. A damaged file is put aside, not overwritten.
    pub(crate) fn load(&self) -> Result<State, Error> {
        let path = self.path();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(State::default()),
            Err(error) if error.kind() != io::ErrorKind::InvalidData => {
                return Err(Error::Unreadable { path, error });
            }
            Err(error) => return Err(self.put_aside(error.to_string())),
        };
        let state: State = serde_json::from_str(&text).map_err(|error| self.put_aside(error.to_string()))?;
        if state.version != VERSION {
            return Err(self.put_aside(format!("version {} instead of {VERSION}", state.version)));
        }
        Ok(state)
    }

    fn put_aside(&self, reason: String) -> Error {
        let (path, aside) = (self.path(), self.folder.join("state.json.damaged"));
        // If it cannot be renamed it stays where it is, and the next save says so.
        let _ = std::fs::rename(&path, &aside);
        Error::Damaged { path, reason, aside }
    }

    /// Replaces what is kept.
    pub(crate) fn save(&self, state: &State) -> Result<(), Error> {
        let mut text = Vec::new();
        let written =
            serde_json::to_writer_pretty(&mut text, state).map_err(io::Error::from).and_then(|()| {
                text.push(b'\n');
                write_whole(&self.folder, STATE_NAME, &text, true)
            });
        written.map_err(|error| Error::NotKept { path: self.path(), error })
    }
}

/// Replaces a file in one step. `durable`: also for a machine that loses its power.
pub(crate) fn write_whole(folder: &Path, name: &str, text: &[u8], durable: bool) -> io::Result<()> {
    let new = folder.join(format!("{name}.new"));
    let write = || -> io::Result<()> {
        let mut file = File::create(&new)?;
        file.write_all(text)?;
        if durable {
            file.sync_all()?;
        }
        std::fs::rename(&new, folder.join(name))?;
        if durable { File::open(folder)?.sync_all() } else { Ok(()) }
    };
    write().inspect_err(|_| {
        let _ = std::fs::remove_file(&new);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> State {
        let port = PortSpec { netns: Some("blue".to_owned()), ..PortSpec::new("veth1") };
        let ports = vec![KeptPort { bridge: "br1".to_owned(), port }];
        State { bridges: vec![BridgeSpec::new("br1")], ports, ..State::default() }
    }

    #[test]
    fn comes_back_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let file = StateFile::new(folder.path());
        assert_eq!(file.load().unwrap(), State::default());
        file.save(&sample()).unwrap();
        assert_eq!(file.load().unwrap(), sample());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn damage_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let file = StateFile::new(folder.path());
        for bad in [
            &b"{"[..],
            b"\xff",
            br#"{"version":2,"bridges":[],"ports":[]}"#,
            br#"{"version":1,"bridges":[]}"#,
        ] {
            std::fs::write(file.path(), bad).unwrap();
            assert!(matches!(file.load(), Err(Error::Damaged { .. })), "{bad:?}");
            assert_eq!(std::fs::read(folder.path().join("state.json.damaged")).unwrap(), bad);
            assert_eq!(file.load().unwrap(), State::default());
        }
    }

    #[test]
    fn a_full_disk_leaves_the_old_state() {
        let folder = tempfile::tempdir().unwrap();
        let file = StateFile::new(folder.path());
        file.save(&sample()).unwrap();
        // What is written to /dev/full finds no space.
        std::os::unix::fs::symlink("/dev/full", folder.path().join("state.json.new")).unwrap();
        let error = file.save(&State::default()).unwrap_err();
        assert!(error.to_string().contains("No space left"), "{error}");
        assert_eq!(file.load().unwrap(), sample());
        file.save(&State::default()).unwrap();
        assert_eq!(file.load().unwrap(), State::default());
    }
}
