// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Requests for tunnel devices, good and bad.

use super::*;

fn attr(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, kind, value);
    out
}

/// A request with these flags of the header, index, and attributes.
fn message(flags: u16, index: i32, attributes: &[u8]) -> Vec<u8> {
    let mut out = ((32 + attributes.len()) as u32).to_ne_bytes().to_vec();
    out.extend(RTM_NEWLINK.to_ne_bytes());
    out.extend(flags.to_ne_bytes());
    out.extend([0; 12]);
    out.extend(index.to_ne_bytes());
    // IFF_UP, which is to be set.
    out.extend(1_u32.to_ne_bytes());
    out.extend(1_u32.to_ne_bytes());
    out.extend(attributes);
    out
}

const CREATE: u16 = 1 | 4 | NLM_F_CREATE | NLM_F_EXCL;

fn request(kind: &str, data: Option<&[u8]>, more: &[u8]) -> Vec<u8> {
    let mut info = attr(IFLA_INFO_KIND, &[kind.as_bytes(), &[0]].concat());
    if let Some(data) = data {
        info.extend(attr(IFLA_INFO_DATA, data));
    }
    let name = attr(IFLA_IFNAME, b"tun_sys\0");
    message(CREATE, 0, &[name, attr(IFLA_LINKINFO, &info), more.to_vec()].concat())
}

fn decode(kind: &str, data: &[Vec<u8>]) -> Result<TunnelDevice, Errno> {
    NewLink::decode(&request(kind, Some(&data.concat()), &[])).map(|link| link.device)
}

fn vxlan(more: &[Vec<u8>]) -> Result<TunnelDevice, Errno> {
    let own = [attr(7, &[0]), attr(25, &[1]), attr(20, &[1]), attr(15, &4789_u16.to_be_bytes())];
    decode("vxlan", &[&own, more].concat())
}

#[test]
fn what_ovs_asks_for() {
    let zero6 = |device| TunnelDevice { zero_checksum6: true, ..device };
    let plain = zero6(TunnelDevice::new(TunnelKind::Vxlan, 4789));
    assert_eq!(vxlan(&[]), Ok(plain));
    assert_eq!(vxlan(&[attr(23, &[])]), Ok(TunnelDevice { gbp: true, ..plain }));
    let own = [attr(6, &[]), attr(10, &[1]), attr(5, &6081_u16.to_be_bytes())];
    assert_eq!(decode("geneve", &own), Ok(zero6(TunnelDevice::new(TunnelKind::Geneve, 6081))));
    assert_eq!(decode("gretap", &[attr(18, &[])]), Ok(TunnelDevice::new(TunnelKind::Gretap, 0)));
    let mtu = attr(IFLA_MTU, &65_000_u32.to_ne_bytes());
    let bytes = request("gretap", Some(&attr(18, &[])), &mtu);
    let link = NewLink::decode(&bytes).unwrap();
    assert_eq!((link.name, link.exclusive, link.flags, link.change), (&b"tun_sys"[..], true, 1, 1));
    assert_eq!(link.others, mtu);
}

#[test]
fn defaults_are_the_kernels() {
    assert_eq!(decode("vxlan", &[attr(25, &[1])]), Ok(TunnelDevice::new(TunnelKind::Vxlan, 8472)));
    assert_eq!(decode("geneve", &[attr(6, &[])]), Ok(TunnelDevice::new(TunnelKind::Geneve, 6081)));
    // The last of several counts.
    let twice = [attr(25, &[1]), attr(15, &[0, 1]), attr(15, &[0, 2])];
    assert_eq!(decode("vxlan", &twice), Ok(TunnelDevice::new(TunnelKind::Vxlan, 2)));
}

#[test]
fn what_is_not_possible_is_refused() {
    for (more, errno) in [
        (attr(1, &5_u32.to_ne_bytes()), Some(Errno::EOPNOTSUPP)),
        (attr(1, &(1_u32 << 24).to_ne_bytes()), Some(Errno::ERANGE)),
        (attr(2, &[239, 0, 0, 1]), Some(Errno::EOPNOTSUPP)),
        (attr(2, &[0; 4]), None),
        (attr(10, &[0, 2, 0, 1]), Some(Errno::EINVAL)),
        (attr(10, &[0, 1, 0, 2]), Some(Errno::EOPNOTSUPP)),
        (attr(13, &[1]), Some(Errno::EOPNOTSUPP)),
        (attr(27, &[]), Some(Errno::EOPNOTSUPP)),
        (attr(5, &[64]), None),
        (attr(8, &300_u32.to_ne_bytes()), None),
        (attr(33, &[1]), Some(Errno::EOPNOTSUPP)),
        (attr(900, &[1]), Some(Errno::EOPNOTSUPP)),
        (attr(900, &[]), None),
        (attr(25, &[0]), Some(Errno::EOPNOTSUPP)),
    ] {
        assert_eq!(vxlan(std::slice::from_ref(&more)).err(), errno, "{more:?}");
    }
    for (more, errno) in [
        (attr(1, &5_u32.to_ne_bytes()), Some(Errno::EINVAL)),
        (attr(1, &(1_u32 << 24).to_ne_bytes()), Some(Errno::ERANGE)),
        (attr(2, &[10, 0, 0, 1]), Some(Errno::EINVAL)),
        (attr(3, &[64]), Some(Errno::EINVAL)),
        (attr(8, &[0]), None),
        (attr(14, &[]), Some(Errno::EOPNOTSUPP)),
    ] {
        assert_eq!(decode("geneve", &[attr(6, &[]), more.clone()]).err(), errno, "{more:?}");
    }
    for (more, errno) in [
        (attr(2, &[0x40, 0]), Some(Errno::EINVAL)),
        (attr(3, &[0, 1]), Some(Errno::EINVAL)),
        (attr(2, &[0x20, 0]), None),
        (attr(4, &[0, 0, 0, 9]), Some(Errno::EOPNOTSUPP)),
        (attr(7, &[10, 0, 0, 1]), Some(Errno::EOPNOTSUPP)),
        (attr(14, &[1, 0]), Some(Errno::EINVAL)),
    ] {
        assert_eq!(decode("gretap", &[attr(18, &[]), more.clone()]).err(), errno, "{more:?}");
    }
    for kind in ["gretap", "geneve"] {
        assert_eq!(decode(kind, &[]), Err(Errno::EOPNOTSUPP), "{kind} without metadata");
    }
    for kind in ["vlan", "gre", "ip6gretap", "erspan", "bareudp", ""] {
        assert_eq!(decode(kind, &[attr(18, &[])]), Err(Errno::EOPNOTSUPP), "{kind:?}");
    }
}

#[test]
fn options_that_lie_about_their_length() {
    for (bad, errno) in [
        (attr(25, &[]), Errno::ERANGE),
        (attr(15, &[1]), Errno::ERANGE),
        (attr(1, &[0; 3]), Errno::ERANGE),
        (attr(23, &[1]), Errno::ERANGE),
        (attr(16, &[0; 15]), Errno::ERANGE),
    ] {
        assert_eq!(vxlan(std::slice::from_ref(&bad)), Err(errno), "{bad:?}");
    }
    // What goes past its end ends the list, as in the kernel: here before the metadata are asked for.
    let long = [vec![200, 0, 15, 0, 0, 1], attr(25, &[1])].concat();
    assert_eq!(NewLink::decode(&request("vxlan", Some(&long), &[])).map(drop), Err(Errno::EOPNOTSUPP));
    assert_eq!(NewLink::decode(&request("vxlan", None, &[])).map(drop), Err(Errno::EINVAL));
    assert_eq!(NewLink::decode(&request("geneve", None, &[])).map(drop), Err(Errno::EINVAL));
    assert_eq!(NewLink::decode(&request("gretap", None, &[])).map(drop), Err(Errno::EOPNOTSUPP));
    let good = request("vxlan", Some(&attr(25, &[1])), &[]);
    for len in 0..good.len() {
        assert!(NewLink::decode(&good[..len]).is_err(), "cut at {len}");
        let mut cut = good[..len].to_vec();
        if let Some(first) = cut.get_mut(..4) {
            first.copy_from_slice(&(len as u32).to_ne_bytes());
        }
        assert!(NewLink::decode(&cut).is_err(), "whole with {len}");
    }
}

#[test]
fn what_only_the_kernel_can_do_is_refused() {
    let data = attr(18, &[]);
    for (kind, value, errno) in [
        (5, 3_u32, Some(Errno::EOPNOTSUPP)),
        (5, 0, None),
        (28, 9, Some(Errno::EOPNOTSUPP)),
        (19, 1, Some(Errno::EOPNOTSUPP)),
        (29, 1, None),
        (13, 1000, None),
    ] {
        let bytes = request("gretap", Some(&data), &attr(kind, &value.to_ne_bytes()));
        assert_eq!(NewLink::decode(&bytes).err(), errno, "{kind}");
    }
    let mut bytes = request("gretap", Some(&data), &attr(20, b"mine\0"));
    assert_eq!(NewLink::decode(&bytes).err(), Some(Errno::EOPNOTSUPP), "an alias");
    bytes = request("gretap", Some(&data), &[]);
    for (index, errno) in [(7_i32, Errno::EOPNOTSUPP), (-1, Errno::EINVAL)] {
        bytes[20..24].copy_from_slice(&index.to_ne_bytes());
        assert_eq!(NewLink::decode(&bytes).err(), Some(errno));
    }
    let body = |name: &[u8]| {
        let info = [attr(IFLA_INFO_KIND, b"gretap\0"), attr(IFLA_INFO_DATA, &data)].concat();
        [attr(IFLA_IFNAME, name), attr(IFLA_LINKINFO, &info)].concat()
    };
    for (name, errno) in
        [(&b"0123456789abcdef\0"[..], Errno::ERANGE), (b"gre%d\0", Errno::EINVAL), (b"", Errno::ERANGE)]
    {
        assert_eq!(NewLink::decode(&message(CREATE, 0, &body(name))).err(), Some(errno), "{name:?}");
    }
    assert_eq!(NewLink::decode(&message(1, 0, &body(b"gre_sys\0"))).err(), Some(Errno::EOPNOTSUPP));
}

#[test]
fn mtus_fit_the_tap() {
    let mtu = |kind, mtu: u32| {
        let data = if kind == "vxlan" { attr(25, &[1]) } else { attr(6, &[]) };
        let bytes = request(kind, Some(&data), &attr(IFLA_MTU, &mtu.to_ne_bytes()));
        let link = NewLink::decode(&bytes).unwrap();
        u32::from_ne_bytes(link.others[4..8].try_into().unwrap())
    };
    assert_eq!(mtu("vxlan", 65_535), 65_521);
    assert_eq!(mtu("vxlan", 65_536), 65_536, "which the kernel refuses");
    assert_eq!(mtu("geneve", 65_535), 65_535, "too");
    assert_eq!(mtu("geneve", 1400), 1400);
}

#[test]
fn damaged_requests_do_no_harm() {
    let mtu = attr(IFLA_MTU, &1400_u32.to_ne_bytes());
    let seeds = [
        request("vxlan", Some(&[attr(25, &[1]), attr(15, &[0x12, 0xb5]), attr(23, &[])].concat()), &mtu),
        request("geneve", Some(&[attr(6, &[]), attr(10, &[1]), attr(5, &[0x17, 0xc1])].concat()), &mtu),
        request("gretap", Some(&[attr(18, &[]), attr(8, &[64])].concat()), &mtu),
    ];
    let (mut random, mut accepted) = (0x9e37_79b9_7f4a_7c15_u64, 0);
    let mut next = |limit: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 16) as usize % limit
    };
    for round in 0..200_000 {
        let mut bytes = seeds[round % seeds.len()].clone();
        for _ in 0..=next(4) {
            let at = next(bytes.len());
            bytes[at] = [0, 1, 0xff, bytes[at] ^ 1 << next(8)][next(4)];
        }
        bytes.truncate(if next(4) == 0 { next(bytes.len() + 1) } else { bytes.len() });
        if let Ok(link) = NewLink::decode(&bytes) {
            accepted += 1;
            assert_eq!(TunnelDevice::from_alias(link.device.alias().as_bytes()), Some(link.device));
            assert!(link.others.len() <= bytes.len() && !link.name.contains(&0));
        }
    }
    assert!((1000..200_000).contains(&accepted), "{accepted}");
}
