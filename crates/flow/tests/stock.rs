// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Our text form against that of the stock programs: a private `ovs-vswitchd` with a dummy datapath takes each flow that we write and shows
//! it again; what it shows must read back here as the same flow, and it must refuse nothing that we write.
//!
//! Skipped, with a sentence, where Open vSwitch is not installed.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use portway_flow::text::{NO_NAMES, NO_NUMBERS, Style, format_actions, format_key, parse_actions, parse_key};

/// Keys; each is one that the dummy datapath can hold: it wants the input port and `recirc_id`, and knows no half ethertypes.
const KEYS: &[&str] = &[
    "recirc_id(0),in_port(1),eth(),eth_type(0x0800),ipv4(frag=no)",
    "recirc_id(0x3),in_port(2),eth(src=02:00:00:00:00:01,dst=01:00:00:00:00:00/01:00:00:00:00:00),eth_type(0x0800),ipv4(src=10.0.0.0/255.0.0.0,dst=1.2.3.4,proto=17,tos=0/0x3,ttl=64,frag=no),udp(src=1/0xff00,dst=53)",
    "recirc_id(0),in_port(1),skb_mark(0x5/0xff),ct_state(+est-rel+trk),ct_zone(0x3),ct_mark(0x1/0xff),ct_label(0x5/0xff),eth(),eth_type(0x0800),ipv4(proto=6,frag=no),tcp(dst=80),tcp_flags(+syn-ack)",
    "recirc_id(0),in_port(1),ct_state(+trk),ct_tuple4(src=1.1.1.1,proto=6,tp_dst=5),eth(),eth_type(0x0800),ipv4(frag=first)",
    "recirc_id(0),in_port(1),ct_state(+trk),ct_tuple6(dst=fd00::1,proto=6,tp_src=5),eth(),eth_type(0x86dd),ipv6(frag=later)",
    "recirc_id(0),dp_hash(0x1/0xf),in_port(1),eth(),eth_type(0x86dd),ipv6(src=fd00::/ffff::,dst=fd00::1,label=0x5/0xff,proto=58,tclass=0x3,hlimit=3,frag=no),icmpv6(type=135,code=0),nd(target=::1,sll=02:00:00:00:00:01)",
    "recirc_id(0),in_port(1),eth(),eth_type(0x0806),arp(sip=1.2.3.4,tip=1.2.0.0/255.255.0.0,op=1,tha=00:00:00:00:00:00)",
    "recirc_id(0),in_port(1),eth(),eth_type(0x8100),vlan(vid=10,pcp=0),encap(eth_type(0x0800),ipv4(proto=1,frag=no),icmp(type=8,code=0))",
    "recirc_id(0),in_port(1),eth(),eth_type(0x8847),mpls(label=100,tc=0,ttl=64,bos=1)",
    "recirc_id(0),in_port(1),eth(),eth_type(0x8847),mpls(label=100/0xff,tc=0/0,ttl=64/0xff,bos=1/1)",
    "recirc_id(0),in_port(1),eth(),eth_type(0x0800),ipv4(proto=132,frag=no),sctp(src=1,dst=2/0xff)",
    "recirc_id(0),tunnel(tun_id=0x1/0xff,src=1.1.1.1,dst=2.2.2.2/255.0.0.0,ttl=64,tp_dst=80,flags(-df+key)),in_port(1),eth(),eth_type(0x0800),ipv4(frag=no)",
    "recirc_id(0),tunnel(tun_id=0x1,src=1.1.1.1,dst=2.2.2.2,tos=0x2,ttl=64,flags(df|key)),in_port(1),eth(),eth_type(0x0800),ipv4(frag=no)",
    "recirc_id(0),tunnel(src=1.1.1.1,dst=2.2.2.2,ttl=64,geneve({class=0x102,type=0x80,len=4,0xa0b0c0d/0xff}{class=0x1,type=0x1,len=0}),flags(-df-csum)),in_port(1),eth(),eth_type(0x0800),ipv4(frag=no)",
    "recirc_id(0),tunnel(ipv6_src=::1,ipv6_dst=::2,ttl=64,vxlan(gbp(id=1,flags=0x8)),flags(+df-csum)),in_port(1),eth(),eth_type(0x0800),ipv4(frag=no)",
];

/// Action lists.
const ACTIONS: &[&str] = &[
    "drop",
    "2,push_vlan(vid=10,pcp=3),1,pop_vlan,2",
    "push_vlan(tpid=0x88a8,vid=1,pcp=3),2",
    "set(eth(src=02:00:00:00:00:05)),set(eth(dst=02:00:05:00:00:00/ff:ff:ff:00:00:00)),set(skb_mark(0x1/0xff)),2",
    "set(ipv4(src=10.0.0.0/255.0.0.0,tos=0x1,ttl=63)),set(ipv6(dst=fd00::1,label=0x5/0xff,hlimit=1)),2",
    "set(tcp(src=80)),set(udp(src=80,dst=81)),set(sctp(dst=5/0xf)),2",
    "set(tunnel(tun_id=0x1,src=1.1.1.1,dst=2.2.2.2,ttl=64,tp_dst=4789,flags(df|key))),2",
    "sample(sample=50.0%,actions(2)),clone(1,trunc(100),2),meter(1)",
    "userspace(pid=1,userdata(0102030400000000),actions,tunnel_out_port=3)",
    "check_pkt_len(size=200,gt(2),le(drop))",
    "push_nsh(flags=0,ttl=63,mdtype=1,np=3,spi=0x1,si=255,c1=0x1,c2=0x2,c3=0x3,c4=0x4),pop_nsh(),2",
    "add_mpls(label=10,tc=0,ttl=64,bos=1,eth_type=0x8847),2",
];

/// A private `ovs-vswitchd` and `ovsdb-server`; both end, and their folder goes, when this does.
struct Stock {
    folder: PathBuf,
}

impl Stock {
    /// `None` where Open vSwitch is not installed.
    fn start() -> Option<Self> {
        let schema = Path::new("/usr/share/openvswitch/vswitch.ovsschema");
        let installed = ["ovsdb-server", "ovs-vswitchd"].iter().all(|program| {
            ["/usr/sbin", "/usr/bin"].iter().any(|folder| Path::new(folder).join(program).exists())
        });
        if !installed || !schema.exists() {
            return None;
        }
        let folder = std::env::temp_dir().join(format!("portway-text-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder for the test");
        let stock = Self { folder };
        let at = |name: &str| stock.folder.join(name).display().to_string();
        let socket = format!("unix:{}", at("db.sock"));
        stock.run("ovsdb-tool", &["create", &at("conf.db"), &schema.display().to_string()]);
        stock.daemon("ovsdb-server", &[&at("conf.db"), &format!("--remote=p{socket}")]);
        stock.daemon("ovs-vswitchd", &[&socket, "--enable-dummy=override", "--disable-system"]);
        let database = format!("--db={socket}");
        stock.run("ovs-vsctl", &["--no-wait", &database, "init"]);
        stock.run(
            "ovs-vsctl",
            &[
                &database,
                "add-br",
                "br0",
                "--",
                "set",
                "bridge",
                "br0",
                "datapath-type=dummy",
                "fail-mode=secure",
            ],
        );
        for port in ["p1", "p2"] {
            let kind = ["--", "set", "interface", port, "type=dummy"];
            stock.run("ovs-vsctl", &[&[&database, "add-port", "br0", port][..], &kind].concat());
        }
        Some(stock)
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(program);
        command.args(arguments);
        for variable in ["OVS_RUNDIR", "OVS_DBDIR", "OVS_SYSCONFDIR", "OVS_LOGDIR"] {
            command.env(variable, &self.folder);
        }
        command.output().unwrap_or_else(|error| panic!("{program}: {error}"))
    }

    fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.command(program, arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {error}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn daemon(&self, program: &str, arguments: &[&str]) {
        let at = |end: &str| self.folder.join(format!("{program}{end}")).display().to_string();
        let own = [
            "--detach".to_owned(),
            format!("--pidfile={}", at(".pid")),
            format!("--unixctl={}", at(".ctl")),
            format!("--log-file={}", at(".log")),
        ];
        let own: Vec<_> = own.iter().map(String::as_str).collect();
        self.run(program, &[arguments, &own].concat());
    }

    fn control(&self, program: &str, arguments: &[&str]) -> Output {
        let target = self.folder.join(format!("{program}.ctl")).display().to_string();
        self.command("ovs-appctl", &[&["-t", &target], arguments].concat())
    }

    /// Adds a flow and returns how it is shown: its key and its actions.
    fn show(&self, key: &str, actions: &str) -> (String, String) {
        // The daemon removes flows that its bridge did not make, now and then also between two commands.
        let flow = (0..5).find_map(|_| self.try_show(key, actions));
        let flow = flow.unwrap_or_else(|| panic!("never shown: {key} actions:{actions}"));
        let (shown, rest) = flow.split_once(", packets:").expect("a flow has counters");
        let (_, actions) = rest.split_once("actions:").expect("a flow has actions");
        (shown.to_owned(), actions.trim().to_owned())
    }

    /// Adds a flow and returns its line; `None` if it was gone already.
    fn try_show(&self, key: &str, actions: &str) -> Option<String> {
        let added = self.control("ovs-vswitchd", &["dpctl/add-flow", key, actions]);
        let error = String::from_utf8_lossy(&added.stderr);
        assert!(added.status.success(), "refused: {key} actions:{actions}\n{error}");
        let dump = self.control("ovs-vswitchd", &["dpctl/dump-flows"]).stdout;
        assert!(self.control("ovs-vswitchd", &["dpctl/del-flows"]).status.success());
        let dump = String::from_utf8_lossy(&dump);
        dump.lines().find(|line| line.contains("actions:")).map(str::to_owned)
    }
}

impl Drop for Stock {
    fn drop(&mut self) {
        for program in ["ovs-vswitchd", "ovsdb-server"] {
            self.control(program, &["exit"]);
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn stock_programs_read_and_write_the_same() {
    let Some(stock) = Stock::start() else {
        eprintln!("skipped: Open vSwitch (ovsdb-server, ovs-vswitchd) is not installed");
        return;
    };
    for line in KEYS {
        let (key, mask) = parse_key(line, NO_NUMBERS).unwrap_or_else(|error| panic!("{line}\n{error}"));
        let ours = format_key(&key, Some(&mask), Style::default());
        let (shown, _) = stock.show(&ours, "drop");
        let (theirs, their_mask) =
            parse_key(&shown, NO_NUMBERS).unwrap_or_else(|error| panic!("{shown}\n{error}"));
        let again = format_key(&theirs, Some(&their_mask), Style::default());
        // The same words, though the user-space datapath has another order for the metadata.
        assert_eq!(
            their_mask.apply(&theirs),
            mask.apply(&key),
            "\nours   {ours}\ntheirs {shown}\nread   {again}"
        );
        assert_eq!(again, ours, "theirs {shown}");
        // It prints the ports of ct_tuple6 by names that it does not read.
        let shown = shown.replace("src_port=", "tp_src=");
        let sorted = |text: &str| {
            let mut words: Vec<_> =
                text.split("),").map(|word| word.trim_end_matches(')').to_owned()).collect();
            words.sort_unstable();
            words
        };
        assert_eq!(sorted(&shown), sorted(&ours));
    }
    for line in ACTIONS {
        let list = parse_actions(line, NO_NUMBERS).unwrap_or_else(|error| panic!("{line}\n{error}"));
        let ours = format_actions(&list, NO_NAMES);
        let (_, shown) = stock.show(KEYS[0], &ours);
        assert_eq!(shown, ours);
        assert_eq!(parse_actions(&shown, NO_NUMBERS), Ok(list));
    }
}
