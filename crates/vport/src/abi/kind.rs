// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A port type that the switch knows, with its count of references: `struct vport_ops` and its module in one.

use std::ffi::{CStr, c_char};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::abi::host::HOST_API;
use crate::abi::{OptionSpec, PortModule, option_kind};
use crate::module::{Library, ModuleError};

/// In [`PortKind::references`]: no new reference is given. A kind with this bit has no references, for ever.
const GOING: usize = 1 << (usize::BITS - 1);

/// Bytes of a type's or an option's name.
const NAME_MAX: usize = 31;
/// Bytes of an option's help.
const HELP_MAX: usize = 1024;
/// Options of one type.
const OPTIONS_MAX: usize = 256;

/// One option of a port type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionInfo {
    /// Attribute number.
    pub attr: u16,
    /// [`option_kind`].
    pub kind: u32,
    /// Name in configs.
    pub name: String,
    /// One sentence.
    pub help: String,
}

/// A registered port type.
///
/// Two counts keep it: *references*, one for each live port, which a person sees and which refuse unloading; and the `Arc`,
/// also held by ports that have left the tables but may still be read, which keeps the code mapped. `exit` runs and the
/// library closes when the last `Arc` goes.
pub struct PortKind {
    pub(crate) table: PortModule,
    name: String,
    options: Vec<OptionInfo>,
    references: AtomicUsize,
    pub(crate) faults: AtomicU64,
    library: Option<Library>,
    /// Dropped last: whoever waits for the library to be gone waits for this.
    _gone: Sender<()>,
}

impl PortKind {
    /// Takes a table in: checks what it points to and calls its `init`. `label` is the file, or says that it is built in.
    ///
    /// # Safety
    /// Magic, version and size of the table have been checked, its pointers are null or valid as long as `library` is
    /// open (or for ever, without one), and its functions follow the rules of [`crate::abi`].
    pub(crate) unsafe fn new(
        table: &PortModule,
        library: Option<Library>,
        label: &Path,
    ) -> Result<(Arc<Self>, Receiver<()>), ModuleError> {
        let malformed = |what: &str| ModuleError::Malformed { path: label.into(), what: what.into() };
        // SAFETY: null or valid NUL-terminated strings and array, by the caller's promise.
        let (name, options) = unsafe {
            let name = text(table.name, NAME_MAX).filter(|name| !name.is_empty());
            (name.ok_or_else(|| malformed("name"))?, options(table).ok_or_else(|| malformed("options"))?)
        };
        if let Some(init) = table.init {
            // SAFETY: the table passed for one of this ABI; HOST_API lives for ever.
            let code = unsafe { init(&raw const HOST_API) };
            if code != 0 {
                return Err(ModuleError::InitFailed { path: label.into(), code });
            }
        }
        let (sender, gone) = channel();
        let kind = Self {
            table: *table,
            name,
            options,
            references: AtomicUsize::new(0),
            faults: AtomicU64::new(0),
            library,
            _gone: sender,
        };
        Ok((Arc::new(kind), gone))
    }

    /// OVS_VPORT_TYPE_* or a private number.
    pub fn number(&self) -> u32 {
        self.table.port_type
    }

    /// Name in configs and listings.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Options that ports of this type take.
    pub fn options(&self) -> &[OptionInfo] {
        &self.options
    }

    /// Live ports of this type, and requests that are making one.
    pub fn references(&self) -> usize {
        self.references.load(Ordering::Relaxed) & !GOING
    }

    /// Times that the type's code panicked or answered nonsense.
    pub fn faults(&self) -> u64 {
        self.faults.load(Ordering::Relaxed)
    }

    /// The module's file; `None`: built in.
    pub fn file(&self) -> Option<&Path> {
        self.library.as_ref().map(Library::path)
    }

    /// Whether ports of this type take and give tunnel metadata.
    pub fn is_tunnel(&self) -> bool {
        self.table.egress_tunnel.is_some()
    }

    /// Whether ports of this type can receive at all.
    pub fn receives(&self) -> bool {
        self.table.rx.is_some()
    }

    /// A reference; `None`: the type is going away (`try_module_get`).
    pub(crate) fn try_get(self: &Arc<Self>) -> Option<TypeRef> {
        let add = |count: usize| (count & GOING == 0).then_some(count + 1);
        self.references.fetch_update(Ordering::AcqRel, Ordering::Relaxed, add).ok()?;
        Some(TypeRef(Some(Arc::clone(self))))
    }

    /// Puts one reference back (`module_put`).
    pub(crate) fn put(&self) {
        self.references.fetch_sub(1, Ordering::AcqRel);
    }

    /// Refuses references from now on, if there are none; else says how many there are.
    pub(crate) fn close(&self) -> Result<(), usize> {
        let closed = self.references.compare_exchange(0, GOING, Ordering::AcqRel, Ordering::Relaxed);
        closed.map(drop).map_err(|count| count & !GOING)
    }
}

impl Drop for PortKind {
    fn drop(&mut self) {
        if let Some(exit) = self.table.exit {
            // SAFETY: `init` succeeded, no port is left (each holds an `Arc` of us), and the library is still open.
            unsafe { exit() };
        }
    }
}

impl std::fmt::Debug for PortKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PortKind")
            .field("number", &self.number())
            .field("name", &self.name)
            .field("references", &self.references())
            .finish_non_exhaustive()
    }
}

/// A reference on a port type: while one exists the type cannot be unregistered. Dropping it puts it back.
#[derive(Debug)]
pub struct TypeRef(Option<Arc<PortKind>>);

impl TypeRef {
    /// The type.
    pub fn kind(&self) -> &Arc<PortKind> {
        // `None` only between `into_kind` and the drop that follows it.
        self.0.as_ref().expect("a reference that was not given away")
    }

    /// Gives the reference away: the holder of the result puts it back by hand.
    pub(crate) fn into_kind(mut self) -> Arc<PortKind> {
        self.0.take().expect("a reference that was not given away")
    }
}

impl Drop for TypeRef {
    fn drop(&mut self) {
        if let Some(kind) = self.0.take() {
            kind.put();
        }
    }
}

/// A type's summary for `portway module list`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeInfo {
    /// Number.
    pub port_type: u32,
    /// Name.
    pub name: String,
    /// File; `None`: built in.
    pub file: Option<PathBuf>,
    /// Live ports.
    pub references: usize,
    /// Contained failures.
    pub faults: u64,
    /// Options.
    pub options: Vec<OptionInfo>,
}

impl From<&PortKind> for TypeInfo {
    fn from(kind: &PortKind) -> Self {
        Self {
            port_type: kind.number(),
            name: kind.name.clone(),
            file: kind.file().map(Path::to_path_buf),
            references: kind.references(),
            faults: kind.faults(),
            options: kind.options.clone(),
        }
    }
}

/// A C string of at most `max` bytes of UTF-8; `None` otherwise.
///
/// # Safety
/// `pointer` must be null or point to a NUL-terminated string.
unsafe fn text(pointer: *const c_char, max: usize) -> Option<String> {
    if pointer.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    let text = unsafe { CStr::from_ptr(pointer) }.to_str().ok()?;
    (text.len() <= max && !text.contains(char::is_control)).then(|| text.into())
}

/// The options that a table describes; `None`: they make no sense.
///
/// # Safety
/// As for [`PortKind::new`].
unsafe fn options(table: &PortModule) -> Option<Vec<OptionInfo>> {
    if table.n_options == 0 {
        return Some(Vec::new());
    }
    if table.options.is_null() || !table.options.is_aligned() || table.n_options > OPTIONS_MAX {
        return None;
    }
    // SAFETY: `n_options` entries, by the caller's promise.
    let specs = unsafe { std::slice::from_raw_parts(table.options, table.n_options) };
    specs
        .iter()
        .map(|&OptionSpec { attr, kind, name, help }| {
            // SAFETY: strings, by the caller's promise.
            let (name, help) = unsafe { (text(name, NAME_MAX)?, text(help, HELP_MAX).unwrap_or_default()) };
            let attr = u16::try_from(attr).ok()?;
            (kind <= option_kind::U64 && !name.is_empty()).then_some(OptionInfo { attr, kind, name, help })
        })
        .collect()
}
