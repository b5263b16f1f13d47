// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Port types from shared objects: finding the file, deciding whether it may be trusted, loading it, checking its table.
//!
//! # Trust
//! Loading runs the file's code with the daemon's rights, so the file, its folder and every folder above must belong to root or to
//! the daemon's user, and nobody else may write to them. The file is opened once, inside a folder that was itself opened
//! step by step from the root without following links; all checks are on those open files, and the very same open file is what the
//! dynamic linker maps (`/proc/self/fd/N`). There is no moment between check and use.

#![allow(unsafe_code)]

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::Receiver;

use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, open, openat};
use rustix::process::geteuid;

use crate::abi::export::LinkedModule;
use crate::abi::kind::PortKind;
use crate::abi::{ABI_VERSION, MAGIC, PortModule, SYMBOL_PREFIX};
use crate::registry::module_file_name;

/// Why a module was not loaded. Each names the file and what to do.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ModuleError {
    /// No directory has the file.
    #[error(
        "no {file} for port type {port_type} in {searched}; install the module there or add its directory to the module path"
    )]
    NotFound {
        /// Number.
        port_type: u32,
        /// File name looked for.
        file: String,
        /// Directories looked in.
        searched: String,
    },
    /// The file or a folder cannot be opened.
    #[error("{path} cannot be opened")]
    Open {
        /// File or folder.
        path: PathBuf,
        /// Why.
        source: Arc<io::Error>,
    },
    /// The file, or a folder above it that was replaced meanwhile, is a symbolic link.
    #[error("{path} is a symbolic link; install the module itself under this name")]
    SymbolicLink {
        /// File.
        path: PathBuf,
    },
    /// A directory, a device, a pipe.
    #[error("{path} is not a regular file; install the module under this name")]
    NotRegular {
        /// File.
        path: PathBuf,
    },
    /// It belongs to somebody who is neither root nor the daemon's user.
    #[error(
        "{path} belongs to user {uid}, not to root or user {daemon}, so it is not trusted; run: chown root {path}"
    )]
    ForeignOwner {
        /// File or folder.
        path: PathBuf,
        /// Its owner.
        uid: u32,
        /// The daemon's user.
        daemon: u32,
    },
    /// Others may write to it.
    #[error(
        "{path} can be written by others (mode {mode:04o}), so it is not trusted; run: chmod go-w {path}"
    )]
    WritableByOthers {
        /// File or folder.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The dynamic linker refuses it.
    #[error("{path} cannot be loaded: {reason}; rebuild it as a shared object for this machine")]
    NotLoadable {
        /// File.
        path: PathBuf,
        /// The linker's words.
        reason: String,
    },
    /// It is a shared object, but not a module for this type.
    #[error("{path} does not export {symbol}; it is not a module for this port type")]
    MissingSymbol {
        /// File.
        path: PathBuf,
        /// The symbol.
        symbol: String,
    },
    /// The symbol is not a table.
    #[error(
        "{path} is not a Portway module: its table starts with {magic:#010x}, not {MAGIC:#010x}; rebuild it with portway_vport.h"
    )]
    BadMagic {
        /// File.
        path: PathBuf,
        /// What is there.
        magic: u32,
    },
    /// It was built for another version of the ABI.
    #[error(
        "{path} was built for module ABI version {theirs}, this program has version {ABI_VERSION}; rebuild the module against this version's portway_vport.h"
    )]
    WrongVersion {
        /// File.
        path: PathBuf,
        /// The module's version.
        theirs: u32,
    },
    /// The table's size is not that of this version.
    #[error(
        "{path} has a table of {theirs} bytes, ABI version {ABI_VERSION} has {ours}; rebuild the module with portway_vport.h"
    )]
    WrongSize {
        /// File.
        path: PathBuf,
        /// The module's size.
        theirs: u32,
        /// This program's.
        ours: usize,
    },
    /// The file is named for another type than it provides.
    #[error("{path} provides port type {theirs}, not {wanted}; its name should be {}", module_file_name(*.theirs))]
    WrongType {
        /// File.
        path: PathBuf,
        /// The module's number.
        theirs: u32,
        /// The number in its name.
        wanted: u32,
    },
    /// A member of the table is null or makes no sense.
    #[error("{path} has a damaged table: {what}; correct and rebuild the module")]
    Malformed {
        /// File.
        path: PathBuf,
        /// Member.
        what: String,
    },
    /// `init` refused.
    #[error("{path} was loaded but its init failed with {code}; the module's own log lines say why")]
    InitFailed {
        /// File.
        path: PathBuf,
        /// Its return value: a negative errno.
        code: i32,
    },
    /// The thread that was loading it died.
    #[error("loading the module for port type {port_type} was interrupted; try again")]
    Interrupted {
        /// Number.
        port_type: u32,
    },
}

/// An open module. Dropping it closes it.
pub(crate) struct Library {
    path: PathBuf,
    _library: libloading::os::unix::Library,
}

impl Library {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

type Made = Result<(Arc<PortKind>, Receiver<()>), ModuleError>;

/// A type that is part of the program.
pub(crate) fn built_in(module: LinkedModule) -> Made {
    let path = Path::new("(built in)");
    let table = module.table();
    // SAFETY: a `LinkedModule` holds a table that `module_table` made: all that it points to is static, and its functions
    // follow the rules.
    unsafe {
        let table = check_table(&raw const table, path, table.port_type)?;
        PortKind::new(&table, None, path)
    }
}

/// Finds and loads the module of a type. The first directory that has the file decides.
pub(crate) fn load(directories: &[PathBuf], port_type: u32) -> Made {
    let name = module_file_name(port_type);
    for directory in directories {
        if let Some((file, path)) = open_checked(directory, OsStr::new(&name))? {
            return load_file(&file, path, port_type);
        }
    }
    let searched: Vec<_> = directories.iter().map(|directory| directory.display().to_string()).collect();
    let searched = if searched.is_empty() { "an empty module path".into() } else { searched.join(":") };
    Err(ModuleError::NotFound { port_type, file: name, searched })
}

/// Opens `name` in `directory` and checks both; `None`: there is no such file or directory.
fn open_checked(directory: &Path, name: &OsStr) -> Result<Option<(OwnedFd, PathBuf)>, ModuleError> {
    let failed =
        |path: &Path, source: io::Error| ModuleError::Open { path: path.into(), source: Arc::new(source) };
    let real = match directory.canonicalize() {
        Ok(real) => real,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(directory, error)),
    };
    let path = real.join(name);
    let folder = open_folder(&real)?;
    // NONBLOCK: a pipe under this name must not hold us up before we can see that it is one.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = match openat(&folder, name, flags, Mode::empty()) {
        Ok(file) => file,
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(rustix::io::Errno::LOOP) => return Err(ModuleError::SymbolicLink { path }),
        // A socket, or a device without driver.
        Err(rustix::io::Errno::NXIO) => return Err(ModuleError::NotRegular { path }),
        Err(error) => return Err(failed(&path, error.into())),
    };
    let stat = stat_of(file.as_fd(), &path)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(ModuleError::NotRegular { path });
    }
    check_trust(&stat, &path, false)?;
    Ok(Some((file, path)))
}

/// Opens a folder from the root downwards, checking each on the way. `real` has no links in it, unless somebody is
/// changing it right now, which the flags refuse.
fn open_folder(real: &Path) -> Result<OwnedFd, ModuleError> {
    let failed = |path: &Path, error: rustix::io::Errno| match error {
        rustix::io::Errno::LOOP => ModuleError::SymbolicLink { path: path.into() },
        error => ModuleError::Open { path: path.into(), source: Arc::new(error.into()) },
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mut path = PathBuf::from("/");
    let mut folder = open(&path, flags, Mode::empty()).map_err(|error| failed(&path, error))?;
    for component in real.iter().skip(1) {
        // Others may add entries to a folder with the sticky bit (/tmp) but not replace ours, so it will do on the way.
        check_trust(&stat_of(folder.as_fd(), &path)?, &path, true)?;
        path.push(component);
        folder = openat(&folder, component, flags, Mode::empty()).map_err(|error| failed(&path, error))?;
    }
    check_trust(&stat_of(folder.as_fd(), &path)?, &path, false)?;
    Ok(folder)
}

fn stat_of(file: impl AsFd, path: &Path) -> Result<Stat, ModuleError> {
    fstat(file).map_err(|error| ModuleError::Open { path: path.into(), source: Arc::new(error.into()) })
}

fn check_trust(stat: &Stat, path: &Path, sticky_will_do: bool) -> Result<(), ModuleError> {
    let (path, daemon) = (path.to_path_buf(), geteuid().as_raw());
    if stat.st_uid != 0 && stat.st_uid != daemon {
        return Err(ModuleError::ForeignOwner { path, uid: stat.st_uid, daemon });
    }
    let mode = stat.st_mode & 0o7777;
    if mode & 0o022 != 0 && !(sticky_will_do && mode & 0o1000 != 0) {
        return Err(ModuleError::WritableByOthers { path, mode });
    }
    Ok(())
}

fn load_file(file: &OwnedFd, path: PathBuf, port_type: u32) -> Made {
    use libloading::os::unix::{Library as Shared, RTLD_LOCAL, RTLD_NOW};
    // SAFETY: this runs the file's constructors. That the file is trusted to do so has been checked by the caller.
    let opened = unsafe { Shared::open(Some(unique_name(file)), RTLD_NOW | RTLD_LOCAL) };
    let library = opened.map_err(|error| ModuleError::NotLoadable {
        path: path.clone(),
        reason: printable(&error.to_string()),
    })?;
    let symbol = format!("{SYMBOL_PREFIX}{port_type}");
    // SAFETY: only the symbol's address is taken here.
    let table: *const PortModule = match unsafe { library.get::<*const PortModule>(symbol.as_bytes()) } {
        Ok(found) if !found.is_null() => *found,
        _ => return Err(ModuleError::MissingSymbol { path, symbol }),
    };
    // SAFETY: the symbol lies in the library, which is trusted to have put a table there; what can be checked is. The library
    // stays open with the kind.
    unsafe {
        let table = check_table(table, &path, port_type)?;
        PortKind::new(&table, Some(Library { path: path.clone(), _library: library }), &path)
    }
}

/// A name for the open file that no library had before. The dynamic linker takes a name that it has seen for the library that
/// it loaded then, and numbers of file descriptors come again.
fn unique_name(file: &OwnedFd) -> PathBuf {
    static LOADS: AtomicU32 = AtomicU32::new(0);
    let load = LOADS.fetch_add(1, Ordering::Relaxed);
    let mut name = String::from("/proc/self/fd/");
    for bit in 0..u32::BITS - load.leading_zeros() {
        name.push_str(if load >> bit & 1 == 1 { "./" } else { "/" });
    }
    name.push_str(&file.as_raw_fd().to_string());
    PathBuf::from(name)
}

/// The linker's words in one line.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Reads a table, from its first words on: each is read only if those before it are right.
///
/// # Safety
/// `table` must point to a `PortModule` if its magic, version and size are right, and to 16 readable bytes anyway.
unsafe fn check_table(table: *const PortModule, path: &Path, wanted: u32) -> Result<PortModule, ModuleError> {
    let path = || path.to_path_buf();
    let malformed = |what: &str| ModuleError::Malformed { path: path(), what: what.into() };
    if !table.is_aligned() {
        return Err(malformed("it is not aligned"));
    }
    // SAFETY: four words, by the caller's promise.
    let [magic, version, size, port_type] = unsafe { table.cast::<[u32; 4]>().read() };
    if magic != MAGIC {
        return Err(ModuleError::BadMagic { path: path(), magic });
    }
    if version != ABI_VERSION {
        return Err(ModuleError::WrongVersion { path: path(), theirs: version });
    }
    if size as usize != size_of::<PortModule>() {
        return Err(ModuleError::WrongSize { path: path(), theirs: size, ours: size_of::<PortModule>() });
    }
    if port_type != wanted {
        return Err(ModuleError::WrongType { path: path(), theirs: port_type, wanted });
    }
    // SAFETY: a whole table, by the caller's promise; the members that must not be null are looked at as plain addresses
    // first: a null function pointer may not even be read as one.
    unsafe {
        for (name, member) in [
            ("create is null", (&raw const (*table).create).cast::<usize>()),
            ("destroy is null", (&raw const (*table).destroy).cast()),
            ("get_info is null", (&raw const (*table).get_info).cast()),
            ("tx is null", (&raw const (*table).tx).cast()),
        ] {
            if member.read() == 0 {
                return Err(malformed(name));
            }
        }
        Ok(table.read())
    }
}
