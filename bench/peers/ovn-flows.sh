#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Debian's OVN with a logical switch, port security and ACLs that keep no state: a packet passes some forty tables of its flows. Each
# pair of UDP ports is a flow of its own.
#
#   ovn-flows.sh up netdev DEVICE MAC ADDRESS...     between these devices, on OVS's own userspace datapath; returns once it forwards
#   ovn-flows.sh up system DEVICE MAC ADDRESS...     on Portway's: $WRAP is what stands before ovs-vswitchd
#   ovn-flows.sh down                                ends it
set -euo pipefail
. "$(dirname "$0")/ovs.sh"
ovs_in /run/ovn-flows
export OVN_RUNDIR=$dir OVN_LOGDIR=$dir OVN_DBDIR=$dir OVN_NB_DB=unix:$dir/nb.sock OVN_SB_DB=unix:$dir/sb.sock

integration=unix:$dir/br-int.mgmt

nbctl() { ovn-nbctl --timeout=60 "$@"; }

# central: the databases, and what makes logical flows
central() {
  local database
  for database in nb sb; do
    ovsdb-tool create "$dir/$database.db" "/usr/share/ovn/ovn-$database.ovsschema"
    ovs_daemon "$database" ovsdb-server "$dir/$database.db" --remote="punix:$dir/$database.sock"
  done
  nbctl init
  ovn-sbctl init
  ovs_daemon northd ovn-northd --ovnnb-db="$OVN_NB_DB" --ovnsb-db="$OVN_SB_DB"
}

# controller KIND: has ovs-vswitchd do what the databases say
controller() {
  vsctl set Open_vSwitch . external-ids:system-id=here external-ids:ovn-remote="$OVN_SB_DB" \
    external-ids:ovn-encap-type=geneve external-ids:ovn-encap-ip=127.0.0.1 external-ids:ovn-bridge-datapath-type="$1"
  ovs_daemon controller ovn-controller "unix:$dir/db.sock"
  vsctl wait-until Bridge br-int
}

# logical_port DEVICE MAC ADDRESS
logical_port() {
  nbctl lsp-add net "$1" -- lsp-set-addresses "$1" "$2 $3" -- lsp-set-port-security "$1" "$2 $3"
  vsctl add-port br-int "$1" -- set Interface "$1" external-ids:iface-id="$1"
}

access_lists() {
  local port
  for port in 53 80 123 443 8080; do
    nbctl acl-add net from-lport 1001 "ip4.dst == 192.0.2.0/24 && udp.dst == $port" allow-stateless
    nbctl acl-add net to-lport 1001 "ip4.src == 192.0.2.0/24 && udp.dst == $port" allow-stateless
  done
  nbctl acl-add net to-lport 1000 ip4 allow-stateless
  nbctl acl-add net to-lport 900 ip drop
}

# split_flows: before OVN's own actions comes the one that splits flows. OVN does not read this register in a switch, and clears it
# half-way.
split_flows() {
  local number actions
  ovs-ofctl --no-stats dump-flows "$integration" table=0 |
    sed -n 's/.*priority=100,in_port=\([0-9]*\) actions=/\1 /p' |
    while read -r number actions; do
      ovs-ofctl add-flow "$integration" \
        "priority=200,udp,in_port=$number,actions=$(each_pair_of_ports REG9),$actions"
    done
}

# passes FROM FROM_MAC FROM_ADDRESS TO TO_MAC TO_ADDRESS: fails unless such a datagram is put out, by a flow with its ports
passes() {
  local traced
  traced=$(ovs-appctl -t "$dir/ovs-vswitchd.$(cat "$dir/ovs-vswitchd.pid").ctl" ofproto/trace br-int \
    "in_port=$1,udp,dl_src=$2,dl_dst=$5,nw_src=$3,nw_dst=$6,nw_ttl=64,udp_src=20001,udp_dst=30002")
  [[ $traced == *tp_src=20001,tp_dst=30002* && $traced == *"Datapath actions: "[0-9]* ]] ||
    { echo "OVN does not pass what it should:" >&2; tail -n 5 <<<"$traced" >&2; exit 1; }
}

case $1 in
up)
  kind=$2
  shift 2
  ovs_up
  central
  controller "$kind"
  nbctl ls-add net
  access_lists
  logical_port "$1" "$2" "$3"
  logical_port "$4" "$5" "$6"
  for port in "$1" "$4"; do nbctl wait-until Logical_Switch_Port "$port" up=true; done
  nbctl --wait=hv sync
  split_flows
  # Once more round: the controller has left these flows alone.
  nbctl --wait=hv sync
  passes "$1" "$2" "$3" "$4" "$5" "$6"
  passes "$4" "$5" "$6" "$1" "$2" "$3"
  ;;
down)
  ovs_end controller northd sb nb
  ovs_stop br-int
  ;;
esac
