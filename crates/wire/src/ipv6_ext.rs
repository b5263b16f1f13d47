// SPDX-License-Identifier: Apache-2.0 OR MIT
//! IPv6 extension headers (RFC 8200, section 4), walked as the kernel's datapath walks them.
//!
//! The kernel walks a packet twice, by rules that differ: [`walk`] looks for the upper layer and stops at a later
//! fragment, [`seen`] collects which headers there are (`OVS_KEY_ATTR_IPV6_EXTHDRS`). Neither knows ESP as an extension
//! header: what it hides cannot be walked. Both take the bytes behind the fixed header, as far as the *frame* goes:
//! the payload length is not looked at.

use crate::ip_proto::{AUTH, DEST_OPTIONS, FRAGMENT, HOP_BY_HOP, NONE, ROUTING};
use portway_uapi::openvswitch::{
    OFPIEH12_AUTH, OFPIEH12_DEST, OFPIEH12_ESP, OFPIEH12_FRAG, OFPIEH12_HOP, OFPIEH12_NONEXT,
    OFPIEH12_ROUTER, OFPIEH12_UNREP, OFPIEH12_UNSEQ, OVS_FRAG_TYPE_FIRST, OVS_FRAG_TYPE_LATER,
    OVS_FRAG_TYPE_NONE,
};

/// Bytes of a fragment header.
pub const FRAGMENT_LEN: usize = 8;

/// Whether a next-header value starts an extension header that the walks know ("no next header" among them).
#[inline]
pub const fn is_extension(next_header: u8) -> bool {
    matches!(next_header, HOP_BY_HOP | ROUTING | FRAGMENT | AUTH | NONE | DEST_OPTIONS)
}

/// A fragment header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Where the fragment header starts, in bytes behind the fixed header.
    pub at: usize,
    /// Type of what the fragment carries.
    pub next_header: u8,
    /// Offset of the fragment in bytes, a multiple of 8.
    pub offset: u16,
    /// More fragments follow.
    pub more: bool,
    /// Identification; 0 if the packet ends before it.
    pub id: u32,
}

/// How a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// At the upper layer (or at "no next header"): protocol, and where it starts in bytes behind the fixed header
    /// (at most the packet's length).
    Upper {
        /// Next-header value that is no extension header.
        protocol: u8,
        /// Bytes behind the fixed header.
        at: usize,
    },
    /// At a fragment header with an offset that is not zero: what follows is from the middle of a packet.
    LaterFragment,
    /// The packet ends inside a header, or a later fragment claims to start with another extension header.
    Broken,
}

/// What [`walk`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walk {
    /// How it ended.
    pub end: End,
    /// Whether a fragment header was met, readable or not.
    pub fragment_header: bool,
    /// The last fragment header that could be read.
    pub fragment: Option<Fragment>,
}

impl Walk {
    /// The flow key's `ipv6_frag`: `OVS_FRAG_TYPE_*`. A fragment header with offset 0 is "first" whether more follow or
    /// not.
    #[inline]
    pub fn frag_type(&self) -> u8 {
        match self.end {
            End::LaterFragment => OVS_FRAG_TYPE_LATER,
            End::Upper { .. } | End::Broken if self.fragment_header => OVS_FRAG_TYPE_FIRST,
            End::Upper { .. } | End::Broken => OVS_FRAG_TYPE_NONE,
        }
    }

    /// The flow key's `ipv6_proto`: 44 for a later fragment, 59 if the walk could not end.
    #[inline]
    pub fn key_protocol(&self) -> u8 {
        match self.end {
            End::Upper { protocol, .. } => protocol,
            End::LaterFragment => FRAGMENT,
            End::Broken => NONE,
        }
    }
}

/// Looks for the upper layer. `next_header` is the fixed header's, `rest` what follows it.
#[inline]
pub fn walk(next_header: u8, rest: &[u8]) -> Walk {
    if !is_extension(next_header) || next_header == NONE {
        let end = End::Upper { protocol: next_header, at: 0 };
        return Walk { end, fragment_header: false, fragment: None };
    }
    walk_extensions(next_header, rest)
}

fn walk_extensions(mut next_header: u8, rest: &[u8]) -> Walk {
    let mut walk = Walk { end: End::Broken, fragment_header: false, fragment: None };
    let mut at = 0;
    while is_extension(next_header) && next_header != NONE {
        let Some(&[next, len, ..]) = rest.get(at..) else { return walk };
        let header_len = match next_header {
            FRAGMENT => {
                walk.fragment_header = true;
                let Some(fragment) = read_fragment(rest, at) else { return walk };
                walk.fragment = Some(fragment);
                if fragment.offset != 0 {
                    if !is_extension(next) || next == NONE {
                        walk.end = End::LaterFragment;
                    }
                    return walk;
                }
                FRAGMENT_LEN
            }
            AUTH => (usize::from(len) + 2) * 4,
            _ => (usize::from(len) + 1) * 8,
        };
        next_header = next;
        at += header_len;
        if at > rest.len() {
            return walk;
        }
    }
    walk.end = End::Upper { protocol: next_header, at };
    walk
}

fn read_fragment(rest: &[u8], at: usize) -> Option<Fragment> {
    let &[next_header, _, hi, lo, ref more @ ..] = rest.get(at..)? else { return None };
    let field = u16::from_be_bytes([hi, lo]);
    let id = more.first_chunk::<4>().map_or(0, |id| u32::from_be_bytes(*id));
    Some(Fragment { at, next_header, offset: field & !7, more: field & 1 != 0, id })
}

/// Headers that may stand in front of a routing header without being out of order.
const BEFORE_ROUTING: u16 = OFPIEH12_HOP | OFPIEH12_DEST | OFPIEH12_UNREP;
const BEFORE_FRAGMENT: u16 = BEFORE_ROUTING | OFPIEH12_ROUTER;
/// The kernel means fragments too, but has the protocol number 44 where the flag should be, whose bits are those of
/// AUTH, DEST and ROUTER: so a fragment header in front counts as out of order and a second AUTH does not. Clients see
/// it, so it is the ABI.
const BEFORE_AUTH: u16 = BEFORE_FRAGMENT | FRAGMENT as u16;
const BEFORE_FIRST_DEST: u16 = OFPIEH12_HOP | OFPIEH12_UNREP;
const BEFORE_SECOND_DEST: u16 = OFPIEH12_HOP
    | OFPIEH12_DEST
    | OFPIEH12_ROUTER
    | OFPIEH12_FRAG
    | OFPIEH12_AUTH
    | OFPIEH12_ESP
    | OFPIEH12_UNREP;

/// Which extension headers there are: the bits of `OVS_KEY_ATTR_IPV6_EXTHDRS`. Goes on through later fragments, and
/// takes an authentication header's length for that of any other, as the kernel does.
#[inline]
pub fn seen(next_header: u8, rest: &[u8]) -> u16 {
    if is_extension(next_header) { seen_extensions(next_header, rest) } else { 0 }
}

fn seen_extensions(mut next_header: u8, rest: &[u8]) -> u16 {
    let mut seen = 0;
    let mut dest_options = 0u32;
    let mut at = 0;
    while is_extension(next_header) {
        let (bit, before, repeated) = match next_header {
            NONE => return seen | OFPIEH12_NONEXT,
            HOP_BY_HOP => (if seen == 0 { OFPIEH12_HOP } else { 0 }, 0, seen & OFPIEH12_HOP != 0),
            ROUTING => (OFPIEH12_ROUTER, BEFORE_ROUTING, seen & OFPIEH12_ROUTER != 0),
            FRAGMENT => (OFPIEH12_FRAG, BEFORE_FRAGMENT, seen & OFPIEH12_FRAG != 0),
            AUTH => (OFPIEH12_AUTH, BEFORE_AUTH, seen & OFPIEH12_AUTH != 0),
            _ => match dest_options {
                0 => (OFPIEH12_DEST, BEFORE_FIRST_DEST, false),
                1 => (0, BEFORE_SECOND_DEST, false),
                _ => (0, u16::MAX, true),
            },
        };
        let in_order = match next_header {
            HOP_BY_HOP => seen == 0,
            DEST_OPTIONS => seen & !before == 0,
            _ => {
                // Its own repetition counts as "in front of it", too.
                let seen = if repeated { seen | OFPIEH12_UNREP } else { seen };
                seen & !before == 0 && dest_options < 2
            }
        };
        seen |= bit;
        if repeated {
            seen |= OFPIEH12_UNREP;
        }
        if !in_order {
            seen |= OFPIEH12_UNSEQ;
        }
        dest_options += u32::from(next_header == DEST_OPTIONS);
        let Some(&[next, len, ..]) = rest.get(at..) else { return seen };
        next_header = next;
        at += (usize::from(len) + 1) * 8;
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Chains headers of 8 bytes each: (type, bytes 2 and 3).
    fn chain(headers: &[(u8, u16)], upper: u8) -> (u8, Vec<u8>) {
        let mut bytes = Vec::new();
        for (i, (_, field)) in headers.iter().enumerate() {
            let next = headers.get(i + 1).map_or(upper, |h| h.0);
            bytes.extend([next, 0]);
            bytes.extend(field.to_be_bytes());
            bytes.extend([0, 0, 0, 7]);
        }
        (headers.first().map_or(upper, |h| h.0), bytes)
    }

    #[test]
    fn plain_packets() {
        for protocol in [6, 17, 58, NONE, 50, 132, 255] {
            let w = walk(protocol, &[]);
            assert_eq!(w.end, End::Upper { protocol, at: 0 });
            assert_eq!((w.frag_type(), w.key_protocol()), (OVS_FRAG_TYPE_NONE, protocol));
        }
        assert_eq!((seen(17, &[]), seen(NONE, &[]), seen(50, &[])), (0, OFPIEH12_NONEXT, 0));
    }

    #[test]
    fn fragments() {
        let (first, bytes) = chain(&[(HOP_BY_HOP, 0), (FRAGMENT, 1)], 17);
        let w = walk(first, &bytes);
        assert_eq!(w.end, End::Upper { protocol: 17, at: 16 });
        assert_eq!(w.fragment, Some(Fragment { at: 8, next_header: 17, offset: 0, more: true, id: 7 }));
        assert_eq!(w.frag_type(), OVS_FRAG_TYPE_FIRST);

        let (first, bytes) = chain(&[(FRAGMENT, 1480)], 17);
        let w = walk(first, &bytes);
        assert_eq!(
            (w.end, w.frag_type(), w.key_protocol()),
            (End::LaterFragment, OVS_FRAG_TYPE_LATER, FRAGMENT)
        );
        assert_eq!(w.fragment.map(|f| (f.offset, f.more)), Some((1480, false)));

        let (first, bytes) = chain(&[(FRAGMENT, 8), (DEST_OPTIONS, 0)], 17);
        let w = walk(first, &bytes);
        assert_eq!((w.end, w.frag_type(), w.key_protocol()), (End::Broken, OVS_FRAG_TYPE_FIRST, NONE));
    }

    #[test]
    fn cut_at_every_byte() {
        let (first, bytes) = chain(&[(HOP_BY_HOP, 0), (ROUTING, 0), (FRAGMENT, 1)], 17);
        for len in 0..bytes.len() {
            let w = walk(first, &bytes[..len]);
            assert_eq!(w.end, End::Broken, "{len}");
            assert_eq!(w.frag_type() == OVS_FRAG_TYPE_FIRST, len >= 18, "{len}");
            assert_eq!(w.fragment.is_some(), len >= 20, "{len}");
        }
        assert_eq!(walk(first, &bytes).end, End::Upper { protocol: 17, at: 24 });
    }

    #[test]
    fn authentication_header_counts_words() {
        let mut bytes = vec![17, 4, 0, 0];
        bytes.resize(24, 0);
        assert_eq!(walk(AUTH, &bytes).end, End::Upper { protocol: 17, at: 24 });
    }

    #[test]
    fn order_and_repetition() {
        let bits = |headers: &[(u8, u16)]| {
            let (first, bytes) = chain(headers, 17);
            seen(first, &bytes)
        };
        let (hop, route, frag, auth, dest) =
            ((HOP_BY_HOP, 0), (ROUTING, 0), (FRAGMENT, 0), (AUTH, 0), (DEST_OPTIONS, 0));
        assert_eq!(
            bits(&[hop, dest, route, frag]),
            OFPIEH12_HOP | OFPIEH12_DEST | OFPIEH12_ROUTER | OFPIEH12_FRAG
        );
        assert_eq!(bits(&[route, route]), OFPIEH12_ROUTER | OFPIEH12_UNREP | OFPIEH12_UNSEQ);
        assert_eq!(bits(&[dest, hop]), OFPIEH12_DEST | OFPIEH12_UNSEQ);
        assert_eq!(bits(&[hop, hop]), OFPIEH12_HOP | OFPIEH12_UNREP | OFPIEH12_UNSEQ);
        assert_eq!(bits(&[dest, route, dest]), OFPIEH12_DEST | OFPIEH12_ROUTER);
        assert_eq!(bits(&[dest, dest, dest]), OFPIEH12_DEST | OFPIEH12_UNREP);
        assert_eq!(bits(&[dest, dest, route]), OFPIEH12_DEST | OFPIEH12_ROUTER | OFPIEH12_UNSEQ);
        assert_eq!(bits(&[frag, auth]), OFPIEH12_FRAG | OFPIEH12_AUTH | OFPIEH12_UNSEQ, "the kernel's slip");
        assert_eq!(bits(&[auth, auth]), OFPIEH12_AUTH | OFPIEH12_UNREP, "its other side");
    }
}
