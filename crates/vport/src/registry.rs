// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The port types that the switch knows, keyed by number.
//!
//! # Locks
//! One mutex (`state`) guards the maps; it is held for a look-up or an insertion, never while a module's code runs or a file is
//! read. A load is announced in `state.loading` and happens with no lock held: not ours, and not the datapath's
//! writer lock, which the caller of [`Registry::request`] has released. Requests for the same type find the announcement and wait
//! for its outcome on the announcement's own mutex; requests for other types proceed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use portway_uapi::openvswitch::OVS_VPORT_TYPE_GRE;

use crate::abi::export::LinkedModule;
use crate::abi::kind::{PortKind, TypeInfo, TypeRef};
use crate::error::Error;
use crate::module::{self, ModuleError};
use crate::names::NetnsId;

/// How long a load waits for an earlier copy of the same module, whose last readers are still leaving.
const LEAVING_WAIT: Duration = Duration::from_secs(2);

/// What [`Registry::request`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requested {
    /// The type was known already.
    Known,
    /// Its module has been loaded, by this call or by one that it waited for.
    Loaded,
}

/// All port types.
#[derive(Default)]
pub struct Registry {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    types: BTreeMap<u32, Entry>,
    loading: BTreeMap<u32, Arc<Announcement>>,
    /// Types that were unregistered and may still be mapped: each channel closes when its type is gone.
    leaving: BTreeMap<u32, Vec<Receiver<()>>>,
    module_path: Vec<PathBuf>,
    gre_owners: BTreeMap<NetnsId, String>,
}

struct Entry {
    kind: Arc<PortKind>,
    gone: Receiver<()>,
}

/// A load that is under way.
#[derive(Default)]
struct Announcement {
    outcome: Mutex<Option<Result<(), Error>>>,
    settled: Condvar,
}

impl Registry {
    /// No types, no module path.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says in which directories modules are looked for, in this order.
    pub fn set_module_path(&self, directories: Vec<PathBuf>) {
        self.lock().module_path = directories;
    }

    /// The directories in which modules are looked for.
    pub fn module_path(&self) -> Vec<PathBuf> {
        self.lock().module_path.clone()
    }

    /// Registers a type that is part of the program. EEXIST if the number is taken.
    pub fn register(&self, module: LinkedModule) -> Result<(), Error> {
        let port_type = module.port_type();
        self.lock().check_free(port_type)?;
        let made = module::built_in(module);
        let (kind, gone) = made.map_err(|source| Error::BadTable { port_type, source })?;
        let mut state = self.lock();
        if let Err(error) = state.check_free(port_type) {
            drop(state);
            drop(kind);
            return Err(error);
        }
        state.types.insert(port_type, Entry { kind, gone });
        Ok(())
    }

    /// Removes a type. EBUSY while ports of it live, EAFNOSUPPORT if it is not known.
    pub fn unregister(&self, port_type: u32) -> Result<(), Error> {
        let mut state = self.lock();
        let unknown = Error::TypeUnknown { port_type };
        let kind = &state.types.get(&port_type).ok_or_else(|| unknown.clone())?.kind;
        kind.close().map_err(|references| Error::TypeInUse {
            port_type,
            name: kind.name().into(),
            references,
        })?;
        let Entry { kind, gone } = state.types.remove(&port_type).ok_or(unknown)?;
        state.leaving.entry(port_type).or_default().push(gone);
        drop(state);
        // The module's `exit` runs here, without our lock, unless a port that is leaving still holds the type.
        drop(kind);
        Ok(())
    }

    /// Unloads a module: as [`Registry::unregister`], and EPERM for a type that is part of the program.
    pub fn unload(&self, port_type: u32) -> Result<(), Error> {
        if let Some(Entry { kind, .. }) = self.lock().types.get(&port_type)
            && kind.file().is_none()
        {
            return Err(Error::BuiltIn { port_type, name: kind.name().into() });
        }
        self.unregister(port_type)
    }

    /// A reference on a known type. EAFNOSUPPORT if it is not known (see [`Registry::request`]) or going away.
    pub fn try_get(&self, port_type: u32) -> Result<TypeRef, Error> {
        let state = self.lock();
        let entry = state.types.get(&port_type).ok_or(Error::TypeUnknown { port_type })?;
        entry.kind.try_get().ok_or(Error::TypeGoing { port_type })
    }

    /// Makes an unknown type known by loading its module: for a port in the namespace `netns`.
    ///
    /// May block for as long as the file system and the module's `init` take: the caller has released its locks and
    /// starts its whole request again on `Ok` (EAGAIN in the kernel's terms). All errors are EAFNOSUPPORT for the client; the
    /// sentence is for the log.
    pub fn request(&self, port_type: u32, netns: NetnsId) -> Result<Requested, Error> {
        if let Some(owner) = self.foreign_gre(port_type, netns) {
            let error = Error::GreClaimed { netns, owner };
            tracing::warn!("{error}");
            return Err(error);
        }
        self.load(port_type)
    }

    /// Loads a module, as `portway module load` does. See [`Registry::request`].
    pub fn load(&self, port_type: u32) -> Result<Requested, Error> {
        let (announcement, path) = {
            let mut state = self.lock();
            if state.types.contains_key(&port_type) {
                return Ok(Requested::Known);
            }
            if let Some(announcement) = state.loading.get(&port_type).map(Arc::clone) {
                drop(state);
                return announcement.wait();
            }
            let announcement = Arc::<Announcement>::default();
            state.loading.insert(port_type, Arc::clone(&announcement));
            (announcement, state.module_path.clone())
        };
        // Settles the announcement also if the load panics: nobody may wait for ever.
        let mut load = Load { registry: self, port_type, announcement, outcome: None };
        let outcome = self.load_from(port_type, &path);
        load.outcome = Some(outcome.clone());
        drop(load);
        outcome.map(|()| Requested::Loaded)
    }

    fn load_from(&self, port_type: u32, path: &[PathBuf]) -> Result<(), Error> {
        self.await_departure(port_type)?;
        let (kind, gone) = module::load(path, port_type)?;
        let mut state = self.lock();
        // A built-in type may have been registered meanwhile. The module then goes again, after the lock.
        if let Err(error) = state.check_free_of_types(port_type) {
            drop(state);
            drop(kind);
            return Err(error);
        }
        let file = kind.file().map(|file| file.display().to_string());
        tracing::info!(port_type, name = kind.name(), file, "port type loaded");
        state.types.insert(port_type, Entry { kind, gone });
        Ok(())
    }

    /// Waits until an earlier copy of the type is unmapped: a file that is still mapped would be found again by the dynamic
    /// linker, half way through its life.
    fn await_departure(&self, port_type: u32) -> Result<(), Error> {
        let deadline = Instant::now() + LEAVING_WAIT;
        let mut leaving = self.lock().leaving.remove(&port_type).unwrap_or_default();
        leaving.retain(|gone| {
            let wait = deadline.saturating_duration_since(Instant::now());
            gone.recv_timeout(wait) == Err(RecvTimeoutError::Timeout)
        });
        if leaving.is_empty() {
            return Ok(());
        }
        self.lock().leaving.entry(port_type).or_default().extend(leaving);
        Err(Error::TypeGoing { port_type })
    }

    /// The modules on the module path, loaded or not: number and file. Of several files for one type the first counts.
    /// Whether they are acceptable is seen when they are loaded. Reads directories.
    pub fn available(&self) -> Vec<(u32, PathBuf)> {
        let mut found = BTreeMap::new();
        for directory in self.module_path() {
            let Ok(entries) = std::fs::read_dir(&directory) else { continue };
            for file in entries.flatten().map(|entry| entry.path()) {
                if let Some(port_type) = module_file_type(&file) {
                    found.entry(port_type).or_insert(file);
                }
            }
        }
        found.into_iter().collect()
    }

    /// The number of a known type by its name.
    pub fn find_name(&self, name: &str) -> Option<u32> {
        let state = self.lock();
        state.types.values().find(|entry| entry.kind.name() == name).map(|entry| entry.kind.number())
    }

    /// Every known type, by number.
    pub fn list(&self) -> Vec<TypeInfo> {
        self.lock().types.values().map(|entry| TypeInfo::from(&*entry.kind)).collect()
    }

    /// Notes that `owner` (a device, a daemon) owns IP protocol 47 in a namespace.
    pub fn claim_gre(&self, netns: NetnsId, owner: impl Into<String>) {
        self.lock().gre_owners.insert(netns, owner.into());
    }

    /// Ends a claim.
    pub fn release_gre(&self, netns: NetnsId) {
        self.lock().gre_owners.remove(&netns);
    }

    fn foreign_gre(&self, port_type: u32, netns: NetnsId) -> Option<String> {
        let state = self.lock();
        let applies = port_type == OVS_VPORT_TYPE_GRE && !state.types.contains_key(&port_type);
        applies.then(|| state.gre_owners.get(&netns).cloned()).flatten()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change under the lock is one insertion or removal: a panic leaves nothing half-done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.list()).finish()
    }
}

impl State {
    fn check_free(&self, port_type: u32) -> Result<(), Error> {
        self.check_free_of_types(port_type)?;
        // The module that is being loaded owns the number already, whatever its name turns out to be.
        let name = String::from("a module that is being loaded");
        if self.loading.contains_key(&port_type) {
            Err(Error::TypeExists { port_type, name })
        } else {
            Ok(())
        }
    }

    fn check_free_of_types(&self, port_type: u32) -> Result<(), Error> {
        match self.types.get(&port_type) {
            Some(entry) => Err(Error::TypeExists { port_type, name: entry.kind.name().into() }),
            None => Ok(()),
        }
    }
}

impl Announcement {
    fn wait(&self) -> Result<Requested, Error> {
        let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(outcome) = &*outcome {
                return outcome.clone().map(|()| Requested::Loaded);
            }
            outcome = self.settled.wait(outcome).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn settle(&self, outcome: Result<(), Error>) {
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        self.settled.notify_all();
    }
}

/// The duty to settle an announcement.
struct Load<'a> {
    registry: &'a Registry,
    port_type: u32,
    announcement: Arc<Announcement>,
    outcome: Option<Result<(), Error>>,
}

impl Drop for Load<'_> {
    fn drop(&mut self) {
        self.registry.lock().loading.remove(&self.port_type);
        let interrupted = || Err(ModuleError::Interrupted { port_type: self.port_type }.into());
        self.announcement.settle(self.outcome.take().unwrap_or_else(interrupted));
    }
}

/// The file name under which a type's module is looked for.
pub fn module_file_name(port_type: u32) -> String {
    format!("vport-type-{port_type}.so")
}

/// The type's number, if a file is named as a module is.
pub fn module_file_type(file: &Path) -> Option<u32> {
    let number = file.file_name()?.to_str()?.strip_prefix("vport-type-")?.strip_suffix(".so")?;
    let port_type = number.parse().ok()?;
    (module_file_name(port_type) == file.file_name()?.to_str()?).then_some(port_type)
}
