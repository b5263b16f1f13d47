// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whether what we answered is what the kernel answered.

use serde_json::{Map, Value};

/// What of a step counts.
const COMPARED: &[&str] =
    &["errno", "extack", "replies", "done", "mcast", "upcalls", "out", "modules", "recv_error", "timeout"];

/// Whether two hex strings are the same where neither has a volatile byte.
fn same_hex(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    a.len() == b.len() && a.chunks(2).zip(b.chunks(2)).all(|(a, b)| a == b || a == b".." || b == b"..")
}

/// Whether `ours` is what was recorded. Decoded attributes in a recording are for people; the bytes count.
pub(crate) fn same(recorded: &Value, ours: &Value) -> bool {
    match (recorded, ours) {
        (Value::String(a), Value::String(b)) => a == b || a == "*" || b == "*" || same_hex(a, b),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            let counts = |key: &&String| !(*key == "attrs" && a.contains_key("raw"));
            let keys = |map: &Map<String, Value>| map.keys().filter(counts).count();
            keys(a) == keys(b)
                && a.keys().filter(counts).all(|key| b.get(key).is_some_and(|b| same(&a[key], b)))
        }
        (a, b) => a == b,
    }
}

/// The same for lists whose order means nothing.
fn same_set(recorded: &[Value], ours: &[Value]) -> bool {
    let mut left: Vec<&Value> = ours.iter().collect();
    recorded.len() == ours.len()
        && recorded.iter().all(|wanted| {
            let found = left.iter().position(|ours| same(wanted, ours));
            found.map(|place| left.swap_remove(place)).is_some()
        })
}

/// Lists that the kernel orders by a random hash: dumps.
fn is_unordered(step: &Value) -> bool {
    let dump = step["flags"].as_array().is_some_and(|flags| flags.iter().any(|flag| flag == "DUMP"));
    let family = step["family"].as_str().unwrap_or_default();
    step["op"] == "nl" && dump && matches!(family, "ovs_flow" | "ovs_vport" | "ovs_datapath")
}

/// What differs; `None`: nothing.
pub(crate) fn difference(step: &Value, recorded: &Value, ours: &Value) -> Option<String> {
    let empty = Vec::new();
    for key in COMPARED {
        let (a, b) = (recorded.get(*key), ours.get(*key));
        let equal = match (a, b) {
            (None, None) => true,
            _ if *key == "replies" && is_unordered(step) => {
                let list =
                    |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
                same_set(&list(a), &list(b))
            }
            (Some(a), Some(b)) => same(a, b),
            (Some(_), None) | (None, Some(_)) => false,
        };
        if !equal {
            let list = |value: Option<&Value>| value.and_then(Value::as_array).unwrap_or(&empty).clone();
            let detail = match (a, b) {
                (Some(Value::Array(_)), Some(Value::Array(_))) => explain_lists(&list(a), &list(b)),
                _ => format!("recorded {}\n      ours {}", brief(a), brief(b)),
            };
            return Some(format!("{key}: {detail}"));
        }
    }
    None
}

fn brief(value: Option<&Value>) -> String {
    let text = value.map_or("nothing".into(), Value::to_string);
    text.chars().take(1500).collect()
}

/// The first pair that differs, and the first byte in it.
fn explain_lists(recorded: &[Value], ours: &[Value]) -> String {
    if recorded.len() != ours.len() {
        return format!(
            "{} recorded, {} of ours\n  recorded {}\n      ours {}",
            recorded.len(),
            ours.len(),
            brief(Some(&Value::from(recorded))),
            brief(Some(&Value::from(ours)))
        );
    }
    let pair = recorded.iter().zip(ours).enumerate().find(|(_, (a, b))| !same(a, b));
    let Some((place, (a, b))) = pair else { return "order".into() };
    let byte = match (a["raw"].as_str(), b["raw"].as_str()) {
        (Some(a), Some(b)) => first_byte(a, b),
        _ => String::new(),
    };
    format!("message {place}{byte}\n  recorded {}\n      ours {}", brief(Some(a)), brief(Some(b)))
}

fn first_byte(a: &str, b: &str) -> String {
    let pairs = a.as_bytes().chunks(2).zip(b.as_bytes().chunks(2));
    let place = pairs.into_iter().position(|(a, b)| a != b && a != b".." && b != b"..");
    match place {
        Some(place) => format!(", byte {place}"),
        None => format!(", length {} and {}", a.len() / 2, b.len() / 2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn volatile_bytes_match_anything_and_nothing_else_does() {
        let message = |raw: &str| json!({"family": "ovs_flow", "cmd": "GET", "raw": raw});
        let recorded = json!({"family": "ovs_flow", "cmd": "GET", "raw": "01..03", "attrs": [["A", 1]]});
        assert!(same(&recorded, &message("010203")));
        assert!(!same(&recorded, &message("010204")));
        assert!(!same(&recorded, &message("0102")));
        assert!(!same(&recorded, &json!({"family": "ovs_flow", "raw": "010203"})));
    }

    #[test]
    fn dumps_compare_as_sets_and_replies_as_lists() {
        let dump = json!({"op": "nl", "family": "ovs_flow", "flags": ["REQUEST", "DUMP"]});
        let plain = json!({"op": "nl", "family": "ovs_flow"});
        let (a, b) = (
            json!({"replies": [{"raw": "01"}, {"raw": "02"}]}),
            json!({"replies": [{"raw": "02"}, {"raw": "01"}]}),
        );
        assert_eq!(difference(&dump, &a, &b), None);
        assert!(difference(&plain, &a, &b).unwrap().contains("message 0, byte 0"));
        let fewer = json!({"replies": [{"raw": "01"}]});
        assert!(difference(&dump, &a, &fewer).is_some());
        assert!(difference(&plain, &json!({"errno": 0}), &json!({})).is_some());
    }
}
