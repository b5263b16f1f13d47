#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Debian's OVS with its userspace datapath, in two namespaces (bv1, bv2) that have a cable u between them and a host's device each: one
# VXLAN tunnel between the two, by OVS's own encapsulation. It takes no segments to cut into a tunnel, so the hosts send none.
#
#   vxlan-ovs.sh up DEVICE1 DEVICE2     starts both and returns once they are there
#   vxlan-ovs.sh down                   ends them
set -euo pipefail

. "$(dirname "$0")/ovs.sh"

side() {
  local n=$1 device=$2
  local in=(ip netns exec "bv$n")
  ovs_in "/run/ovs-vxlan$n"
  ovs_database "${in[@]}"
  ovs_vswitchd "${in[@]}"
  ip -n "bv$n" addr flush dev u
  "${in[@]}" ethtool -K u tx off >/dev/null
  vsctl add-br brphy -- set Bridge brphy datapath_type=netdev fail_mode=standalone -- add-port brphy u
  ip -n "bv$n" addr add "172.31.0.$n/24" dev brphy
  ip -n "bv$n" link set brphy up
  vsctl add-br brint -- set Bridge brint datapath_type=netdev fail_mode=standalone -- add-port brint "$device" \
    -- add-port brint vx -- set Interface vx type=vxlan "options:remote_ip=172.31.0.$((3 - n))" options:key=7
}

case $1 in
up)
  side 1 "$2"
  side 2 "$3"
  ;;
down)
  for n in 1 2; do
    ovs_in /run/ovs-vxlan$n
    ovs_stop
  done
  ;;
esac
