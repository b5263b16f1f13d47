// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a change must pass: the tests, and around them format, lints and documentation.

pub(crate) mod ci;
mod summary;
pub(crate) mod test;
