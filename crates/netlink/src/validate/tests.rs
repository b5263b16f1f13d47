// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Validation: what the recordings of the kernel show for the vport and datapath families, and the strict side.

use super::*;
use crate::AttrBuilder;

/// The kernel's rules for ovs_vport, as its replies to bad attributes show them (recording vport-bad-attrs).
const VPORT: Policy<11> = Policy::new()
    .with(1, Rule::U32)
    .with(2, Rule::U32)
    .with(3, Rule::nul_string(15))
    .with(4, Rule::NESTED)
    .with(5, Rule::UNSPEC)
    .with(6, Rule::at_least(64))
    .with(8, Rule::U32)
    .with(9, Rule::U32.max(4096))
    .with(10, Rule::S32.signed_range(0, i32::MAX as i64));

fn parse_one(kind: u16, payload: &[u8]) -> Result<(), (Errno, String, Option<usize>)> {
    parse_with(&VPORT, Strictness::LIBERAL, kind, payload)
}

fn parse_with<const N: usize>(
    policy: &Policy<N>,
    strictness: Strictness,
    kind: u16,
    payload: &[u8],
) -> Result<(), (Errno, String, Option<usize>)> {
    let mut buf = Vec::new();
    let mut b = AttrBuilder::new(&mut buf);
    b.put_u32(1, 5).unwrap();
    b.put(kind, payload).unwrap();
    policy
        .parse(Attrs::at(&buf, 24), strictness)
        .map(|_| ())
        .map_err(|r| (r.errno(), r.ext_ack().message.unwrap().into_owned(), r.offset))
}

fn refused(errno: Errno, text: &str) -> Result<(), (Errno, String, Option<usize>)> {
    Err((errno, text.to_owned(), Some(32)))
}

const FAILED: &str = "Attribute failed policy validation";

#[test]
fn numbers_may_be_long_but_not_short() {
    assert_eq!(parse_one(2, &[]), refused(Errno::ERANGE, FAILED));
    assert_eq!(parse_one(2, &[2, 0]), refused(Errno::ERANGE, FAILED));
    assert_eq!(parse_one(2, &[2, 0, 0, 0, 0]), Ok(()));
    assert_eq!(parse_one(6, &[0; 63]), refused(Errno::ERANGE, FAILED), "a structure");
    assert_eq!(parse_one(6, &[0; 65]), Ok(()));
}

#[test]
fn ranges() {
    assert_eq!(parse_one(9, &4096u32.to_ne_bytes()), Ok(()));
    assert_eq!(parse_one(9, &4097u32.to_ne_bytes()), refused(Errno::ERANGE, "integer out of range"));
    assert_eq!(parse_one(10, &(-1i32).to_ne_bytes()), refused(Errno::ERANGE, "integer out of range"));
    assert_eq!(parse_one(10, &[5]), refused(Errno::ERANGE, FAILED), "too short comes first");
}

#[test]
fn strings() {
    assert_eq!(parse_one(3, b"abcdefghijklmno\0"), Ok(()));
    assert_eq!(parse_one(3, b"abcdefghijklmnop\0"), refused(Errno::EINVAL, FAILED), "sixteen");
    assert_eq!(parse_one(3, b"eth0"), refused(Errno::EINVAL, FAILED), "no NUL");
    assert_eq!(parse_one(3, b""), refused(Errno::EINVAL, FAILED));
    assert_eq!(parse_one(3, b"\0"), Ok(()), "the family refuses an empty name");
    assert_eq!(parse_one(3, b"eth0\0junk"), Ok(()), "only what is in front of the NUL counts");
    assert_eq!(parse_one(3, b"eth0\0junkjunkjunkjunk"), refused(Errno::ERANGE, FAILED), "but all must fit");
    let loose = Policy::<4>::new().with(2, Rule::string(3));
    let check = |text: &[u8]| parse_with(&loose, Strictness::LIBERAL, 2, text);
    assert_eq!((check(b"abc"), check(b"abc\0")), (Ok(()), Ok(())));
    assert_eq!(
        (check(b"abcd"), check(b"")),
        (refused(Errno::ERANGE, FAILED), refused(Errno::ERANGE, FAILED))
    );
}

#[test]
fn nests() {
    assert_eq!(parse_one(4, &[]), Ok(()));
    assert_eq!(parse_one(4, &[1]), refused(Errno::ERANGE, FAILED));
    assert_eq!(parse_one(4, &[0xff; 4]), Ok(()), "what is inside is the family's business");
    const INNER: &[Rule] = &[Rule::UNSPEC, Rule::U16];
    let policy = Policy::<5>::new().with(4, Rule::nested(INNER));
    let check = |payload: &[u8]| parse_with(&policy, Strictness::LIBERAL, 4, payload);
    assert_eq!(check(&[6, 0, 1, 0, 7, 7, 0, 0]), Ok(()));
    assert_eq!(
        check(&[5, 0, 1, 0, 7, 0, 0, 0]),
        Err((Errno::ERANGE, FAILED.into(), Some(36))),
        "the inner offset"
    );
    let array = Policy::<5>::new().with(4, Rule::of(Kind::NestedArray(Some(INNER))));
    let check = |payload: &[u8]| parse_with(&array, Strictness::LIBERAL, 4, payload);
    assert_eq!(check(&[12, 0, 9, 0, 6, 0, 1, 0, 7, 7, 0, 0]), Ok(()));
    assert_eq!(check(&[12, 0, 9, 0, 5, 0, 1, 0, 7, 0, 0, 0]), Err((Errno::ERANGE, FAILED.into(), Some(40))));
    let short = "Array element too short";
    assert_eq!(check(&[5, 0, 9, 0, 7, 0, 0, 0]), Err((Errno::ERANGE, short.into(), Some(36))));
    assert_eq!(check(&[4, 0, 9, 0]), Ok(()));
}

#[test]
fn depth_is_limited() {
    static SELF: [Rule; 2] = [Rule::UNSPEC, Rule::of(Kind::Nested(Some(&OTHER)))];
    static OTHER: [Rule; 2] = [Rule::UNSPEC, Rule::of(Kind::Nested(Some(&SELF)))];
    let policy = Policy::<2>::new().with(1, SELF[1]);
    let nest = |depth: usize| {
        let mut bytes = vec![4u8, 0, 1, 0];
        for _ in 1..depth {
            let len = u16::try_from(bytes.len() + 4).unwrap();
            bytes = [&len.to_ne_bytes()[..], &1u16.to_ne_bytes(), &bytes].concat();
        }
        policy.parse(Attrs::new(&bytes), Strictness::LIBERAL).map(|_| ()).map_err(|r| r.reason)
    };
    assert_eq!((nest(10), nest(11), nest(100)), (Ok(()), Err(Reason::Depth), Err(Reason::Depth)));
}

#[test]
fn liberal_ignores_what_it_does_not_know() {
    let mut buf = Vec::new();
    let mut b = AttrBuilder::new(&mut buf);
    for (kind, value) in [(0, 1), (77, 2), (1, 3), (2 | 0x8000, 4), (1, 5)] {
        b.put_u32(kind, value).unwrap();
    }
    let table = VPORT.parse(Attrs::new(&buf), Strictness::LIBERAL).unwrap();
    assert_eq!(table.get(1).unwrap().u32(), Ok(5), "the last counts");
    assert_eq!(table.get(2).unwrap().u32(), Ok(4), "the flag on a leaf is ignored");
    assert!(!table.has(0) && !table.has(77) && !table.has(3));
    assert_eq!(table.warning(), None);
}

#[test]
fn leftover_is_a_warning_or_an_error() {
    let bytes = [8, 0, 1, 0, 5, 0, 0, 0, 9];
    let table = VPORT.parse(Attrs::new(&bytes), Strictness::LIBERAL).unwrap();
    let text = "bytes leftover after parsing attributes";
    assert_eq!(table.warning(), Some(ExtAck::message(text)));
    let strict = VPORT.parse(Attrs::new(&bytes), Strictness::STRICT).unwrap_err();
    assert_eq!((strict.errno(), strict.ext_ack()), (Errno::EINVAL, ExtAck::message(text)));
}

#[test]
fn strict() {
    let policy = Policy::<6>::new()
        .with(1, Rule::U32)
        .with(2, Rule::NESTED)
        .with(3, Rule::FLAG)
        .with(4, Rule::U8.mask(0x0f))
        .with(5, Rule::of(Kind::Reject(Some("not any more"))));
    let check = |kind: u16, payload: &[u8]| parse_with(&policy, Strictness::STRICT, kind, payload);
    assert_eq!(check(1, &[0; 5]), refused(Errno::EINVAL, "invalid attribute length"));
    assert_eq!(check(2, &[]), refused(Errno::EINVAL, "NLA_F_NESTED is missing"));
    assert_eq!(check(2 | 0x8000, &[]), Ok(()));
    assert_eq!(check(3 | 0x8000, &[]), refused(Errno::EINVAL, "NLA_F_NESTED not expected"));
    assert_eq!(check(3, &[1]), refused(Errno::ERANGE, FAILED));
    assert_eq!(check(4, &[0x1f]), refused(Errno::EINVAL, "reserved bit set"));
    assert_eq!(check(4, &[0x0f]), Ok(()));
    assert_eq!(check(5, &[]), refused(Errno::EINVAL, "not any more"));
    assert_eq!(check(6, &[]), refused(Errno::EINVAL, "Unknown attribute type"));
    assert_eq!(check(0, &[]), refused(Errno::EINVAL, "Unknown attribute type"));
    assert_eq!(
        parse_with(&VPORT, Strictness::STRICT, 5, &[]),
        refused(Errno::EINVAL, "Unsupported attribute")
    );
    let from = Policy { strict_from: 4, ..policy };
    assert_eq!(parse_with(&from, Strictness::LIBERAL, 1, &[0; 5]), Ok(()));
    assert!(parse_with(&from, Strictness::LIBERAL, 4, &[0; 2]).is_err());
}

#[test]
fn bytes_and_bit_fields() {
    let policy = Policy::<5>::new()
        .with(2, Rule::binary(3))
        .with(3, Rule::binary(0).range(2, 3))
        .with(4, Rule::of(Kind::Bitfield32(0b11)));
    let check = |kind: u16, payload: &[u8]| parse_with(&policy, Strictness::LIBERAL, kind, payload);
    assert_eq!((check(2, &[0; 3]), check(2, &[0; 4])), (Ok(()), refused(Errno::ERANGE, FAILED)));
    assert_eq!(check(3, &[0]), refused(Errno::ERANGE, "binary attribute size out of range"));
    let bits = |value: u32, selector: u32| check(4, &[value.to_ne_bytes(), selector.to_ne_bytes()].concat());
    assert_eq!((bits(1, 3), bits(0, 1)), (Ok(()), Ok(())));
    let bad = refused(Errno::EINVAL, FAILED);
    assert_eq!((bits(4, 4), bits(0, 4), bits(2, 1)), (bad.clone(), bad.clone(), bad));
    assert_eq!(check(4, &[0; 7]), refused(Errno::ERANGE, FAILED));
}

/// The `policy` parts of the recorded refusals.
#[test]
fn descriptions() {
    let describe = |rule: Rule| {
        let mut buf = Vec::new();
        let told = rule.describe(&mut AttrBuilder::new(&mut buf), 4, None).unwrap();
        assert_eq!(told, !buf.is_empty());
        Attrs::new(&buf).next().map(|nest| {
            assert!(nest.is_nested());
            nest.nested().map(|a| (a.kind(), a.u64().or(a.u32().map(u64::from)).unwrap())).collect::<Vec<_>>()
        })
    };
    assert_eq!(describe(Rule::nul_string(15)), Some(vec![(7, 15), (1, 12)]));
    assert_eq!(describe(Rule::U32), Some(vec![(4, 0), (5, 4_294_967_295), (1, 4)]));
    assert_eq!(describe(Rule::U32.max(4096)), Some(vec![(4, 0), (5, 4096), (1, 4)]));
    assert_eq!(
        describe(Rule::S32.signed_range(0, 2_147_483_647)),
        Some(vec![(2, 0), (3, 2_147_483_647), (1, 8)])
    );
    assert_eq!(describe(Rule::NESTED), Some(vec![(1, 13)]));
    assert_eq!(describe(Rule::FLAG), Some(vec![(1, 1)]));
    assert_eq!(describe(Rule::at_least(1)), None, "as recorded for flow identifiers");
    assert_eq!(describe(Rule::binary(0).range(1, 16)), Some(vec![(6, 1), (7, 16), (1, 10)]));
    assert_eq!(describe(Rule::U8.mask(3)), Some(vec![(12, 3), (1, 2)]));
}
