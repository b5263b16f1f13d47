// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What arrives after a step: frames at the taps, upcalls, notifications.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use anyhow::Result;
use portway_netlink::Messages;
use portway_netlink_socket::Error as SocketError;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Map, Value, json};

use crate::hex_of_bytes;
use crate::idle;
use crate::message;
use crate::outer::mask_outer;
use crate::player::{Player, left_ms};
use crate::space::split;
use crate::tap;

/// When all that is recorded has come, more may come within this time.
const GRACE: Duration = Duration::from_millis(4);
/// Nothing is recorded: nothing may come within this time, and until the daemon has nothing more to do.
const SILENCE: Duration = Duration::from_millis(12);
/// The longest such time: recordings have longer ones, for a machine that was slower than any that this runs on.
const SILENCE_MAX: Duration = Duration::from_millis(60);

/// Collects after one step.
pub(crate) struct Collector<'a> {
    player: &'a mut Player,
    /// Things that are recorded and have not come.
    awaited: usize,
    out: Map<String, Value>,
    upcalls: Map<String, Value>,
    multicast: Vec<Value>,
}

/// How many things a recording has for a step.
fn count(recorded: &Value) -> usize {
    let lists = |key: &str| {
        let lists = recorded[key].as_object().into_iter().flat_map(Map::values);
        lists.filter_map(Value::as_array).map(Vec::len).sum::<usize>()
    };
    let multicast = match &recorded["mcast"] {
        Value::String(_) => recorded["replies"].as_array().map_or(0, Vec::len),
        list => list.as_array().map_or(0, Vec::len),
    };
    lists("out") + lists("upcalls") + multicast
}

fn push(lists: &mut Map<String, Value>, name: &str, value: Value) {
    match lists.get_mut(name).and_then(Value::as_array_mut) {
        Some(list) => list.push(value),
        None => drop(lists.insert(name.into(), json!([value]))),
    }
}

impl<'a> Collector<'a> {
    pub(crate) fn new(player: &'a mut Player, recorded: &Value) -> Self {
        let awaited = count(recorded);
        Self { player, awaited, out: Map::new(), upcalls: Map::new(), multicast: Vec::new() }
    }

    pub(crate) fn run(mut self, settle_ms: u64) -> Result<Value> {
        let settle = Duration::from_millis(settle_ms);
        let quiet =
            if settle.is_zero() { Duration::from_millis(1) } else { settle.clamp(SILENCE, SILENCE_MAX) };
        if self.awaited == 0 && !settle.is_zero() || self.player.is_in_vain() {
            idle::wait(self.player.daemon);
        }
        let mut deadline = Instant::now() + if self.awaited == 0 { quiet } else { self.player.patience };
        loop {
            if !self.wait(left_ms(deadline))? {
                break;
            }
            self.take()?;
            if self.awaited == 0 {
                deadline = Instant::now() + GRACE;
            }
        }
        let mut seen = Map::new();
        if !self.out.is_empty() {
            seen.insert("out".into(), Value::Object(self.out));
        }
        if !self.upcalls.is_empty() {
            seen.insert("upcalls".into(), Value::Object(self.upcalls));
        }
        if !self.multicast.is_empty() {
            seen.insert("mcast".into(), self.multicast.into());
        }
        Ok(Value::Object(seen))
    }

    /// Waits until there is something; `false`: time is up.
    fn wait(&self, timeout_ms: u64) -> Result<bool> {
        let sockets = &self.player.sockets;
        let taps = self.player.taps.iter().map(|(_, tap)| tap.as_fd());
        let upcalls = sockets.upcalls.iter().map(|(_, socket)| socket.as_fd());
        let listener = sockets.listener.iter().map(|socket| socket.as_fd());
        let all: Vec<BorrowedFd<'_>> = taps.chain(upcalls).chain(listener).collect();
        let mut fds: Vec<PollFd<'_>> = all.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        let (seconds, rest_ms) = (timeout_ms / 1000, timeout_ms % 1000);
        let timeout = Timespec { tv_sec: seconds as i64, tv_nsec: (rest_ms * 1_000_000) as i64 };
        Ok(poll(&mut fds, Some(&timeout))? != 0)
    }

    fn arrived(&mut self) {
        self.awaited = self.awaited.saturating_sub(1);
    }

    fn take(&mut self) -> Result<()> {
        for place in 0..self.player.taps.len() {
            loop {
                let (name, tap) = &self.player.taps[place];
                let name = name.clone();
                match tap::receive(tap) {
                    Ok(Some(frame)) => self.frame(&name, frame),
                    Ok(None) => break,
                    // The device is down; what comes later still comes.
                    Err(_) => break,
                }
            }
        }
        for place in 0..self.player.sockets.upcalls.len() {
            loop {
                let (name, socket) = &self.player.sockets.upcalls[place];
                let name = name.clone();
                match socket.receive(0) {
                    Ok(Some(datagram)) => {
                        for message in self.describe(&datagram, split(&name).0) {
                            push(&mut self.upcalls, &name, message);
                            self.arrived();
                        }
                    }
                    Ok(None) => break,
                    Err(SocketError::Overrun) => {
                        push(&mut self.upcalls, &name, json!({"recv_error": "ENOBUFS"}));
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        while let Some(listener) = &self.player.sockets.listener {
            let Some(datagram) = listener.receive(0)? else { break };
            let messages = self.describe(&datagram, "");
            messages.iter().for_each(|_| self.arrived());
            self.multicast.extend(messages);
        }
        Ok(())
    }

    fn describe(&mut self, datagram: &[u8], space: &str) -> Vec<Value> {
        let families = self.player.sockets.families.clone();
        let messages = Messages::new(datagram);
        messages
            .map(|message| message::describe(&message, &families, &mut self.player.spaces, space))
            .collect()
    }

    fn frame(&mut self, tap: &str, frame: tap::Frame) {
        let bytes = &frame.bytes;
        if self.player.drops_multicast()
            && bytes.starts_with(&[0x33, 0x33])
            && bytes.get(12..14) == Some(&[0x86, 0xdd])
        {
            return;
        }
        let mut extra = Map::new();
        if frame.partial_checksum {
            extra.insert("csum".into(), "partial".into());
        }
        if frame.mark != 0 {
            extra.insert("mark".into(), format!("{:#x}", frame.mark).into());
        }
        let hex =
            if self.player.masks_tap(tap) { mask_outer(bytes, &mut extra) } else { hex_of_bytes(bytes) };
        let value = if extra.is_empty() {
            Value::from(hex)
        } else {
            extra.insert("frame".into(), hex.into());
            Value::Object(extra)
        };
        push(&mut self.out, tap, value);
        self.arrived();
    }
}
