// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Many ports: adding, finding, deleting.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use portway_datapath::PortRequest;
use portway_vport::ops::TYPE_NULL;
use portway_vport::{NetnsId, PortName};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

use crate::rig::{Rig, port_name};

/// Ports of one datapath, below the 65,535 that the ABI allows.
const PER_DATAPATH: usize = 50_000;

/// Adds `count` null ports, looks each up by name, deletes each.
pub(crate) fn measure(count: usize) -> Result<Value> {
    let rig = Rig::new(1)?;
    let mut datapaths = vec![rig.datapath.clone()];
    while datapaths.len() * PER_DATAPATH < count {
        datapaths.push(rig.switch.datapath_add(Rig::datapath_request(&format!("bench{}", datapaths.len())))?);
    }
    let start = Instant::now();
    let mut ports = Vec::with_capacity(count);
    for index in 0..count {
        let datapath = &datapaths[index / PER_DATAPATH];
        let request = PortRequest::new(port_name(&format!("n{index}"))?, TYPE_NULL);
        ports.push((datapath, rig.switch.port_add(datapath, &request)?.port_no()));
    }
    let added = start.elapsed();
    for index in 0..count {
        let found = rig.switch.port_named(NetnsId::default(), &port_name(&format!("n{index}"))?);
        ensure!(found.is_some(), "port n{index} is not found");
    }
    let found = start.elapsed();
    for (datapath, port_no) in ports {
        rig.switch.port_del(datapath, port_no)?;
    }
    let deleted = start.elapsed();
    ensure!(rig.switch.devices().len() == datapaths.len(), "ports are left behind");
    Ok(json!({
        "seconds": deleted.as_secs_f64(),
        "add_seconds": added.as_secs_f64(),
        "find_seconds": (found - added).as_secs_f64(),
        "delete_seconds": (deleted - found).as_secs_f64(),
        "ports": count,
    }))
}

/// Look-ups of one reader and of two, while a writer adds and deletes without pause.
///
/// Counted per second of a reader's CPU time, times the readers: the writer takes a processor of its own, which readers
/// would wait for where there are only two. A reader that waits for a lock sleeps or spins; `waited` says how often the
/// readers went to sleep for another reason than that their time was up.
pub(crate) fn lookups() -> Result<Value> {
    let one = look_up_with(1)?;
    let two = look_up_with(2)?;
    Ok(json!({
        "scaling": two.rate / one.rate,
        "one_reader_per_cpu_second": one.rate,
        "two_readers_per_cpu_second": two.rate,
        "waited": one.waited + two.waited,
        "added_and_deleted": one.changes + two.changes,
    }))
}

/// What readers did.
struct Lookups {
    /// Look-ups per second of CPU time, times the readers.
    rate: f64,
    /// Voluntary context switches of the readers.
    waited: u64,
    /// Ports that the writer added and deleted meanwhile.
    changes: u64,
}

fn look_up_with(readers: usize) -> Result<Lookups> {
    const STANDING: usize = 1000;
    let rig = Rig::new(1)?;
    let mut names = Vec::new();
    for index in 0..STANDING {
        let name = format!("s{index}");
        rig.sink(&name)?;
        names.push(port_name(&name)?);
    }
    let stop = AtomicBool::new(false);
    let (readers, changes) = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..readers).map(|_| scope.spawn(|| read(&rig, &names, &stop))).collect();
        let writer = scope.spawn(|| write(&rig, &stop));
        std::thread::sleep(Duration::from_secs(1));
        stop.store(true, Ordering::Relaxed);
        let readers: Vec<_> =
            readers.into_iter().map(|reader| reader.join().expect("a reader ended badly")).collect();
        (readers, writer.join().expect("the writer ended badly"))
    });
    let missed: u64 = readers.iter().map(|reader| reader.missed).sum();
    ensure!(missed == 0, "{missed} look-ups of a port that was there found nothing");
    Ok(Lookups {
        rate: readers.iter().map(|reader| reader.done as f64 / reader.cpu_seconds).sum(),
        waited: readers.iter().map(|reader| reader.waited).sum(),
        changes: changes?,
    })
}

/// What one reader did.
struct Reader {
    done: u64,
    missed: u64,
    cpu_seconds: f64,
    waited: u64,
}

fn read(rig: &Rig, names: &[PortName], stop: &AtomicBool) -> Reader {
    let (mut done, mut missed) = (0, 0);
    let before = waits();
    while !stop.load(Ordering::Relaxed) {
        for name in names {
            missed += u64::from(rig.switch.port_named(NetnsId::default(), name).is_none());
        }
        done += names.len() as u64;
    }
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Reader {
        done,
        missed,
        cpu_seconds: time.tv_sec as f64 + time.tv_nsec as f64 / 1e9,
        waited: waits() - before,
    }
}

/// Adds and deletes until it is told to stop; gives how often.
fn write(rig: &Rig, stop: &AtomicBool) -> Result<u64> {
    let name = port_name("comes-and-goes")?;
    let mut changes = 0;
    while !stop.load(Ordering::Relaxed) {
        let port = rig.switch.port_add(&rig.datapath, &PortRequest::new(name, TYPE_NULL))?;
        rig.switch.port_del(&rig.datapath, port.port_no())?;
        changes += 1;
    }
    Ok(changes)
}

/// How often this thread has gone to sleep of its own accord.
fn waits() -> u64 {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}
