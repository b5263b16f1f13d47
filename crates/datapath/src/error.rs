// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Why a change was refused.

use portway_flow::ClassifierError;
use portway_vport::{NetnsId, PortName};

/// A refusal. Each variant is one cause; `messages` gives each its errno.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The datapath has gone.
    #[error("datapath {0} does not exist")]
    NoSuchDatapath(String),
    /// The limit on datapaths is reached.
    #[error("there are {limit} datapaths, the limit; raise `limits.datapaths` in the configuration")]
    TooManyDatapaths {
        /// The limit.
        limit: usize,
    },
    /// No port of that number.
    #[error("datapath {datapath} has no port {port_no}")]
    NoSuchPort {
        /// The datapath's name.
        datapath: String,
        /// The number.
        port_no: u32,
    },
    /// A port number that no port can have.
    #[error("port number {port_no} is too large; the highest is {max}")]
    PortNumberTooLarge {
        /// The number.
        port_no: u32,
        /// The highest.
        max: u32,
    },
    /// The port number is taken.
    #[error("datapath {datapath} already has a port {port_no}")]
    PortNumberTaken {
        /// The datapath's name.
        datapath: String,
        /// The number.
        port_no: u32,
    },
    /// Every port number is taken.
    #[error("datapath {datapath} has {limit} ports, the limit")]
    PortsFull {
        /// The datapath's name.
        datapath: String,
        /// The limit.
        limit: usize,
    },
    /// A datapath's own port cannot be deleted alone.
    #[error("port 0 belongs to datapath {0} itself; delete the datapath")]
    LocalPort(String),
    /// The name is taken, by a port or a datapath of that namespace.
    #[error("{name} already exists in {netns}")]
    NameTaken {
        /// The name.
        name: PortName,
        /// The namespace.
        netns: NetnsId,
    },
    /// A refusal of the vport layer, or the port type's own error.
    #[error(transparent)]
    Vport(#[from] portway_vport::Error),
    /// The actions are not acceptable for the flow.
    #[error("{0}")]
    Actions(#[from] portway_actions::Error),
    /// An action could not be carried out on the packet that a client sent.
    #[error("the actions failed on this packet: {0}")]
    Execute(portway_vport::Errno),
    /// A flow of that key and mask, or of that identity, exists.
    #[error("the flow exists")]
    FlowExists,
    /// The flow has gone.
    #[error("the flow does not exist")]
    NoSuchFlow,
    /// Another meter is where one of that id belongs (see `meters.rs`).
    #[error("meter {id} does not go together with another one")]
    MeterPlaceTaken {
        /// The id.
        id: u32,
    },
    /// A table limit.
    #[error("the datapath has {limit} meters, the limit")]
    MetersFull {
        /// The limit.
        limit: usize,
    },
    /// A table limit.
    #[error("the datapath has {limit} flows, the limit; raise `limits.flows` in the configuration")]
    FlowsFull {
        /// The limit.
        limit: usize,
    },
    /// A table limit.
    #[error("the flows have {limit} different masks, the limit; raise `limits.masks` in the configuration")]
    MasksFull {
        /// The limit.
        limit: usize,
    },
}

impl From<ClassifierError> for Error {
    fn from(error: ClassifierError) -> Self {
        match error {
            ClassifierError::FlowsFull { limit } => Self::FlowsFull { limit },
            ClassifierError::MasksFull { limit } => Self::MasksFull { limit },
        }
    }
}
