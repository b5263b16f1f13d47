// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a change must pass: the tests, and around them format, lints and documentation.

pub(crate) mod ci;
pub(crate) mod conformance;
pub(crate) mod differential;
mod summary;
pub(crate) mod test;
