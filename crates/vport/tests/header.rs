// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `include/portway_vport.h` is what the Rust declarations say, and a C compiler lays it out as Rust does.

#[path = "header/generate.rs"]
mod generate;

use std::collections::BTreeMap;
use std::mem::offset_of;
use std::path::{Path, PathBuf};
use std::process::Command;

use portway_buf::{PoolHandle, RawPacket};
use portway_vport::abi::{
    ABI_VERSION, E_PANIC, HostApi, MAGIC, NAME_SIZE, OptionSpec, OutletCounters, OutletFds, OutletOps,
    PortInfo, PortModule, PortParams, ShortcutCounters, ShortcutKey, ShortcutMasks, ShortcutOps,
    TUNNEL_OPTIONS_MAX, TunnelInfo, TxReport,
};

const BUF_LIB: &str = include_str!("../../buf/src/lib.rs");
const METADATA: &str = include_str!("../../buf/src/metadata.rs");
const PACKET: &str = include_str!("../../buf/src/packet.rs");
const POOL: &str = include_str!("../../buf/src/pool.rs");
const ABI: &str = include_str!("../src/abi.rs");

/// Sources with the structs taken from each, so that each struct is declared before it is used.
const SOURCES: &[(&str, &[&str])] = &[
    (BUF_LIB, &[]),
    (METADATA, &[]),
    (PACKET, &["RawPacket"]),
    (POOL, &["PoolHandle"]),
    (
        ABI,
        &[
            "TunnelInfo",
            "PortInfo",
            "PortParams",
            "TxReport",
            "OptionSpec",
            "HostApi",
            "ShortcutMasks",
            "ShortcutKey",
            "ShortcutCounters",
            "ShortcutOps",
            "OutletFds",
            "OutletCounters",
            "OutletOps",
            "PortModule",
        ],
    ),
];

fn include_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("include")
}

#[test]
fn the_header_is_what_the_declarations_say() {
    let path = include_dir().join("portway_vport.h");
    let wanted = generate::header(SOURCES);
    if std::env::var_os("PORTWAY_BLESS").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap();
    assert!(found == wanted, "{} is out of date: run this test with PORTWAY_BLESS=1", path.display());
}

/// A struct's size, alignment and offsets as Rust has them, keyed as the C program prints them. `all` names its fields
/// in the source, so that none is forgotten here; private ones have no offset to compare.
macro_rules! layout {
    ($into:ident, $source:ident, $name:ident { $($field:ident),+ } $(private $private:ident)?) => {{
        let (c, all) = generate::fields($source, stringify!($name));
        let named = [$(stringify!($field),)+ $(stringify!($private),)?];
        assert_eq!(all.len(), named.len(), "{c}: name every field here");
        $into.insert(format!("sizeof {c}"), size_of::<$name>() as i64);
        $into.insert(format!("alignof {c}"), align_of::<$name>() as i64);
        $($into.insert(format!("offsetof {c} {}", stringify!($field)), offset_of!($name, $field) as i64);)+
    }};
}

fn in_rust() -> BTreeMap<String, i64> {
    let mut rust = BTreeMap::new();
    layout!(rust, PACKET, RawPacket {
        area, capacity, data, len, flags, csum_start, csum_offset, gso_size, gso_type, class, l3_protocol, rx_hash,
        in_port, mark, priority, recirc_id, dp_hash, release, l3_offset, l4_offset, mru, recirculations
    } private extension);
    layout!(rust, POOL, PoolHandle { alloc, free });
    layout!(
        rust,
        ABI,
        TunnelInfo {
            id,
            src,
            dst,
            label,
            flags,
            tp_src,
            tp_dst,
            tos,
            ttl,
            ip_version,
            pad,
            options_len,
            options
        }
    );
    layout!(rust, ABI, PortInfo { ifindex, mtu, flags, rx_queues, mac, link_up, pad });
    layout!(rust, ABI, PortParams { name, netns_fd, tx_queues, options, options_len, mac, is_local, pad });
    layout!(
        rust,
        ABI,
        TxReport {
            sent,
            errors,
            dropped,
            no_route,
            sent_bytes,
            over_mtu,
            no_tunnel,
            ignored,
            apart,
            apart_bytes
        }
    );
    layout!(rust, ABI, OptionSpec { attr, kind, name, help });
    layout!(rust, ABI, HostApi { size, abi_version, log, set_tunnel, get_tunnel });
    layout!(rust, ABI, ShortcutMasks { depth, pad, masks });
    layout!(rust, ABI, ShortcutKey { layout, pad, window });
    layout!(rust, ABI, ShortcutCounters { packets, bytes, used_ns, tcp_flags });
    layout!(rust, ABI, ShortcutOps { set_masks, add, end, read, free, settle });
    layout!(rust, ABI, OutletFds { socket, counters });
    layout!(rust, ABI, OutletCounters { packets, bytes });
    layout!(rust, ABI, OutletOps { open, close, sent });
    layout!(
        rust,
        ABI,
        PortModule {
            magic,
            abi_version,
            size,
            port_type,
            name,
            options,
            n_options,
            init,
            exit,
            create,
            destroy,
            set_options,
            get_options,
            get_info,
            rx,
            rx_fd,
            tx,
            egress_tunnel,
            rx_missed,
            shortcuts,
            outlets
        }
    );
    let constants = constants().into_iter().map(|(name, value)| (format!("constant {name}"), value));
    rust.extend(constants);
    rust
}

fn constants() -> Vec<(&'static str, i64)> {
    use portway_buf::flags;
    use portway_vport::abi::{info_flags, log_level, option_kind, refused, shortcut_layout, tunnel_flags};
    vec![
        ("ABI_VERSION", i64::from(ABI_VERSION)),
        ("MAGIC", i64::from(MAGIC)),
        ("E_PANIC", i64::from(E_PANIC)),
        ("NAME_SIZE", NAME_SIZE as i64),
        ("BATCH_MAX", portway_buf::BATCH_MAX as i64),
        ("HEADROOM", portway_buf::HEADROOM as i64),
        ("FRAME_MAX", portway_buf::FRAME_MAX as i64),
        ("INFO_LAYER3", i64::from(info_flags::LAYER3)),
        ("INFO_OFFLOAD", i64::from(info_flags::OFFLOAD)),
        ("INFO_BUSY_POLL", i64::from(info_flags::BUSY_POLL)),
        ("INFO_NO_MTU", i64::from(info_flags::NO_MTU)),
        ("INFO_CUTS_TCP", i64::from(info_flags::CUTS_TCP)),
        ("SHORTCUT_LINK", i64::from(shortcut_layout::LINK)),
        ("SHORTCUT_IPV4", i64::from(shortcut_layout::IPV4)),
        ("SHORTCUT_UDP4", i64::from(shortcut_layout::UDP4)),
        ("SHORTCUT_TCP4", i64::from(shortcut_layout::TCP4)),
        ("SHORTCUT_UDP6", i64::from(shortcut_layout::UDP6)),
        ("SHORTCUT_TCP6", i64::from(shortcut_layout::TCP6)),
        ("OPTION_STRING", i64::from(option_kind::STRING)),
        ("OPTION_U16", i64::from(option_kind::U16)),
        ("OPTION_U32", i64::from(option_kind::U32)),
        ("OPTION_FLAG", i64::from(option_kind::FLAG)),
        ("OPTION_U64", i64::from(option_kind::U64)),
        ("LOG_ERROR", i64::from(log_level::ERROR)),
        ("LOG_WARNING", i64::from(log_level::WARNING)),
        ("LOG_INFO", i64::from(log_level::INFO)),
        ("LOG_DEBUG", i64::from(log_level::DEBUG)),
        ("PACKET_PARTIAL_CSUM", i64::from(flags::PARTIAL_CSUM)),
        ("PACKET_CSUM_VALID", i64::from(flags::CSUM_VALID)),
        ("PACKET_LAYER3", i64::from(flags::LAYER3)),
        ("PACKET_METADATA", i64::from(flags::METADATA)),
        ("PACKET_COLD", i64::from(flags::COLD)),
        ("PACKET_REFUSED", i64::from(flags::REFUSED)),
        ("REFUSED_BAD_HEADER", i64::from(refused::BAD_HEADER)),
        ("REFUSED_ECN", i64::from(refused::ECN)),
        ("REFUSED_BAD_FRAME", i64::from(refused::BAD_FRAME)),
        ("TUNNEL_OPTIONS_MAX", TUNNEL_OPTIONS_MAX as i64),
        ("TUNNEL_CSUM", i64::from(tunnel_flags::CSUM)),
        ("TUNNEL_KEY", i64::from(tunnel_flags::KEY)),
        ("TUNNEL_DONT_FRAGMENT", i64::from(tunnel_flags::DONT_FRAGMENT)),
        ("TUNNEL_OAM", i64::from(tunnel_flags::OAM)),
        ("TUNNEL_CRIT_OPT", i64::from(tunnel_flags::CRIT_OPT)),
        ("TUNNEL_GENEVE_OPT", i64::from(tunnel_flags::GENEVE_OPT)),
        ("TUNNEL_VXLAN_OPT", i64::from(tunnel_flags::VXLAN_OPT)),
        ("TUNNEL_ERSPAN_OPT", i64::from(tunnel_flags::ERSPAN_OPT)),
    ]
}

#[test]
fn c_lays_it_out_as_rust_does() {
    let rust = in_rust();
    let mut program = String::from("#include \"portway_vport.h\"\n#include <stdio.h>\nint main(void)\n{\n");
    for key in rust.keys() {
        let words: Vec<_> = key.split(' ').collect();
        let expression = match words.as_slice() {
            ["sizeof", name] => format!("sizeof(struct {name})"),
            ["alignof", name] => format!("_Alignof(struct {name})"),
            ["offsetof", name, "class"] => format!("offsetof(struct {name}, size_class)"),
            ["offsetof", name, field] => format!("offsetof(struct {name}, {field})"),
            ["constant", name] => format!("PORTWAY_{name}"),
            _ => unreachable!("keys are made above"),
        };
        program += &format!("\tprintf(\"%s=%lld\\n\", \"{key}\", (long long)({expression}));\n");
    }
    program += "\treturn 0;\n}\n";
    let dir = tempfile::tempdir().unwrap();
    let (source, binary) = (dir.path().join("layout.c"), dir.path().join("layout"));
    std::fs::write(&source, program).unwrap();
    let compiled = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-D_DEFAULT_SOURCE", "-I"])
        .arg(include_dir())
        .arg("-o")
        .args([&binary, &source])
        .output()
        .expect("a C compiler (Debian: gcc)");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let printed = String::from_utf8(Command::new(&binary).output().unwrap().stdout).unwrap();
    let c: BTreeMap<String, i64> = printed
        .lines()
        .map(|line| line.rsplit_once('=').unwrap())
        .map(|(key, value)| (key.into(), value.parse().unwrap()))
        .collect();
    assert_eq!(c, rust);
}
