// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `ovs_flow`: NEW, DEL, GET, SET.
//!
//! A flow is found by its identity: the UFID that it was made with, or else its key as the client gave it. Which of both a request
//! uses, and what happens when they disagree, is the kernel's, corner for corner.

use std::sync::Arc;

use portway_actions::Program;
use portway_datapath::{Datapath, Flow, FlowParts, FlowRequest as Make, Ufid};
use portway_flow::{Action, Classified, FlowKey, FlowMask};
use portway_messages::Refusal;
use portway_messages::actions::{decode_actions, encode_actions, put_actions};
use portway_messages::flow::{FlowCounts, FlowRequest};
use portway_messages::key::{Match, decode_key, decode_match, put_key, put_mask};
use portway_netlink::{Attr, AttrBuilder, Attrs, Error};
use portway_uapi::Errno;
use portway_uapi::netlink::{NLM_F_CREATE, NLM_F_EXCL};
use portway_uapi::openvswitch::*;

use crate::call::{Call, Handled};
use crate::describe::dp_ifindex;
use crate::errno::errno_of;

/// Nanoseconds of a millisecond.
const MS: u64 = 1_000_000;

/// Reads a request, and keeps what is to be warned of.
fn decode<'a>(call: &mut Call<'a>) -> Result<FlowRequest<'a>, Refusal> {
    let mut request = FlowRequest::decode(&call.genl)?;
    call.warning = request.warning.take();
    Ok(request)
}

fn read_match(key: Attr<'_>, request: &FlowRequest<'_>) -> Result<Match, Refusal> {
    Ok(decode_match(key.payload(), request.mask.map(|mask| mask.payload()))?)
}

fn read_actions(actions: Attr<'_>) -> Result<Vec<Action>, Refusal> {
    decode_actions(actions.payload()).map_err(|error| error.errno().into())
}

/// How the kernel shows a list: actions that hold other lists or fields in an order of its own, the others as they were written.
/// `None`: as we would write it.
fn written(list: &[u8], actions: &[Action]) -> Option<Box<[u8]>> {
    let ours = encode_actions(actions).ok()?;
    if ours == list {
        return None;
    }
    let mut shown = Vec::with_capacity(list.len());
    write_list(&mut AttrBuilder::new(&mut shown), Some(list), actions).ok()?;
    (ours != shown).then(|| shown.into())
}

/// Writes a list that was written as `list`; the two have the same number of actions.
fn write_list(b: &mut AttrBuilder<'_>, list: Option<&[u8]>, actions: &[Action]) -> Result<(), Error> {
    let attrs = Attrs::new(list.unwrap_or_default());
    attrs.zip(actions).try_for_each(|(attr, action)| write_action(b, attr, action))
}

fn write_action(b: &mut AttrBuilder<'_>, attr: Attr<'_>, action: &Action) -> Result<(), Error> {
    let inside =
        |kind| attr.nested().filter(|inner| inner.kind() == kind).last().map(|inner| inner.payload());
    match action {
        Action::Clone(actions) => {
            b.nest_unmarked(attr.kind(), |b| write_list(b, Some(attr.payload()), actions))
        }
        Action::Sample(sample) => b.nest_unmarked(attr.kind(), |b| {
            b.put_u32(OVS_SAMPLE_ATTR_PROBABILITY, sample.probability)?;
            b.nest_unmarked(OVS_SAMPLE_ATTR_ACTIONS, |b| {
                write_list(b, inside(OVS_SAMPLE_ATTR_ACTIONS), &sample.actions)
            })
        }),
        Action::Set(_) | Action::CheckPacketLength(_) | Action::DecTtl(_) => {
            let bytes = encode_actions(std::slice::from_ref(action))?;
            Attrs::new(&bytes).try_for_each(|attr| b.put(attr.raw_kind(), attr.payload()))
        }
        Action::Output(_)
        | Action::Userspace(_)
        | Action::PushVlan(_)
        | Action::PopVlan
        | Action::Truncate(_)
        | Action::Recirculate(_)
        | Action::Hash(_)
        | Action::Drop(_)
        | Action::PushMpls(_)
        | Action::PopMpls(_)
        | Action::PushEth(_)
        | Action::PopEth
        | Action::PushNsh(_)
        | Action::PopNsh
        | Action::Meter(_)
        | Action::Psample(_) => b.put(attr.kind(), attr.payload()),
    }
}

/// Refuses actions that do not suit the flow's packets.
fn check(actions: &[Action], key: &FlowKey, mask: &FlowMask) -> Handled {
    match Program::compile(actions, key, mask, &Default::default()) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.errno().into()),
    }
}

/// The flow that was made with exactly this key and without a UFID.
fn by_key(datapath: &Datapath, key: &FlowKey) -> Option<Arc<Flow>> {
    datapath.find_flow_with(key, |flow| flow.ufid().is_none() && flow.unmasked_key() == *key)
}

/// The flow that a request means.
fn find(
    call: &Call<'_>,
    datapath: &Datapath,
    request: &FlowRequest<'_>,
    key: Option<&FlowKey>,
) -> Result<Arc<Flow>, Errno> {
    let found = match (request.ufid.and_then(Ufid::new), key) {
        (Some(ufid), _) => call.server.switch.flow_by_ufid(datapath, &ufid),
        (None, Some(key)) => by_key(datapath, key),
        (None, None) => return Err(Errno::EINVAL),
    };
    found.ok_or(Errno::ENOENT)
}

/// Writes a flow's attributes, but for those that the flags leave out.
pub(crate) fn encode_flow(
    datapath: &Datapath,
    flow: &Flow,
    ufid_flags: u32,
    b: &mut AttrBuilder<'_>,
) -> Result<(), Error> {
    // Keys are packed at rest: a terse dump, which clients make all the time, has no use for them.
    match flow.ufid() {
        Some(ufid) => {
            b.put(OVS_FLOW_ATTR_UFID, ufid.as_bytes())?;
            if ufid_flags & OVS_UFID_F_OMIT_KEY == 0 {
                put_key(b, OVS_FLOW_ATTR_KEY, &Classified::key(flow))?;
            }
        }
        None => put_key(b, OVS_FLOW_ATTR_KEY, &flow.unmasked_key())?,
    }
    if ufid_flags & OVS_UFID_F_OMIT_MASK == 0 {
        put_mask(b, OVS_FLOW_ATTR_MASK, &Classified::key(flow), flow.mask())?;
    }
    let guard = datapath.pin();
    let stats = flow.stats(&guard);
    let counts = FlowCounts {
        stats: ovs_flow_stats { n_packets: stats.packets, n_bytes: stats.bytes },
        tcp_flags: stats.tcp_flags as u8,
        used_ms: (stats.used_ns != 0).then_some(stats.used_ns / MS),
    };
    counts.encode(b)?;
    if ufid_flags & OVS_UFID_F_OMIT_ACTIONS == 0 {
        match flow.written_actions() {
            Some(written) => b.put(OVS_FLOW_ATTR_ACTIONS, &written)?,
            None => put_actions(b, OVS_FLOW_ATTR_ACTIONS, flow.program(&guard).actions())?,
        }
    }
    Ok(())
}

impl Call<'_> {
    fn flow_message(
        &self,
        cmd: u8,
        datapath: &Datapath,
        flow: &Flow,
        flags: u32,
    ) -> Result<Vec<u8>, Refusal> {
        self.encode(cmd, dp_ifindex(datapath), |b| encode_flow(datapath, flow, flags, b))
    }

    /// Notifies of a flow, if anybody hears it.
    fn notify_flow(&mut self, cmd: u8, datapath: &Datapath, flow: &Flow, flags: u32) -> Handled {
        if self.must_notify() {
            let message = self.flow_message(cmd, datapath, flow, flags)?;
            self.notify(message);
        }
        Ok(())
    }
}

pub(crate) fn new(call: &mut Call<'_>) -> Handled {
    let request = decode(call)?;
    let (Some(key), Some(list)) = (request.key, request.actions) else { return Err(Errno::EINVAL.into()) };
    let Match { key, mask } = read_match(key, &request)?;
    let actions = read_actions(list)?;
    let written = written(list.payload(), &actions);
    let ufid = request.ufid.and_then(Ufid::new);
    let found = call.datapath(request.dp_ifindex);
    let Ok(datapath) = found else {
        // Bad actions are told before a datapath that does not exist.
        check(&actions, &key, &mask)?;
        return Err(Errno::ENODEV.into());
    };
    let by_ufid = ufid.and_then(|ufid| call.server.switch.flow_by_ufid(&datapath, &ufid));
    let flow = match by_ufid.or_else(|| datapath.flow_for(&key)) {
        None => {
            let make = Make { parts: FlowParts { key, mask, ufid }, actions };
            call.server.switch.flow_add(&datapath, &make).map_err(|error| errno_of(&error))?
        }
        Some(flow) => {
            check(&actions, &key, &mask)?;
            let flow = update_target(call, &datapath, flow, &key)?;
            let changed = call.server.switch.flow_set_actions(&datapath, &flow, &actions);
            changed.map_err(|error| errno_of(&error))?;
            flow
        }
    };
    flow.set_written_actions(written);
    call.notify_flow(OVS_FLOW_CMD_NEW, &datapath, &flow, request.ufid_flags)
}

/// The flow whose actions a NEW replaces, where `flow` is one that covers the key or has the UFID.
fn update_target(
    call: &Call<'_>,
    datapath: &Datapath,
    flow: Arc<Flow>,
    key: &FlowKey,
) -> Result<Arc<Flow>, Errno> {
    // Generic netlink takes EXCL for half of a dump, so CREATE stands for it.
    if call.message.header().nlmsg_flags & (NLM_F_CREATE | NLM_F_EXCL) != 0 {
        return Err(Errno::EEXIST);
    }
    if flow.ufid().is_some() {
        // The kernel compares with the key as it was given: what the mask leaves out must be zero.
        let same = Classified::key(&*flow) == *key;
        return if same { Ok(flow) } else { Err(Errno::ENOENT) };
    }
    if flow.unmasked_key() == *key {
        return Ok(flow);
    }
    by_key(datapath, key).ok_or(Errno::ENOENT)
}

pub(crate) fn del(call: &mut Call<'_>) -> Handled {
    let request = decode(call)?;
    let key = request.key.map(|key| decode_key(key.payload())).transpose()?;
    let datapath = call.datapath(request.dp_ifindex)?;
    if key.is_none() && request.ufid.is_none() {
        call.server.switch.flow_flush(&datapath);
        return Ok(());
    }
    let flow = find(call, &datapath, &request, key.as_ref())?;
    call.server.switch.flow_del(&datapath, &flow).map_err(|error| errno_of(&error))?;
    call.notify_flow(OVS_FLOW_CMD_DEL, &datapath, &flow, request.ufid_flags)
}

pub(crate) fn get(call: &mut Call<'_>) -> Handled {
    let request = decode(call)?;
    let key = request.key.map(|key| decode_key(key.payload())).transpose()?;
    if key.is_none() && request.ufid.is_none() {
        return Err(Errno::EINVAL.into());
    }
    let datapath = call.datapath(request.dp_ifindex)?;
    let flow = find(call, &datapath, &request, key.as_ref())?;
    let message = call.flow_message(OVS_FLOW_CMD_GET, &datapath, &flow, request.ufid_flags)?;
    call.reply(message);
    Ok(())
}

pub(crate) fn set(call: &mut Call<'_>) -> Handled {
    let request = decode(call)?;
    let matched = request.key.map(|key| read_match(key, &request)).transpose()?;
    if matched.is_none() && request.ufid.is_none() {
        return Err(Errno::EINVAL.into());
    }
    let actions = match (&request.actions, &matched) {
        (None, _) => None,
        (Some(_), None) => return Err(Errno::EINVAL.into()),
        (Some(actions), Some(Match { key, mask })) => {
            let actions = read_actions(*actions)?;
            check(&actions, key, mask)?;
            Some(actions)
        }
    };
    let datapath = call.datapath(request.dp_ifindex)?;
    let flow = find(call, &datapath, &request, matched.as_ref().map(|matched| &matched.key))?;
    if let Some(actions) = &actions {
        let changed = call.server.switch.flow_set_actions(&datapath, &flow, actions);
        changed.map_err(|error| errno_of(&error))?;
        let list = request.actions.map_or(&[][..], |list| list.payload());
        flow.set_written_actions(written(list, actions));
    }
    // The reply shows the statistics from before they are cleared.
    let notified = call.notify_flow(OVS_FLOW_CMD_SET, &datapath, &flow, request.ufid_flags);
    if request.clear {
        call.server.switch.flow_clear_stats(&flow);
    }
    notified
}
