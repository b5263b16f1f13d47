// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Many ports: adding, finding, deleting.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use portway_datapath::PortRequest;
use portway_vport::NetnsId;
use portway_vport::ops::TYPE_NULL;
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

/// Look-ups per second of one reader and of two, while a writer adds and deletes without pause.
///
/// With as many readers as processors the writer takes its share from them: what counts is that the sum grows.
pub(crate) fn lookups() -> Result<Value> {
    let one = look_up_with(1)?;
    let two = look_up_with(2)?;
    Ok(json!({ "scaling": two / one, "one_reader_per_second": one, "two_readers_per_second": two }))
}

fn look_up_with(readers: usize) -> Result<f64> {
    const STANDING: usize = 1000;
    let rig = Rig::new(1)?;
    for index in 0..STANDING {
        rig.sink(&format!("s{index}"))?;
    }
    let (stop, lookups, failures) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let seconds = 1.0;
    std::thread::scope(|scope| {
        for reader in 0..readers {
            let (rig, stop, lookups, failures) = (&rig, &stop, &lookups, &failures);
            scope.spawn(move || {
                let names: Vec<_> =
                    (0..STANDING).filter_map(|index| port_name(&format!("s{index}")).ok()).collect();
                let mut done = reader as u64;
                while !stop.load(Ordering::Relaxed) {
                    let name = &names[done as usize % STANDING];
                    if rig.switch.port_named(NetnsId::default(), name).is_none() {
                        failures.fetch_add(1, Ordering::Relaxed);
                    }
                    done += 1;
                }
                lookups.fetch_add(done, Ordering::Relaxed);
            });
        }
        let (rig, stop_writer) = (&rig, &stop);
        scope.spawn(move || {
            let name = port_name("comes-and-goes").expect("the name is short");
            while !stop_writer.load(Ordering::Relaxed) {
                let port = rig.switch.port_add(&rig.datapath, &PortRequest::new(name, TYPE_NULL));
                let Ok(port) = port else { return };
                let _ = rig.switch.port_del(&rig.datapath, port.port_no());
                // The writer's pace is fixed, so that it takes the same share from one reader and from two.
                std::thread::sleep(Duration::from_micros(20));
            }
        });
        std::thread::sleep(Duration::from_secs_f64(seconds));
        stop.store(true, Ordering::Relaxed);
    });
    let failures = failures.into_inner();
    ensure!(failures == 0, "{failures} look-ups of a port that was there found nothing");
    Ok(lookups.into_inner() as f64 / seconds)
}
