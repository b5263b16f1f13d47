// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Every action list that was asked for in a flow: whether it is taken, with which error it is refused, and how the reply shows it.
//! Decoding (the form) and compiling (the meaning) are compared together.

use portway_actions::{Limits, Program};
use portway_conformance::attrs::{FLOW, nest_bytes};
use portway_conformance::{Recording, Step, hex_of_bytes};
use portway_flow::text::{NO_NAMES, NO_NUMBERS, format_actions, parse_actions};
use portway_flow::{Action, FlowMask, HashAlgorithm};
use portway_messages::actions::{ActionError, decode_actions, encode_actions};
use portway_messages::key::decode_match;
use portway_uapi::openvswitch as ovs;

use crate::{Tally, attribute, hex, raw_with};

/// Lists that were not compared, by reason.
#[derive(Default)]
struct Skipped {
    /// Conntrack actions, which we do not have yet.
    conntrack: usize,
    /// Actions that kernels newer than the recorded one have, and we with them.
    newer: usize,
    /// Replies that echo bytes of the request which mean nothing: unknown parts, padding, a part given twice.
    echoed: usize,
}

/// Whether a list has an action that Linux 6.1 does not know.
fn is_newer(list: &[Action]) -> bool {
    list.iter().any(|action| match action {
        Action::Drop(_) | Action::Psample(_) => true,
        Action::Hash(hash) => hash.algorithm == HashAlgorithm::SymL4,
        Action::Clone(list) | Action::DecTtl(list) => is_newer(list),
        Action::Sample(sample) => is_newer(&sample.actions),
        Action::CheckPacketLength(check) => is_newer(&check.greater) || is_newer(&check.less_or_equal),
        Action::Output(_)
        | Action::Userspace(_)
        | Action::Set(_)
        | Action::PushVlan(_)
        | Action::PopVlan
        | Action::Truncate(_)
        | Action::Recirculate(_)
        | Action::PushMpls(_)
        | Action::PopMpls(_)
        | Action::PushEth(_)
        | Action::PopEth
        | Action::PushNsh(_)
        | Action::PopNsh
        | Action::Meter(_) => false,
    })
}

fn list(step: &Step, place: &str, skipped: &mut Skipped, tally: &mut Tally) {
    let Some(request) = nest_bytes(&step.what["attrs"], FLOW) else { return };
    let Some(key) = attribute(&request, ovs::OVS_FLOW_ATTR_KEY) else { return };
    let Some(list) = attribute(&request, ovs::OVS_FLOW_ATTR_ACTIONS) else { return };
    let mask = attribute(&request, ovs::OVS_FLOW_ATTR_MASK);
    let Ok(matched) = decode_match(&key, mask.as_deref()) else { return };
    let errno = match step.got["errno"].as_str() {
        Some("ERANGE") if (1..4).contains(&list.len()) => return, // The policy for the request refuses it.
        Some("ERANGE") if attribute(&request, ovs::OVS_FLOW_ATTR_UFID).is_some() => return,
        Some(name @ ("EINVAL" | "ERANGE" | "EMSGSIZE" | "EOVERFLOW" | "E2BIG")) => name,
        // The flow was refused or not, but not for its actions.
        Some(_) | None => "0",
    };
    let decoded = decode_actions(&list);
    let result = match &decoded {
        Err(ActionError::NotSupported(_)) => {
            skipped.conntrack += 1;
            return;
        }
        Err(error) => Err(format!("{error}: {:?}", error.errno().name())),
        Ok(actions) if is_newer(actions) => {
            skipped.newer += 1;
            return;
        }
        Ok(actions) => compile(actions, &matched.mask.apply(&matched.key), &matched.mask),
    };
    let ours = match &result {
        Ok(()) => "0".to_owned(),
        Err(text) => {
            text.rsplit_once("Some(\"").map_or("?", |(_, name)| name.trim_end_matches("\")")).to_owned()
        }
    };
    let reason = format!("{place}: {} {:?} {}", hex_of_bytes(&list), result.err(), step.got["klog"]);
    tally.compare(&reason, &ours, &errno.to_owned(), String::clone);
    let (Ok(actions), Some(reply)) = (decoded, step.got["replies"].get(0)) else { return };
    let text = format_actions(&actions, NO_NAMES);
    let again = parse_actions(&text, NO_NUMBERS).map(|list| format_actions(&list, NO_NAMES));
    let again = again.unwrap_or_else(|error| error.to_string());
    // (As text, a mask without gaps and no mask are the same.)
    tally.compare(&format!("{place} as text"), &again, &text, String::clone);
    let ours = encode_actions(&actions).expect("a list that was an attribute");
    if let Some(shown) = shown(reply, &ours) {
        if ours != shown && decode_actions(&shown) == Ok(actions) {
            skipped.echoed += 1;
        } else {
            tally.compare(&format!("{place} shown"), &ours, &shown, hex);
        }
    }
}

/// The list in a reply; bytes that differ from run to run (port ids) are taken from ours.
fn shown(reply: &serde_json::Value, ours: &[u8]) -> Option<Vec<u8>> {
    let [mut shown, other] =
        ["00", "11"].map(|volatile| attribute(&raw_with(reply, volatile), ovs::OVS_FLOW_ATTR_ACTIONS));
    for (index, (byte, other)) in shown.iter_mut().flatten().zip(other.iter().flatten()).enumerate() {
        if byte != other {
            *byte = ours.get(index).copied().unwrap_or(0);
        }
    }
    shown
}

fn compile(actions: &[Action], key: &portway_flow::FlowKey, mask: &FlowMask) -> Result<(), String> {
    match Program::compile(actions, key, mask, &Limits::default()) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("{error}: {:?}", error.errno().name())),
    }
}

#[test]
fn action_lists_are_taken_and_shown_as_by_the_kernel() {
    let mut tally = Tally::default();
    let mut skipped = Skipped::default();
    for recording in Recording::all(&[""]) {
        for (index, step) in recording.steps.iter().enumerate() {
            if step.what["family"] == "ovs_flow" && (step.what["cmd"] == "NEW" || step.what["cmd"] == "SET") {
                list(step, &format!("{} step {index}", recording.name), &mut skipped, &mut tally);
            }
        }
    }
    let Skipped { conntrack, newer, echoed } = skipped;
    eprintln!(
        "not compared: {conntrack} with conntrack, {newer} of newer kernels, {echoed} replies with empty talk"
    );
    assert!(newer <= 2 && echoed <= 5, "more than is known");
    tally.finish("action lists", 1500);
}
