// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Messages in place: splitting a datagram, and generic netlink's header.

use crate::{Attrs, Error, align};
use portway_uapi::genetlink::{GENL_HDRLEN, genlmsghdr};
use portway_uapi::netlink::{NLM_F_ACK, NLM_F_DUMP, NLM_F_ECHO, NLM_F_REQUEST, NLMSG_HDRLEN, nlmsghdr};
use zerocopy::FromBytes;

/// One message.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    header: nlmsghdr,
    bytes: &'a [u8],
}

impl<'a> Message<'a> {
    /// The header.
    #[inline]
    pub fn header(&self) -> &nlmsghdr {
        &self.header
    }

    /// Header and payload.
    #[inline]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The payload.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[NLMSG_HDRLEN..]
    }

    fn has(&self, flags: u16) -> bool {
        self.header.nlmsg_flags & flags == flags
    }

    /// It is a request: the kernel acts on no other messages.
    pub fn is_request(&self) -> bool {
        self.has(NLM_F_REQUEST)
    }

    /// An acknowledgement is wanted.
    pub fn wants_ack(&self) -> bool {
        self.has(NLM_F_ACK)
    }

    /// The notification is wanted as a reply.
    pub fn wants_echo(&self) -> bool {
        self.has(NLM_F_ECHO)
    }

    /// A dump is wanted: both bits of `NLM_F_DUMP` are set. (One of them alone means something else in a request to
    /// make an object, such as `NLM_F_EXCL`.)
    pub fn wants_dump(&self) -> bool {
        self.has(NLM_F_DUMP)
    }

    /// Takes off generic netlink's header and the family's own, of `family_header` bytes.
    pub fn genl(&self, family_header: usize) -> Result<GenlMessage<'a>, Error> {
        let payload = self.payload();
        let needed = GENL_HDRLEN + align(family_header);
        // The kernel asks for the header without its padding, and then sees no attributes.
        let (Ok((header, rest)), true) =
            (genlmsghdr::read_from_prefix(payload), payload.len() >= GENL_HDRLEN + family_header)
        else {
            return Err(Error::HeaderCut { needed, have: payload.len() });
        };
        let attrs = payload.get(needed..).unwrap_or(&[]);
        Ok(GenlMessage {
            header,
            family_header: &rest[..family_header],
            attrs: Attrs::at(attrs, NLMSG_HDRLEN + needed),
        })
    }
}

/// A generic-netlink message without its headers.
#[derive(Clone, Debug)]
pub struct GenlMessage<'a> {
    header: genlmsghdr,
    family_header: &'a [u8],
    attrs: Attrs<'a>,
}

impl<'a> GenlMessage<'a> {
    /// The family's command.
    pub fn cmd(&self) -> u8 {
        self.header.cmd
    }

    /// The version that the sender knows.
    pub fn version(&self) -> u8 {
        self.header.version
    }

    /// The family's own header.
    pub fn family_header(&self) -> &'a [u8] {
        self.family_header
    }

    /// The family's own header as its structure; `None` if the structure has another size.
    pub fn read_family_header<T: FromBytes>(&self) -> Option<T> {
        T::read_from_bytes(self.family_header).ok()
    }

    /// The attributes; their offsets count from the message's first byte.
    pub fn attrs(&self) -> Attrs<'a> {
        self.attrs.clone()
    }
}

/// Iterator over the messages of a datagram. It ends where fewer bytes than a header are left, or at a header whose
/// length is less than its own or goes past the end: as in the kernel, the rest is ignored without a word.
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    bytes: &'a [u8],
}

impl<'a> Messages<'a> {
    /// The messages of `datagram`.
    pub fn new(datagram: &'a [u8]) -> Self {
        Self { bytes: datagram }
    }

    /// What has not been returned.
    pub fn leftover(&self) -> &'a [u8] {
        self.bytes
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let (header, _) = nlmsghdr::read_from_prefix(self.bytes).ok()?;
        let len = usize::try_from(header.nlmsg_len).ok()?;
        if len < NLMSG_HDRLEN {
            return None;
        }
        let bytes = self.bytes.get(..len)?;
        self.bytes = self.bytes.get(align(len)..).unwrap_or(&[]);
        Some(Message { header, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Datagram, Header};
    use portway_uapi::netlink::{NLM_F_EXCL, NLM_F_ROOT};

    fn request(len: u32, extra: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(len.to_ne_bytes());
        bytes.extend(0x1bu16.to_ne_bytes());
        bytes.extend((NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
        bytes.extend(7u32.to_ne_bytes());
        bytes.extend(99u32.to_ne_bytes());
        bytes.resize(16 + extra, 0xee);
        bytes
    }

    #[test]
    fn several_in_a_datagram() {
        let mut datagram = request(17, 4);
        datagram.extend(request(16, 0));
        let mut messages = Messages::new(&datagram);
        let first = messages.next().unwrap();
        assert_eq!((first.payload(), first.bytes().len()), (&[0xee][..], 17));
        let header = *first.header();
        assert_eq!((header.nlmsg_type, header.nlmsg_seq, header.nlmsg_pid), (0x1b, 7, 99));
        assert!(first.is_request() && first.wants_ack() && !first.wants_echo() && !first.wants_dump());
        assert!(messages.next().unwrap().payload().is_empty());
        assert!(messages.next().is_none() && messages.leftover().is_empty());
    }

    #[test]
    fn malformed_ends() {
        for (len, extra, messages, leftover) in
            [(15, 0, 0, 16), (17, 0, 0, 16), (0, 8, 0, 24), (16, 15, 1, 15), (17, 1, 1, 0)]
        {
            let bytes = request(len, extra);
            let mut iter = Messages::new(&bytes);
            assert_eq!((iter.by_ref().count(), iter.leftover().len()), (messages, leftover), "{len} {extra}");
        }
        assert!(Messages::new(&[]).next().is_none());
    }

    #[test]
    fn a_dump_takes_both_bits() {
        for (flags, dump) in
            [(NLM_F_ROOT, false), (NLM_F_EXCL, false), (NLM_F_DUMP, true), (NLM_F_DUMP | NLM_F_ACK, true)]
        {
            let mut d = Datagram::new(1000);
            d.message::<Error>(Header { kind: 16, flags, seq: 0, pid: 0 }, |_| Ok(())).unwrap();
            assert_eq!(Messages::new(d.bytes()).next().unwrap().wants_dump(), dump, "{flags:#x}");
        }
    }

    #[test]
    fn genl_headers() {
        let mut bytes = request(28, 12);
        bytes[16..28].copy_from_slice(&[3, 1, 0, 0, 5, 0, 0, 0, 4, 0, 2, 0]);
        let message = Messages::new(&bytes).next().unwrap();
        let genl = message.genl(4).unwrap();
        assert_eq!((genl.cmd(), genl.version(), genl.family_header()), (3, 1, &[5, 0, 0, 0][..]));
        assert_eq!(genl.read_family_header::<[u8; 4]>(), Some([5, 0, 0, 0]));
        assert_eq!(genl.read_family_header::<[u8; 5]>(), None);
        let attrs: Vec<_> = genl.attrs().map(|a| (a.kind(), a.offset())).collect();
        assert_eq!(attrs, [(2, 24)]);
        let attrs: Vec<_> = message.genl(0).unwrap().attrs().map(|a| a.offset()).collect();
        assert_eq!(attrs, [20], "without a family header they start there");
        assert_eq!(message.genl(9).err(), Some(Error::HeaderCut { needed: 16, have: 12 }));
        assert!(Messages::new(&request(18, 4)).next().unwrap().genl(0).is_err());
    }
}
