// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Names of devices, and guesses at what a misspelt word was meant to be.

/// The longest device name, in bytes (IFNAMSIZ with its terminating zero is 16).
pub(crate) const NAME_MAX: usize = 15;

/// What is wrong with a device's name, if anything.
pub(crate) fn name_fault(name: &str) -> Option<String> {
    let bad = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    if name.is_empty() {
        Some("the name is empty".to_owned())
    } else if name.len() > NAME_MAX {
        Some(format!("the name {name:?} has {} bytes; Linux allows {NAME_MAX}", name.len()))
    } else if name == "." || name == ".." {
        Some(format!("the name {name:?} is not allowed"))
    } else {
        name.chars().find(|c| bad(*c)).map(|c| format!("the name {name:?} contains {c:?}"))
    }
}

/// The word of `known` that `word` was probably meant to be.
pub(crate) fn meant<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).clamp(1, 3);
    let distances = known.into_iter().map(|candidate| (distance(word, candidate), candidate));
    distances.filter(|(distance, _)| *distance <= limit).min().map(|(_, candidate)| candidate)
}

/// How many letters must be added, removed, changed or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) =
        (a.to_lowercase().chars().collect(), b.to_lowercase().chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let change = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = change.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_are_near() {
        let known = ["name", "aging_s", "mac_limit", "port"];
        assert_eq!(meant("agin_s", known), Some("aging_s"));
        assert_eq!(meant("nmae", known), Some("name"));
        assert_eq!(meant("Ports", known), Some("port"));
        assert_eq!(meant("mac-limit", known), Some("mac_limit"));
        assert_eq!(meant("colour", known), None);
    }

    #[test]
    fn device_names() {
        for good in ["a", "veth1", "br-ex", "tap.1", "fifteen-bytes-x"] {
            assert_eq!(name_fault(good), None, "{good}");
        }
        for bad in ["", "sixteen-bytes-xx", ".", "..", "a/b", "a b", "a:b", "a\n"] {
            assert!(name_fault(bad).is_some(), "{bad:?}");
        }
    }
}
