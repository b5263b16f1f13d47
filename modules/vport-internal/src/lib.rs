// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The `internal` port type: a TAP, the switch's own leg into the host's stack.
//!
//! The device lives as long as the port, and goes when the process does, also by kill -9, unless [`OPTION_LASTING`] says otherwise:
//! then the next port of that name takes it over, with all that the host has set on it. It may be renamed and moved to another
//! namespace and stays the same port. A virtio-net header stands in front of each frame in
//! both directions, so partial checksums and 64 KiB segments cross untouched.
//!
//! Mark and priority, which a TAP knows nothing of, cross with the help of BPF programs: `notes.rs` for what the host sends,
//! `marked.rs` for what it receives. Frames that have neither do not meet them.

mod marked;
mod notes;
mod port;
mod queue;
mod tap;

pub use port::{InternalPort, OPTION_LASTING};

portway_vport::port_module!(portway_vport_type_2, InternalPort);
