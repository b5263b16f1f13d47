// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What this library must see in netlink messages: dumps that start and end, families that are asked for. Of devices: `links.rs`.

pub(crate) const HEADER: usize = 16;
pub(crate) const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;
/// The first type that is a request; those below are control messages.
const FIRST_TYPE: u16 = 16;

const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;

/// From so many messages on a datagram is a batch.
const BATCH: usize = 8;

/// A message: its header, and all of it.
pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) bytes: &'a [u8],
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// The whole messages of a datagram.
pub(crate) fn messages(datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let len = u32_at(datagram, at)? as usize;
        let bytes = datagram.get(at..at.checked_add(len)?).filter(|bytes| bytes.len() >= HEADER)?;
        let message = Message { kind: u16_at(bytes, 4)?, flags: u16_at(bytes, 6)?, bytes };
        at = (at + len).next_multiple_of(4);
        Some(message)
    })
}

/// Attributes in `bytes[from..]`: type without flags, and the range of the payload.
pub(crate) fn attributes(bytes: &[u8], from: usize) -> impl Iterator<Item = (u16, std::ops::Range<usize>)> {
    let mut at = from;
    std::iter::from_fn(move || {
        let len = usize::from(u16_at(bytes, at)?);
        let kind = u16_at(bytes, at + 2)? & 0x3fff;
        if len < 4 || at + len > bytes.len() {
            return None;
        }
        let payload = at + 4..at + len;
        at = (at + len).next_multiple_of(4);
        Some((kind, payload))
    })
}

pub(crate) fn text(payload: &[u8]) -> &[u8] {
    payload.split(|byte| *byte == 0).next().unwrap_or_default()
}

pub(crate) fn is_dump(kind: u16, flags: u16) -> bool {
    kind >= FIRST_TYPE && flags & NLM_F_REQUEST != 0 && flags & NLM_F_DUMP == NLM_F_DUMP
}

/// Whether a datagram has so many messages that the answers are worth a bundle.
pub(crate) fn is_batch(datagram: &[u8]) -> bool {
    messages(datagram).nth(BATCH - 1).is_some()
}

/// How many dumps a datagram asks for.
pub(crate) fn dumps_started(datagram: &[u8]) -> u32 {
    messages(datagram).filter(|message| is_dump(message.kind, message.flags)).count() as u32
}

/// How many dumps end with a datagram that is received: done, or refused.
pub(crate) fn dumps_ended(datagram: &[u8]) -> u32 {
    let ends = |message: &Message<'_>| match message.kind {
        NLMSG_DONE => true,
        // The request's header follows the errno.
        NLMSG_ERROR => {
            let kind = u16_at(message.bytes, HEADER + 4 + 4);
            kind.zip(u16_at(message.bytes, HEADER + 4 + 6)).is_some_and(|(kind, flags)| is_dump(kind, flags))
        }
        _ => false,
    };
    messages(datagram).filter(ends).count() as u32
}

/// The family that a datagram asks `nlctrl` for by name, if it asks nothing else.
pub(crate) fn family_asked(datagram: &[u8]) -> Option<&[u8]> {
    let mut all = messages(datagram);
    let message =
        all.next().filter(|message| message.kind == GENL_ID_CTRL && !is_dump(message.kind, message.flags))?;
    if all.next().is_some() || message.bytes.get(HEADER) != Some(&CTRL_CMD_GETFAMILY) {
        return None;
    }
    let name = attributes(message.bytes, HEADER + 4).find(|(kind, _)| *kind == CTRL_ATTR_FAMILY_NAME)?;
    Some(text(&message.bytes[name.1]))
}

/// The errno, positive, that the first message of a datagram says, if it is an error.
pub(crate) fn errno(datagram: &[u8]) -> Option<u32> {
    let message = messages(datagram).next().filter(|message| message.kind == NLMSG_ERROR)?;
    u32_at(message.bytes, HEADER).map(u32::wrapping_neg)
}

/// What a kernel answers to each request of a datagram if it does not have the family.
pub(crate) fn refusals(datagram: &[u8], port_id: u32) -> Vec<Vec<u8>> {
    let requests =
        messages(datagram).filter(|message| message.kind >= FIRST_TYPE && message.flags & NLM_F_REQUEST != 0);
    let refusal = |message: Message<'_>| {
        let len = HEADER + 4 + message.bytes.len();
        let mut bytes = Vec::with_capacity(len);
        bytes.extend((len as u32).to_ne_bytes());
        bytes.extend(NLMSG_ERROR.to_ne_bytes());
        bytes.extend([0; 2]);
        bytes.extend(&message.bytes[8..12]);
        bytes.extend(port_id.to_ne_bytes());
        bytes.extend((-libc::ENOENT).to_ne_bytes());
        bytes.extend(message.bytes);
        bytes
    };
    requests.map(refusal).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A message, padded.
    pub(crate) fn message(kind: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
        let mut bytes = ((HEADER + payload.len()) as u32).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend([7, 0, 0, 0, 9, 0, 0, 0]);
        bytes.extend(payload);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    /// An attribute, padded.
    pub(crate) fn attribute(kind: u16, payload: &[u8]) -> Vec<u8> {
        let mut bytes = ((4 + payload.len()) as u16).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(payload);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn get_family(name: &[u8]) -> Vec<u8> {
        message(
            GENL_ID_CTRL,
            NLM_F_REQUEST,
            &[vec![3, 1, 0, 0], attribute(CTRL_ATTR_FAMILY_NAME, name)].concat(),
        )
    }

    #[test]
    fn dumps_start_and_end() {
        let dump = message(30, NLM_F_REQUEST | NLM_F_DUMP, &[1, 1, 0, 0]);
        let get = message(30, NLM_F_REQUEST, &[1, 1, 0, 0]);
        assert_eq!(dumps_started(&[get.clone(), dump.clone(), dump.clone()].concat()), 2);
        assert_eq!(dumps_started(&get), 0);
        assert_eq!(dumps_ended(&[get.clone(), message(NLMSG_DONE, 2, &[0; 4])].concat()), 1);
        assert_eq!(
            refusals(&[get, dump].concat(), 9).iter().map(|bytes| dumps_ended(bytes)).collect::<Vec<_>>(),
            [0, 1]
        );
    }

    #[test]
    fn a_refusal_is_the_kernels() {
        let request = get_family(b"ovs_vport\0");
        let [refusal] = refusals(&request, 0x8000_0001).try_into().unwrap();
        assert_eq!(errno(&refusal), Some(2));
        assert_eq!(refusal[..16], [56, 0, 0, 0, 2, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0x80]);
        assert_eq!(refusal[20..], request[..]);
    }

    #[test]
    fn a_family_that_is_asked_for() {
        assert_eq!(family_asked(&get_family(b"ethtool\0")), Some(&b"ethtool"[..]));
        assert_eq!(family_asked(&get_family(b"ethtool\0").repeat(2)), None);
        assert_eq!(family_asked(&message(30, 1, &[3, 1, 0, 0])), None);
    }

    #[test]
    fn cut_anywhere_nothing_is_read_beyond() {
        let whole = [get_family(b"ethtool\0"), get_family(b"ovs_flow\0")].concat();
        for len in 0..whole.len() {
            let cut = &whole[..len];
            let _ = (dumps_started(cut), dumps_ended(cut), family_asked(cut), errno(cut), refusals(cut, 1));
            let mut lying = cut.to_vec();
            if let Some(first) = lying.get_mut(..4) {
                first.copy_from_slice(&u32::MAX.to_ne_bytes());
            }
            assert_eq!(dumps_started(&lying), 0);
        }
    }
}
