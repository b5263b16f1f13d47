#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Debian's OVS with rules for which each pair of UDP ports is a flow of its own, switching between devices.
#
#   ovs-flows.sh up netdev DEVICE...     on its own userspace datapath; returns once it forwards
#   ovs-flows.sh up system DEVICE...     on Portway's: $WRAP is what stands before ovs-vswitchd
#   ovs-flows.sh down                    ends it
set -euo pipefail
dir=/run/ovs-flows
export OVS_RUNDIR=$dir OVS_LOGDIR=$dir OVS_DBDIR=$dir OVS_SYSCONFDIR=$dir
vsctl() { ovs-vsctl --db="unix:$dir/db.sock" --timeout=20 "$@"; }

case $1 in
up)
  kind=$2
  shift 2
  mkdir -p "$dir"
  quiet=(--detach -vconsole:off)
  ovsdb-tool create "$dir/conf.db" /usr/share/openvswitch/vswitch.ovsschema
  ovsdb-server "$dir/conf.db" --remote="punix:$dir/db.sock" --pidfile="$dir/ovsdb.pid" "${quiet[@]}" 2>/dev/null
  vsctl --no-wait init
  # shellcheck disable=SC2086 # several words
  ${WRAP:-} /usr/lib/openvswitch-switch/ovs-vswitchd "unix:$dir/db.sock" --pidfile="$dir/vswitchd.pid" \
    --log-file="$dir/vswitchd.log" "${quiet[@]}" 2>/dev/null
  vsctl add-br flowbr -- set Bridge flowbr datapath_type="$kind" fail_mode=standalone
  for device in "$@"; do vsctl add-port flowbr "$device"; done
  # A hash over the ports makes them part of every flow.
  ovs-ofctl add-flow "unix:$dir/flowbr.mgmt" \
    'udp,actions=multipath(symmetric_l3l4+udp,1024,modulo_n,1,0,NXM_NX_REG0[]),NORMAL'
  ;;
down)
  for file in "$dir"/vswitchd.pid "$dir"/ovsdb.pid; do
    [ -f "$file" ] || continue
    pid=$(cat "$file")
    kill "$pid" 2>/dev/null || true
    while [ -e "/proc/$pid/exe" ]; do sleep 0.02; done
  done
  # its devices outlive it
  for device in flowbr ovs-netdev; do ip link del "$device" 2>/dev/null || true; done
  rm -rf "$dir"
  ;;
esac
