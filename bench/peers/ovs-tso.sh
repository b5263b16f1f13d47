#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Debian's OVS with its userspace datapath over AF_PACKET and userspace TSO, switching between devices.
#
#   ovs-tso.sh up DEVICE...     starts it and returns once it forwards
#   ovs-tso.sh down             ends it
set -euo pipefail
dir=/run/ovs-tso
export OVS_RUNDIR=$dir OVS_LOGDIR=$dir OVS_DBDIR=$dir OVS_SYSCONFDIR=$dir
vsctl() { ovs-vsctl --db="unix:$dir/db.sock" --timeout=20 "$@"; }

case $1 in
up)
  shift
  mkdir -p "$dir"
  quiet=(--detach -vconsole:off)
  ovsdb-tool create "$dir/conf.db" /usr/share/openvswitch/vswitch.ovsschema
  ovsdb-server "$dir/conf.db" --remote="punix:$dir/db.sock" --pidfile="$dir/ovsdb.pid" "${quiet[@]}" 2>/dev/null
  vsctl --no-wait init
  vsctl --no-wait set Open_vSwitch . other_config:userspace-tso-enable=true
  /usr/lib/openvswitch-switch/ovs-vswitchd "unix:$dir/db.sock" --pidfile="$dir/vswitchd.pid" \
    --log-file="$dir/vswitchd.log" "${quiet[@]}" 2>/dev/null
  vsctl add-br peerbr -- set Bridge peerbr datapath_type=netdev fail_mode=standalone
  for device in "$@"; do vsctl add-port peerbr "$device"; done
  ;;
down)
  for file in "$dir"/vswitchd.pid "$dir"/ovsdb.pid; do
    [ -f "$file" ] || continue
    pid=$(cat "$file")
    kill "$pid" 2>/dev/null || true
    while [ -e "/proc/$pid/exe" ]; do sleep 0.02; done
  done
  # its devices outlive it
  for device in peerbr ovs-netdev; do ip link del "$device" 2>/dev/null || true; done
  rm -rf "$dir"
  ;;
esac
