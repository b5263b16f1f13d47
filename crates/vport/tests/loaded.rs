// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Modules in Rust, built as shared objects with a standard library of their own and loaded like any other: `null`, `pcap`,
//! and one that panics in every callback. Their log lines must reach us.

mod common;

use std::ffi::CStr;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};

use common::{Fault, TYPE_LOOP, port_of};
use portway_buf::{Batch, DropCounts, DropReason, Pool};
use portway_vport::ops::{TYPE_NULL, TYPE_PCAP};
use portway_vport::{Errno, NetnsId, Registry, Requested, Vport, module_file_name, options};
use tempfile::TempDir;
use tracing_subscriber::util::SubscriberInitExt;

/// Where cargo puts what it builds with this test's profile.
fn built() -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    exe.parent().and_then(Path::parent).unwrap().into()
}

/// A module directory with the three modules in it, and a registry that knows nothing else.
fn modules() -> (TempDir, Registry) {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        // `cargo xtask test` has built them.
        if std::env::var_os("PORTWAY_PROGRAMS_ARE_BUILT").is_some() {
            return;
        }
        cargo_build(&["-p", "vport-null", "-p", "vport-pcap"]);
        cargo_build(&["-p", "portway-vport", "--example", "faulty_module"]);
    });
    let dir = TempDir::new().unwrap();
    for (file, port_type) in [
        ("libvport_null.so", TYPE_NULL),
        ("libvport_pcap.so", TYPE_PCAP),
        ("examples/libfaulty_module.so", TYPE_LOOP),
    ] {
        fs::copy(built().join(file), dir.path().join(module_file_name(port_type))).unwrap();
    }
    let registry = Registry::new();
    registry.set_module_path(vec![dir.path().into()]);
    (dir, registry)
}

fn cargo_build(arguments: &[&str]) {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet"]).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR"));
    // The profile of this test, so that nothing that it was built from is built again.
    cargo.args(["--profile", if cfg!(debug_assertions) { "test" } else { "release" }]);
    assert!(cargo.status().unwrap().success());
}

fn load(registry: &Registry, port_type: u32) {
    assert_eq!(registry.request(port_type, NetnsId(1)).unwrap(), Requested::Loaded);
}

fn port(registry: &Registry, port_type: u32, name: &CStr, options: &[u8]) -> Arc<Vport> {
    port_of(registry, port_type, name, options).unwrap()
}

#[test]
fn null_and_pcap_work_from_files() {
    let (dir, registry) = modules();
    load(&registry, TYPE_NULL);
    load(&registry, TYPE_PCAP);
    let names: Vec<_> = registry.list().into_iter().map(|info| info.name).collect();
    assert_eq!(names, ["null", "pcap"]);

    let file = dir.path().join("frames.pcap");
    let mut attributes = Vec::new();
    options::push_str(&mut attributes, 2, file.to_str().unwrap()).unwrap();
    let (mut pool, mut drops) = (Pool::new(), DropCounts::default());
    let capture = port(&registry, TYPE_PCAP, c"capture", &attributes);
    let mut batch: Batch = (60..124).map(|len| pool.copy(&vec![len as u8; len]).unwrap()).collect();
    capture.tx(0, &mut pool, &mut batch, &mut drops);

    attributes.clear();
    options::push_str(&mut attributes, 1, file.to_str().unwrap()).unwrap();
    let replay = port(&registry, TYPE_PCAP, c"replay", &attributes);
    let null = port(&registry, TYPE_NULL, c"null0", &[]);
    for _ in 0..100 {
        assert_eq!(replay.rx(0, 0, &mut pool, &mut batch, &mut DropCounts::default()), Ok(64));
        assert!(
            batch.iter().all(|packet| packet.frame().iter().all(|&byte| usize::from(byte) == packet.len()))
        );
        null.tx(0, &mut pool, &mut batch, &mut drops);
    }
    assert!(drops.is_empty());
    assert_eq!((null.stats().tx_packets, null.stats().tx_bytes), (6400, replay.stats().rx_bytes));
    assert_eq!(registry.unload(TYPE_PCAP).unwrap_err().errno(), Errno::EBUSY);
    drop((capture, replay, null));
    for port_type in [TYPE_NULL, TYPE_PCAP] {
        registry.unload(port_type).unwrap();
        load(&registry, port_type);
        registry.unload(port_type).unwrap();
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        assert!(
            !maps.contains(dir.path().join(module_file_name(port_type)).to_str().unwrap()),
            "still mapped"
        );
    }
}

#[test]
fn panics_in_a_loaded_module_are_contained_and_their_text_arrives() {
    let (_dir, registry) = modules();
    load(&registry, TYPE_LOOP);
    let (mut pool, mut batch, mut drops) = (Pool::new(), Batch::new(), DropCounts::default());
    let faulty = |fault: Fault| port_of(&registry, TYPE_LOOP, c"faulty0", &[fault as u8]);
    let log = Log::capture(|| {
        assert_eq!(faulty(Fault::Create).unwrap_err(), Errno::EIO);
        assert_eq!(faulty(Fault::Info).unwrap_err(), Errno::EIO);
        let rx = faulty(Fault::Rx).unwrap();
        assert_eq!(rx.rx(0, 0, &mut pool, &mut batch, &mut DropCounts::default()), Err(Errno::EIO));
        let tx = faulty(Fault::Tx).unwrap();
        batch.extend((0..7).map(|_| pool.copy(&[0; 60]).unwrap()));
        tx.tx(0, &mut pool, &mut batch, &mut drops);
        let set = faulty(Fault::SetOptions).unwrap();
        assert_eq!(set.handle().set_options(&[]), Err(Errno::EIO));
        let get = faulty(Fault::GetOptions).unwrap();
        assert_eq!(get.handle().get_options(&mut Vec::new()), Err(Errno::EIO));
        let fd = faulty(Fault::RxFd).unwrap();
        assert_eq!(fd.handle().rx_fd(0), None);
        drop(faulty(Fault::Drop).unwrap());
    });
    assert_eq!((drops.get(DropReason::Contained), batch.len()), (7, 0));
    for callback in ["create", "info", "rx", "tx", "set_options", "get_options", "rx_fd", "destroy"] {
        let text = format!("told to fail in {callback}");
        assert!(log.contains(&text), "{text} is not in:\n{log}");
    }
    for callback in ["create", "rx", "tx", "set_options", "get_options", "rx_fd"] {
        let text = format!("port faulty0: {callback} of port type loop (2000) panicked");
        assert!(log.contains(&text), "{text} is not in:\n{log}");
    }
    let info = &registry.list()[0];
    // `destroy` has no return value to be seen in: the module's own line tells of it.
    assert_eq!((info.faults, info.references), (7, 0), "and the switch goes on:");
    let port = port(&registry, TYPE_LOOP, c"good0", &[]);
    batch.push(pool.copy(&[0; 60]).unwrap());
    port.tx(0, &mut pool, &mut batch, &mut drops);
    assert_eq!(port.rx(0, 0, &mut pool, &mut batch, &mut DropCounts::default()), Ok(1));
    drop(batch);
    drop(port);
    registry.unload(TYPE_LOOP).unwrap();
}

/// The lines that `tracing` gets on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn capture(body: impl FnOnce()) -> String {
        let log = Self::default();
        let writer = log.clone();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        let _guard = subscriber.set_default();
        body();
        String::from_utf8(log.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
