// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One list per C enum: the constants and the table of their names come from the same lines, so they cannot differ.

/// Declares the constants of a C enum and the table of their names.
macro_rules! c_enum {
    ($(#[$meta:meta])* $names:ident: $ty:ty { $($(#[$doc:meta])* $id:ident = $value:expr,)+ }) => {
        $($(#[$doc])* pub const $id: $ty = $value;)+
        $(#[$meta])*
        pub const $names: &[(&str, $ty)] = &[$((stringify!($id), $id)),+];
    };
}

/// The kernel's name of `value` in one of the `..._NAMES` tables, or `None` if the header has none.
///
/// ```
/// use portway_uapi::{name_of, openvswitch::*};
/// assert_eq!(name_of(OVS_VPORT_TYPE_NAMES, OVS_VPORT_TYPE_GENEVE), Some("OVS_VPORT_TYPE_GENEVE"));
/// assert_eq!(name_of(OVS_VPORT_TYPE_NAMES, 99), None);
/// ```
pub fn name_of<T: Copy + PartialEq>(table: &[(&'static str, T)], value: T) -> Option<&'static str> {
    table.iter().find(|(_, v)| *v == value).map(|(name, _)| *name)
}
