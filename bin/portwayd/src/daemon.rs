// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The daemon's life: locks, threads, signals, the end.

use std::hash::{BuildHasher, RandomState};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use anyhow::{Context, Result};
use crossbeam_channel::Receiver;
use portway_datapath::{Event as SwitchEvent, Netns, Switch, SwitchConfig};
use portway_netwatch::{Event, Watcher};
use portway_vport::Registry;
use signal_hook::consts::signal::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::args::{Args, DEFAULT_CONFIG};
use crate::config::Config;
use crate::control::{Control, Facts, Knobs};
use crate::kept::{File, delete_tunnel_devices, restore};
use crate::lock::FolderLock;
use crate::log::Log;
use crate::netlink;
use crate::notify::notify;
use crate::server::{self, Server};
use crate::state::StateFile;
use crate::switching::{Switching, Waker};
use crate::watch;
use crate::worker::{self, Handle, Tuning};

/// The config file's path if there is one, and what it says.
pub(crate) fn read_config(args: &Args) -> Result<(Option<PathBuf>, Config)> {
    let path = match &args.config {
        Some(path) => std::path::absolute(path).unwrap_or_else(|_| path.clone()),
        None if Path::new(DEFAULT_CONFIG).exists() => PathBuf::from(DEFAULT_CONFIG),
        None => return Ok((None, Config::default())),
    };
    let config = Config::load(&path)?;
    Ok((Some(path), config))
}

/// The threads that forward packets, and the one that learns.
struct Threads {
    workers: Vec<(Arc<Handle>, JoinHandle<()>)>,
    learning: JoinHandle<()>,
}

/// Runs until a signal ends it.
pub(crate) fn run(args: &Args, config_path: Option<PathBuf>, config: &Config, log: Log) -> Result<()> {
    let started = Instant::now();
    // Before any other thread begins: they inherit that these signals are taken here.
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).context("cannot wait for signals")?;
    let _socket_lock = FolderLock::take(&args.socket_dir)?;
    let same = args.state_dir.canonicalize().ok() == args.socket_dir.canonicalize().ok();
    let _state_lock = if same { None } else { Some(FolderLock::take(&args.state_dir)?) };
    if args.forget {
        return forget(args);
    }
    let server = Server::bind(&args.socket_dir)
        .with_context(|| format!("cannot make the control socket in {}", args.socket_dir.display()))?;

    let workers = worker_count(args, config);
    let (to_devices, lost) = crossbeam_channel::unbounded();
    let handle = |_| Handle::new(to_devices.clone()).map(Arc::new);
    let handles = (0..workers).map(handle).collect::<std::io::Result<Vec<_>>>()?;
    let waker = Waker::default();
    let switch = make_switch(args, handles.clone(), waker.clone())?;
    let switching = Switching::new(Arc::clone(&switch), waker.clone());
    let netlink = netlink::start(args, &switch, &switching, &waker, lost)?;
    let tuning = Arc::new(Tuning::default());
    let threads = start_threads(&switch, &switching, &handles, &tuning)?;
    let own = portway_netwatch::Netns::current_id().context("cannot tell the own network namespace")?;
    let facts = Facts { config_path, workers, workers_asked: args.workers.is_some(), started };
    let netns = Netns::new(own, None);
    let switch_events = switch.subscribe();
    let (watcher, watch_handle, events) = Watcher::new().context("cannot follow network devices")?;
    let state_file = StateFile::new(&args.state_dir);
    let control = Arc::new(Control::new(
        switch,
        Arc::clone(&switching),
        netns,
        state_file,
        facts,
        watch_handle,
        Knobs { log, tuning },
    ));
    control.start(config);
    start_control(&control, server.listener()?, watcher, events, switch_events)?;
    tracing::info!(workers, "portwayd {} is ready", env!("CARGO_PKG_VERSION"));
    notify("READY=1");

    for signal in signals.forever() {
        if signal == SIGHUP {
            notify("RELOADING=1");
            if let Err(failure) = control.reload() {
                tracing::error!("{failure}");
            }
            notify("READY=1");
            continue;
        }
        break;
    }
    tracing::info!("portwayd ends");
    notify("STOPPING=1");
    drop(server);
    netlink.stop();
    control.shut_down();
    stop_threads(threads, &switching);
    Ok(())
}

/// Deletes what is kept of netlink clients' datapaths.
fn forget(args: &Args) -> Result<()> {
    let switch =
        make_switch(args, vec![Arc::new(Handle::new(crossbeam_channel::unbounded().0)?)], Waker::default())?;
    let file = File::new(&args.state_dir);
    let datapaths = restore(&file, &switch);
    for datapath in &datapaths {
        switch.datapath_del(datapath)?;
    }
    delete_tunnel_devices(&datapaths)?;
    file.remove().context("cannot delete what was kept")
}

fn worker_count(args: &Args, config: &Config) -> usize {
    let asked = args.workers.map(|workers| workers as usize).or(config.workers);
    asked.unwrap_or_else(|| {
        let cpus = rustix::thread::sched_getaffinity(None).map(|cpus| cpus.count() as usize);
        cpus.unwrap_or(1).max(1)
    })
}

fn make_switch(args: &Args, handles: Vec<Arc<Handle>>, waker: Waker) -> Result<Arc<Switch>> {
    let registry = Registry::new();
    registry.set_module_path(args.module_path.clone());
    registry.register(vport_netdev::MODULE)?;
    registry.register(vport_internal::MODULE)?;
    // The standard library's hash keys come from the system's random numbers.
    let seed = RandomState::new().hash_one(std::process::id());
    let config = SwitchConfig {
        workers: handles.len(),
        seed,
        wake_shortcuts: {
            let waker = waker.clone();
            Box::new(move || waker.wake())
        },
        wake_upcalls: Box::new(move || waker.wake()),
        wake_worker: Box::new(move |index| {
            if let Some(handle) = handles.get(index) {
                handle.wake();
            }
        }),
        ..SwitchConfig::default()
    };
    Ok(Switch::new(config, registry))
}

fn start_threads(
    switch: &Arc<Switch>,
    switching: &Arc<Switching>,
    handles: &[Arc<Handle>],
    tuning: &Arc<Tuning>,
) -> Result<Threads> {
    let mut workers = Vec::new();
    for (index, handle) in handles.iter().enumerate() {
        let (switch, own, tuning) = (Arc::clone(switch), Arc::clone(handle), Arc::clone(tuning));
        let run = move || worker::run(&switch, index, &own, &tuning);
        let thread = thread::Builder::new().name(format!("worker{index}")).spawn(run)?;
        workers.push((Arc::clone(handle), thread));
    }
    let switching = Arc::clone(switching);
    let learning = thread::Builder::new().name("learning".to_owned()).spawn(move || switching.run())?;
    Ok(Threads { workers, learning })
}

fn stop_threads(threads: Threads, switching: &Switching) {
    switching.stop();
    for (handle, _) in &threads.workers {
        handle.stop();
    }
    let all = threads.workers.into_iter().map(|(_, thread)| thread).chain([threads.learning]);
    for thread in all {
        if thread.join().is_err() {
            tracing::error!("a thread had failed");
        }
    }
}

/// The threads that end with the process: they hold nothing that must be given back.
fn start_control(
    control: &Arc<Control>,
    listener: UnixListener,
    watcher: Watcher,
    events: Receiver<Event>,
    switch_events: Receiver<SwitchEvent>,
) -> Result<()> {
    let begin = |name: &str, run: Box<dyn FnOnce() + Send>| {
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(run)
            .with_context(|| format!("cannot start {name}"))
    };
    let server = Arc::clone(control);
    begin("server", Box::new(move || server::serve(&listener, &server)))?;
    let devices = Arc::clone(control);
    begin("devices", Box::new(move || watch::run(&devices, &events, &switch_events)))?;
    begin(
        "netwatch",
        Box::new(move || {
            if let Err(error) = watcher.run() {
                tracing::error!("devices are no longer followed: {error}");
            }
        }),
    )?;
    Ok(())
}
