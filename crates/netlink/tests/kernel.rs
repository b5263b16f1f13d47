// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Requests to a running kernel's generic-netlink controller (Linux 6.x), and its answers byte for byte: ours must be
//! the same. Bytes are as on little-endian machines.
#![cfg(target_endian = "little")]

use portway_netlink::*;
use portway_uapi::Errno;
use portway_uapi::genetlink::{CTRL_ATTR_FAMILY_ID, CTRL_ATTR_FAMILY_NAME};

const POLICY: Policy<11> =
    Policy::new().with(CTRL_ATTR_FAMILY_ID, Rule::U16).with(CTRL_ATTR_FAMILY_NAME, Rule::nul_string(15));
const EXTENDED: Ack = Ack { capped: false, extended: true };

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect()
}

/// Handles the request as the controller would, up to and including its acknowledgement.
fn answer(request: &str, ack: Ack) -> Vec<u8> {
    let request = bytes(request);
    let message = Messages::new(&request).next().unwrap();
    let genl = message.genl(0).unwrap();
    let mut out = Datagram::new(4096);
    let (result, ext) = match POLICY.parse(genl.attrs(), Strictness::LIBERAL) {
        Err(refused) => (Err(refused.errno()), Some(refused.ext_ack())),
        Ok(table) => {
            let known = table.get(CTRL_ATTR_FAMILY_NAME).is_some_and(|a| a.str() == Ok("nlctrl"));
            (if known { Ok(()) } else { Err(Errno::ENOENT) }, table.warning())
        }
    };
    ack.write(&mut out, &message, 0x56d2, result, ext.as_ref()).unwrap();
    out.into_bytes()
}

#[test]
fn success() {
    assert_eq!(
        answer("20000000100005000700000000000000030200000b0002006e6c6374726c0000", EXTENDED),
        bytes("240000000200000107000000d25600000000000020000000100005000700000000000000")
    );
}

#[test]
fn success_with_a_warning() {
    assert_eq!(
        answer("23000000100005000700000000000000030200000b0002006e6c6374726c0000010203", EXTENDED),
        bytes(concat!(
            "500000000200000307000000d256000000000000", // length, flags CAPPED and ACK_TLVS, error 0
            "23000000100005000700000000000000",         // the request's header
            "2c0001006279746573206c6566746f7665722061667465722070617273696e67206174747269627574657300",
        ))
    );
}

#[test]
fn plain_error() {
    let request = "20000000100005000700000000000000030200000b0002006e6f737563680000";
    let expected = ["340000000200000007000000d2560000feffffff", request].concat();
    assert_eq!(answer(request, EXTENDED), bytes(&expected));
}

const LONG_NAME: &str =
    "300000001000050007000000000000000302000019000200787878787878787878787878787878787878787800000000";
const FAILED: &str = concat!(
    "27000100417474726962757465206661696c656420706f6c6963792076616c69646174696f6e0000", // the message
    "0800020014000000",                                                                 // offset 20
);
const LONG_NAME_POLICY: &str = "14000480080007000f000000080001000c000000"; // MAX_LENGTH 15, TYPE NUL_STRING

#[test]
fn refused_string() {
    let expected = ["880000000200000207000000d2560000eaffffff", LONG_NAME, FAILED, LONG_NAME_POLICY].concat();
    assert_eq!(answer(LONG_NAME, EXTENDED), bytes(&expected));
}

#[test]
fn refused_string_capped() {
    let ack = Ack { capped: true, extended: true };
    let expected =
        ["680000000200000307000000d2560000eaffffff", &LONG_NAME[..32], FAILED, LONG_NAME_POLICY].concat();
    assert_eq!(answer(LONG_NAME, ack), bytes(&expected));
}

#[test]
fn refused_string_without_the_extended_part() {
    let expected = ["440000000200000007000000d2560000eaffffff", LONG_NAME].concat();
    assert_eq!(answer(LONG_NAME, Ack::default()), bytes(&expected));
}

#[test]
fn refused_number() {
    let request = "1c000000100005000700000000000000030200000500010001000000";
    let policy = "240004800c00040000000000000000000c000500ffff0000000000000800010003000000";
    let expected = ["840000000200000207000000d2560000deffffff", request, FAILED, policy].concat();
    assert_eq!(answer(request, EXTENDED), bytes(&expected));
}

#[test]
fn end_of_a_dump() {
    let request = bytes("1c000000100005030700000000000000030200000600010010000000");
    let message = Messages::new(&request).next().unwrap();
    assert!(message.wants_dump());
    let mut out = Datagram::new(4096);
    out.done(message.header(), 0x56d2, Ok(()), None).unwrap();
    assert_eq!(out.into_bytes(), bytes("140000000300020007000000d256000000000000"));
}
