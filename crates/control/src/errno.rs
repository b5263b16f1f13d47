// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The errno of the switch's refusals.

use portway_datapath::Error;
use portway_uapi::Errno;

/// What the kernel returns in that case, or the nearest to it for limits that the kernel does not have.
pub(crate) fn errno_of(error: &Error) -> Errno {
    match error {
        Error::NoSuchDatapath(_) | Error::NoSuchPort { .. } => Errno::ENODEV,
        Error::TooManyDatapaths { .. } => Errno::ENFILE,
        Error::PortNumberTooLarge { .. } | Error::PortsFull { .. } | Error::MetersFull { .. } => Errno::EFBIG,
        Error::PortNumberTaken { .. } | Error::MeterPlaceTaken { .. } => Errno::EBUSY,
        Error::LocalPort(_) => Errno::EINVAL,
        Error::NameTaken { .. } | Error::FlowExists => Errno::EEXIST,
        Error::Vport(error) => error.errno(),
        Error::Actions(error) => error.errno(),
        Error::Execute(errno) => *errno,
        Error::NoSuchFlow => Errno::ENOENT,
        Error::FlowsFull { .. } | Error::MasksFull { .. } => Errno::ENOSPC,
    }
}
