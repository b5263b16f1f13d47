// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Compares this crate with the machine's own kernel headers, read as text: every number that both sides name must be
//! equal, every number that the header names must be here, and every structure must have the size that C gives it.
//! Without the headers (package linux-libc-dev) the tests say so and compare nothing.

use portway_uapi::{Errno, genetlink as genl, netlink as nl, openvswitch as ovs, psample};
use std::collections::BTreeMap;

type Numbers = BTreeMap<String, i128>;

/// The header's text without comments, or `None` with a note when the machine does not have it.
fn header(path: &str) -> Option<String> {
    let Ok(text) = std::fs::read_to_string(path) else {
        eprintln!("{path} is not here: nothing compared");
        return None;
    };
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(start) = rest.find("/*") {
        out.push_str(&rest[..start]);
        let end = rest[start..].find("*/").expect("comment ends") + start;
        rest = &rest[end + 2..];
    }
    out.push_str(rest);
    Some(out.replace("\\\n", " "))
}

/// Value of a constant expression: numbers, names already known, `<<`, `|`, `+`, `-`, `%`-free, parentheses.
fn eval(expr: &str, known: &Numbers) -> Option<i128> {
    let expr = expr.trim();
    let expr = expr
        .strip_prefix('(')
        .and_then(|e| e.strip_suffix(')'))
        .filter(|e| balanced(e))
        .unwrap_or(expr)
        .trim();
    for op in ["|", "<<", "+", "-"] {
        if let Some((a, b)) = split_top(expr, op) {
            let (a, b) = (if a.is_empty() { 0 } else { eval(a, known)? }, eval(b, known)?);
            return Some(match op {
                "|" => a | b,
                "<<" => a << b,
                "+" => a + b,
                _ => a - b,
            });
        }
    }
    let digits = expr.trim_end_matches(['U', 'L']);
    if let Some(hex) = digits.strip_prefix("0x") {
        return i128::from_str_radix(hex, 16).ok();
    }
    digits.parse().ok().or_else(|| known.get(expr).copied())
}

fn balanced(expr: &str) -> bool {
    let mut depth = 0;
    expr.chars().all(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        depth >= 0
    })
}

/// Splits at the last `op` outside parentheses.
fn split_top<'a>(expr: &'a str, op: &str) -> Option<(&'a str, &'a str)> {
    expr.rmatch_indices(op)
        .find(|(at, _)| expr[..*at].matches('(').count() == expr[..*at].matches(')').count())
        .map(|(at, _)| (expr[..at].trim(), expr[at + op.len()..].trim()))
}

/// Every enum constant and every `#define` with a number.
fn numbers(text: &str) -> (Numbers, Vec<String>) {
    let mut all = Numbers::new();
    let mut enums = Vec::new();
    let mut lines = String::new();
    for line in text.lines() {
        if let Some(define) = line.trim_start().strip_prefix("#define") {
            let mut words = define.trim().splitn(2, char::is_whitespace);
            if let (Some(name), Some(value)) = (words.next(), words.next())
                && let Some(value) = eval(value, &all)
            {
                all.insert(name.to_owned(), value);
            }
        } else if !line.starts_with('#') {
            lines.push_str(line);
            lines.push('\n');
        }
    }
    for part in lines.split("enum").skip(1) {
        let (Some(open), Some(close)) = (part.find('{'), part.find('}')) else { continue };
        if open > close || part[..open].contains([';', '(']) {
            continue;
        }
        let mut next = 0;
        for item in part[open + 1..close].split(',').map(str::trim).filter(|i| !i.is_empty()) {
            let (name, value) = match item.split_once('=') {
                Some((name, expr)) => (name.trim(), eval(expr, &all).unwrap_or_else(|| panic!("{item}"))),
                None => (item, next),
            };
            next = value + 1;
            all.insert(name.to_owned(), value);
            enums.push(name.to_owned());
        }
    }
    (all, enums)
}

/// Size of each `struct` whose fields are fixed-width integers, arrays of them, or structures seen before.
fn struct_sizes(text: &str, known: &Numbers) -> BTreeMap<String, usize> {
    let mut sizes: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for (at, keyword) in text.match_indices("struct ") {
        let Some((name, body)) = text[at + keyword.len()..].split_once('{') else { continue };
        let (name, Some((body, _))) = (name.trim(), body.split_once('}')) else { continue };
        if name.contains(|c: char| !c.is_ascii_alphanumeric() && c != '_') || body.contains("union") {
            continue;
        }
        let (mut end, mut align) = (0usize, 1usize);
        let fits = body.split(';').map(str::trim).filter(|f| !f.is_empty()).all(|field| {
            let field = field.trim_start_matches("struct ");
            let Some((ty, var)) = field.rsplit_once(char::is_whitespace) else { return false };
            let unit = match ty.trim() {
                "__u8" => (1, 1),
                "__u16" | "__be16" | "unsigned short" | "__kernel_sa_family_t" => (2, 2),
                "__u32" | "__be32" | "int" | "unsigned int" => (4, 4),
                "__u64" | "__be64" => (8, 8),
                other => match sizes.get(other) {
                    Some(unit) => *unit,
                    None => return false,
                },
            };
            let count = match var.split_once('[') {
                Some((_, n)) => match eval(n.trim_end_matches(']'), known) {
                    Some(n) => n as usize,
                    None => return false,
                },
                None => 1,
            };
            end = end.next_multiple_of(unit.1) + unit.0 * count;
            align = align.max(unit.1);
            true
        });
        if fits {
            sizes.insert(name.to_owned(), (end.next_multiple_of(align), align));
        }
    }
    sizes.into_iter().map(|(name, (size, _))| (name, size)).collect()
}

fn collect<T: Copy + Into<i128>>(into: &mut Numbers, table: &[(&str, T)]) {
    for (name, value) in table {
        assert_eq!(into.insert((*name).to_owned(), (*value).into()), None, "{name} is listed twice");
    }
}

/// Every number in both must agree; `later` are those that a header of this age may not have.
fn compare(ours: &Numbers, theirs: &Numbers, later: &[&str]) {
    let mut missing = Vec::new();
    for (name, value) in ours {
        match theirs.get(name) {
            Some(other) => assert_eq!(value, other, "{name}"),
            None if later.iter().any(|prefix| name.starts_with(prefix)) => {}
            None => missing.push(name),
        }
    }
    assert!(missing.is_empty(), "not in the header: {missing:?}");
}

/// Every enum constant of the header must be here, but for the markers of an enum's end.
fn complete(ours: &Numbers, enums: &[String]) {
    let absent: Vec<_> = enums
        .iter()
        .filter(|name| !ours.contains_key(*name) && !name.starts_with("__") && !name.ends_with("_MAX"))
        .collect();
    assert!(absent.is_empty(), "in the header but not here: {absent:?}");
}

fn openvswitch_numbers() -> Numbers {
    let mut ours = Numbers::new();
    for table in [
        ovs::OVS_DP_ATTR_NAMES,
        ovs::OVS_PACKET_ATTR_NAMES,
        ovs::OVS_VPORT_ATTR_NAMES,
        ovs::OVS_VPORT_UPCALL_ATTR_NAMES,
        ovs::OVS_TUNNEL_ATTR_NAMES,
        ovs::OVS_VXLAN_EXT_NAMES,
        ovs::OVS_FLOW_ATTR_NAMES,
        ovs::OVS_KEY_ATTR_NAMES,
        ovs::OVS_TUNNEL_KEY_ATTR_NAMES,
        ovs::OVS_NSH_KEY_ATTR_NAMES,
        ovs::OVS_ACTION_ATTR_NAMES,
        ovs::OVS_SAMPLE_ATTR_NAMES,
        ovs::OVS_USERSPACE_ATTR_NAMES,
        ovs::OVS_CT_ATTR_NAMES,
        ovs::OVS_NAT_ATTR_NAMES,
        ovs::OVS_CHECK_PKT_LEN_ATTR_NAMES,
        ovs::OVS_DEC_TTL_ATTR_NAMES,
        ovs::OVS_PSAMPLE_ATTR_NAMES,
        ovs::OVS_METER_ATTR_NAMES,
        ovs::OVS_BAND_ATTR_NAMES,
        ovs::OVS_CT_LIMIT_ATTR_NAMES,
    ] {
        collect(&mut ours, table);
    }
    for table in [
        ovs::OVS_DP_CMD_NAMES,
        ovs::OVS_PACKET_CMD_NAMES,
        ovs::OVS_VPORT_CMD_NAMES,
        ovs::OVS_FLOW_CMD_NAMES,
        ovs::OVS_METER_CMD_NAMES,
        ovs::OVS_CT_LIMIT_CMD_NAMES,
        ovs::OVS_FRAG_TYPE_NAMES,
    ] {
        collect(&mut ours, table);
    }
    for table in [
        ovs::OVS_DP_F_NAMES,
        ovs::OVS_UFID_F_NAMES,
        ovs::OVS_CS_F_NAMES,
        ovs::OVS_HASH_ALG_NAMES,
        ovs::OVS_METER_BAND_TYPE_NAMES,
        ovs::OVS_VPORT_TYPE_NAMES,
    ] {
        collect(&mut ours, table);
    }
    collect(
        &mut ours,
        &[
            ("OVS_DATAPATH_VERSION", i128::from(ovs::OVS_DATAPATH_VERSION)),
            ("OVS_DP_VER_FEATURES", ovs::OVS_DP_VER_FEATURES.into()),
            ("OVS_PACKET_VERSION", ovs::OVS_PACKET_VERSION.into()),
            ("OVS_VPORT_VERSION", ovs::OVS_VPORT_VERSION.into()),
            ("OVS_FLOW_VERSION", ovs::OVS_FLOW_VERSION.into()),
            ("OVS_METER_VERSION", ovs::OVS_METER_VERSION.into()),
            ("OVS_CT_LIMIT_VERSION", ovs::OVS_CT_LIMIT_VERSION.into()),
            ("OVS_ZONE_LIMIT_DEFAULT_ZONE", ovs::OVS_ZONE_LIMIT_DEFAULT_ZONE.into()),
            ("OVS_CT_LABELS_LEN_32", ovs::OVS_CT_LABELS_LEN_32 as i128),
            ("NSH_MD1_CONTEXT_SIZE", ovs::NSH_MD1_CONTEXT_SIZE as i128),
            ("OVS_MPLS_L3_TUNNEL_FLAG_MASK", ovs::OVS_MPLS_L3_TUNNEL_FLAG_MASK.into()),
        ],
    );
    ours
}

/// Newer than Debian 12's headers, or never in the kernel's.
const LATER: &[&str] = &[
    "OVS_ACTION_ATTR_DROP",
    "OVS_ACTION_ATTR_PSAMPLE",
    "OVS_HASH_ALG_SYM_L4",
    "OVS_PACKET_ATTR_UPCALL_PID",
    "OVS_PSAMPLE_",
    "OVS_VPORT_ATTR_UPCALL_STATS",
    "OVS_VPORT_TYPE_BAREUDP",
    "OVS_VPORT_TYPE_ERSPAN",
    "OVS_VPORT_TYPE_GRE64",
    "OVS_VPORT_TYPE_GTPU",
    "OVS_VPORT_TYPE_IP6",
    "OVS_VPORT_TYPE_LISP",
    "OVS_VPORT_TYPE_SRV6",
    "OVS_VPORT_TYPE_STT",
    "OVS_VPORT_UPCALL_ATTR_",
];

#[test]
fn openvswitch_h() {
    let ours = openvswitch_numbers();
    let Some(text) = header("/usr/include/linux/openvswitch.h") else { return };
    let (theirs, enums) = numbers(&text);
    assert!(enums.len() > 150, "the header was understood: {} constants", enums.len());
    compare(&ours, &theirs, LATER);
    complete(&ours, &enums);
}

#[test]
fn openvswitch_h_names() {
    let Some(text) = header("/usr/include/linux/openvswitch.h") else { return };
    for (name, value) in [
        ("OVS_DATAPATH_FAMILY", ovs::OVS_DATAPATH_FAMILY),
        ("OVS_DATAPATH_MCGROUP", ovs::OVS_DATAPATH_MCGROUP),
        ("OVS_PACKET_FAMILY", ovs::OVS_PACKET_FAMILY),
        ("OVS_VPORT_FAMILY", ovs::OVS_VPORT_FAMILY),
        ("OVS_VPORT_MCGROUP", ovs::OVS_VPORT_MCGROUP),
        ("OVS_FLOW_FAMILY", ovs::OVS_FLOW_FAMILY),
        ("OVS_FLOW_MCGROUP", ovs::OVS_FLOW_MCGROUP),
        ("OVS_METER_FAMILY", ovs::OVS_METER_FAMILY),
        ("OVS_METER_MCGROUP", ovs::OVS_METER_MCGROUP),
        ("OVS_CT_LIMIT_FAMILY", ovs::OVS_CT_LIMIT_FAMILY),
        ("OVS_CT_LIMIT_MCGROUP", ovs::OVS_CT_LIMIT_MCGROUP),
    ] {
        let line = text.lines().find(|l| l.split_whitespace().nth(1) == Some(name)).expect(name);
        assert!(line.contains(&format!("\"{value}\"")), "{line}");
    }
}

#[test]
fn openvswitch_h_structs() {
    let Some(text) = header("/usr/include/linux/openvswitch.h") else { return };
    let (mut known, _) = numbers(&text);
    known.insert("ETH_ALEN".into(), 6);
    let sizes = struct_sizes(&text, &known);
    macro_rules! check {
        ($($name:ident),+ $(,)?) => {
            $(assert_eq!(sizes.get(stringify!($name)), Some(&size_of::<ovs::$name>()), stringify!($name));)+
            assert_eq!(sizes.len(), [$(stringify!($name)),+].len(), "structures in the header: {sizes:?}");
        };
    }
    check!(
        ovs_header,
        ovs_dp_stats,
        ovs_dp_megaflow_stats,
        ovs_vport_stats,
        ovs_flow_stats,
        ovs_key_ethernet,
        ovs_key_mpls,
        ovs_key_ipv4,
        ovs_key_ipv6,
        ovs_key_ipv6_exthdrs,
        ovs_key_tcp,
        ovs_key_udp,
        ovs_key_sctp,
        ovs_key_icmp,
        ovs_key_icmpv6,
        ovs_key_arp,
        ovs_key_nd,
        ovs_key_ct_tuple_ipv4,
        ovs_key_ct_tuple_ipv6,
        ovs_nsh_key_base,
        ovs_nsh_key_md1,
        ovs_action_trunc,
        ovs_action_push_mpls,
        ovs_action_add_mpls,
        ovs_action_push_vlan,
        ovs_action_hash,
        ovs_action_push_eth,
        ovs_zone_limit,
    );
    assert_eq!(size_of::<ovs::ovs_key_ct_labels>(), ovs::OVS_CT_LABELS_LEN);
}

#[test]
fn netlink_h() {
    let mut ours = Numbers::new();
    for table in [nl::NLMSG_NAMES, nl::NLM_F_NAMES, nl::NLMSGERR_ATTR_NAMES, nl::NL_POLICY_TYPE_ATTR_NAMES] {
        collect(&mut ours, table);
    }
    collect(&mut ours, nl::NL_ATTR_TYPE_NAMES);
    collect(&mut ours, nl::NETLINK_SOCKOPT_NAMES);
    collect(&mut ours, nl::NETLINK_PROTO_NAMES);
    collect(
        &mut ours,
        &[("NLA_F_NESTED", nl::NLA_F_NESTED), ("NLA_F_NET_BYTEORDER", nl::NLA_F_NET_BYTEORDER)],
    );
    let Some(text) = header("/usr/include/linux/netlink.h") else { return };
    let (theirs, enums) = numbers(&text);
    compare(&ours, &theirs, &[]);
    let used: Vec<_> =
        enums.into_iter().filter(|n| !n.starts_with("NL_MMAP_") && !n.starts_with("NETLINK_")).collect();
    assert!(used.len() > 30, "the header was understood: {used:?}");
    complete(&ours, &used);
    let sizes = struct_sizes(&text, &theirs);
    assert_eq!(sizes["nlmsghdr"], size_of::<nl::nlmsghdr>());
    assert_eq!(sizes["nlmsgerr"], size_of::<nl::nlmsgerr>());
    assert_eq!(sizes["nlattr"], size_of::<nl::nlattr>());
    assert_eq!(sizes["sockaddr_nl"], size_of::<nl::sockaddr_nl>());
}

#[test]
fn genetlink_h() {
    let mut ours = Numbers::new();
    for table in [
        genl::CTRL_ATTR_NAMES,
        genl::CTRL_ATTR_OP_NAMES,
        genl::CTRL_ATTR_MCAST_GRP_NAMES,
        genl::CTRL_ATTR_POLICY_NAMES,
    ] {
        collect(&mut ours, table);
    }
    collect(&mut ours, genl::CTRL_CMD_NAMES);
    collect(&mut ours, genl::GENL_OP_FLAG_NAMES);
    collect(
        &mut ours,
        &[
            ("GENL_NAMSIZ", genl::GENL_NAMSIZ as i128),
            ("GENL_MIN_ID", genl::GENL_MIN_ID.into()),
            ("GENL_MAX_ID", genl::GENL_MAX_ID.into()),
            ("GENL_ID_CTRL", genl::GENL_ID_CTRL.into()),
            ("GENL_START_ALLOC", genl::GENL_START_ALLOC.into()),
        ],
    );
    let (Some(text), Some(base)) =
        (header("/usr/include/linux/genetlink.h"), header("/usr/include/linux/netlink.h"))
    else {
        return;
    };
    let (theirs, enums) = numbers(&format!("{base}\n{text}"));
    compare(&ours, &theirs, &[]);
    let ctrl: Vec<_> = enums.into_iter().filter(|n| n.starts_with("CTRL_")).collect();
    assert!(ctrl.len() > 25, "the header was understood: {ctrl:?}");
    complete(&ours, &ctrl);
    assert_eq!(struct_sizes(&text, &theirs)["genlmsghdr"], size_of::<genl::genlmsghdr>());
}

#[test]
fn psample_h() {
    let mut ours = Numbers::new();
    collect(&mut ours, psample::PSAMPLE_CMD_NAMES);
    for table in [psample::PSAMPLE_ATTR_NAMES, psample::PSAMPLE_TUNNEL_KEY_ATTR_NAMES] {
        collect(&mut ours, table);
    }
    let Some(text) = header("/usr/include/linux/psample.h") else { return };
    let (theirs, enums) = numbers(&text);
    // Later than Debian 12's headers.
    compare(&ours, &theirs, &["PSAMPLE_ATTR_USER_COOKIE", "PSAMPLE_ATTR_SAMPLE_PROBABILITY"]);
    let used: Vec<_> = enums.into_iter().filter(|n| n.starts_with("PSAMPLE_")).collect();
    assert!(used.len() > 30, "the header was understood: {used:?}");
    complete(&ours, &used);
}

#[test]
fn errno_h() {
    let (Some(base), Some(more)) =
        (header("/usr/include/asm-generic/errno-base.h"), header("/usr/include/asm-generic/errno.h"))
    else {
        return;
    };
    let (theirs, _) = numbers(&format!("{base}\n{more}"));
    let mut ours = Numbers::new();
    collect(&mut ours, Errno::NAMES);
    compare(&ours, &theirs, &[]);
}

#[test]
fn the_reader_of_headers_works() {
    let text = "#define A (1 << 3)\n#define B (A | 0x1)\n#define C -1\nenum x {\n P,\n Q = 5,\n R,\n};\n\
                struct s { __u8 a; __u32 b[3]; __u8 c; };\nstruct t { struct s s; __u64 z; };";
    let (all, enums) = numbers(text);
    let get = |name: &str| all[name];
    assert_eq!((get("A"), get("B"), get("C"), get("P"), get("R")), (8, 9, -1, 0, 6));
    assert_eq!(enums, ["P", "Q", "R"]);
    let sizes = struct_sizes(text, &all);
    assert_eq!((sizes["s"], sizes["t"]), (20, 32));
}
