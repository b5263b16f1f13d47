// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a refusal of the switch means to a person: the thing it is about, and the remedy.

use portway_api::{Failure, FailureKind, PortSpec};
use portway_datapath::Error;
use portway_vport::{Errno, Error as VportError};

/// Why a port could not be added.
pub(super) fn port_failure(spec: &PortSpec, bridge: &str, error: &Error) -> Failure {
    let name = &spec.name;
    let Error::Vport(VportError::Create { errno, .. }) = error else { return failure(error) };
    let place = spec.netns.as_deref().map(|netns| format!(" in namespace {netns}")).unwrap_or_default();
    let is_device = spec.port_type == "netdev";
    let of = |kind, message: String| Failure::new(kind, message);
    match *errno {
        Errno::ENODEV if is_device => {
            of(FailureKind::NotFound, format!("there is no device {name:?}{place}"))
                .remedy("see `ip link` for the devices there are")
        }
        Errno::EBUSY if is_device => of(
            FailureKind::Busy,
            format!("device {name:?}{place} is in use by another bridge, bond or switch"),
        )
        .remedy(format!("see `ip link show {name}`; take it out with: ip link set {name} nomaster")),
        Errno::EINVAL if is_device => of(
            FailureKind::BadRequest,
            format!(
                "device {name:?}{place} cannot be a port: the loopback, internal ports and devices that are not Ethernet cannot"
            ),
        )
        .remedy(format!("see `ip -d link show {name}`; to connect two bridges, use a pair of veth devices")),
        Errno::EEXIST => of(FailureKind::Exists, format!("there is already a device {name:?}{place}"))
            .remedy("choose another name, or delete it: ip link del ".to_owned() + name),
        Errno::EPERM | Errno::EACCES => {
            of(FailureKind::Denied, format!("portwayd may not make port {name:?}: {errno}"))
                .remedy("portwayd needs CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF: run it as root")
        }
        Errno::ENOENT => {
            of(FailureKind::NotFound, format!("port {name:?} needs something that is not there: {errno}"))
                .remedy("look at its options and at portwayd's log")
        }
        _ => of(
            FailureKind::System,
            format!("port {name:?} of type {} could not be added to {bridge:?}: {errno}", spec.port_type),
        )
        .remedy("see portwayd's log"),
    }
}

/// Any other refusal of the switch.
pub(super) fn failure(error: &Error) -> Failure {
    let kind = match error {
        Error::NoSuchDatapath(_) | Error::NoSuchPort { .. } | Error::NoSuchFlow => FailureKind::NotFound,
        Error::PortNumberTaken { .. }
        | Error::NameTaken { .. }
        | Error::MeterPlaceTaken { .. }
        | Error::FlowExists => FailureKind::Exists,
        Error::TooManyDatapaths { .. }
        | Error::PortsFull { .. }
        | Error::MetersFull { .. }
        | Error::FlowsFull { .. }
        | Error::MasksFull { .. } => FailureKind::Limit,
        Error::PortNumberTooLarge { .. } | Error::LocalPort(_) | Error::Actions(_) | Error::Execute(_) => {
            FailureKind::BadRequest
        }
        Error::Vport(error) => vport_kind(error),
    };
    Failure::new(kind, error.to_string())
}

/// The kind of a refusal of the vport layer.
pub(super) fn vport_kind(error: &VportError) -> FailureKind {
    match error {
        VportError::TypeExists { .. } | VportError::NameTaken { .. } => FailureKind::Exists,
        VportError::TypeUnknown { .. }
        | VportError::TypeGoing { .. }
        | VportError::GreClaimed { .. }
        | VportError::Module(_)
        | VportError::BadTable { .. } => FailureKind::Unsupported,
        VportError::TypeInUse { .. } => FailureKind::Busy,
        VportError::BuiltIn { .. } => FailureKind::Denied,
        VportError::Create { .. } => FailureKind::System,
        VportError::TooManyPorts { .. } => FailureKind::Limit,
    }
}
