// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is kept, and its file.

use std::io;
use std::path::{Path, PathBuf};

use portway_datapath::{Datapath, Switch};
use portway_vport::Vport;
use serde::{Deserialize, Serialize};

use crate::state::write_whole;

const FILE_NAME: &str = "netlink.json";
const VERSION: u32 = 1;
/// Names the time since the machine was started.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Port {
    pub(super) port_no: u32,
    pub(super) port_type: u32,
    pub(super) name: String,
    /// Of its device; 0: it has none.
    pub(super) ifindex: u32,
    /// Netlink attributes.
    pub(super) options: Vec<u8>,
    pub(super) upcall_pids: Vec<u32>,
}

/// A datapath.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kept {
    /// Inode of the namespace.
    pub(super) netns: u64,
    pub(super) user_features: u32,
    pub(super) masks_cache_size: u32,
    pub(super) per_cpu_pids: Vec<u32>,
    /// By number: the first is port 0, with the datapath's name.
    pub(super) ports: Vec<Port>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    version: u32,
    boot_id: String,
    datapaths: Vec<Kept>,
}

impl Port {
    fn of(port: &Vport) -> Option<Self> {
        Some(Self {
            port_no: port.port_no(),
            port_type: port.port_type(),
            name: std::str::from_utf8(port.name().as_bytes()).ok()?.to_owned(),
            ifindex: port.ifindex(),
            options: port.options().unwrap_or_default(),
            upcall_pids: port.upcall_pids().to_vec(),
        })
    }
}

impl Kept {
    /// `None`: it is a bridge's, or its name cannot be written down.
    fn of(datapath: &Datapath) -> Option<Self> {
        if !is_clients(datapath) {
            return None;
        }
        let options = datapath.options();
        let mut ports: Vec<Port> = datapath.ports().iter().filter_map(|port| Port::of(port)).collect();
        ports.sort_by_key(|port| port.port_no);
        ports.first().is_some_and(|first| first.port_no == 0).then(|| Self {
            netns: datapath.netns().id().0,
            user_features: options.user_features,
            masks_cache_size: options.masks_cache_size,
            per_cpu_pids: options.per_cpu_pids.clone(),
            ports,
        })
    }

    /// All there are.
    pub(super) fn all(switch: &Switch) -> Vec<Self> {
        switch.datapaths().iter().filter_map(|datapath| Self::of(datapath)).collect()
    }
}

/// Whether a netlink client has made a datapath: then its own port has a port id for upcalls, which a bridge's has not.
pub(super) fn is_clients(datapath: &Datapath) -> bool {
    datapath.port(0).is_some_and(|port| !port.upcall_pids().is_empty())
}

/// The file.
#[derive(Clone, Debug)]
pub(crate) struct File {
    folder: PathBuf,
}

impl File {
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    fn path(&self) -> PathBuf {
        self.folder.join(FILE_NAME)
    }

    pub(super) fn exists(&self) -> bool {
        self.path().exists()
    }

    /// What was kept since the machine was started. A file that makes no sense is put aside.
    pub(super) fn load(&self) -> io::Result<Vec<Kept>> {
        let path = self.path();
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        match serde_json::from_slice::<Contents>(&text) {
            Ok(contents) if contents.version != VERSION => Err(io::Error::other("it is of another version")),
            Ok(contents) if contents.boot_id != boot_id()? => Ok(Vec::new()),
            Ok(contents) => Ok(contents.datapaths),
            Err(error) => Err(error.into()),
        }
        .inspect_err(|_| {
            // If it cannot be renamed it is overwritten: what it says is of no use.
            let _ = std::fs::rename(&path, self.folder.join("netlink.json.damaged"));
        })
    }

    /// Deletes it, if it is there.
    pub(crate) fn remove(&self) -> io::Result<()> {
        match std::fs::remove_file(self.path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    /// Replaces what is kept.
    pub(super) fn save(&self, datapaths: &[Kept]) -> io::Result<()> {
        let contents = Contents { version: VERSION, boot_id: boot_id()?, datapaths: datapaths.to_vec() };
        // Nothing outlives the machine's own end, so the file need not.
        write_whole(&self.folder, FILE_NAME, &serde_json::to_vec(&contents)?, false)
    }
}

fn boot_id() -> io::Result<String> {
    std::fs::read_to_string(BOOT_ID).map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Kept {
        let port = Port {
            port_no: 0,
            port_type: 2,
            name: "ovs-system".to_owned(),
            ifindex: 7,
            options: vec![1, 2, 255],
            upcall_pids: vec![0x8000_0001],
        };
        Kept {
            netns: 1,
            user_features: 9,
            masks_cache_size: 256,
            per_cpu_pids: vec![5, 6],
            ports: vec![port],
        }
    }

    #[test]
    fn comes_back_as_it_was_until_the_next_boot() {
        let folder = tempfile::tempdir().unwrap();
        let file = File::new(folder.path());
        assert_eq!(file.load().unwrap(), []);
        file.save(&[sample()]).unwrap();
        assert_eq!(file.load().unwrap(), [sample()]);
        let text = std::fs::read_to_string(file.path()).unwrap();
        std::fs::write(file.path(), text.replace(&boot_id().unwrap(), "another")).unwrap();
        assert_eq!(file.load().unwrap(), []);
    }

    #[test]
    fn damage_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let file = File::new(folder.path());
        for bad in [&b"{"[..], b"\xff", br#"{"version":2,"boot_id":"","datapaths":[]}"#] {
            std::fs::write(file.path(), bad).unwrap();
            file.load().unwrap_err();
            assert_eq!(std::fs::read(folder.path().join("netlink.json.damaged")).unwrap(), bad);
            assert_eq!(file.load().unwrap(), []);
        }
    }
}
