// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Every mistake, with its line, its column, what is said and the remedy.

use std::path::Path;

use super::{Config, ConfigError, parse};

fn read(text: &str) -> Result<Config, String> {
    parse(Path::new("p.toml"), text).map_err(|error| error.to_string())
}

#[test]
fn the_documented_example_is_read() {
    let config = read(
        r#"
        [daemon]
        workers = 2
        log = "info,portwayd=debug"

        [[bridge]]
        name = "br0"
        aging_s = 60
        mac_limit = 100
        flood_limit_pps = 0
        [[bridge.port]]
        name = "veth1"
        access = 10
        [[bridge.port]]
        name = "veth1"
        netns = "ns1"
        trunk = [20, 10, 20]
        native = 30
        [[bridge.port]]
        name = "cap"
        type = "pcap"
        options = { rx = "in.pcap", loops = 3, fast = true }
        [[bridge.port]]
        name = "br0"
        access = 7

        [[bridge]]
        name = "br1"
        port = [{ name = "veth9", type = "1001" }]
        "#,
    )
    .unwrap();
    assert_eq!((config.workers, config.log.as_deref()), (Some(2), Some("info,portwayd=debug")));
    let [br0, br1] = &config.bridges[..] else { panic!("{config:?}") };
    assert_eq!((br0.spec.aging_s, br0.spec.mac_limit, br0.spec.flood_limit_pps), (60, 100, 0));
    assert_eq!(br0.own_vlans.access, Some(7));
    let names: Vec<_> = br0.ports.iter().map(|port| (port.name.as_str(), port.netns.as_deref())).collect();
    assert_eq!(names, [("veth1", None), ("veth1", Some("ns1")), ("cap", None)]);
    assert_eq!((br0.ports[1].vlans.trunk.clone(), br0.ports[1].vlans.native), (vec![10, 20], Some(30)));
    assert_eq!(br0.ports[0].port_type, "netdev");
    let options: Vec<_> = br0.ports[2].options.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(options, ["fast=true", "loops=3", "rx=in.pcap"]);
    assert_eq!((br1.spec.aging_s, br1.ports[0].port_type.as_str()), (300, "1001"));
    assert_eq!(read("").unwrap(), Config::default());
}

/// A file and what is said about it.
const MISTAKES: &[(&str, &str)] = &[
    (
        "[[bridge]]\nname = \"br0\"\nagin_s = 3",
        "p.toml:3:1: unknown key `agin_s` in [[bridge]]\n    remedy: did you mean `aging_s`?",
    ),
    (
        "[[bridge]]\nname = \"br0\"\ncolour = 3",
        "p.toml:3:1: unknown key `colour` in [[bridge]]\n    remedy: remove it; [[bridge]] takes: name, aging_s, mac_limit, flood_limit_pps, port",
    ),
    (
        "[demon]\nworkers = 1",
        "p.toml:1:2: unknown key `demon` in the file\n    remedy: did you mean `daemon`?",
    ),
    (
        "[daemon]\nworkers = \"two\"",
        "p.toml:2:11: `workers` is a string but must be a number from 1 to 256\n    remedy: write, for example: workers = 1",
    ),
    (
        "[daemon]\nworkers = 0",
        "p.toml:2:11: `workers` is out of range: 0\n    remedy: write a number from 1 to 256",
    ),
    (
        "[daemon]\nlog = \"inof\"",
        "p.toml:2:7: \"inof\" is not a log level\n    remedy: did you mean \"info\"?",
    ),
    (
        "[daemon]\nlog = \"loud\"",
        "p.toml:2:7: \"loud\" is not a log level\n    remedy: one of: error, warn, info, debug, trace, off",
    ),
    (
        "[bridge]\nname = \"br0\"",
        "p.toml:1:1: `bridge` is a table but must be a list of tables\n    remedy: write, for example: [[bridge]] (two brackets)",
    ),
    (
        "[[bridge]]\naging_s = 3",
        "p.toml:1:1: the name is missing\n    remedy: add, for example: name = \"br0\"",
    ),
    (
        "[[bridge]]\nname = \"\"",
        "p.toml:2:8: the name is empty\n    remedy: 1 to 15 bytes, no space, no `/`, no `:`",
    ),
    (
        "[[bridge]]\nname = \"abcdefghijklmnop\"",
        "p.toml:2:8: the name \"abcdefghijklmnop\" has 16 bytes; Linux allows 15\n    remedy: 1 to 15 bytes, no space, no `/`, no `:`",
    ),
    (
        "[[bridge]]\nname = \"a/b\"",
        "p.toml:2:8: the name \"a/b\" contains '/'\n    remedy: 1 to 15 bytes, no space, no `/`, no `:`",
    ),
    (
        "[[bridge]]\nname = 7",
        "p.toml:2:8: `name` is a number but must be a string\n    remedy: write, for example: name = \"...\"",
    ),
    (
        "[[bridge]]\nname = \"br0\"\naging_s = 1.5",
        "p.toml:3:11: `aging_s` is a fraction but must be a number from 1 to 31536000\n    remedy: write, for example: aging_s = 1",
    ),
    (
        "[[bridge]]\nname = \"br0\"\nmac_limit = -1",
        "p.toml:3:13: `mac_limit` is out of range: -1\n    remedy: write a number from 1 to 1048576",
    ),
    (
        "[[bridge]]\nname = \"br0\"\n[[bridge]]\nname = \"br0\"",
        "p.toml:4:8: bridge \"br0\" is there twice: first at line 2\n    remedy: give one of them another name, or put all ports under the first",
    ),
    (
        "[[bridge]]\nname = \"br0\"\n[[bridge.port]]\nname = \"p\"\n[[bridge.port]]\nname = \"p\"",
        "p.toml:6:8: port \"p\" is in bridge \"br0\" twice: first at line 4\n    remedy: remove one of them",
    ),
    (
        "[[bridge]]\nname = \"a\"\n[[bridge.port]]\nname = \"p\"\n[[bridge]]\nname = \"b\"\n[[bridge.port]]\nname = \"p\"",
        "p.toml:8:8: port \"p\" is in bridge \"b\" and in bridge \"a\" (line 4)\n    remedy: a port belongs to one bridge: remove it from the other",
    ),
    (
        "[[bridge]]\nname = \"a\"\n[[bridge.port]]\nname = \"b\"\n[[bridge]]\nname = \"b\"",
        "p.toml:4:8: port \"b\" has the name of a bridge (line 6)\n    remedy: a bridge's own port comes with it; to connect two bridges, use a pair of veth devices",
    ),
    (
        "[[bridge]]\nname = \"a\"\n[[bridge.port]]\nname = \"a\"\ntype = \"netdev\"",
        "p.toml:5:8: \"a\" is the bridge's own port: its type is internal or null, not \"netdev\"\n    remedy: remove the type, or give the port another name",
    ),
    (
        "[[bridge]]\nname = \"a\"\n[[bridge.port]]\nname = \"p\"\naccess = 4095",
        "p.toml:5:10: `access` is out of range: 4095\n    remedy: write a number from 1 to 4094",
    ),
    (
        "[[bridge]]\nname = \"a\"\n[[bridge.port]]\nname = \"p\"\ntrunk = 10",
        "p.toml:5:9: `trunk` is a number but must be a list of numbers\n    remedy: write, for example: trunk = [10, 20]",
    ),
    (
        "[[bridge]]\nname = \"a\"\n[[bridge.port]]\nname = \"p\"\ntrunk = [10, 0]",
        "p.toml:5:14: `trunk` is out of range: 0\n    remedy: write a number from 1 to 4094",
    ),
    (
        "[[bridge]]\nname = \"a\"\n[[bridge.port]]\nname = \"p\"\naccess = 1\nnative = 2",
        "p.toml:5:10: a port is `access = 1` or a trunk, but this one also has `native`\n    remedy: remove `access` or `native`",
    ),
    (
        "[[bridge]]\nname = \"a\"\n[[bridge.port]]\nname = \"p\"\nnetns = \"x/y\"",
        "p.toml:5:9: \"x/y\" is not a network namespace\n    remedy: a name that `ip netns list` shows, or an absolute path like \"/proc/123/ns/net\"",
    ),
    (
        "[[bridge]]\nname = \"a\"\n[[bridge.port]]\nname = \"p\"\noptions = { rx = [1] }",
        "p.toml:5:18: option `rx` must be a string, a number, true or false\n    remedy: write, for example: options = { rx = \"in.pcap\" }",
    ),
    (
        "[[bridge]]\nname = \"a\"\nport = [7]",
        "p.toml:3:9: `port` is a number but must be a list of tables\n    remedy: write, for example: [[bridge.port]] (two brackets)",
    ),
];

#[test]
fn each_mistake_is_named_with_its_place_and_remedy() {
    for (text, said) in MISTAKES {
        assert_eq!(read(text).unwrap_err(), *said, "\n{text}");
    }
}

#[test]
fn damaged_toml_is_named_with_its_place() {
    for (text, start) in [
        ("[[bridge]]\nname = br0", "p.toml:2:8: "),
        ("[[bridge\n", "p.toml:1:9: "),
        ("a = 1\na = 2", "p.toml:2:1: "),
        ("[[bridge]]\nname = \"a", "p.toml:2:10: "),
    ] {
        let said = read(text).unwrap_err();
        assert!(said.starts_with(start) && said.contains("remedy: the file is TOML"), "{said}");
    }
}

/// The documented example cut anywhere and with each byte changed: it is read, or refused with a place.
#[test]
fn a_damaged_example_is_read_or_refused() {
    let example = include_str!("../../../../dist/portway.toml");
    let check = |bytes: &[u8]| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        if let Err(said) = read(text) {
            assert!(said.starts_with("p.toml:") && said.contains("remedy: "), "{said}");
        }
    };
    for at in 0..example.len() {
        check(&example.as_bytes()[..at]);
        for byte in [b'\"', b'\n', b'[', b'=', b'-', b'9', 0] {
            let mut changed = example.as_bytes().to_vec();
            changed[at] = byte;
            check(&changed);
        }
    }
}

#[test]
fn all_mistakes_are_told_at_once_in_order() {
    let said = read("[[bridge]]\nname = \"\"\nx = 1\n[daemon]\nworkers = 9999\n").unwrap_err();
    let places: Vec<_> =
        said.lines().filter(|line| line.starts_with("p.toml")).map(|line| &line[..9]).collect();
    assert_eq!(places, ["p.toml:2:", "p.toml:3:", "p.toml:5:"]);
}

#[test]
fn a_file_that_is_not_there_or_not_text() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.toml");
    assert!(matches!(Config::load(&path), Err(ConfigError::Unreadable { .. })));
    std::fs::write(&path, b"# ok\nname = \"\xff\"").unwrap();
    assert!(Config::load(&path).unwrap_err().to_string().contains("c.toml:2:9: this byte is not UTF-8"));
}

#[test]
fn the_man_page_names_every_key() {
    let page = include_str!("../../../../dist/man/portway.toml.5");
    let mut all = String::new();
    for text in [
        "[daemon]\n\"\" = 0",
        "[[bridge]]\nname = \"b\"\n\"\" = 0",
        "[[bridge]]\nname = \"b\"\nport = [{ name = \"p\", \"\" = 0 }]",
    ] {
        let said = read(text).unwrap_err();
        all.push_str(said.rsplit("takes: ").next().unwrap());
        all.push_str(", ");
    }
    let keys: Vec<_> = all.split(", ").filter(|key| !key.is_empty()).collect();
    assert_eq!(keys.len(), 16, "{keys:?}");
    for key in keys {
        let named = page.contains(&format!(".BR {key} \" = "));
        assert!(named || key == "port", "portway.toml.5 says nothing of {key}");
    }
}
