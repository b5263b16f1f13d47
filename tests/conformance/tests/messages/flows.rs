// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Every flow that was asked for: whether its key and mask are taken, and how the reply shows them.

use portway_conformance::attrs::{FLOW, nest_bytes};
use portway_conformance::{Recording, Step, hex_of_bytes};
use portway_flow::text::{self, Style};
use portway_messages::key::{Match, decode_match, encode_key, encode_mask};
use portway_uapi::openvswitch as ovs;

use crate::{Tally, attribute, hex, raw};

/// What the kernel logged when it refused a key or a mask rather than something else of the request.
fn blames_key(step: &Step) -> Option<bool> {
    const ACTIONS: &[&str] =
        &["ctions", "action", "Action", "SET", "set", "nat", "conntrack", "Conntrack", "UFID", "ufid"];
    let lines = step.got["klog"].as_array()?;
    let blames_actions = |line: &serde_json::Value| {
        ACTIONS.iter().any(|word| line.as_str().is_some_and(|line| line.contains(word)))
    };
    (!lines.is_empty()).then(|| !lines.iter().any(blames_actions))
}

/// A request for a new flow. `flows` are those that there are: asked for again, they are shown as they were first asked for.
fn flow(step: &Step, place: &str, flows: &mut Vec<Match>, tally: &mut Tally) {
    let Some(request) = nest_bytes(&step.what["attrs"], FLOW) else {
        tally.differences.push(format!("{place}: the request cannot be written"));
        return;
    };
    let Some(key) = attribute(&request, ovs::OVS_FLOW_ATTR_KEY) else { return };
    let mask = attribute(&request, ovs::OVS_FLOW_ATTR_MASK);
    let ours = decode_match(&key, mask.as_deref());
    let errno = &step.got["errno"];
    if errno == "ERANGE" {
        return; // The policy for the request's own attributes refuses it.
    }
    let refused = errno == "EINVAL";
    let shown = |matched: &Match| {
        let style = Style { verbose: true, ..Style::default() };
        text::format_key(&matched.key, Some(&matched.mask), style)
    };
    match &ours {
        Err(error) if !refused => tally.differences.push(format!(
            "{place}: refused ({error}), the kernel {errno}\n    key {}\n    mask {:?}",
            hex_of_bytes(&key),
            mask.as_deref().map(hex_of_bytes)
        )),
        Ok(matched) if refused && blames_key(step) == Some(true) => {
            tally.differences.push(format!(
                "{place}: taken ({}), the kernel: {}",
                shown(matched),
                step.got["klog"]
            ));
        }
        Ok(matched) => {
            tally.matched += 1;
            let masked = matched.mask.apply(&matched.key);
            let known = |flow: &Match| {
                flow.key == matched.key || flow.mask.matches(&masked, &flow.mask.apply(&flow.key))
            };
            if !flows.iter().any(known) {
                reply(step, matched, place, tally);
            }
            if errno == 0 {
                flows.push(matched.clone());
            }
        }
        Err(_) => tally.matched += 1,
    }
}

/// Compares a reply's key and mask with ours.
fn reply(step: &Step, ours: &Match, place: &str, tally: &mut Tally) {
    let Some(message) = step.got["replies"].get(0).map(raw) else { return };
    if let Some(mask) = attribute(&message, ovs::OVS_FLOW_ATTR_MASK) {
        tally.compare(&format!("{place} mask"), &encode_mask(&ours.key, &ours.mask), &mask, hex);
    }
    if let Some(key) = attribute(&message, ovs::OVS_FLOW_ATTR_KEY) {
        // A flow with an identifier forgets the bits of its key that the mask hides.
        let identified = attribute(&message, ovs::OVS_FLOW_ATTR_UFID).is_some();
        let shown = if identified { encode_key(&ours.mask.apply(&ours.key)) } else { encode_key(&ours.key) };
        tally.compare(&format!("{place} key"), &shown, &key, hex);
    }
}

#[test]
fn flows_are_taken_and_shown_as_by_the_kernel() {
    let mut tally = Tally::default();
    for recording in Recording::all(&[""]) {
        let mut flows = Vec::new();
        for (index, step) in recording.steps.iter().enumerate() {
            match (step.what["family"].as_str(), step.what["cmd"].as_str()) {
                (Some("ovs_flow"), Some("NEW")) => {
                    flow(step, &format!("{} step {index}", recording.name), &mut flows, &mut tally);
                }
                (Some("ovs_flow" | "ovs_datapath"), Some("DEL")) => flows.clear(),
                _ => {}
            }
        }
    }
    tally.finish("keys and masks of flows", 2500);
}
