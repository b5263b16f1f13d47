// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Options that tunnel ports have alike: OVS_TUNNEL_ATTR_* (linux/openvswitch.h).

use std::ffi::CStr;

use portway_vport::abi::option_kind;
use portway_vport::ops::{Errno, OptionDescription};
use portway_vport::options::{as_u16, iter};

/// OVS_TUNNEL_ATTR_DST_PORT: u16, host order.
pub const DST_PORT: u16 = 1;

/// How the UDP port is given.
pub const fn dst_port_option(help: &'static CStr) -> OptionDescription {
    OptionDescription { attr: DST_PORT, kind: option_kind::U16, name: c"dst_port", help }
}

/// The value of an option. Of a repeated one the first counts, as in the kernel.
pub fn first(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    let mut all = iter(bytes).filter_map(Result::ok);
    all.find(|(attr, _)| *attr == wanted).map(|(_, value)| value)
}

/// The UDP port among the options.
///
/// # Errors
/// EINVAL: there is none, or it is damaged.
pub fn dst_port(bytes: &[u8]) -> Result<u16, Errno> {
    as_u16(first(bytes, DST_PORT).ok_or(Errno::EINVAL)?)
}

#[cfg(test)]
mod tests {
    use portway_vport::options::push;

    use super::*;

    #[test]
    fn the_first_port_counts_and_a_cut_one_is_refused() {
        let mut bytes = Vec::new();
        push(&mut bytes, 7, &[1, 2, 3]).unwrap();
        push(&mut bytes, DST_PORT, &6081u16.to_ne_bytes()).unwrap();
        push(&mut bytes, DST_PORT, &1u16.to_ne_bytes()).unwrap();
        assert_eq!(dst_port(&bytes), Ok(6081));
        assert_eq!(dst_port(&bytes[..4]), Err(Errno::EINVAL));
        let mut short = Vec::new();
        push(&mut short, DST_PORT, &[1]).unwrap();
        assert_eq!(dst_port(&short), Err(Errno::EINVAL));
    }
}
