// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Plays a scenario: each step is done as the recording's runner did it, and what is seen is noted in the recording's form.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use portway_netlink::{Attrs, Messages};
use portway_netlink_socket::{Command as Option_, Error as SocketError, NetlinkSocket};
use portway_uapi::netlink::{NLM_F_ACK, NLM_F_DUMP, NLMSG_DONE, NLMSG_ERROR};
use serde_json::{Map, Value, json};

use crate::bytes_of_hex;
use crate::collect::Collector;
use crate::encode::{Resolve, attributes};
use crate::idle;
use crate::message::{self, FamilyIds};
use crate::modules::Modules;
use crate::space::{Spaces, split};
use crate::tables::FAMILIES;
use crate::tap::{self, Extras};

/// What is recorded may take so long to come. Only what does not come takes this long.
const LATE: Duration = Duration::from_secs(4);
/// The same for what will hardly come.
const VAIN: Duration = Duration::from_millis(30);
/// NETLINK_GENERIC.
const GENERIC: u32 = 16;
/// First port ids of requesters and of upcall sockets, and that of the listener to groups: the recordings' own, for
/// some requests have them as bytes.
const REQUESTERS: u32 = 0x4000;
const UPCALLS: u32 = 0x5001;
const LISTENER: u32 = 0x4f00;

/// The sockets of a scenario.
pub(crate) struct Sockets {
    path: PathBuf,
    requesters: BTreeMap<String, NetlinkSocket>,
    /// In the order in which they were made.
    pub(crate) upcalls: Vec<(String, NetlinkSocket)>,
    pub(crate) listener: Option<NetlinkSocket>,
    made: u32,
    pub(crate) families: FamilyIds,
    groups: Vec<u32>,
}

/// A scenario being played.
pub(crate) struct Player {
    pub(crate) spaces: Spaces,
    pub(crate) sockets: Sockets,
    pub(crate) taps: Vec<(String, OwnedFd)>,
    scenario: Value,
    /// The daemon's process.
    pub(crate) daemon: u32,
    /// How long what is recorded for a step is waited for.
    pub(crate) patience: Duration,
    veths: u32,
    seq: u32,
    modules: Box<dyn Modules>,
}

struct Symbols<'a> {
    spaces: &'a mut Spaces,
    sockets: &'a mut Sockets,
}

impl Resolve for Symbols<'_> {
    fn symbol(&mut self, symbol: &str) -> Result<u32> {
        match symbol.split_once(':') {
            Some(("pid", "self")) => Ok(self.sockets.requester(self.spaces, "")?.port_id()),
            Some(("pid", name)) => self.sockets.upcall(self.spaces, name),
            Some(("ifindex", name)) => self.spaces.ifindex(name),
            _ => bail!("no such symbol: ${symbol}"),
        }
    }
}

impl Sockets {
    fn open(&self, spaces: &Spaces, space: &str, port_id: u32) -> Result<NetlinkSocket> {
        use std::os::fd::AsFd;
        let socket = NetlinkSocket::open(&self.path, spaces.netns(space)?.as_fd(), GENERIC, port_id)?;
        socket.command(Option_::SetAck { capped: true, extended: true })?;
        Ok(socket)
    }

    fn requester(&mut self, spaces: &Spaces, space: &str) -> Result<&NetlinkSocket> {
        if !self.requesters.contains_key(space) {
            let socket = self.open(spaces, space, REQUESTERS + self.requesters.len() as u32)?;
            self.requesters.insert(space.into(), socket);
        }
        self.requesters.get(space).context("a socket was just made")
    }

    fn upcall(&mut self, spaces: &Spaces, name: &str) -> Result<u32> {
        if let Some((_, socket)) = self.upcalls.iter().find(|(known, _)| known == name) {
            return Ok(socket.port_id());
        }
        let socket = self.open(spaces, split(name).0, UPCALLS + self.made)?;
        self.made += 1;
        let port_id = socket.port_id();
        self.upcalls.push((name.into(), socket));
        Ok(port_id)
    }

    /// Finds the families and joins their groups, if the scenario listens.
    fn find_families(&mut self, spaces: &Spaces, listen: bool) -> Result<()> {
        for (place, family) in FAMILIES.iter().enumerate() {
            if family.header == 0 {
                self.families.push((16, place));
                continue;
            }
            let mut body = vec![3, 1, 0, 0];
            body.extend(((family.name.len() + 5) as u16).to_ne_bytes());
            body.extend(2_u16.to_ne_bytes());
            body.extend(family.name.as_bytes());
            body.resize((body.len() + 1).next_multiple_of(4), 0);
            let socket = self.requester(spaces, "")?;
            socket.send(&datagram(16, 5, 0, socket.port_id(), &body))?;
            let reply = socket.receive(5000)?.context("no answer from nlctrl")?;
            let message = Messages::new(&reply).next().context("no message from nlctrl")?;
            while socket.receive(0)?.is_some() {}
            for attr in Attrs::new(message.payload().get(4..).unwrap_or(&[])) {
                match attr.kind() {
                    1 => self.families.push((attr.u16()?, place)),
                    7 => {
                        let inside = attr.nested().flat_map(|group| group.nested());
                        self.groups.extend(
                            inside.filter(|part| part.kind() == 2).filter_map(|part| part.u32().ok()),
                        );
                    }
                    _ => {}
                }
            }
        }
        if listen {
            let listener = self.open(spaces, "", LISTENER)?;
            for group in &self.groups {
                listener.command(Option_::Join(*group))?;
            }
            self.listener = Some(listener);
        }
        Ok(())
    }
}

fn datagram(kind: u16, flags: u16, seq: u32, pid: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16 + body.len());
    bytes.extend((16 + body.len() as u32).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(seq.to_ne_bytes());
    bytes.extend(pid.to_ne_bytes());
    bytes.extend(body);
    bytes
}

impl Player {
    /// Makes ready in the namespace that we are in, for a daemon that listens at `path` and is process `daemon`.
    pub(crate) fn new(
        path: PathBuf,
        daemon: u32,
        scenario: &Value,
        modules: Box<dyn Modules>,
    ) -> Result<Self> {
        let spaces = Spaces::new()?;
        let mut sockets = Sockets {
            path,
            requesters: BTreeMap::new(),
            upcalls: Vec::new(),
            listener: None,
            made: 0,
            families: Vec::new(),
            groups: Vec::new(),
        };
        if scenario["no_genl"] != true {
            sockets.find_families(&spaces, scenario["mcast"] != false)?;
        }
        let taps = Vec::new();
        Ok(Self {
            spaces,
            sockets,
            taps,
            scenario: scenario.clone(),
            daemon,
            patience: LATE,
            veths: 0,
            seq: 1,
            modules,
        })
    }

    /// Whether what is recorded for the next step is expected to come at all.
    pub(crate) fn expect(&mut self, expected: bool) {
        self.patience = if expected { LATE } else { VAIN };
    }

    /// Whether what is recorded for this step will hardly come; what does come is then there when the daemon has nothing more to do.
    pub(crate) fn is_in_vain(&self) -> bool {
        self.patience == VAIN
    }

    /// Does a step. `recorded` only says how much there is to wait for.
    pub(crate) fn step(&mut self, step: &Value, recorded: &Value) -> Result<Value> {
        let seen = match step["op"].as_str().unwrap_or_default() {
            "nl" => self.netlink(step, recorded),
            "link" => self.link(step),
            "ip" => self.ip(step),
            "ethtool" => self.tool("ethtool", step),
            "sysctl" => self.sysctl(step),
            "sleep" => {
                std::thread::sleep(Duration::from_millis(step["ms"].as_u64().unwrap_or(0)));
                Ok(json!({}))
            }
            "inject" => self.inject(step, recorded),
            "collect" | "mcast" => self.collect(step["settle"].as_u64().unwrap_or(60), recorded),
            "modules" => Ok(json!({"modules": self.modules.loaded()?})),
            "modprobe" => {
                let done = self.modules.modprobe(step["args"].as_str().unwrap_or_default());
                // What the kernel refused is to be refused.
                let is_refused = recorded["rc"].as_u64().is_some_and(|code| code != 0);
                match done {
                    Ok(()) if is_refused => bail!("it was to be refused"),
                    Err(error) if !is_refused => Err(error),
                    Ok(()) | Err(_) => Ok(json!({})),
                }
            }
            // To look at, not to match; and the processors are the daemon's affair.
            "show" | "links" | "conntrack" | "dmesg" | "affinity" => Ok(json!({})),
            other => bail!("no such step: {other}"),
        };
        if matches!(step["op"].as_str(), Some("link" | "ip" | "ethtool" | "sysctl")) {
            // It has heard of what was done to devices.
            idle::wait(self.daemon);
        }
        self.spaces.remember_all();
        seen
    }

    pub(crate) fn collect(&mut self, settle_ms: u64, recorded: &Value) -> Result<Value> {
        Collector::new(self, recorded).run(settle_ms)
    }

    pub(crate) fn drops_multicast(&self) -> bool {
        self.scenario["drop_mcast6"] == true
    }

    pub(crate) fn masks_tap(&self, tap: &str) -> bool {
        self.scenario["mask_taps"].as_array().is_some_and(|taps| taps.iter().any(|name| name == tap))
    }

    fn request(&mut self, step: &Value, port_id: u32) -> Result<(u16, Vec<u8>)> {
        let name = step["family"].as_str().context("a family")?;
        let place = FAMILIES.iter().position(|family| family.name == name).context("a known family")?;
        let family = &FAMILIES[place];
        let id =
            self.sockets.families.iter().find(|(_, known)| *known == place).context("family not found")?.0;
        let flags = match step["flags"].as_array() {
            None => 1 | 4 | 8,
            Some(flags) => flags.iter().filter_map(message::flag_number).fold(0, |all, flag| all | flag),
        };
        let command = match &step["cmd"] {
            Value::Number(number) => number.as_u64().unwrap_or(0) as u8,
            name => family.commands.iter().find(|(known, _)| name == known).context("a known command")?.1,
        };
        let version = step["version"].as_u64().map_or(family.version, |version| version as u8);
        let mut body = vec![command, version, 0, 0];
        if family.header != 0 && step["no_hdr"] != true {
            let dp = match &step["dp"] {
                Value::String(device) => self.spaces.ifindex(device)?,
                number => number.as_i64().unwrap_or(0) as u32,
            };
            body.extend(dp.to_ne_bytes());
        }
        match step["attrs"].get("hex") {
            Some(hex) => body.extend(hex.as_str().and_then(bytes_of_hex).context("hex")?),
            None => {
                let none = json!([]);
                let attrs = step.get("attrs").unwrap_or(&none);
                let mut symbols = Symbols { spaces: &mut self.spaces, sockets: &mut self.sockets };
                attributes(family.table, attrs, &mut symbols, &mut body)?;
            }
        }
        self.seq += 1;
        Ok((flags, datagram(id, flags, self.seq, port_id, &body)))
    }

    fn netlink(&mut self, step: &Value, recorded: &Value) -> Result<Value> {
        let space = step["ns"].as_str().unwrap_or("").to_owned();
        let port_id = self.sockets.requester(&self.spaces, &space)?.port_id();
        let (flags, request) = self.request(step, port_id)?;
        let mut seen = if step["as"] == "nobody" {
            let socket = self.unprivileged(&space)?;
            socket.send(&request)?;
            self.answers(&socket, flags, &space)?
        } else {
            // Taken out meanwhile: describing answers needs the rest.
            let socket = self.sockets.requesters.remove(&space).context("a socket")?;
            let answers =
                socket.send(&request).map_err(Into::into).and_then(|()| self.answers(&socket, flags, &space));
            self.sockets.requesters.insert(space, socket);
            answers?
        };
        if self.sockets.listener.is_some() && step["collect"] != false {
            let more = self.collect(step["settle"].as_u64().unwrap_or(0), recorded)?;
            if let Value::Object(more) = more {
                seen.extend(more);
            }
            if seen.get("mcast").is_some() && seen.get("mcast") == seen.get("replies") {
                seen.insert("mcast".into(), "=replies".into());
            }
        }
        Ok(Value::Object(seen))
    }

    /// A socket of a user without capabilities.
    fn unprivileged(&self, space: &str) -> Result<NetlinkSocket> {
        let nobody = rustix::fs::Uid::from_raw(65534);
        let (sockets, spaces) = (&self.sockets, &self.spaces);
        std::thread::scope(|scope| {
            let open = || {
                rustix::thread::set_thread_uid(nobody)?;
                sockets.open(spaces, space, 0)
            };
            scope.spawn(open).join().unwrap_or_else(|_| bail!("the thread failed"))
        })
    }

    fn answers(&mut self, socket: &NetlinkSocket, flags: u16, space: &str) -> Result<Map<String, Value>> {
        let seq = self.seq;
        let mut seen = Map::new();
        let mut replies = Vec::new();
        let ends = flags & NLM_F_ACK != 0 || flags & NLM_F_DUMP == NLM_F_DUMP;
        let mut done = false;
        while !done {
            let datagram = match socket.receive(if ends { 20_000 } else { 20 }) {
                Ok(Some(datagram)) => datagram,
                Ok(None) => {
                    if ends {
                        seen.insert("timeout".into(), true.into());
                    }
                    break;
                }
                Err(SocketError::Overrun) => {
                    seen.insert("recv_error".into(), "ENOBUFS".into());
                    break;
                }
                Err(error) => return Err(error.into()),
            };
            for message in Messages::new(&datagram) {
                match message.header().nlmsg_type {
                    _ if message.header().nlmsg_seq != seq => {
                        replies.push(json!({"seq_mismatch": true}));
                    }
                    NLMSG_ERROR => {
                        message::acknowledgement(&message, &mut seen);
                        done = true;
                    }
                    NLMSG_DONE => {
                        let code = message.payload().get(..4).and_then(|code| code.try_into().ok());
                        let errno = -code.map_or(0, i32::from_ne_bytes);
                        seen.insert("done".into(), message::errno_name(errno));
                        message::extended(message.payload().get(4..).unwrap_or(&[]), &mut seen);
                        done = true;
                    }
                    _ => {
                        let families = self.sockets.families.clone();
                        replies.push(message::describe(&message, &families, &mut self.spaces, space));
                    }
                }
            }
        }
        if !replies.is_empty() {
            seen.insert("replies".into(), replies.into());
        }
        Ok(seen)
    }

    fn run(&self, space: &str, program: &str, args: &[&str]) -> Result<Value> {
        let output = self.spaces.run(space, || Command::new(program).args(args).output())??;
        let text = [output.stdout, output.stderr].concat();
        Ok(json!({"rc": output.status.code(), "text": String::from_utf8_lossy(&text).trim()}))
    }

    fn ip(&self, step: &Value) -> Result<Value> {
        let args: Vec<&str> = match &step["args"] {
            Value::Array(args) => args.iter().filter_map(Value::as_str).collect(),
            args => args.as_str().unwrap_or_default().split_whitespace().collect(),
        };
        self.run(step["ns"].as_str().unwrap_or(""), "ip", &args)
    }

    fn tool(&self, program: &str, step: &Value) -> Result<Value> {
        let args: Vec<&str> = step["args"].as_str().unwrap_or_default().split_whitespace().collect();
        self.run(step["ns"].as_str().unwrap_or(""), program, &args)
    }

    fn sysctl(&self, step: &Value) -> Result<Value> {
        let (key, value) =
            (step["key"].as_str().context("a key")?, step["value"].as_str().context("a value")?);
        let write = || std::fs::write(format!("/proc/sys/{key}"), value);
        let written = self.spaces.run(step["ns"].as_str().unwrap_or(""), write)?;
        Ok(json!({"rc": i32::from(written.is_err())}))
    }

    fn link(&mut self, step: &Value) -> Result<Value> {
        let text = |key: &str| step[key].as_str();
        match text("do").unwrap_or_default() {
            "netns" => self.spaces.add(text("name").context("a name")?)?,
            "netns-del" => {
                let name = text("name").context("a name")?;
                let inside = |known: &str| known == name || split(known).0 == name;
                self.taps.retain(|(known, _)| !inside(known));
                self.sockets.upcalls.retain(|(known, _)| !inside(known));
                self.sockets.requesters.retain(|known, _| !inside(known));
                self.spaces.remove(name)?;
            }
            "veth" => return self.veth(step),
            "listen" => {
                for device in step["devs"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                    self.listen(device)?;
                }
            }
            other => bail!("no such link step: {other}"),
        }
        Ok(json!({}))
    }

    fn veth(&mut self, step: &Value) -> Result<Value> {
        let text = |key: &str| step[key].as_str();
        self.veths += 1;
        let (name, peer) = (text("name").context("a name")?, text("peer").context("a peer")?);
        let (mac, peer_mac) =
            (format!("02:00:00:00:{:02x}:01", self.veths), format!("02:00:00:00:{:02x}:02", self.veths));
        let (mac, peer_mac) = (text("mac").unwrap_or(&mac), text("peer_mac").unwrap_or(&peer_mac));
        let mtu = step["mtu"].as_u64().map(|mtu| mtu.to_string());
        let mtu: Vec<&str> = mtu.iter().flat_map(|mtu| ["mtu", mtu.as_str()]).collect();
        let space = text("ns").unwrap_or("");
        let peer_space = text("peer_ns").unwrap_or(space);
        let mut args =
            vec!["link", "add", "name", name, "address", mac, "numtxqueues", "1", "numrxqueues", "1"];
        args.extend(&mtu);
        args.extend(["type", "veth", "peer", "name", peer, "address", peer_mac]);
        args.extend(&mtu);
        if let Some(space) = text("peer_ns") {
            args.extend(["netns", space]);
        }
        let made = self.run(space, "ip", &args)?;
        if made["rc"] != 0 {
            return Ok(made);
        }
        self.run(space, "ip", &["link", "set", name, "up"])?;
        self.run(peer_space, "ip", &["link", "set", peer, "up", "arp", text("arp").unwrap_or("off")])?;
        if step["listen"] != false {
            let tap = text("peer_ns").map_or(peer.to_owned(), |space| format!("{space}/{peer}"));
            self.listen(&tap)?;
        }
        Ok(json!({}))
    }

    fn listen(&mut self, name: &str) -> Result<()> {
        if self.taps.iter().any(|(known, _)| known == name) {
            return Ok(());
        }
        let index = self.spaces.ifindex(name)?;
        let tap = self.spaces.run(split(name).0, || tap::listen(index))??;
        self.taps.push((name.into(), tap));
        Ok(())
    }

    fn inject(&mut self, step: &Value, recorded: &Value) -> Result<Value> {
        let name = step["dev"].as_str().context("a device")?;
        let mut frame = step["frame"].as_str().and_then(bytes_of_hex).context("a frame")?;
        if let Some(pad) = step["pad"].as_u64() {
            frame.resize(frame.len().max(pad as usize), 0);
        }
        let number = |value: &Value| match value {
            Value::String(text) => text.strip_prefix("0x").and_then(|hex| u32::from_str_radix(hex, 16).ok()),
            value => value.as_u64().map(|number| number as u32),
        };
        let vnet = step.get("vnet");
        if let Some(vnet) = vnet {
            let field = |key: &str| vnet[key].as_u64().unwrap_or(0) as u16;
            let mut header = vec![field("flags") as u8, field("gso_type") as u8];
            for key in ["hdr_len", "gso_size", "csum_start", "csum_offset"] {
                header.extend(field(key).to_le_bytes());
            }
            frame = [header, frame].concat();
        }
        let extras =
            Extras { mark: number(&step["mark"]), priority: number(&step["priority"]), vnet: vnet.is_some() };
        let index = self.spaces.ifindex(name)?;
        let count = step["count"].as_u64().unwrap_or(1);
        let sent = self.spaces.run(split(name).0, || tap::inject(index, &frame, count, extras))?;
        let mut seen = Map::new();
        if let Err(error) = sent {
            seen.insert("send_error".into(), message::errno_name(error.raw_os_error().unwrap_or(0)));
        }
        if step["collect"] != false {
            let settle = step["settle"].as_u64().or(self.scenario["settle"].as_u64()).unwrap_or(12);
            if let Value::Object(more) = self.collect(settle, recorded)? {
                seen.extend(more);
            }
        }
        Ok(Value::Object(seen))
    }
}

/// A deadline that can be asked how much is left.
pub(crate) fn left_ms(deadline: Instant) -> u64 {
    deadline.saturating_duration_since(Instant::now()).as_millis() as u64
}
