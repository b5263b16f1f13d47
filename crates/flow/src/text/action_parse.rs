// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Actions, read.

use super::action_format::TPID_DEFAULT;
use super::cursor::Cursor;
use super::set::read_set;
use super::value::{LSE_PARTS, mac, read_lse_part, read_number, read_port, read_value, tci};
use super::{Error, PortNumber};
use crate::MacAddr;
use crate::action::{
    Action, CheckPacketLength, Hash, HashAlgorithm, MplsPush, Psample, PushEth, PushNsh, PushVlan, Sample,
    Userspace,
};
use crate::field::Format;

/// How deep `clone(...)`, `sample(...)` and their kin may nest.
pub const NESTING_LIMIT: usize = 16;

const NAMES: &str = "a port, or one of userspace, set, push_vlan, pop_vlan, trunc, recirc, hash, clone, sample, drop, push_mpls, \
                     add_mpls, pop_mpls, push_eth, pop_eth, push_nsh, pop_nsh, meter, check_pkt_len, dec_ttl, psample";

/// Reads a list of actions; `drop` alone, and nothing at all, are the empty list.
///
/// # Errors
/// What is wrong, where, and what would be right.
pub fn parse_actions(text: &str, port: PortNumber<'_>) -> Result<Vec<Action>, Error> {
    let mut parser = Parser { at: Cursor::new(text), port };
    let actions = parser.list(0)?;
    if !parser.at.is_at_end() {
        return Err(parser.at.unexpected("`,` and another action, or the end of the text"));
    }
    Ok(actions)
}

struct Parser<'a> {
    at: Cursor<'a>,
    port: PortNumber<'a>,
}

impl Parser<'_> {
    /// Reads a list up to its `)` or the end of the text, which is left to the caller.
    fn list(&mut self, depth: usize) -> Result<Vec<Action>, Error> {
        if depth > NESTING_LIMIT {
            return Err(Error::TooDeep { column: self.at.column(), limit: NESTING_LIMIT });
        }
        let mut actions = Vec::new();
        // By itself the word means a flow without actions, which is how the kernel drops.
        let mut bare_drop = false;
        loop {
            self.at.skip_space();
            if self.at.is_at_end() || self.at.sees(")") {
                break;
            }
            bare_drop = self.at.sees("drop") && !self.at.sees("drop(");
            actions.push(self.action(depth)?);
            self.at.skip_space();
            if !self.at.eat(",") {
                break;
            }
        }
        if bare_drop && matches!(actions[..], [Action::Drop(0)]) {
            actions.clear();
        }
        Ok(actions)
    }

    /// Reads one action. A word that is no action's name is a port's.
    fn action(&mut self, depth: usize) -> Result<Action, Error> {
        let before = self.at.clone();
        let word = self.at.word();
        let open = self.at.eat("(");
        match (word, open) {
            ("pop_vlan", false) => Ok(Action::PopVlan),
            ("pop_eth", false) => Ok(Action::PopEth),
            ("drop", false) => Ok(Action::Drop(0)),
            (_, false) => {
                self.at = before.clone();
                let missing = before.unexpected(NAMES);
                let number = read_port(&mut self.at, self.port);
                number.map(Action::Output).map_err(|error| if word.is_empty() { missing } else { error })
            }
            ("clone" | "sample" | "check_pkt_len" | "dec_ttl", true) => self.nesting(word, depth + 1),
            (name, true) => {
                let action = self.plain(&before, name)?;
                self.at.expect(")")?;
                Ok(action)
            }
        }
    }

    /// Reads an action that holds lists of actions, from behind its `(`.
    fn nesting(&mut self, name: &str, depth: usize) -> Result<Action, Error> {
        let action = match name {
            "clone" => Action::Clone(self.list(depth)?),
            "sample" => {
                self.at.expect("sample=")?;
                let before = self.at.clone();
                let percent = self.at.take_while(|c| c.is_ascii_digit() || c == '.');
                let probability = probability(percent)
                    .ok_or_else(|| before.unexpected("a percentage of at most 100, like 50.0%"))?;
                self.at.expect("%")?;
                self.at.expect(",")?;
                Action::Sample(Sample { probability, actions: self.named_list("actions(", depth)? })
            }
            "check_pkt_len" => {
                self.at.expect("size=")?;
                let len = read_number(&mut self.at, u16::MAX.into(), "size")? as u16;
                self.at.expect(",")?;
                let greater = self.named_list("gt(", depth)?;
                self.at.expect(",")?;
                let less_or_equal = self.named_list("le(", depth)?;
                Action::CheckPacketLength(CheckPacketLength { len, greater, less_or_equal })
            }
            _ => Action::DecTtl(self.named_list("le_1(", depth)?),
        };
        self.at.expect(")")?;
        Ok(action)
    }

    fn named_list(&mut self, opening: &str, depth: usize) -> Result<Vec<Action>, Error> {
        self.at.expect(opening)?;
        let list = self.list(depth)?;
        self.at.expect(")")?;
        Ok(list)
    }

    /// Reads what stands in the parentheses of an action without lists.
    fn plain(&mut self, before: &Cursor<'_>, name: &str) -> Result<Action, Error> {
        let at = &mut self.at;
        let mut number = |name| read_number(at, u32::MAX.into(), name).map(|value| value as u32);
        Ok(match name {
            "trunc" => Action::Truncate(number("the length")?),
            "recirc" => Action::Recirculate(number("the recirculation id")?),
            "meter" => Action::Meter(number("the meter")?),
            "drop" => Action::Drop(number("the drop's code")?),
            "set" => Action::Set(read_set(at)?),
            "userspace" => Action::Userspace(userspace(at)?),
            "push_vlan" => Action::PushVlan(push_vlan(at)?),
            "hash" => Action::Hash(hash(at)?),
            "push_mpls" => Action::PushMpls(push_mpls(at, None)?),
            "add_mpls" => Action::PushMpls(push_mpls(at, Some(true))?),
            "pop_mpls" => Action::PopMpls(named_number(at, "eth_type", u16::MAX.into())? as u16),
            "push_eth" => Action::PushEth(push_eth(at)?),
            "push_nsh" => Action::PushNsh(push_nsh(at)?),
            "pop_nsh" => Action::PopNsh,
            "psample" => Action::Psample(psample(at)?),
            "pop_vlan" | "pop_eth" => return Err(before.unexpected(format!("`{name}` without parentheses"))),
            _ => return Err(before.unexpected(NAMES)),
        })
    }
}

/// Reads `name=number`.
fn named_number(at: &mut Cursor<'_>, name: &str, max: u128) -> Result<u128, Error> {
    at.expect(name)?;
    at.expect("=")?;
    read_number(at, max, name)
}

/// The probability that a percentage stands for.
pub(super) fn probability(percent: &str) -> Option<u32> {
    let percent = percent.parse::<f64>().ok().filter(|percent| (0.0..=100.0).contains(percent))?;
    Some((percent / 100.0 * f64::from(u32::MAX) + 0.5).floor() as u32)
}

fn userspace(at: &mut Cursor<'_>) -> Result<Userspace, Error> {
    let mut userspace =
        Userspace { pid: named_number(at, "pid", u32::MAX.into())? as u32, ..Userspace::default() };
    while at.eat(",") {
        let before = at.clone();
        match at.word() {
            "userdata" => {
                at.expect("(")?;
                userspace.userdata = Some(hex(at)?);
                at.expect(")")?;
            }
            "actions" => userspace.actions = true,
            "tunnel_out_port" => {
                at.expect("=")?;
                userspace.egress_tun_port = Some(read_number(at, u32::MAX.into(), "tunnel_out_port")? as u32);
            }
            _ => return Err(before.unexpected("`userdata(...)`, `actions` or `tunnel_out_port=`")),
        }
    }
    Ok(userspace)
}

/// Reads bytes as hexadecimal digits, two each.
fn hex(at: &mut Cursor<'_>) -> Result<Vec<u8>, Error> {
    let before = at.clone();
    let token = at.token();
    let digits = token.strip_prefix("0x").unwrap_or(token);
    let bytes = |digits: &str| -> Option<Vec<u8>> {
        let pairs = (0..digits.len()).step_by(2).map(|index| digits.get(index..index + 2));
        pairs.map(|pair| pair.and_then(|pair| u8::from_str_radix(pair, 16).ok())).collect()
    };
    let plain = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    bytes(digits).filter(|_| plain).ok_or_else(|| before.unexpected("bytes as pairs of hexadecimal digits"))
}

fn push_vlan(at: &mut Cursor<'_>) -> Result<PushVlan, Error> {
    let mut push = PushVlan { tpid: TPID_DEFAULT, tci: tci::CFI };
    loop {
        let before = at.clone();
        let name = at.word();
        let (bits, shift) = match name {
            "tpid" => {
                at.expect("=")?;
                push.tpid = read_number(at, u16::MAX.into(), name)? as u16;
                if at.eat(",") {
                    continue;
                }
                return Ok(push);
            }
            "vid" => (tci::VID, 0),
            "pcp" => (7, tci::PCP_SHIFT),
            "cfi" => (1, 12),
            _ => return Err(before.unexpected("`tpid=`, `vid=`, `pcp=` or `cfi=`")),
        };
        at.expect("=")?;
        let part = read_value(at, Format::Dec, bits.into(), name)? as u16;
        push.tci = push.tci & !(bits << shift) | part << shift;
        if !at.eat(",") {
            return Ok(push);
        }
    }
}

fn hash(at: &mut Cursor<'_>) -> Result<Hash, Error> {
    let before = at.clone();
    let algorithm = match at.word() {
        "hash_l4" | "l4" => HashAlgorithm::L4,
        "sym_l4" => HashAlgorithm::SymL4,
        _ => return Err(before.unexpected("`hash_l4(...)` or `sym_l4(...)`")),
    };
    at.expect("(")?;
    let basis = read_number(at, u32::MAX.into(), "the basis")? as u32;
    at.expect(")")?;
    Ok(Hash { algorithm, basis })
}

fn push_mpls(at: &mut Cursor<'_>, mut add_l3_tunnel: Option<bool>) -> Result<MplsPush, Error> {
    let mut lse = (0, 0);
    let mut ethertype = None;
    loop {
        let before = at.clone();
        match at.word() {
            "eth_type" => {
                at.expect("=")?;
                ethertype = Some(read_number(at, u16::MAX.into(), "eth_type")? as u16);
            }
            "l2" if add_l3_tunnel.is_some() => add_l3_tunnel = Some(false),
            name if read_lse_part(at, name, &mut lse)? => {}
            _ => {
                let parts: Vec<_> = LSE_PARTS.iter().map(|(name, _, _)| *name).collect();
                return Err(before.unexpected(format!("one of {}, eth_type", parts.join(", "))));
            }
        }
        if !at.eat(",") {
            break;
        }
    }
    let ethertype = ethertype.ok_or_else(|| at.unexpected("`,eth_type=0x8847`"))?;
    Ok(MplsPush { lse: lse.0, ethertype, add_l3_tunnel })
}

fn push_eth(at: &mut Cursor<'_>) -> Result<PushEth, Error> {
    let mut address = |name: &str| -> Result<MacAddr, Error> {
        at.expect(name)?;
        Ok(mac(read_value(at, Format::Mac, u128::MAX, name)?))
    };
    Ok(PushEth { src: address("src=")?, dst: address(",dst=")? })
}

fn push_nsh(at: &mut Cursor<'_>) -> Result<PushNsh, Error> {
    let mut push = PushNsh { flags: 0, ttl: 63, mdtype: 1, np: 3, path_hdr: 0, metadata: Vec::new() };
    let mut context = [0_u32; 4];
    loop {
        let before = at.clone();
        let name = at.word();
        at.expect("=")?;
        match name {
            "flags" => push.flags = read_number(at, u8::MAX.into(), name)? as u8,
            "ttl" => push.ttl = read_number(at, u8::MAX.into(), name)? as u8,
            "mdtype" => push.mdtype = read_number(at, u8::MAX.into(), name)? as u8,
            "np" => push.np = read_number(at, u8::MAX.into(), name)? as u8,
            "spi" => push.path_hdr = push.path_hdr & 0xff | (read_number(at, 0xff_ffff, name)? as u32) << 8,
            "si" => push.path_hdr = push.path_hdr & !0xff | read_number(at, 0xff, name)? as u32,
            "c1" | "c2" | "c3" | "c4" => {
                let index = usize::from(name.as_bytes()[1] - b'1');
                context[index] = read_number(at, u32::MAX.into(), name)? as u32;
            }
            "md2" => push.metadata = hex(at)?,
            _ => return Err(before.unexpected("one of flags, ttl, mdtype, np, spi, si, c1, c2, c3, c4, md2")),
        }
        if !at.eat(",") {
            break;
        }
    }
    if push.mdtype == 1 && push.metadata.is_empty() {
        push.metadata = context.iter().flat_map(|word| word.to_be_bytes()).collect();
    }
    Ok(push)
}

fn psample(at: &mut Cursor<'_>) -> Result<Psample, Error> {
    let group = named_number(at, "group", u32::MAX.into())? as u32;
    let cookie = if at.eat(",") {
        at.expect("cookie=")?;
        Some(hex(at)?)
    } else {
        None
    };
    Ok(Psample { group, cookie })
}
