#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Debian's OVS with rules for which each pair of UDP ports is a flow of its own, switching between devices.
#
#   ovs-flows.sh up netdev DEVICE...     on its own userspace datapath; returns once it forwards
#   ovs-flows.sh up system DEVICE...     on Portway's: $WRAP is what stands before ovs-vswitchd
#   ovs-flows.sh down                    ends it
set -euo pipefail
. "$(dirname "$0")/ovs.sh"
ovs_in /run/ovs-flows

case $1 in
up)
  kind=$2
  shift 2
  ovs_up
  vsctl add-br flowbr -- set Bridge flowbr datapath_type="$kind" fail_mode=standalone
  for device in "$@"; do vsctl add-port flowbr "$device"; done
  ovs-ofctl add-flow "unix:$dir/flowbr.mgmt" "udp,actions=$(each_pair_of_ports REG0),NORMAL"
  ;;
down)
  ovs_stop flowbr
  ;;
esac
