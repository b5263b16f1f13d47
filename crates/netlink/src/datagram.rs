// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Writing messages: a datagram with room for so many bytes, and messages that go in whole or not at all.

use crate::{AttrBuilder, Error, ExtAck, align};
use portway_uapi::Errno;
use portway_uapi::genetlink::genlmsghdr;
use portway_uapi::netlink::{NLM_F_ACK_TLVS, NLM_F_MULTI, NLMSG_DONE, NLMSG_HDRLEN, nlmsghdr};
use zerocopy::{Immutable, IntoBytes};

/// What a message's header says, but for the length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Message type: a family's number, or a control type.
    pub kind: u16,
    /// `NLM_F_*`.
    pub flags: u16,
    /// Sequence number.
    pub seq: u32,
    /// Port id.
    pub pid: u32,
}

impl Header {
    /// The header of a reply or of a part of a dump: the sequence number is the request's. `pid` is the port id of the
    /// socket that the request came from; what the request's own header says of it does not count.
    pub fn reply_to(request: &nlmsghdr, pid: u32, kind: u16, flags: u16) -> Self {
        Self { kind, flags, seq: request.nlmsg_seq, pid }
    }
}

/// A datagram being written. It can be cleared and used again without a new allocation.
#[derive(Debug)]
pub struct Datagram {
    buf: Vec<u8>,
    limit: usize,
}

/// Bytes that a message has at most, most of the time.
const USUAL: usize = 512;

impl Datagram {
    /// A datagram of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        // Most messages fit, so that writing one costs one allocation.
        Self { buf: Vec::with_capacity(limit.min(USUAL)), limit }
    }

    /// An empty datagram of at most `limit` bytes, in the memory of another.
    pub fn reusing(mut buf: Vec<u8>, limit: usize) -> Self {
        buf.clear();
        buf.reserve(limit.min(USUAL));
        Self { buf, limit }
    }

    /// What has been written.
    pub fn bytes(&self) -> &[u8] {
        &self.buf
    }

    /// Whether there is no message in it.
    pub fn is_empty(&self) -> bool {
        self.buf.is_empty()
    }

    /// Removes all messages.
    pub fn clear(&mut self) {
        self.buf.clear();
    }

    /// The bytes, as an owner.
    pub fn into_bytes(self) -> Vec<u8> {
        self.buf
    }

    /// A message whose payload `fill` writes (it can append bytes to the buffer, and attributes with
    /// [`AttrBuilder::with_limit`]); removed again if `fill` fails or leaves too much.
    pub fn raw<E: From<Error>>(
        &mut self,
        header: Header,
        fill: impl FnOnce(&mut Vec<u8>, usize) -> Result<(), E>,
    ) -> Result<(), E> {
        let before = self.buf.len();
        self.buf.resize(align(before), 0);
        let at = self.buf.len();
        let result = self.raw_at(at, header, fill);
        if result.is_err() {
            self.buf.truncate(before);
        }
        result
    }

    fn raw_at<E: From<Error>>(
        &mut self,
        at: usize,
        header: Header,
        fill: impl FnOnce(&mut Vec<u8>, usize) -> Result<(), E>,
    ) -> Result<(), E> {
        self.buf.resize(at + NLMSG_HDRLEN, 0);
        fill(&mut self.buf, self.limit)?;
        let needed = self.buf.len();
        let no_room = Error::NoRoom { needed, limit: self.limit };
        if needed > self.limit {
            return Err(no_room.into());
        }
        let header = nlmsghdr {
            nlmsg_len: u32::try_from(needed - at).map_err(|_| no_room)?,
            nlmsg_type: header.kind,
            nlmsg_flags: header.flags,
            nlmsg_seq: header.seq,
            nlmsg_pid: header.pid,
        };
        self.buf[at..at + NLMSG_HDRLEN].copy_from_slice(header.as_bytes());
        Ok(())
    }

    /// A message of attributes only.
    pub fn message<E: From<Error>>(
        &mut self,
        header: Header,
        fill: impl FnOnce(&mut AttrBuilder<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.raw(header, |buf, limit| fill(&mut AttrBuilder::with_limit(buf, limit)))
    }

    /// A generic-netlink message: header, the family's own header, attributes.
    pub fn genl<H: IntoBytes + Immutable, E: From<Error>>(
        &mut self,
        header: Header,
        cmd: u8,
        version: u8,
        family_header: &H,
        fill: impl FnOnce(&mut AttrBuilder<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.raw(header, |buf, limit| {
            buf.extend_from_slice(genlmsghdr { cmd, version, reserved: 0 }.as_bytes());
            buf.extend_from_slice(family_header.as_bytes());
            buf.resize(align(buf.len()), 0);
            fill(&mut AttrBuilder::with_limit(buf, limit))
        })
    }

    /// The end of the dump that `request` asked for: 0 or an error number, and a warning if there is one and the
    /// client wants extended acknowledgements.
    pub fn done(
        &mut self,
        request: &nlmsghdr,
        pid: u32,
        result: Result<(), Errno>,
        warning: Option<&ExtAck>,
    ) -> Result<(), Error> {
        let warning = warning.filter(|w| w.message.is_some());
        let flags = NLM_F_MULTI | if warning.is_some() { NLM_F_ACK_TLVS } else { 0 };
        let error = result.err().map_or(0, |errno| -errno.0);
        self.raw(Header::reply_to(request, pid, NLMSG_DONE, flags), |buf, limit| {
            buf.extend_from_slice(&error.to_ne_bytes());
            match warning {
                Some(warning) => warning.write(&mut AttrBuilder::with_limit(buf, limit), error != 0),
                None => Ok(()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Attrs, Messages};

    const REQUEST: nlmsghdr =
        nlmsghdr { nlmsg_len: 24, nlmsg_type: 0x1b, nlmsg_flags: 0x301, nlmsg_seq: 5, nlmsg_pid: 0 };

    #[test]
    fn genl_message() {
        let mut d = Datagram::new(4096);
        let header = Header::reply_to(&REQUEST, 77, 0x1b, NLM_F_MULTI);
        d.genl(header, 1, 1, &9i32, |b| b.put_u32(1, 5)).map_err(|e: Error| e).unwrap();
        let mut expected = Vec::new();
        expected.extend(32u32.to_ne_bytes());
        expected.extend(0x1bu16.to_ne_bytes());
        expected.extend(2u16.to_ne_bytes());
        expected.extend(5u32.to_ne_bytes());
        expected.extend(77u32.to_ne_bytes());
        expected.extend([1, 1, 0, 0]);
        expected.extend(9i32.to_ne_bytes());
        expected.extend(8u16.to_ne_bytes());
        expected.extend(1u16.to_ne_bytes());
        expected.extend(5u32.to_ne_bytes());
        assert_eq!(d.bytes(), expected);
    }

    #[test]
    fn a_message_goes_in_whole_or_not_at_all() {
        let mut d = Datagram::new(52);
        let header = Header::reply_to(&REQUEST, 77, 0x1b, NLM_F_MULTI);
        let put = |d: &mut Datagram| d.message::<Error>(header, |b| b.put_u32(1, 5));
        put(&mut d).unwrap();
        put(&mut d).unwrap();
        let full = d.bytes().to_vec();
        assert_eq!(put(&mut d), Err(Error::NoRoom { needed: 72, limit: 52 }));
        assert_eq!(d.bytes(), full);
        assert_eq!(d.message::<Error>(header, |_| Ok(())), Err(Error::NoRoom { needed: 64, limit: 52 }));
        assert_eq!(Messages::new(d.bytes()).count(), 2);
        d.clear();
        assert!(d.is_empty());
    }

    #[test]
    fn messages_are_aligned() {
        let mut d = Datagram::new(4096);
        let header = Header::reply_to(&REQUEST, 77, 0x1b, 0);
        d.message::<Error>(header, |b| b.put_last_unaligned(1, &[1])).unwrap();
        d.message::<Error>(header, |b| b.put_u8(2, 2)).unwrap();
        let messages: Vec<_> = Messages::new(d.bytes()).collect();
        assert_eq!(messages[0].header().nlmsg_len, 21);
        assert_eq!(Attrs::new(messages[1].payload()).next().unwrap().u8(), Ok(2));
        assert_eq!(d.into_bytes().len(), 24 + 24);
    }

    #[test]
    fn done() {
        let mut d = Datagram::new(4096);
        d.done(&REQUEST, 77, Ok(()), None).unwrap();
        d.done(&REQUEST, 77, Err(Errno::ENODEV), Some(&ExtAck::message("gone"))).unwrap();
        let messages: Vec<_> = Messages::new(d.bytes()).collect();
        let header = messages[0].header();
        assert_eq!((header.nlmsg_type, header.nlmsg_flags), (NLMSG_DONE, NLM_F_MULTI));
        assert_eq!((header.nlmsg_seq, header.nlmsg_pid, messages[0].payload()), (5, 77, &[0; 4][..]));
        assert_eq!(messages[1].header().nlmsg_flags, NLM_F_MULTI | NLM_F_ACK_TLVS);
        assert_eq!(messages[1].payload()[..4], (-19i32).to_ne_bytes());
        assert_eq!(Attrs::new(&messages[1].payload()[4..]).next().unwrap().str(), Ok("gone"));
    }
}
