// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the structures of this crate refuse, one variant per cause.

/// Why a writer's call changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The structure holds as many entries as it was made for.
    #[error("the table is full: its limit is {limit} entries")]
    Full {
        /// The limit given when it was made.
        limit: usize,
    },
    /// An entry that the caller's predicate calls equal is there already.
    #[error("an equal entry exists")]
    Exists,
    /// The index is not below the capacity.
    #[error("index {index} is out of range: the capacity is {capacity}")]
    IndexOutOfRange {
        /// The index asked for.
        index: usize,
        /// Valid indexes are `0..capacity`.
        capacity: usize,
    },
    /// The index holds a value.
    #[error("index {index} is taken")]
    IndexTaken {
        /// The index asked for.
        index: usize,
    },
}
