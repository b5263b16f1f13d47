// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Validating attributes against rules, as the kernel does it: liberally for old families (those of OVS are), strictly
//! for new ones.

use crate::policy::{Kind, Policy, Rule, Validation};
use crate::{Attr, Attrs, ExtAck};
use portway_uapi::Errno;

/// Nests are validated to this depth; deeper ones are refused.
const MAX_DEPTH: u32 = 10;

/// What is refused beyond values that a rule does not allow. The kernel's `NL_VALIDATE_*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Strictness {
    /// Bytes after the last attribute.
    pub trailing: bool,
    /// Attribute types without a rule.
    pub max_type: bool,
    /// Attribute types whose rule is [`Kind::Unspec`].
    pub unspec: bool,
    /// Numbers longer than they should be.
    pub exact: bool,
    /// A nest without `NLA_F_NESTED`, and the flag on what is no nest.
    pub nested: bool,
}

impl Strictness {
    /// Nothing more is refused. Trailing bytes are worth a warning.
    pub const LIBERAL: Self =
        Self { trailing: false, max_type: false, unspec: false, exact: false, nested: false };
    /// Everything is refused.
    pub const STRICT: Self = Self { trailing: true, max_type: true, unspec: true, exact: true, nested: true };
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// A length that the rule does not allow.
    #[error("Attribute failed policy validation")]
    Length,
    /// A string without its NUL, or a bit field with bits that it must not have.
    #[error("Attribute failed policy validation")]
    Content,
    /// A number out of its range.
    #[error("integer out of range")]
    Range,
    /// Bytes fewer or more than allowed.
    #[error("binary attribute size out of range")]
    BinaryRange,
    /// Bits that are reserved.
    #[error("reserved bit set")]
    ReservedBit,
    /// The rule refuses the attribute, with its own message.
    #[error("{0}")]
    Rejected(&'static str),
    /// A number that is longer than it should be.
    #[error("invalid attribute length")]
    Exact,
    /// A nest that is not marked.
    #[error("NLA_F_NESTED is missing")]
    NestedMissing,
    /// The mark on what is no nest.
    #[error("NLA_F_NESTED not expected")]
    NestedUnexpected,
    /// A type whose rule is unspecified.
    #[error("Unsupported attribute")]
    Unsupported,
    /// A type without a rule.
    #[error("Unknown attribute type")]
    UnknownType,
    /// Bytes after the last attribute.
    #[error("bytes leftover after parsing attributes")]
    Leftover,
    /// An element of a nested array that is too short for an attribute.
    #[error("Array element too short")]
    ArrayElement,
    /// Nests too deep.
    #[error("allowed policy recursion depth exceeded")]
    Depth,
}

impl Reason {
    /// What the kernel returns in that case.
    pub fn errno(self) -> Errno {
        match self {
            Self::Length | Self::Range | Self::BinaryRange | Self::ArrayElement => Errno::ERANGE,
            Self::Content
            | Self::ReservedBit
            | Self::Rejected(_)
            | Self::Exact
            | Self::NestedMissing
            | Self::NestedUnexpected
            | Self::Unsupported
            | Self::UnknownType
            | Self::Leftover
            | Self::Depth => Errno::EINVAL,
        }
    }
}

/// A request that was refused.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("{reason}")]
pub struct Rejected {
    /// Why.
    pub reason: Reason,
    /// Offset of the offending attribute, as [`Attr::offset`] counts.
    pub offset: Option<usize>,
    /// The rule that it broke, where the kernel tells it.
    pub rule: Option<Rule>,
}

impl Rejected {
    /// What the kernel returns in that case.
    pub fn errno(&self) -> Errno {
        self.reason.errno()
    }

    /// What the kernel tells in the extended acknowledgement. The attributes must have been made with offsets that
    /// count from the request's first byte, as [`crate::GenlMessage::attrs`] does.
    pub fn ext_ack(&self) -> ExtAck {
        let message: std::borrow::Cow<'static, str> = match self.reason {
            Reason::Rejected(text) => text.into(),
            Reason::Length
            | Reason::Content
            | Reason::Range
            | Reason::BinaryRange
            | Reason::ReservedBit
            | Reason::Exact
            | Reason::NestedMissing
            | Reason::NestedUnexpected
            | Reason::Unsupported
            | Reason::UnknownType
            | Reason::Leftover
            | Reason::ArrayElement
            | Reason::Depth => self.reason.to_string().into(),
        };
        ExtAck {
            message: Some(message),
            offset: self.offset.and_then(|o| u32::try_from(o).ok()),
            policy: self.rule,
            ..ExtAck::default()
        }
    }
}

/// Attributes sorted by type. Of several of one type, the last counts.
#[derive(Clone, Debug)]
pub struct Table<'a, const N: usize> {
    slots: [Option<Attr<'a>>; N],
    leftover: bool,
}

impl<'a, const N: usize> Table<'a, N> {
    /// The attribute of a type, if it was there.
    #[inline]
    pub fn get(&self, kind: u16) -> Option<Attr<'a>> {
        self.slots.get(usize::from(kind)).copied().flatten()
    }

    /// Whether an attribute of a type was there.
    #[inline]
    pub fn has(&self, kind: u16) -> bool {
        self.get(kind).is_some()
    }

    /// What the kernel warns of although it accepts the request: bytes after the last attribute, here or in a nest.
    pub fn warning(&self) -> Option<ExtAck> {
        self.leftover.then(|| ExtAck::message(Reason::Leftover.to_string()))
    }
}

impl<const N: usize> Policy<N> {
    /// Validates attributes and sorts them by type.
    pub fn parse<'a>(&self, attrs: Attrs<'a>, strictness: Strictness) -> Result<Table<'a, N>, Rejected> {
        Self::parse_by(&self.rules, self.strict_from, attrs, strictness)
    }

    /// The same by the parts of a policy.
    ///
    /// # Errors
    /// As [`Policy::parse`].
    pub fn parse_by<'a>(
        rules: &[Rule; N],
        strict_from: u16,
        attrs: Attrs<'a>,
        strictness: Strictness,
    ) -> Result<Table<'a, N>, Rejected> {
        let mut slots = [None; N];
        let mut walk = Walk { strictness, strict_from, leftover: false };
        walk.attrs(rules, attrs, 0, |attr| slots[usize::from(attr.kind())] = Some(attr))?;
        Ok(Table { slots, leftover: walk.leftover })
    }
}

struct Walk {
    strictness: Strictness,
    strict_from: u16,
    leftover: bool,
}

impl Walk {
    fn attrs<'a>(
        &mut self,
        rules: &[Rule],
        mut attrs: Attrs<'a>,
        depth: u32,
        mut keep: impl FnMut(Attr<'a>),
    ) -> Result<(), Rejected> {
        if depth >= MAX_DEPTH {
            return Err(Rejected { reason: Reason::Depth, offset: None, rule: None });
        }
        for attr in attrs.by_ref() {
            match rules.get(usize::from(attr.kind())) {
                Some(rule) if attr.kind() != 0 => {
                    self.attr(rule, &attr, depth)?;
                    keep(attr);
                }
                _ if self.strictness.max_type => return Err(refuse(Reason::UnknownType, &attr, None)),
                _ => {}
            }
        }
        if !attrs.leftover().is_empty() {
            self.leftover = true;
            if self.strictness.trailing {
                return Err(Rejected { reason: Reason::Leftover, offset: None, rule: None });
            }
        }
        Ok(())
    }

    fn attr(&mut self, rule: &Rule, attr: &Attr<'_>, depth: u32) -> Result<(), Rejected> {
        let strict_type = self.strict_from != 0 && depth == 0 && attr.kind() >= self.strict_from;
        let strictness = if strict_type { Strictness::STRICT } else { self.strictness };
        let is_nest = matches!(rule.kind, Kind::Nested(_) | Kind::NestedArray(_));
        let broken = |reason| Err(refuse(reason, attr, Some(*rule)));
        if strictness.exact && rule.number_len() != 0 && attr.len() != rule.number_len() {
            return broken(Reason::Exact);
        }
        if strictness.nested && is_nest && !attr.is_nested() {
            return broken(Reason::NestedMissing);
        }
        if strictness.nested && !is_nest && rule.kind != Kind::Unspec && attr.is_nested() {
            return broken(Reason::NestedUnexpected);
        }
        match rule.kind {
            Kind::Nested(rules) | Kind::NestedArray(rules) => {
                if attr.len() != 0 && attr.len() < 4 {
                    return broken(Reason::Length);
                }
                if let Some(rules) = rules {
                    let outer = std::mem::replace(&mut self.strictness, strictness);
                    let result = self.nest(rules, attr, matches!(rule.kind, Kind::NestedArray(_)), depth);
                    self.strictness = outer;
                    result?;
                }
            }
            Kind::Unspec if strictness.unspec => return Err(refuse(Reason::Unsupported, attr, None)),
            Kind::Reject(Some(text)) => return Err(refuse(Reason::Rejected(text), attr, None)),
            Kind::Reject(None) => return broken(Reason::Content),
            Kind::Unspec
            | Kind::Flag
            | Kind::U8
            | Kind::U16
            | Kind::U32
            | Kind::U64
            | Kind::Msecs
            | Kind::S8
            | Kind::S16
            | Kind::S32
            | Kind::S64
            | Kind::Bitfield32(_)
            | Kind::Binary
            | Kind::String
            | Kind::NulString => {
                if let Err(reason) = check_leaf(rule, attr.payload()) {
                    return broken(reason);
                }
            }
        }
        check_value(rule, attr.payload()).or_else(broken)
    }

    fn nest(&mut self, rules: &[Rule], attr: &Attr<'_>, array: bool, depth: u32) -> Result<(), Rejected> {
        if attr.len() == 0 {
            return Ok(());
        }
        if !array {
            return self.attrs(rules, attr.nested(), depth + 1, |_| {});
        }
        for entry in attr.nested().filter(|e| e.len() != 0) {
            if entry.len() < 4 {
                return Err(refuse(Reason::ArrayElement, &entry, None));
            }
            self.attrs(rules, entry.nested(), depth + 1, |_| {})?;
        }
        Ok(())
    }
}

fn refuse(reason: Reason, attr: &Attr<'_>, rule: Option<Rule>) -> Rejected {
    Rejected { reason, offset: Some(attr.offset()), rule }
}

/// Length and form of what is no nest.
fn check_leaf(rule: &Rule, payload: &[u8]) -> Result<(), Reason> {
    let limit = usize::from(rule.len);
    let fits = |ok: bool| if ok { Ok(()) } else { Err(Reason::Length) };
    match rule.kind {
        Kind::Nested(_) | Kind::NestedArray(_) | Kind::Reject(_) => Ok(()),
        Kind::Unspec => fits(payload.len() >= limit),
        Kind::Flag => fits(payload.is_empty()),
        Kind::Bitfield32(bits) => check_bitfield(payload, bits),
        Kind::Binary => fits(limit == 0 || payload.len() <= limit),
        Kind::NulString => {
            let searched = if limit == 0 { payload } else { &payload[..payload.len().min(limit + 1)] };
            if !searched.contains(&0) {
                return Err(Reason::Content);
            }
            check_text(payload, limit)
        }
        Kind::String => check_text(payload, limit),
        Kind::U8
        | Kind::U16
        | Kind::U32
        | Kind::U64
        | Kind::Msecs
        | Kind::S8
        | Kind::S16
        | Kind::S32
        | Kind::S64 => fits(payload.len() >= if limit == 0 { rule.number_len() } else { limit }),
    }
}

fn check_text(payload: &[u8], limit: usize) -> Result<(), Reason> {
    let text = payload.strip_suffix(&[0]).unwrap_or(payload);
    if payload.is_empty() || (limit != 0 && text.len() > limit) { Err(Reason::Length) } else { Ok(()) }
}

fn check_bitfield(payload: &[u8], bits: u32) -> Result<(), Reason> {
    let ([value, selector], []) = payload.as_chunks::<4>() else { return Err(Reason::Length) };
    let (value, selector) = (u32::from_ne_bytes(*value), u32::from_ne_bytes(*selector));
    // Only selected bits may have a value, only allowed bits may be selected; with none allowed nothing is asked.
    if bits != 0 && (value & !bits != 0 || selector & !bits != 0 || value & !selector != 0) {
        return Err(Reason::Content);
    }
    Ok(())
}

/// Range and mask of a value whose length has been checked.
fn check_value(rule: &Rule, payload: &[u8]) -> Result<(), Reason> {
    match rule.validation {
        Validation::None => Ok(()),
        Validation::Range(min, max) if rule.kind == Kind::Binary => {
            let len = payload.len() as u64;
            if (min..=max).contains(&len) { Ok(()) } else { Err(Reason::BinaryRange) }
        }
        Validation::Range(min, max) => match unsigned(rule, payload) {
            Some(value) if !(min..=max).contains(&value) => Err(Reason::Range),
            _ => Ok(()),
        },
        Validation::SignedRange(min, max) => match signed(rule, payload) {
            Some(value) if !(min..=max).contains(&value) => Err(Reason::Range),
            _ => Ok(()),
        },
        Validation::Mask(bits) => match unsigned(rule, payload) {
            Some(value) if value & !bits != 0 => Err(Reason::ReservedBit),
            _ => Ok(()),
        },
    }
}

fn unsigned(rule: &Rule, payload: &[u8]) -> Option<u64> {
    Some(match rule.number_len() {
        1 => u64::from(*payload.first()?),
        2 => u64::from(u16::from_ne_bytes(*payload.first_chunk()?)),
        4 => u64::from(u32::from_ne_bytes(*payload.first_chunk()?)),
        8 => u64::from_ne_bytes(*payload.first_chunk()?),
        _ => return None,
    })
}

fn signed(rule: &Rule, payload: &[u8]) -> Option<i64> {
    Some(match rule.number_len() {
        1 => i64::from(i8::from_ne_bytes(*payload.first_chunk()?)),
        2 => i64::from(i16::from_ne_bytes(*payload.first_chunk()?)),
        4 => i64::from(i32::from_ne_bytes(*payload.first_chunk()?)),
        8 => i64::from_ne_bytes(*payload.first_chunk()?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
