// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What can go wrong in the vport layer, and the errno that a client gets for it.

use crate::module::ModuleError;
use crate::names::{NetnsId, PortName};
use crate::ops::Errno;

/// A refusal of the vport layer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// EEXIST: a type of this number is registered.
    #[error("port type {port_type} is already registered, as {name}")]
    TypeExists {
        /// Number.
        port_type: u32,
        /// Name of the type that has it.
        name: String,
    },
    /// EAFNOSUPPORT: no such type; a module may provide it.
    #[error("port type {port_type} is not known")]
    TypeUnknown {
        /// Number.
        port_type: u32,
    },
    /// EAFNOSUPPORT: the type is being unloaded.
    #[error("port type {port_type} is going away; try again when its last ports have gone")]
    TypeGoing {
        /// Number.
        port_type: u32,
    },
    /// EBUSY: ports of the type live.
    #[error("port type {name} ({port_type}) is in use by {references} ports; delete them first")]
    TypeInUse {
        /// Number.
        port_type: u32,
        /// Name.
        name: String,
        /// Live ports.
        references: usize,
    },
    /// EPERM: a type that is part of the program cannot be unloaded.
    #[error("port type {name} ({port_type}) is built in and cannot be unloaded")]
    BuiltIn {
        /// Number.
        port_type: u32,
        /// Name.
        name: String,
    },
    /// EAFNOSUPPORT: something else owns IP protocol 47 in the namespace.
    #[error("GRE is not available in {netns}: {owner} owns IP protocol 47 there; remove it first")]
    GreClaimed {
        /// Namespace.
        netns: NetnsId,
        /// Who owns it.
        owner: String,
    },
    /// EAFNOSUPPORT: no module, or one that is not acceptable.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// EINVAL: a built-in type's table is damaged.
    #[error("the table of built-in port type {port_type} is not acceptable")]
    BadTable {
        /// Number.
        port_type: u32,
        /// Why.
        source: ModuleError,
    },
    /// The error of the type's `create`, unchanged.
    #[error("port {port} of type {name} could not be created: {errno}")]
    Create {
        /// Port.
        port: PortName,
        /// Type.
        name: String,
        /// As the type said.
        errno: Errno,
    },
    /// EEXIST: the name is in the device table.
    #[error("port {name} exists already in {netns}")]
    NameTaken {
        /// Name.
        name: PortName,
        /// Namespace.
        netns: NetnsId,
    },
    /// ENFILE: the limit on ports in all datapaths is reached.
    #[error(
        "there are {limit} ports, the limit; delete ports or raise the limit on ports in the configuration"
    )]
    TooManyPorts {
        /// The limit.
        limit: usize,
    },
}

impl Error {
    /// The errno for the client.
    pub fn errno(&self) -> Errno {
        match self {
            Self::TypeExists { .. } | Self::NameTaken { .. } => Errno::EEXIST,
            Self::TypeUnknown { .. } | Self::TypeGoing { .. } | Self::GreClaimed { .. } | Self::Module(_) => {
                Errno::EAFNOSUPPORT
            }
            Self::TypeInUse { .. } => Errno::EBUSY,
            Self::BuiltIn { .. } => Errno::EPERM,
            Self::BadTable { .. } => Errno::EINVAL,
            Self::Create { errno, .. } => *errno,
            Self::TooManyPorts { .. } => Errno::ENFILE,
        }
    }
}
