// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Every change to datapaths, ports and flows: the only mutators there are.
//!
//! Each takes the writer lock, makes the change in an order that readers may observe at any point, releases the lock, and then tells the
//! listeners. Errors leave everything as it was.

use std::sync::Arc;
use std::time::Duration;

use portway_actions::Program;
use portway_flow::{Action, Classified};
use portway_vport::ops::CreateParams;
use portway_vport::{PortHandle, PortName, TypeRef, Vport, VportConfig};

use crate::datapath::{Datapath, DatapathOptions, PORTS_MAX};
use crate::error::Error;
use crate::events::{Event, RemovedPort};
use crate::flow::{Flow, FlowParts};
use crate::lens_book::LensBook;
use crate::meters::{Meter, MeterConfig};
use crate::netns::Netns;
use crate::switch::{DatapathWriter, Switch, Writer};
use crate::worker::RxEntry;

/// The port type of a datapath's own port: OVS_VPORT_TYPE_INTERNAL.
pub(crate) const TYPE_INTERNAL: u32 = 2;

/// How long a deletion waits for others that look at the port (a listing, an event's receiver), each for microseconds.
const HOLDERS_MAX: Duration = Duration::from_secs(2);

/// A datapath to make.
#[derive(Clone, Debug)]
pub struct DatapathRequest {
    /// Its name, and that of its port 0.
    pub name: PortName,
    /// The namespace in which it is seen.
    pub netns: Netns,
    /// Type of port 0: [`DatapathRequest::new`] says internal; tests without root say null.
    pub local_type: u32,
    /// Ethernet address of port 0; zeros: choose one.
    pub mac: [u8; 6],
    /// Upcall port ids of port 0.
    pub upcall_pids: Vec<u32>,
    /// Options.
    pub options: DatapathOptions,
}

impl DatapathRequest {
    /// A datapath with an internal port 0.
    pub fn new(name: PortName, netns: Netns) -> Self {
        Self {
            name,
            netns,
            local_type: TYPE_INTERNAL,
            mac: [0; 6],
            upcall_pids: Vec::new(),
            options: DatapathOptions::default(),
        }
    }
}

/// A port to add.
#[derive(Clone, Debug)]
pub struct PortRequest {
    /// Its name: for most types that of a device.
    pub name: PortName,
    /// OVS_VPORT_TYPE_* or a private number.
    pub port_type: u32,
    /// The number wanted; `None` or 0: the lowest that is free.
    pub port_no: Option<u32>,
    /// Options as netlink attributes.
    pub options: Vec<u8>,
    /// Upcall port ids.
    pub upcall_pids: Vec<u32>,
    /// Ethernet address wanted; zeros: choose one.
    pub mac: [u8; 6],
    /// The device's namespace; `None`: the datapath's.
    pub netns: Option<Netns>,
    /// The type that netlink clients see, if it is not `port_type`.
    pub shown_type: Option<u32>,
}

impl PortRequest {
    /// A port of that name and type, everything else left to the switch.
    pub fn new(name: PortName, port_type: u32) -> Self {
        Self {
            name,
            port_type,
            port_no: None,
            options: Vec::new(),
            upcall_pids: Vec::new(),
            mac: [0; 6],
            netns: None,
            shown_type: None,
        }
    }
}

/// A flow to add.
#[derive(Clone, Debug)]
pub struct FlowRequest {
    /// What it matches.
    pub parts: FlowParts,
    /// What it does.
    pub actions: Vec<Action>,
}

/// What an attempt to add a port came to.
enum Attempt {
    Added(Arc<Vport>),
    /// The type is not known: its module is to be loaded, without the lock, and all is to be tried again.
    TypeUnknown,
}

/// What a port type made, and what it says of itself.
type Made = (PortHandle, portway_vport::abi::PortInfo);

impl Switch {
    /// Makes a datapath with its port 0.
    ///
    /// # Errors
    /// [`Error::NameTaken`], [`Error::TooManyDatapaths`], or whatever making port 0 says; nothing is left behind.
    pub fn datapath_add(&self, request: DatapathRequest) -> Result<Arc<Datapath>, Error> {
        let local = PortRequest {
            name: request.name,
            port_type: request.local_type,
            port_no: None,
            options: Vec::new(),
            upcall_pids: request.upcall_pids.clone(),
            mac: request.mac,
            netns: None,
            shown_type: None,
        };
        let datapath = loop {
            let mut writer = self.lock();
            let id = self.free_datapath_id(&writer)?;
            let datapath = Arc::new(Datapath::new(id, &request, self));
            match self.try_port_add(&mut writer, &datapath, &local, Some(0))? {
                Attempt::Added(_) => {
                    let entry = DatapathWriter {
                        datapath: Arc::clone(&datapath),
                        lens_book: LensBook::default(),
                        ufids: Default::default(),
                    };
                    writer.datapaths.insert(id, entry);
                    break datapath;
                }
                Attempt::TypeUnknown => drop(writer),
            }
            self.registry.request(local.port_type, request.netns.id())?;
        };
        self.listeners.tell(&Event::DatapathAdded(Arc::clone(&datapath)));
        Ok(datapath)
    }

    /// Deletes a datapath with its ports and flows, and waits until no reader is left in it.
    ///
    /// # Errors
    /// [`Error::NoSuchDatapath`] if it has gone already.
    pub fn datapath_del(&self, datapath: &Arc<Datapath>) -> Result<(), Error> {
        self.datapath_del_by(datapath, drop)
    }

    /// As [`Switch::datapath_del`]; `destroy` drops the ports, which may block for each of them, in its own way.
    ///
    /// # Errors
    /// [`Error::NoSuchDatapath`] if it has gone already.
    pub fn datapath_del_by(
        &self,
        datapath: &Arc<Datapath>,
        destroy: impl FnOnce(Vec<Arc<Vport>>),
    ) -> Result<(), Error> {
        let ports = {
            let mut writer = self.lock();
            writer.of_mut(datapath)?;
            let entry = writer.datapaths.remove(&datapath.id()).ok_or_else(|| gone(datapath))?;
            datapath.kill();
            let ports = datapath.ports();
            // Port 0 last: while it is there, the datapath has a name.
            for port in ports.iter().rev() {
                self.unpublish_port(datapath, port);
            }
            for flow in datapath.flows() {
                flow.kill();
                self.shortcuts.end_flow(&flow);
                datapath.flows.remove(&flow);
            }
            drop(entry);
            ports
        };
        self.release_ports(datapath, ports, HOLDERS_MAX, destroy);
        self.listeners.tell(&Event::DatapathRemoved(Arc::clone(datapath)));
        Ok(())
    }

    /// Replaces a datapath's options.
    pub fn datapath_set(&self, datapath: &Datapath, options: DatapathOptions) {
        let _writer = self.lock();
        datapath.set_options(options);
    }

    /// Adds a port. If its type is unknown, the module is looked for and loaded with the writer lock released, and the
    /// request starts again from the beginning, as `vport-layer.md` says.
    ///
    /// # Errors
    /// [`Error::NoSuchDatapath`], the port number errors, [`Error::NameTaken`], or what the vport layer and the port
    /// type say. Nothing is left behind: no port, no device, no reference.
    pub fn port_add(&self, datapath: &Arc<Datapath>, request: &PortRequest) -> Result<Arc<Vport>, Error> {
        let port = loop {
            let mut writer = self.lock();
            if !datapath.is_alive() {
                return Err(gone(datapath));
            }
            let port_no = self.choose_port_no(datapath, request.port_no)?;
            match self.try_port_add(&mut writer, datapath, request, Some(port_no))? {
                Attempt::Added(port) => break port,
                Attempt::TypeUnknown => drop(writer),
            }
            let netns = request.netns.as_ref().unwrap_or(datapath.netns());
            self.registry.request(request.port_type, netns.id())?;
        };
        self.listeners
            .tell(&Event::PortAdded { datapath: Arc::clone(datapath), port: Arc::downgrade(&port) });
        Ok(port)
    }

    /// Deletes a port and waits until it is destroyed (its device gone, if the port made it). Port 0 goes with its datapath only.
    ///
    /// # Errors
    /// [`Error::LocalPort`], [`Error::NoSuchPort`].
    pub fn port_del(&self, datapath: &Arc<Datapath>, port_no: u32) -> Result<(), Error> {
        if port_no == 0 {
            return Err(Error::LocalPort(datapath.name().to_string()));
        }
        let port = {
            let _writer = self.lock();
            let port = datapath.port(port_no).ok_or_else(|| no_such_port(datapath, port_no))?;
            self.unpublish_port(datapath, &port);
            port
        };
        self.finish_port_removal(datapath, port, HOLDERS_MAX, false);
        Ok(())
    }

    /// Deletes this very port, if it is still there; what device events call. Returns whether it was.
    pub fn port_detach(&self, port: &Arc<Vport>) -> bool {
        let Some(datapath) = self.take_out(port) else { return false };
        // The caller has the port still: there is nothing to wait for.
        self.finish_port_removal(&datapath, Arc::clone(port), Duration::ZERO, false);
        true
    }

    /// As [`Switch::port_detach`], but netlink clients are not told: the kernel module says nothing of an internal port whose device went
    /// with its namespace.
    pub fn port_forget(&self, port: &Arc<Vport>) -> bool {
        let Some(datapath) = self.take_out(port) else { return false };
        self.finish_port_removal(&datapath, Arc::clone(port), Duration::ZERO, true);
        true
    }

    /// Takes this very port out of its datapath, if it is still there.
    fn take_out(&self, port: &Arc<Vport>) -> Option<Arc<Datapath>> {
        let writer = self.lock();
        let datapath = Arc::clone(&writer.datapaths.get(&port.datapath())?.datapath);
        let here = datapath.port(port.port_no()).is_some_and(|found| Arc::ptr_eq(&found, port));
        if !here || port.port_no() == 0 {
            return None;
        }
        self.unpublish_port(&datapath, port);
        Some(datapath)
    }

    /// Makes a datapath's port 0 anew, with the name and the address that it had: for when somebody deleted its device. Flows, other ports
    /// and the datapath's counters stay.
    ///
    /// # Errors
    /// [`Error::NoSuchDatapath`], or what the port type says; then everything is as it was.
    pub fn local_port_renew(&self, datapath: &Arc<Datapath>) -> Result<(), Error> {
        let (old, new) = {
            let mut writer = self.lock();
            if !datapath.is_alive() {
                return Err(gone(datapath));
            }
            let old = datapath.port(0).ok_or_else(|| no_such_port(datapath, 0))?;
            let request = PortRequest {
                mac: old.info().mac,
                upcall_pids: old.upcall_pids().to_vec(),
                ..PortRequest::new(old.name(), old.port_type())
            };
            let kind = self.registry.try_get(request.port_type)?;
            let made = self.create(kind, &request, datapath.netns(), true)?;
            self.unpublish_port(datapath, &old);
            (old, self.publish_port(&mut writer, datapath, &request, 0, made)?)
        };
        self.release_ports(datapath, vec![old], HOLDERS_MAX, drop);
        self.tell_changed(Some(Arc::clone(datapath)), &new);
        Ok(())
    }

    /// Follows a device's new name.
    ///
    /// # Errors
    /// [`Error::Vport`] if another port of that namespace has the name; the port keeps its old one. [`Error::NoSuchPort`] if it has
    /// gone.
    pub fn port_rename(&self, port: &Arc<Vport>, name: PortName) -> Result<(), Error> {
        let writer = self.lock();
        let datapath = writer.datapaths.get(&port.datapath()).map(|entry| Arc::clone(&entry.datapath));
        if !port.is_alive() {
            // It has left the table, and must not come back into it under another name.
            let (datapath, port_no) = (port.name().to_string(), port.port_no());
            return Err(Error::NoSuchPort { datapath, port_no });
        }
        self.devices.rename(port, name)?;
        drop(writer);
        self.tell_changed(datapath, port);
        Ok(())
    }

    /// Asks a port's device again for its MTU, address and link, and tells whoever listens.
    pub fn port_refresh(&self, port: &Arc<Vport>) {
        let before = port.info();
        let now = port.refresh_info();
        // They know an old MTU: perhaps one between what it was before and the same now.
        self.shortcuts.end_port(port);
        if now.is_ok_and(|info| info != before) {
            self.tell_changed(self.datapath(port.datapath()), port);
        }
    }

    /// Adds a flow.
    ///
    /// # Errors
    /// [`Error::Actions`], [`Error::FlowExists`] for the same key and mask or the same identity, the table limits.
    pub fn flow_add(&self, datapath: &Arc<Datapath>, request: &FlowRequest) -> Result<Arc<Flow>, Error> {
        let parts = &request.parts;
        let program = Program::compile(&request.actions, &parts.key, &parts.mask, &Default::default())?;
        let mut writer = self.lock();
        let entry = writer.of_mut(datapath)?;
        let same_identity = parts.ufid.is_some_and(|ufid| entry.ufids.contains_key(&ufid));
        let masked = parts.mask.apply(&parts.key);
        let twin =
            datapath.find_flow_with(&masked, |flow| *flow.mask() == parts.mask && flow.key() == masked);
        if same_identity || twin.is_some() {
            return Err(Error::FlowExists);
        }
        // The lens first: see `lens_book.rs`.
        entry.lens_book.add(&parts.key, &parts.mask, &datapath.lenses);
        self.shortcuts.follow_lenses(datapath);
        let added = datapath.flows.insert(&parts.mask, |order, mask| {
            Arc::new(Flow::new(&self.domain, self.workers + 1, order, mask, parts, program))
        });
        match added {
            Ok(flow) => {
                if let Some(ufid) = parts.ufid {
                    entry.ufids.insert(ufid, Arc::clone(&flow));
                }
                Ok(flow)
            }
            Err(error) => {
                entry.lens_book.remove(&parts.key, &parts.mask, &datapath.lenses);
                Err(error.into())
            }
        }
    }

    /// Replaces a flow's actions; its statistics go on.
    ///
    /// # Errors
    /// [`Error::Actions`], [`Error::NoSuchFlow`].
    pub fn flow_set_actions(
        &self,
        datapath: &Arc<Datapath>,
        flow: &Arc<Flow>,
        actions: &[Action],
    ) -> Result<(), Error> {
        let program = Program::compile(actions, &flow.unmasked_key(), flow.mask(), &Default::default())?;
        let _writer = self.lock();
        self.check_flow(datapath, flow)?;
        flow.set_program(program);
        self.shortcuts.end_flow(flow);
        Ok(())
    }

    /// Starts a flow's statistics anew.
    pub fn flow_clear_stats(&self, flow: &Flow) {
        let _writer = self.lock();
        // A shortcut does not say which of its TCP flags came again.
        self.shortcuts.end_flow(flow);
        flow.clear_stats(&self.domain);
    }

    /// Deletes a flow.
    ///
    /// # Errors
    /// [`Error::NoSuchFlow`] if it has gone already.
    pub fn flow_del(&self, datapath: &Arc<Datapath>, flow: &Arc<Flow>) -> Result<(), Error> {
        let mut writer = self.lock();
        let entry = writer.of_mut(datapath)?;
        self.remove_flow(entry, flow)
    }

    /// Deletes all flows of a datapath and returns how many there were.
    pub fn flow_flush(&self, datapath: &Arc<Datapath>) -> usize {
        let mut writer = self.lock();
        let Ok(entry) = writer.of_mut(datapath) else { return 0 };
        let flows = datapath.flows();
        flows.iter().filter(|flow| self.remove_flow(entry, flow).is_ok()).count()
    }

    /// Makes a meter, in the place of the one that had its id, which is returned. Flows that use it go on with the new one: they
    /// name it by its id.
    ///
    /// # Errors
    /// [`Error::NoSuchDatapath`]; [`Error::MeterPlaceTaken`], [`Error::MetersFull`]: then the old meter has gone all the same, as
    /// in the kernel.
    pub fn meter_set(
        &self,
        datapath: &Arc<Datapath>,
        config: &MeterConfig,
        now_ns: u64,
    ) -> Result<Option<Arc<Meter>>, Error> {
        let mut writer = self.lock();
        let entry = writer.of_mut(datapath)?;
        let meters = &entry.datapath.meters;
        let old = meters.remove(config.id, &self.domain.pin());
        meters.add(Meter::new(config, self.workers + 1, now_ns))?;
        Ok(old)
    }

    /// Deletes a meter and returns it, if there was one. Flows that use it pass their packets from now on.
    pub fn meter_del(&self, datapath: &Arc<Datapath>, id: u32) -> Option<Arc<Meter>> {
        let _writer = self.lock();
        datapath.meters.remove(id, &self.domain.pin())
    }

    fn check_flow(&self, datapath: &Datapath, flow: &Arc<Flow>) -> Result<(), Error> {
        let found = datapath.find_flow_with(&flow.key(), |candidate| std::ptr::eq(candidate, &**flow));
        found.map(drop).ok_or(Error::NoSuchFlow)
    }

    fn free_datapath_id(&self, writer: &Writer) -> Result<u32, Error> {
        // Ids go into the upper half of the upcall queue's source numbers.
        let limit = self.limits.datapaths.min(0xffff);
        let taken = |id: &u32| writer.datapaths.contains_key(id);
        (0..limit as u32).find(|id| !taken(id)).ok_or(Error::TooManyDatapaths { limit })
    }

    fn choose_port_no(&self, datapath: &Datapath, wanted: Option<u32>) -> Result<u32, Error> {
        let name = || datapath.name().to_string();
        match wanted {
            Some(port_no) if port_no as usize >= PORTS_MAX => {
                Err(Error::PortNumberTooLarge { port_no, max: PORTS_MAX as u32 - 1 })
            }
            Some(port_no) if port_no != 0 => match datapath.port(port_no) {
                Some(_) => Err(Error::PortNumberTaken { datapath: name(), port_no }),
                None => Ok(port_no),
            },
            Some(_) | None => match datapath.ports.lowest_free(1) {
                Some(port_no) => Ok(port_no as u32),
                None => Err(Error::PortsFull { datapath: name(), limit: PORTS_MAX }),
            },
        }
    }

    /// Makes and publishes a port, under the writer lock.
    fn try_port_add(
        &self,
        writer: &mut Writer,
        datapath: &Arc<Datapath>,
        request: &PortRequest,
        port_no: Option<u32>,
    ) -> Result<Attempt, Error> {
        let netns = request.netns.as_ref().unwrap_or(datapath.netns());
        let kind = match self.registry.try_get(request.port_type) {
            Ok(kind) => kind,
            Err(portway_vport::Error::TypeUnknown { .. }) => return Ok(Attempt::TypeUnknown),
            Err(error) => return Err(error.into()),
        };
        let taken = self.devices.find(netns.id(), &request.name).is_some();
        let name_taken = || Error::NameTaken { name: request.name, netns: netns.id() };
        // A tunnel's device is made last, so what is wrong with the tunnel is said first, as in the kernel.
        if taken && !kind.kind().is_tunnel() {
            return Err(name_taken());
        }
        let port_no = port_no.unwrap_or(0);
        let made = self.create(kind, request, netns, port_no == 0)?;
        if taken {
            return Err(name_taken());
        }
        self.publish_port(writer, datapath, request, port_no, made).map(Attempt::Added)
    }

    /// Lets everything that looks for ports find a new one, under the writer lock.
    fn publish_port(
        &self,
        writer: &mut Writer,
        datapath: &Arc<Datapath>,
        request: &PortRequest,
        port_no: u32,
        (handle, info): Made,
    ) -> Result<Arc<Vport>, Error> {
        let netns = request.netns.as_ref().unwrap_or(datapath.netns());
        let config = VportConfig {
            name: request.name,
            netns: netns.id(),
            datapath: datapath.id(),
            workers: self.workers + 1,
            upcall_pids: request.upcall_pids.clone(),
            shown_type: request.shown_type,
        };
        let port = Vport::new(handle, info, config);
        port.set_port_no(port_no);
        // A failure from here on drops the port, which destroys it and puts its reference back.
        self.devices.insert(&port)?;
        if datapath.ports.set(port_no as usize, Arc::clone(&port)).is_err() {
            self.devices.remove(&port);
            return Err(Error::PortNumberTaken { datapath: datapath.name().to_string(), port_no });
        }
        for queue in 0..port.rx_queues() {
            let worker = self.worker_for(&port);
            let id = writer.next_entry;
            writer.next_entry += 1;
            let entry = RxEntry { id, port: Arc::clone(&port), queue, datapath: Arc::clone(datapath) };
            self.update_entries(worker, |entries| entries.push(entry));
        }
        Ok(port)
    }

    fn create(
        &self,
        kind: TypeRef,
        request: &PortRequest,
        netns: &Netns,
        is_local: bool,
    ) -> Result<Made, Error> {
        let type_name = kind.kind().name().to_string();
        let params = CreateParams {
            name: request.name.as_c_str(),
            netns: netns.as_fd(),
            tx_queues: self.workers + 1,
            options: &request.options,
            mac: request.mac,
            is_local,
        };
        kind.create(&params).map_err(|errno| {
            Error::Vport(portway_vport::Error::Create { port: request.name, name: type_name, errno })
        })
    }

    /// Takes a port out of everything that finds it, under the writer lock. Readers may still be in it.
    fn unpublish_port(&self, datapath: &Datapath, port: &Arc<Vport>) {
        port.stop();
        self.shortcuts.end_port(port);
        self.devices.remove(port);
        datapath.ports.remove(port.port_no() as usize);
        datapath.keep_missed(port);
        if port.rx_queues() != 0 {
            for worker in 0..self.workers {
                let guard = self.domain.pin();
                let has =
                    self.entries(worker).load(&guard).iter().any(|entry| Arc::ptr_eq(&entry.port, port));
                drop(guard);
                if has {
                    self.update_entries(worker, |entries| {
                        entries.retain(|entry| !Arc::ptr_eq(&entry.port, port));
                    });
                }
            }
        }
    }

    fn finish_port_removal(
        &self,
        datapath: &Arc<Datapath>,
        port: Arc<Vport>,
        patience: Duration,
        is_silent: bool,
    ) {
        let last = Box::new(RemovedPort { is_silent, ..RemovedPort::of(&port) });
        self.release_ports(datapath, vec![port], patience, drop);
        let datapath = Arc::clone(datapath);
        let (port_no, name, port_type) = (last.port_no, last.name, last.port_type);
        self.listeners.tell(&Event::PortRemoved { datapath, port_no, name, port_type, last });
    }

    /// After [`Switch::unpublish_port`], without the lock: puts the modules' references back, and destroys the ports once readers
    /// have left. Ports with a device are waited for, so that the device has gone when the request is answered: also for those
    /// who look at a port just now (an event's receiver, a listing), `patience` at most.
    fn release_ports(
        &self,
        datapath: &Datapath,
        ports: Vec<Arc<Vport>>,
        patience: Duration,
        destroy: impl FnOnce(Vec<Arc<Vport>>),
    ) {
        let wait = ports.iter().any(|port| port.ifindex() != 0 || port.rx_queues() != 0);
        for port in &ports {
            port.detach();
            self.shortcuts.forget_port(port);
        }
        if wait {
            self.domain.synchronize();
        }
        // Only now can no worker push any more, which would make the queue's entry anew.
        for port in &ports {
            self.upcalls.remove(datapath.upcall_source(port.port_no()));
        }
        let gone: Vec<_> = ports.iter().filter(|port| port.ifindex() != 0).map(|port| port.gone()).collect();
        // What the tables had of them goes first, so that `destroy` has the last of each.
        self.domain.reclaim();
        destroy(ports);
        if !patience.is_zero() {
            for gone in gone {
                gone.wait(patience);
            }
        }
    }

    /// Takes a flow out: classifier first, then the lens.
    fn remove_flow(&self, entry: &mut DatapathWriter, flow: &Arc<Flow>) -> Result<(), Error> {
        let datapath = &entry.datapath;
        if !datapath.flows.remove(flow) {
            return Err(Error::NoSuchFlow);
        }
        flow.kill();
        self.shortcuts.end_flow(flow);
        if let Some(ufid) = flow.ufid() {
            entry.ufids.remove(ufid);
        }
        entry.lens_book.remove(&flow.key(), flow.mask(), &datapath.lenses);
        Ok(())
    }

    fn tell_changed(&self, datapath: Option<Arc<Datapath>>, port: &Arc<Vport>) {
        if let Some(datapath) = datapath {
            self.listeners.tell(&Event::PortChanged { datapath, port: Arc::downgrade(port) });
        }
    }
}

impl Writer {
    /// The writer's part of a datapath. Compares more than the id, which another datapath may have by now.
    fn of_mut(&mut self, datapath: &Arc<Datapath>) -> Result<&mut DatapathWriter, Error> {
        let entry = self.datapaths.get_mut(&datapath.id());
        entry.filter(|entry| Arc::ptr_eq(&entry.datapath, datapath)).ok_or_else(|| gone(datapath))
    }
}

fn gone(datapath: &Datapath) -> Error {
    Error::NoSuchDatapath(datapath.name().to_string())
}

fn no_such_port(datapath: &Datapath, port_no: u32) -> Error {
    Error::NoSuchPort { datapath: datapath.name().to_string(), port_no }
}
