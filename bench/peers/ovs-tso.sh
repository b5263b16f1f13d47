#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Debian's OVS with its userspace datapath over AF_PACKET and userspace TSO, switching between devices.
#
#   ovs-tso.sh up DEVICE...     starts it and returns once it forwards
#   ovs-tso.sh down             ends it
set -euo pipefail
. "$(dirname "$0")/ovs.sh"
ovs_in /run/ovs-tso

case $1 in
up)
  shift
  ovs_database
  vsctl --no-wait set Open_vSwitch . other_config:userspace-tso-enable=true
  ovs_vswitchd
  vsctl add-br peerbr -- set Bridge peerbr datapath_type=netdev fail_mode=standalone
  for device in "$@"; do vsctl add-port peerbr "$device"; done
  ;;
down)
  ovs_stop peerbr
  ;;
esac
