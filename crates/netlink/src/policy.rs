// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a family accepts: one rule per attribute type. The kernel's `struct nla_policy`, with its meaning.

use crate::{AttrBuilder, Error};
use portway_uapi::netlink::{
    NL_ATTR_TYPE_BINARY, NL_ATTR_TYPE_BITFIELD32, NL_ATTR_TYPE_FLAG, NL_ATTR_TYPE_NESTED,
    NL_ATTR_TYPE_NESTED_ARRAY, NL_ATTR_TYPE_NUL_STRING, NL_ATTR_TYPE_S8, NL_ATTR_TYPE_S16, NL_ATTR_TYPE_S32,
    NL_ATTR_TYPE_S64, NL_ATTR_TYPE_STRING, NL_ATTR_TYPE_U8, NL_ATTR_TYPE_U16, NL_ATTR_TYPE_U32,
    NL_ATTR_TYPE_U64, NL_POLICY_TYPE_ATTR_BITFIELD32_MASK, NL_POLICY_TYPE_ATTR_MASK,
    NL_POLICY_TYPE_ATTR_MAX_LENGTH, NL_POLICY_TYPE_ATTR_MAX_VALUE_S, NL_POLICY_TYPE_ATTR_MAX_VALUE_U,
    NL_POLICY_TYPE_ATTR_MIN_LENGTH, NL_POLICY_TYPE_ATTR_MIN_VALUE_S, NL_POLICY_TYPE_ATTR_MIN_VALUE_U,
    NL_POLICY_TYPE_ATTR_POLICY_IDX, NL_POLICY_TYPE_ATTR_POLICY_MAXTYPE, NL_POLICY_TYPE_ATTR_TYPE,
};

/// What an attribute holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Anything of at least [`Rule::len`] bytes. Under strict validation: nothing, the type is not in use.
    Unspec,
    /// Nothing: the attribute is refused, with this message if there is one.
    Reject(Option<&'static str>),
    /// No payload.
    Flag,
    /// Unsigned, 8 bits.
    U8,
    /// Unsigned, 16 bits.
    U16,
    /// Unsigned, 32 bits.
    U32,
    /// Unsigned, 64 bits.
    U64,
    /// Milliseconds: as `U64`.
    Msecs,
    /// Signed, 8 bits.
    S8,
    /// Signed, 16 bits.
    S16,
    /// Signed, 32 bits.
    S32,
    /// Signed, 64 bits.
    S64,
    /// Value and selector of 32 bits; only these bits may be selected.
    Bitfield32(u32),
    /// Bytes, at most [`Rule::len`] of them if that is not 0.
    Binary,
    /// Text of at least one byte, at most [`Rule::len`] without a final NUL if that is not 0.
    String,
    /// The same, with a NUL required.
    NulString,
    /// Attributes, validated by the rules if there are any.
    Nested(Option<&'static [Rule]>),
    /// Attributes whose types do not count, each of which holds attributes validated by the rules.
    NestedArray(Option<&'static [Rule]>),
}

/// What else is asked of a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Validation {
    /// Nothing.
    None,
    /// An unsigned number (or the length of [`Kind::Binary`]) from the first to the second.
    Range(u64, u64),
    /// A signed number from the first to the second.
    SignedRange(i64, i64),
    /// An unsigned number with no bits but these.
    Mask(u64),
}

/// The rule for one attribute type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// What it holds.
    pub kind: Kind,
    /// Length in bytes; what it means depends on the kind. For numbers, 0 or a least length that replaces the kind's.
    pub len: u16,
    /// What else is asked.
    pub validation: Validation,
}

impl Rule {
    /// Nothing is known of the type: anything passes, unless validation is strict.
    pub const UNSPEC: Self = Self::of(Kind::Unspec);
    /// See [`Kind::Flag`].
    pub const FLAG: Self = Self::of(Kind::Flag);
    /// See [`Kind::U8`].
    pub const U8: Self = Self::of(Kind::U8);
    /// See [`Kind::U16`].
    pub const U16: Self = Self::of(Kind::U16);
    /// See [`Kind::U32`].
    pub const U32: Self = Self::of(Kind::U32);
    /// See [`Kind::U64`].
    pub const U64: Self = Self::of(Kind::U64);
    /// See [`Kind::S32`].
    pub const S32: Self = Self::of(Kind::S32);
    /// A nest, validated later.
    pub const NESTED: Self = Self::of(Kind::Nested(None));

    /// The rule with that kind and no more.
    pub const fn of(kind: Kind) -> Self {
        Self { kind, len: 0, validation: Validation::None }
    }

    /// Anything of at least `len` bytes.
    pub const fn at_least(len: u16) -> Self {
        Self { len, ..Self::UNSPEC }
    }

    /// At most `len` bytes; 0: any number.
    pub const fn binary(len: u16) -> Self {
        Self { len, ..Self::of(Kind::Binary) }
    }

    /// Text of at most `len` bytes without a NUL; 0: any number.
    pub const fn string(len: u16) -> Self {
        Self { len, ..Self::of(Kind::String) }
    }

    /// Text with a NUL, at most `len` bytes without it; 0: any number.
    pub const fn nul_string(len: u16) -> Self {
        Self { len, ..Self::of(Kind::NulString) }
    }

    /// A nest with these rules.
    pub const fn nested(rules: &'static [Rule]) -> Self {
        Self::of(Kind::Nested(Some(rules)))
    }

    /// The rule, with an unsigned number from `min` to `max`.
    pub const fn range(self, min: u64, max: u64) -> Self {
        Self { validation: Validation::Range(min, max), ..self }
    }

    /// The rule, with an unsigned number of at most `max`.
    pub const fn max(self, max: u64) -> Self {
        self.range(0, max)
    }

    /// The rule, with a signed number from `min` to `max`.
    pub const fn signed_range(self, min: i64, max: i64) -> Self {
        Self { validation: Validation::SignedRange(min, max), ..self }
    }

    /// The rule, with an unsigned number of no bits but these.
    pub const fn mask(self, bits: u64) -> Self {
        Self { validation: Validation::Mask(bits), ..self }
    }

    /// Bytes that a number has; 0 for what is no number.
    pub(crate) const fn number_len(&self) -> usize {
        match self.kind {
            Kind::U8 | Kind::S8 => 1,
            Kind::U16 | Kind::S16 => 2,
            Kind::U32 | Kind::S32 => 4,
            Kind::U64 | Kind::S64 | Kind::Msecs => 8,
            Kind::Unspec
            | Kind::Reject(_)
            | Kind::Flag
            | Kind::Bitfield32(_)
            | Kind::Binary
            | Kind::String
            | Kind::NulString
            | Kind::Nested(_)
            | Kind::NestedArray(_) => 0,
        }
    }

    fn unsigned_limits(&self) -> (u64, u64) {
        match self.validation {
            Validation::Range(min, max) => (min, max),
            Validation::None | Validation::SignedRange(..) | Validation::Mask(_) => match self.number_len() {
                1 => (0, u64::from(u8::MAX)),
                2 => (0, u64::from(u16::MAX)),
                4 => (0, u64::from(u32::MAX)),
                _ => (0, u64::MAX),
            },
        }
    }

    fn signed_limits(&self) -> (i64, i64) {
        match self.validation {
            Validation::SignedRange(min, max) => (min, max),
            Validation::None | Validation::Range(..) | Validation::Mask(_) => match self.number_len() {
                1 => (i64::from(i8::MIN), i64::from(i8::MAX)),
                2 => (i64::from(i16::MIN), i64::from(i16::MAX)),
                4 => (i64::from(i32::MIN), i64::from(i32::MAX)),
                _ => (i64::MIN, i64::MAX),
            },
        }
    }

    /// Describes the rule as a nest of `NL_POLICY_TYPE_ATTR_*`, in the kernel's order. `nested` is the index and the
    /// greatest type of a nest's policy, where a dump gives them. Rules that cannot be described (unspecified and
    /// refused types) write nothing: then `false`.
    pub fn describe(
        &self,
        b: &mut AttrBuilder<'_>,
        nest: u16,
        nested: Option<(u32, u32)>,
    ) -> Result<bool, Error> {
        if matches!(self.kind, Kind::Unspec | Kind::Reject(_)) {
            return Ok(false);
        }
        b.nest::<Error>(nest, |b| {
            let kind = self.describe_value(b, nested)?;
            b.put_u32(NL_POLICY_TYPE_ATTR_TYPE, kind)
        })?;
        Ok(true)
    }

    fn describe_value(&self, b: &mut AttrBuilder<'_>, nested: Option<(u32, u32)>) -> Result<u32, Error> {
        match self.kind {
            Kind::Unspec | Kind::Reject(_) => Ok(0),
            Kind::Flag => Ok(NL_ATTR_TYPE_FLAG),
            Kind::U8 => self.describe_unsigned(b, NL_ATTR_TYPE_U8),
            Kind::U16 => self.describe_unsigned(b, NL_ATTR_TYPE_U16),
            Kind::U32 => self.describe_unsigned(b, NL_ATTR_TYPE_U32),
            Kind::U64 | Kind::Msecs => self.describe_unsigned(b, NL_ATTR_TYPE_U64),
            Kind::S8 => self.describe_signed(b, NL_ATTR_TYPE_S8),
            Kind::S16 => self.describe_signed(b, NL_ATTR_TYPE_S16),
            Kind::S32 => self.describe_signed(b, NL_ATTR_TYPE_S32),
            Kind::S64 => self.describe_signed(b, NL_ATTR_TYPE_S64),
            Kind::Bitfield32(bits) => {
                b.put_u32(NL_POLICY_TYPE_ATTR_BITFIELD32_MASK, bits)?;
                Ok(NL_ATTR_TYPE_BITFIELD32)
            }
            Kind::Binary => self.describe_length(b, NL_ATTR_TYPE_BINARY),
            Kind::String => self.describe_length(b, NL_ATTR_TYPE_STRING),
            Kind::NulString => self.describe_length(b, NL_ATTR_TYPE_NUL_STRING),
            Kind::Nested(_) | Kind::NestedArray(_) => {
                if let Some((index, max_type)) = nested {
                    b.put_u32(NL_POLICY_TYPE_ATTR_POLICY_IDX, index)?;
                    b.put_u32(NL_POLICY_TYPE_ATTR_POLICY_MAXTYPE, max_type)?;
                }
                let array = matches!(self.kind, Kind::NestedArray(_));
                Ok(if array { NL_ATTR_TYPE_NESTED_ARRAY } else { NL_ATTR_TYPE_NESTED })
            }
        }
    }

    fn describe_unsigned(&self, b: &mut AttrBuilder<'_>, kind: u32) -> Result<u32, Error> {
        if let Validation::Mask(bits) = self.validation {
            b.put_u64(NL_POLICY_TYPE_ATTR_MASK, bits)?;
            return Ok(kind);
        }
        let (min, max) = self.unsigned_limits();
        b.put_u64(NL_POLICY_TYPE_ATTR_MIN_VALUE_U, min)?;
        b.put_u64(NL_POLICY_TYPE_ATTR_MAX_VALUE_U, max)?;
        Ok(kind)
    }

    fn describe_signed(&self, b: &mut AttrBuilder<'_>, kind: u32) -> Result<u32, Error> {
        let (min, max) = self.signed_limits();
        b.put(NL_POLICY_TYPE_ATTR_MIN_VALUE_S, &min.to_ne_bytes())?;
        b.put(NL_POLICY_TYPE_ATTR_MAX_VALUE_S, &max.to_ne_bytes())?;
        Ok(kind)
    }

    fn describe_length(&self, b: &mut AttrBuilder<'_>, kind: u32) -> Result<u32, Error> {
        if let Validation::Range(min, max) = self.validation {
            if min != 0 {
                b.put_u32(NL_POLICY_TYPE_ATTR_MIN_LENGTH, min.min(u64::from(u32::MAX)) as u32)?;
            }
            if max < u64::from(u16::MAX) {
                b.put_u32(NL_POLICY_TYPE_ATTR_MAX_LENGTH, max as u32)?;
            }
        } else if self.len != 0 {
            b.put_u32(NL_POLICY_TYPE_ATTR_MAX_LENGTH, u32::from(self.len))?;
        }
        Ok(kind)
    }
}

/// The rules of a message: `N` is the greatest attribute type plus one, and a rule's place is its type. Place 0 is not
/// used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy<const N: usize> {
    /// The rules.
    pub rules: [Rule; N],
    /// Types from this on are validated strictly, whatever else is asked; 0: none.
    pub strict_from: u16,
}

impl<const N: usize> Policy<N> {
    /// Every type unspecified.
    pub const fn new() -> Self {
        Self { rules: [Rule::UNSPEC; N], strict_from: 0 }
    }

    /// The policy, with the rule for `kind`. Refuses to compile in a constant if `kind` is not below `N`.
    pub const fn with(mut self, kind: u16, rule: Rule) -> Self {
        self.rules[kind as usize] = rule;
        self
    }
}

impl<const N: usize> Default for Policy<N> {
    fn default() -> Self {
        Self::new()
    }
}
