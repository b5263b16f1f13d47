# SPDX-License-Identifier: Apache-2.0 OR MIT
# What stock ovs-dpctl is asked, on the kernel module and on Portway: dpctl.txt is what it said on that of Linux 6.1. Each command is shown,
# what it says, and its result. $DPCTL is the program; the namespace has the devices p1, p2 and p3, up and silent.
t() {
    echo "\$ ovs-dpctl $*"
    $DPCTL -vconsole:off "$@" 2>&1
    echo "= $?"
}
sorted() {
    echo "\$ ovs-dpctl $* | sort"
    $DPCTL -vconsole:off "$@" 2>&1 | sort
}
t dump-dps
t show
t add-dp dp0
t add-dp dp0
t dump-dps
t show dp0
t add-if dp0 p1
t add-if dp0 p2,port_no=7
t add-if dp0 int1,type=internal
t add-if dp0 int2,type=internal,port_no=20
t add-if dp0 p1
t add-if dp0 p3,port_no=7
t add-if dp0 nonesuch
t add-if dp0 lo
t add-if dp0 int1,type=internal
t add-if dp0 dp0,type=internal
t add-if dp0 a-name-that-is-too-long,type=internal
t add-if dp0 p3,type=unheard
t add-if dp0 p3,port_no=70000
t add-if dp0 p3,nonsense=1
t add-if dp9 p3
t set-if dp0 p2,port_no=7
t set-if dp0 p2,port_no=8
t set-if dp0 p2,type=internal
t set-if dp0 nonesuch
t show
t show dp0 dp1
t add-dp dp1
sorted dump-dps
t add-if dp1 p1
t add-if dp1 p3
t show dp1
t del-if dp0 p3
t del-if dp1 p3
t del-if dp1 dp1
t del-dp dp1
t del-dp dp1
t add-flow dp0 'in_port(1),eth(),eth_type(0x0806),arp()' 7
t add-flow dp0 'in_port(1),eth(),eth_type(0x0806),arp()' 7
t add-flow dp0 'in_port(1),eth(),eth_type(0x0800),ipv4(src=10.0.0.0/255.255.255.0,frag=no)' '7,trunc(100),2'
t add-flow dp0 'in_port(7),eth(src=02:00:00:00:00:01,dst=ff:ff:ff:ff:ff:ff),eth_type(0x8100),vlan(vid=5,pcp=0),encap(eth_type(0x0800),ipv4(proto=17),udp(dst=53))' 'pop_vlan,1'
t add-flow dp0 'in_port(7),eth(),eth_type(0x86dd),ipv6(proto=6),tcp(dst=80)' 'push_vlan(vid=9,pcp=3),1'
t add-flow dp0 'in_port(2),eth(),eth_type(0x0800),ipv4(proto=1),icmp(type=8)' 'set(ipv4(ttl=3)),userspace(pid=5,userdata(01020304)),sample(sample=50.0%,actions(1,7))'
t add-flow dp0 'in_port(20),eth(),eth_type(0x8847),mpls(label=16,tc=0,ttl=64,bos=1)' 'pop_mpls(eth_type=0x800),recirc(0x1)'
t add-flow dp0 'recirc_id(0x1),in_port(20),eth(),eth_type(0x0800),ipv4()' 'clone(set(eth(src=02:00:00:00:00:09)),1),drop'
t add-flow dp0 'in_port(p3)' drop
t add-flow dp0 'in_port(1),nonsense()' 1
t add-flow dp0 'in_port(1),eth(),eth_type(0x88cc)' 'nonsense'
t add-flow dp0 'in_port(1),eth(),eth_type(0x88cc)' 'output(70000)'
t add-flow dp0 'in_port(1),eth(),eth_type(0x88cc)' 'set(ipv4(ttl=3))'
t add-flow dp0 'in_port(1),eth(),eth_type(0x88cc)' 'pop_mpls(eth_type=0x800)'
t add-flow dp0 'in_port(1),eth(),eth_type(0x88cc)' ''
t add-flow dp0 'ufid:00112233-4455-6677-8899-aabbccddeeff,in_port(1),eth(),eth_type(0x88cc)' 7
sorted dump-flows dp0
sorted --names dump-flows dp0
sorted -m dump-flows dp0
sorted --names dump-flows dp0 filter=arp
sorted dump-flows dp0 'filter=in_port=7'
sorted dump-flows dp0 type=ovs
sorted dump-flows dp0 type=offloaded
t get-flow dp0 ufid:00112233-4455-6677-8899-aabbccddeeff
t get-flow dp0 ufid:99112233-4455-6677-8899-aabbccddeeff
t --names get-flow dp0 ufid:00112233-4455-6677-8899-aabbccddeeff
t mod-flow dp0 'in_port(1),eth(),eth_type(0x0806),arp()' '2,7'
t mod-flow --clear dp0 'in_port(1),eth(),eth_type(0x0806),arp()' '7'
t mod-flow dp0 'in_port(2),eth(),eth_type(0x0806),arp()' 1
t mod-flow --may-create dp0 'in_port(2),eth(),eth_type(0x0806),arp()' 1
t del-flow dp0 'in_port(2),eth(),eth_type(0x0806),arp()'
t del-flow dp0 'in_port(2),eth(),eth_type(0x0806),arp()'
t del-flow dp0 ufid:00112233-4455-6677-8899-aabbccddeeff
sorted dump-flows dp0
t -s show dp0
t del-flows dp0
t dump-flows dp0
t cache-get-size dp0
t cache-set-size dp0 masks-cache 512
t cache-get-size dp0
t cache-set-size dp0 masks-cache 100
t del-if dp0 int1 p2
t del-if dp0 p2
t del-if dp0 dp0
t show dp0
t del-dp dp0
t dump-dps
t del-dp nonesuch
t dump-flows nonesuch
