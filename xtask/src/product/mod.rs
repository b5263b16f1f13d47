// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Portway itself, as demo and bench use it: built with optimisation, run as a user runs it.

mod build;
mod switch;

pub(crate) use build::{build, lay_out_built, lay_out_modules, program, with_port_types};
pub(crate) use switch::{Switch, portway, portway_json};
