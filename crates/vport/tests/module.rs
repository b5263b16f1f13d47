// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Modules from files: a port type in C, compiled here in many variants, loaded, used, refused and unloaded.

mod common;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Barrier};

use common::{config, params, port_of, registry};
use portway_buf::{Batch, DropCounts, DropReason, Pool};
use portway_vport::{
    Errno, Error, ModuleError, NetnsId, Registry, Requested, Vport, module_file_name, module_file_type,
};
use tempfile::TempDir;

const NETNS: NetnsId = NetnsId(1);

/// A module directory with a registry that looks there.
struct Modules {
    dir: TempDir,
    registry: Arc<Registry>,
}

impl Modules {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let registry = Arc::new(registry());
        registry.set_module_path(vec![dir.path().join("absent"), dir.path().into()]);
        Self { dir, registry }
    }

    fn path(&self, port_type: u32) -> PathBuf {
        self.dir.path().join(module_file_name(port_type))
    }

    /// Compiles the C module as the one for a type.
    fn compile(&self, port_type: u32, defines: &[&str]) {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c/loop.c");
        self.compile_file(&source, port_type, defines);
    }

    fn compile_file(&self, source: &Path, port_type: u32, defines: &[&str]) {
        let compiled = Command::new("cc")
            .args([
                "-std=c11",
                "-D_DEFAULT_SOURCE",
                "-Wall",
                "-Wextra",
                "-Werror",
                "-Wno-unused-function",
                "-O1",
                "-shared",
                "-fPIC",
            ])
            .arg(format!("-DTYPE={port_type}"))
            .args(defines.iter().map(|define| format!("-D{define}")))
            .arg("-I")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("include"))
            .arg("-o")
            .arg(self.path(port_type))
            .arg(source)
            .output()
            .expect("a C compiler (Debian: gcc)");
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    }

    /// Compiles, loads, and returns why it was refused.
    fn refusal(&self, port_type: u32, defines: &[&str]) -> ModuleError {
        self.compile(port_type, defines);
        self.refused(port_type)
    }

    fn refused(&self, port_type: u32) -> ModuleError {
        let error = module_error(&self.registry, port_type);
        assert_eq!(self.registry.try_get(port_type).unwrap_err().errno(), Errno::EAFNOSUPPORT);
        let path = self.path(port_type).display().to_string();
        assert!(error.to_string().contains(&path), "{error} does not name {path}");
        error
    }

    fn loaded(&self, port_type: u32, defines: &[&str]) {
        self.compile(port_type, defines);
        assert_eq!(self.registry.request(port_type, NETNS).unwrap(), Requested::Loaded);
    }

    fn port(&self, port_type: u32) -> Arc<Vport> {
        port_of(&self.registry, port_type, c"c0", &[]).unwrap()
    }

    fn references(&self, port_type: u32) -> usize {
        self.registry.list().iter().find(|info| info.port_type == port_type).unwrap().references
    }
}

/// Why a request is refused, where that is for the module's sake.
fn module_error(registry: &Registry, port_type: u32) -> ModuleError {
    let error = registry.request(port_type, NETNS).unwrap_err();
    assert_eq!(error.errno(), Errno::EAFNOSUPPORT);
    let Error::Module(error) = error else { panic!("{error}") };
    error
}

fn send(port: &Vport, n: usize) -> DropCounts {
    let (mut pool, mut drops) = (Pool::new(), DropCounts::default());
    let mut batch: Batch = (0..n).map(|i| pool.copy(&[i as u8; 60]).unwrap()).collect();
    port.tx(0, &mut pool, &mut batch, &mut drops);
    drops
}

fn receive(port: &Vport) -> Result<Vec<Vec<u8>>, Errno> {
    let (mut pool, mut batch) = (Pool::new(), Batch::new());
    port.rx(0, 0, &mut pool, &mut batch, &mut DropCounts::default())?;
    Ok(batch.iter().map(|packet| packet.frame().to_vec()).collect())
}

#[test]
fn a_module_in_c_carries_packets() {
    let modules = Modules::new();
    assert_eq!(modules.registry.try_get(3000).unwrap_err().errno(), Errno::EAFNOSUPPORT);
    modules.loaded(3000, &[]);
    assert_eq!(modules.registry.request(3000, NETNS).unwrap(), Requested::Known);
    let port = modules.port(3000);
    assert!(port.is_busy_poll() && !port.needs_software_offload());
    assert!(send(&port, 3).is_empty());
    let got = receive(&port).unwrap();
    assert_eq!(got.len(), 3);
    for (i, frame) in got.iter().enumerate() {
        assert_eq!((frame[0], frame[59]), (i as u8, i as u8 + 1));
    }
    assert_eq!(send(&port, 64).get(DropReason::TxFull), 0);
    assert_eq!(send(&port, 3).get(DropReason::TxFull), 3);
    let info = modules.registry.list().into_iter().find(|info| info.port_type == 3000).unwrap();
    assert_eq!((info.name.as_str(), info.references, info.faults), ("c-loop", 1, 0));
    assert_eq!(info.file.as_deref(), Some(modules.path(3000).canonicalize().unwrap().as_path()));
    assert_eq!((info.options[0].name.as_str(), info.options[0].attr), ("cookie", 1));
    assert_eq!(modules.registry.find_name("c-loop"), Some(3000));
    // 64 packets are still queued in the module: destroying the port gives them back.
    let live = portway_buf::depot_stats()[0];
    drop(port);
    assert!(portway_buf::depot_stats()[0].0 <= live.0);
}

#[test]
fn options_cross_the_abi() {
    let modules = Modules::new();
    modules.loaded(3001, &[]);
    let mut options = Vec::new();
    portway_vport::options::push(&mut options, 1, &7u32.to_ne_bytes()).unwrap();
    let port = port_of(&modules.registry, 3001, c"c0", &options).unwrap();
    let mut out = Vec::new();
    assert_eq!(port.handle().get_options(&mut out), Ok(true));
    assert_eq!(out, options);
    assert_eq!(modules.port(3001).handle().get_options(&mut out), Ok(false));
    assert_eq!(
        port.handle().set_options(&options),
        Err(Errno::EOPNOTSUPP),
        "the module has no such function"
    );
    assert_eq!(port_of(&modules.registry, 3001, c"c0", &[0; 65]).unwrap_err(), Errno::EMSGSIZE);
    assert_eq!(port.handle().rx_fd(0), None);
}

#[test]
fn a_module_in_use_stays_and_a_forgotten_reader_keeps_its_code() {
    let modules = Modules::new();
    modules.loaded(3002, &[]);
    let (a, b) = (modules.port(3002), modules.port(3002));
    assert_eq!(modules.references(3002), 2);
    let error = modules.registry.unload(3002).unwrap_err();
    assert_eq!((error.errno(), error.to_string().contains("2 ports")), (Errno::EBUSY, true));
    drop(a);
    assert_eq!(modules.references(3002), 1);
    b.detach();
    assert_eq!(modules.references(3002), 0);
    modules.registry.unload(3002).unwrap();
    assert_eq!(modules.registry.unload(3002).unwrap_err().errno(), Errno::EAFNOSUPPORT, "not known any more");
    // A worker may still hold the port: its code is still there.
    assert!(b.refresh_info().is_ok());
    assert!(mapped(&modules.path(3002)));
    // Loading it again waits for that.
    let registry = Arc::clone(&modules.registry);
    let again = std::thread::spawn(move || registry.request(3002, NETNS));
    drop(b);
    assert_eq!(again.join().unwrap().unwrap(), Requested::Loaded);
    assert!(send(&modules.port(3002), 1).is_empty());
    modules.registry.unload(3002).unwrap();
    assert!(!mapped(&modules.path(3002)), "closed");
}

fn mapped(path: &Path) -> bool {
    let path = path.canonicalize().unwrap();
    fs::read_to_string("/proc/self/maps").unwrap().contains(path.to_str().unwrap())
}

#[test]
fn going_away_refuses_and_a_built_in_type_stays() {
    let modules = Modules::new();
    modules.loaded(3003, &[]);
    let held = modules.registry.try_get(3003).unwrap();
    assert_eq!(modules.registry.unload(3003).unwrap_err().errno(), Errno::EBUSY, "a request holds it");
    let kind = Arc::clone(held.kind());
    drop(held);
    modules.registry.unload(3003).unwrap();
    assert_eq!(modules.registry.try_get(3003).unwrap_err().errno(), Errno::EAFNOSUPPORT);
    // Its code is still in use: it cannot come back yet.
    let error = modules.registry.request(3003, NETNS).unwrap_err();
    assert!(matches!(error, Error::TypeGoing { .. }), "{error}");
    drop(kind);
    assert_eq!(modules.registry.request(3003, NETNS).unwrap(), Requested::Loaded);
    assert_eq!(modules.registry.unload(common::TYPE_LOOP).unwrap_err().errno(), Errno::EPERM);
    let again = modules.registry.register(portway_vport::LinkedModule::of::<common::LoopPort>());
    assert_eq!(again.unwrap_err().errno(), Errno::EEXIST);
    modules.registry.unregister(common::TYPE_LOOP).unwrap();
    modules.registry.register(portway_vport::LinkedModule::of::<common::LoopPort>()).unwrap();
}

#[test]
fn a_load_that_fails_reaches_create_errors_unchanged() {
    let modules = Modules::new();
    modules.loaded(3004, &["CREATE_CODE=-ENODEV"]);
    modules.loaded(3005, &["CREATE_CODE=5"]);
    modules.loaded(3006, &["NULL_PORT"]);
    let create = |port_type: u32| port_of(&modules.registry, port_type, c"c0", &[]).unwrap_err();
    assert_eq!([3004, 3005, 3006].map(create), [Errno::ENODEV, Errno::EIO, Errno::EIO]);
    let faults: Vec<_> = modules.registry.list().iter().map(|info| (info.references, info.faults)).collect();
    assert_eq!(faults, [(0, 0), (0, 0), (0, 1), (0, 1)]);
}

#[test]
fn nonsense_from_a_module_is_contained() {
    let modules = Modules::new();
    for (port_type, define, received) in [
        (3010, "RX_CODE=1000", Ok(2)),
        (3011, "RX_CODE=30", Ok(2)),
        (3012, "RX_CODE=-5000", Err(Errno::EIO)),
        (3013, "RX_CODE=INT32_MIN", Err(Errno::EIO)),
    ] {
        modules.loaded(port_type, &[define]);
        let port = modules.port(port_type);
        assert!(send(&port, 2).is_empty());
        assert_eq!(receive(&port).map(|frames| frames.len()), received, "{define}");
        assert_eq!((port.handle().faults(), port.kind().faults()), (1, 1), "{define}");
    }
    modules.loaded(3014, &["TX_EXTRA=1000"]);
    let port = modules.port(3014);
    assert_eq!((send(&port, 2).get(DropReason::Contained), port.handle().faults()), (2, 1));
    modules.loaded(3015, &["TX_CODE=-EIO", "TX_EXTRA=-2"]);
    let port = modules.port(3015);
    assert_eq!((send(&port, 2).get(DropReason::TxError), port.handle().faults()), (2, 0), "an honest error");
    modules.loaded(3016, &["LONG_OPTIONS"]);
    let port = port_of(&modules.registry, 3016, c"c0", &[0; 8]).unwrap();
    let mut out = vec![3];
    assert_eq!((port.handle().get_options(&mut out), out), (Err(Errno::EIO), vec![3]));
}

#[test]
fn unsuitable_modules_are_refused_by_name() {
    let modules = Modules::new();
    let refusal = |port_type, defines: &[&str]| modules.refusal(port_type, defines);
    let error = refusal(3020, &["ABI=77"]);
    assert!(matches!(error, ModuleError::WrongVersion { theirs: 77, .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("version 77") && text.contains("version 4;") && text.contains("rebuild"), "{text}");
    assert!(matches!(refusal(3021, &["MAGIC=1"]), ModuleError::BadMagic { magic: 1, .. }));
    assert!(matches!(refusal(3022, &["SIZE=8"]), ModuleError::WrongSize { theirs: 8, .. }));
    assert!(matches!(refusal(3023, &["TABLE_TYPE=9"]), ModuleError::WrongType { theirs: 9, .. }));
    assert!(matches!(refusal(3024, &["OTHER_SYMBOL"]), ModuleError::MissingSymbol { .. }));
    assert!(matches!(refusal(3025, &["NO_TX"]), ModuleError::Malformed { .. }));
    assert!(matches!(refusal(3026, &["NO_NAME"]), ModuleError::Malformed { .. }));
    assert!(matches!(refusal(3027, &["BAD_OPTION"]), ModuleError::Malformed { .. }));
    assert!(matches!(refusal(3028, &["INIT_CODE=-EPERM"]), ModuleError::InitFailed { code: -1, .. }));
    fs::write(modules.path(3029), b"\x7fELF, or so it says").unwrap();
    assert!(matches!(modules.refused(3029), ModuleError::NotLoadable { .. }));
    fs::write(modules.path(3030), b"").unwrap();
    assert!(matches!(modules.refused(3030), ModuleError::NotLoadable { .. }));
    // A module under another type's name.
    fs::copy(modules.path(3028), modules.path(3031)).unwrap();
    assert!(matches!(modules.refused(3031), ModuleError::MissingSymbol { .. }));
    assert_eq!(modules.registry.list().len(), 1, "none of them is registered");
    let available: Vec<_> = modules.registry.available().into_iter().map(|(number, _)| number).collect();
    assert_eq!(available, (3020..=3031).collect::<Vec<_>>(), "all the same they are there");
    // What was refused can be put right.
    modules.loaded(3020, &[]);
}

#[test]
fn files_that_others_can_change_are_refused() {
    let modules = Modules::new();
    let path = modules.path(3040);
    modules.compile(3040, &[]);
    let set = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    let refused = || modules.refused(3040);
    for mode in [0o775, 0o757, 0o666] {
        set(&path, mode);
        let error = refused();
        assert!(matches!(error, ModuleError::WritableByOthers { mode: m, .. } if m == mode), "{error}");
    }
    set(&path, 0o755);
    rustix::fs::chown(&path, Some(rustix::fs::Uid::from_raw(65_534)), None).unwrap();
    assert!(matches!(refused(), ModuleError::ForeignOwner { uid: 65_534, .. }));
    rustix::fs::chown(&path, Some(rustix::fs::Uid::from_raw(0)), None).unwrap();

    let folder_refused = || module_error(&modules.registry, 3040);
    for mode in [0o777, 0o1777, 0o770] {
        set(modules.dir.path(), mode);
        assert!(matches!(folder_refused(), ModuleError::WritableByOthers { .. }), "{mode:o}");
    }
    set(modules.dir.path(), 0o755);
    rustix::fs::chown(modules.dir.path(), Some(rustix::fs::Uid::from_raw(65_534)), None).unwrap();
    assert!(matches!(folder_refused(), ModuleError::ForeignOwner { .. }));
    rustix::fs::chown(modules.dir.path(), Some(rustix::fs::Uid::from_raw(0)), None).unwrap();

    let real = modules.dir.path().join("real.so");
    fs::rename(&path, &real).unwrap();
    symlink(&real, &path).unwrap();
    assert!(matches!(refused(), ModuleError::SymbolicLink { .. }));
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(matches!(refused(), ModuleError::NotRegular { .. }));
    fs::remove_dir(&path).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert!(matches!(refused(), ModuleError::NotRegular { .. }), "a pipe, without waiting for a writer");
    fs::remove_file(&path).unwrap();
    fs::rename(&real, &path).unwrap();
    assert_eq!(modules.registry.request(3040, NETNS).unwrap(), Requested::Loaded);
}

#[test]
fn every_folder_above_counts_but_sticky_ones_will_do() {
    let modules = Modules::new();
    let above = modules.dir.path().join("above");
    let folder = above.join("modules");
    fs::create_dir_all(&folder).unwrap();
    modules.compile(3041, &[]);
    fs::rename(modules.path(3041), folder.join(module_file_name(3041))).unwrap();
    modules.registry.set_module_path(vec![folder]);
    fs::set_permissions(&above, Permissions::from_mode(0o777)).unwrap();
    let error = module_error(&modules.registry, 3041);
    let named = matches!(&error, ModuleError::WritableByOthers { path, .. } if path.ends_with("above"));
    assert!(named, "{error}");
    fs::set_permissions(&above, Permissions::from_mode(0o1777)).unwrap();
    assert_eq!(modules.registry.request(3041, NETNS).unwrap(), Requested::Loaded);
}

#[test]
fn a_module_that_is_nowhere_says_where_it_was_looked_for() {
    let modules = Modules::new();
    let error = modules.registry.request(3042, NETNS).unwrap_err();
    assert_eq!(error.errno(), Errno::EAFNOSUPPORT);
    let text = error.to_string();
    assert!(
        text.contains("vport-type-3042.so") && text.contains(modules.dir.path().to_str().unwrap()),
        "{text}"
    );
    modules.registry.set_module_path(Vec::new());
    assert!(modules.registry.request(3042, NETNS).unwrap_err().to_string().contains("empty module path"));
}

#[test]
fn two_requests_for_one_type_load_it_once_and_others_do_not_wait() {
    let modules = Modules::new();
    let trace = modules.dir.path().join("trace");
    modules.compile(3050, &["SLOW_INIT", &format!("TRACE=\"{}\"", trace.display())]);
    let barrier = Arc::new(Barrier::new(5));
    let requests: Vec<_> = (0..4)
        .map(|_| {
            let (registry, barrier) = (Arc::clone(&modules.registry), Arc::clone(&barrier));
            std::thread::spawn(move || {
                barrier.wait();
                registry.request(3050, NETNS)
            })
        })
        .collect();
    barrier.wait();
    // The slow load holds nothing that other requests need.
    for _ in 0..100 {
        modules.registry.try_get(common::TYPE_LOOP).unwrap();
        modules.registry.request(3051, NETNS).unwrap_err();
    }
    for request in requests {
        request.join().unwrap().unwrap();
    }
    assert_eq!(fs::read_to_string(&trace).unwrap(), "init\n", "loaded once");
    modules.registry.unload(3050).unwrap();
    assert_eq!(fs::read_to_string(&trace).unwrap(), "init\nexit\n");
}

#[test]
fn gre_belongs_to_who_has_it() {
    const GRE: u32 = 3;
    let modules = Modules::new();
    modules.compile(GRE, &[]);
    modules.registry.claim_gre(NETNS, "device gre0");
    let error = modules.registry.request(GRE, NETNS).unwrap_err();
    assert!(
        matches!(error, Error::GreClaimed { .. }) && error.to_string().contains("device gre0"),
        "{error}"
    );
    assert_eq!(error.errno(), Errno::EAFNOSUPPORT);
    assert!(!mapped(&modules.path(GRE)), "not even tried");
    assert_eq!(modules.registry.request(GRE, NetnsId(2)).unwrap(), Requested::Loaded, "another namespace");
    // Known now: the claim concerns only the loading.
    assert_eq!(modules.registry.request(GRE, NETNS).unwrap(), Requested::Known);
    modules.registry.unload(GRE).unwrap();
    modules.registry.release_gre(NETNS);
    assert_eq!(modules.registry.request(GRE, NETNS).unwrap(), Requested::Loaded);
}

#[test]
fn only_exact_file_names_are_modules() {
    assert_eq!(module_file_type(Path::new("/x/vport-type-4.so")), Some(4));
    for name in
        ["vport-type-04.so", "vport-type-+4.so", "vport-type-.so", "vport-type-4.so.1", "libvport_null.so"]
    {
        assert_eq!(module_file_type(Path::new(name)), None, "{name}");
    }
}

#[test]
fn a_rust_type_and_a_c_type_live_side_by_side() {
    let modules = Modules::new();
    modules.loaded(3060, &[]);
    let (rust, c) = (common::port(&modules.registry), modules.port(3060));
    let (mut pool, mut batch, mut drops) = (Pool::new(), Batch::new(), DropCounts::default());
    assert!(send(&rust, 5).is_empty());
    rust.rx(0, 0, &mut pool, &mut batch, &mut DropCounts::default()).unwrap();
    c.tx(0, &mut pool, &mut batch, &mut drops);
    assert_eq!(receive(&c).unwrap().len(), 5);
    let many = params(c"x", &[]);
    let (handle, info) = modules.registry.try_get(3060).unwrap().create(&many).unwrap();
    assert_eq!(Vport::new(handle, info, config("x")).info().mtu, 9000);
}

#[test]
fn the_module_in_the_handbook_works() {
    let howto = include_str!("../../../docs/howto-port.md");
    let (_, rest) = howto.split_once("```c\n").unwrap();
    let (code, _) = rest.split_once("```").unwrap();
    let modules = Modules::new();
    let source = modules.dir.path().join("sink.c");
    fs::write(&source, code).unwrap();
    modules.compile_file(&source, 1901, &[]);
    assert_eq!(modules.registry.load(1901).unwrap(), Requested::Loaded);
    let port = modules.port(1901);
    assert!(send(&port, 9).is_empty());
    assert_eq!((port.stats().tx_packets, port.stats().tx_bytes, port.rx_queues()), (9, 540, 0));
    assert_eq!(port_of(&modules.registry, 1901, c"c1", &[0; 4]).unwrap_err(), Errno::EINVAL);
}

#[test]
fn ports_come_and_go_while_their_module_does() {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    let modules = Modules::new();
    modules.compile(3070, &[]);
    let (stop, made, unloaded) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    // As the datapath does it: an unknown type is requested, and the request starts again.
                    let kind = match modules.registry.try_get(3070) {
                        Ok(kind) => kind,
                        Err(error) => {
                            assert_eq!(error.errno(), Errno::EAFNOSUPPORT);
                            modules.registry.request(3070, NETNS).unwrap();
                            continue;
                        }
                    };
                    let (handle, info) = kind.create(&params(c"c0", &[])).unwrap();
                    let port = Vport::new(handle, info, config("c0"));
                    assert!(send(&port, 2).is_empty());
                    port.detach();
                    // From here on the module may be unloaded, and this port must still work.
                    std::thread::yield_now();
                    assert!(port.refresh_info().is_ok());
                    made.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        while unloaded.load(Ordering::Relaxed) < 50 || made.load(Ordering::Relaxed) < 200 {
            match modules.registry.unload(3070) {
                Ok(()) => drop(unloaded.fetch_add(1, Ordering::Relaxed)),
                Err(error) => assert!(matches!(error.errno(), Errno::EBUSY | Errno::EAFNOSUPPORT), "{error}"),
            }
            std::thread::yield_now();
        }
        stop.store(true, Ordering::Relaxed);
    });
    let info = modules.registry.list().into_iter().find(|info| info.port_type == 3070);
    assert!(info.is_none_or(|info| (info.references, info.faults) == (0, 0)));
}
