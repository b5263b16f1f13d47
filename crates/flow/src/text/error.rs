// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What can be wrong with a text: where it is, what stands there, and what would be right.

/// Why a text is not a key, a mask or a list of actions. Columns count characters from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Something else should stand here.
    #[error("column {column}: found {found}; expected {expected}")]
    Unexpected {
        /// Where.
        column: usize,
        /// What stands there.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// A number does not fit.
    #[error("column {column}: {value} is too large for {name}; it can be at most {max}")]
    TooLarge {
        /// Where.
        column: usize,
        /// What stands there.
        value: String,
        /// The field.
        name: String,
        /// Its largest value.
        max: String,
    },
    /// A field is given for packets that do not have it.
    #[error("column {column}: `{group}(...)` {requirement}")]
    Prerequisite {
        /// Where.
        column: usize,
        /// The field's group.
        group: &'static str,
        /// What must be in the key, without a mask that leaves bits of it open.
        requirement: &'static str,
    },
    /// A field is given twice.
    #[error("column {column}: `{name}` is given twice; remove one")]
    Twice {
        /// Where the second stands.
        column: usize,
        /// The field or group.
        name: String,
    },
    /// No port has this name.
    #[error("column {column}: there is no port `{name}`; give the name of a port, or its number")]
    NoSuchPort {
        /// Where.
        column: usize,
        /// The name.
        name: String,
    },
    /// Actions within actions go too deep.
    #[error("column {column}: actions nest deeper than {limit} levels; flatten them")]
    TooDeep {
        /// Where.
        column: usize,
        /// The limit.
        limit: usize,
    },
}
