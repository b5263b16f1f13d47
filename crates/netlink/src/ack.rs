// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Acknowledgements and errors (`NLMSG_ERROR`), with their extended part.

use crate::{AttrBuilder, Datagram, Error, Header, Message, Rule};
use portway_uapi::Errno;
use portway_uapi::netlink::{
    NLM_F_ACK_TLVS, NLM_F_CAPPED, NLMSG_ERROR, NLMSGERR_ATTR_COOKIE, NLMSGERR_ATTR_MISS_NEST,
    NLMSGERR_ATTR_MISS_TYPE, NLMSGERR_ATTR_MSG, NLMSGERR_ATTR_OFFS, NLMSGERR_ATTR_POLICY, nlmsgerr,
};
use std::borrow::Cow;
use zerocopy::IntoBytes;

/// What a request's handling leaves to tell beside the error number. All of it is optional.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExtAck {
    /// For people: the reason of an error, or a warning on success.
    pub message: Option<Cow<'static, str>>,
    /// Bytes for the client's program.
    pub cookie: Option<Vec<u8>>,
    /// Offset of the offending attribute from the request's first byte. Told with errors only, as is what follows.
    pub offset: Option<u32>,
    /// What would have been accepted.
    pub policy: Option<Rule>,
    /// Type of a required attribute that is missing.
    pub missing: Option<u16>,
    /// Offset of the nest in which it is missing.
    pub missing_in: Option<u32>,
}

impl ExtAck {
    /// A message and nothing else.
    pub fn message(text: impl Into<Cow<'static, str>>) -> Self {
        Self { message: Some(text.into()), ..Self::default() }
    }

    /// Whether there is anything to tell.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Writes the attributes, in the kernel's order.
    pub fn write(&self, b: &mut AttrBuilder<'_>, is_error: bool) -> Result<(), Error> {
        let Self { message, cookie, offset, policy, missing, missing_in } = self;
        if let Some(text) = message {
            b.put_str(NLMSGERR_ATTR_MSG, text)?;
        }
        if let Some(cookie) = cookie {
            b.put(NLMSGERR_ATTR_COOKIE, cookie)?;
        }
        if !is_error {
            return Ok(());
        }
        if let Some(offset) = offset {
            b.put_u32(NLMSGERR_ATTR_OFFS, *offset)?;
        }
        if let Some(rule) = policy {
            rule.describe(b, NLMSGERR_ATTR_POLICY, None)?;
        }
        if let Some(kind) = missing {
            b.put_u32(NLMSGERR_ATTR_MISS_TYPE, u32::from(*kind))?;
        }
        if let Some(offset) = missing_in {
            b.put_u32(NLMSGERR_ATTR_MISS_NEST, *offset)?;
        }
        Ok(())
    }
}

/// How a client wants to be answered: its socket's options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ack {
    /// `NETLINK_CAP_ACK`: leave the request's payload out of errors.
    pub capped: bool,
    /// `NETLINK_EXT_ACK`: send the extended part.
    pub extended: bool,
}

impl Ack {
    /// Answers `request`, whose sender's port id is `pid`. An error carries the whole request unless capped; success
    /// carries its header only.
    pub fn write(
        self,
        out: &mut Datagram,
        request: &Message<'_>,
        pid: u32,
        result: Result<(), Errno>,
        ext: Option<&ExtAck>,
    ) -> Result<(), Error> {
        let error = result.err().map_or(0, |errno| -errno.0);
        let capped = self.capped || error == 0;
        let ext = ext.filter(|e| self.extended && has_part(e, error != 0));
        let flags = if capped { NLM_F_CAPPED } else { 0 } | if ext.is_some() { NLM_F_ACK_TLVS } else { 0 };
        let header = Header { kind: NLMSG_ERROR, flags, seq: request.header().nlmsg_seq, pid };
        out.raw(header, |buf, limit| {
            buf.extend_from_slice(nlmsgerr { error, msg: *request.header() }.as_bytes());
            if !capped {
                buf.extend_from_slice(request.payload());
                buf.resize(crate::align(buf.len()), 0);
            }
            match ext {
                Some(ext) => ext.write(&mut AttrBuilder::with_limit(buf, limit), error != 0),
                None => Ok(()),
            }
        })
    }
}

fn has_part(ext: &ExtAck, is_error: bool) -> bool {
    let always = ExtAck { message: ext.message.clone(), cookie: ext.cookie.clone(), ..ExtAck::default() };
    if is_error { !ext.is_empty() } else { !always.is_empty() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Attrs, Messages};

    const ACK: Ack = Ack { capped: false, extended: true };

    fn request() -> Vec<u8> {
        let mut d = Datagram::new(4096);
        let header = Header { kind: 0x1b, flags: 5, seq: 3, pid: 0 };
        d.genl::<_, Error>(header, 1, 1, &0i32, |b| b.put_u8(2, 2)).unwrap();
        d.into_bytes()
    }

    fn answer(
        ack: Ack,
        result: Result<(), Errno>,
        ext: Option<&ExtAck>,
    ) -> (u16, i32, usize, Vec<(u16, Vec<u8>)>) {
        let request = request();
        let message = Messages::new(&request).next().unwrap();
        let mut d = Datagram::new(4096);
        ack.write(&mut d, &message, 1234, result, ext).unwrap();
        let reply = Messages::new(d.bytes()).next().unwrap();
        let header = reply.header();
        assert_eq!((header.nlmsg_type, header.nlmsg_seq, header.nlmsg_pid), (NLMSG_ERROR, 3, 1234));
        let body = reply.payload();
        assert_eq!(body[4..20], request[..16], "the request's header");
        let whole = header.nlmsg_flags & NLM_F_CAPPED == 0;
        let end = if whole { 4 + request.len() } else { 20 };
        assert_eq!(body[20..end], request[16..end - 4]);
        let mut attrs = Attrs::new(&body[end..]);
        let list = attrs.by_ref().map(|a| (a.kind(), a.payload().to_vec())).collect();
        assert!(attrs.leftover().is_empty());
        (header.nlmsg_flags, i32::from_ne_bytes(body[..4].try_into().unwrap()), end, list)
    }

    #[test]
    fn success() {
        assert_eq!(answer(ACK, Ok(()), None), (NLM_F_CAPPED, 0, 20, vec![]));
        let warning = ExtAck { offset: Some(24), ..ExtAck::message("careful") };
        let (flags, error, _, attrs) = answer(ACK, Ok(()), Some(&warning));
        assert_eq!((flags, error), (NLM_F_CAPPED | NLM_F_ACK_TLVS, 0));
        assert_eq!(attrs, [(NLMSGERR_ATTR_MSG, b"careful\0".to_vec())], "offsets go with errors only");
        let only_offset = ExtAck { offset: Some(24), ..ExtAck::default() };
        assert_eq!(answer(ACK, Ok(()), Some(&only_offset)).0, NLM_F_CAPPED);
        assert_eq!(answer(Ack::default(), Ok(()), Some(&warning)).0, NLM_F_CAPPED, "not asked for");
    }

    #[test]
    fn errors() {
        let (flags, error, end, attrs) = answer(ACK, Err(Errno::ENODEV), None);
        assert_eq!((flags, error, end, attrs.len()), (0, -19, 4 + 32, 0));
        let capped = Ack { capped: true, extended: false };
        assert_eq!(
            answer(capped, Err(Errno::ENODEV), Some(&ExtAck::message("no"))),
            (NLM_F_CAPPED, -19, 20, vec![])
        );
    }

    #[test]
    fn everything_in_order() {
        let ext = ExtAck {
            message: Some("integer out of range".into()),
            cookie: Some(vec![1]),
            offset: Some(24),
            policy: Some(Rule::U32.max(4096)),
            missing: Some(7),
            missing_in: Some(28),
        };
        let (flags, _, _, attrs) = answer(ACK, Err(Errno::ERANGE), Some(&ext));
        assert_eq!(flags, NLM_F_ACK_TLVS);
        assert_eq!(attrs.iter().map(|a| a.0).collect::<Vec<_>>(), [1, 3, 2, 4, 5, 6]);
        assert_eq!(attrs[2].1, 24u32.to_ne_bytes());
        // As recorded for OVS_DP_ATTR_MASKS_CACHE_SIZE: MIN_VALUE_U, MAX_VALUE_U, TYPE.
        let policy: Vec<_> = Attrs::new(&attrs[3].1).map(|a| (a.kind(), a.payload().to_vec())).collect();
        let expected = [
            (4, 0u64.to_ne_bytes().to_vec()),
            (5, 4096u64.to_ne_bytes().to_vec()),
            (1, 4u32.to_ne_bytes().to_vec()),
        ];
        assert_eq!(policy, expected);
    }
}
