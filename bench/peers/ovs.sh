# SPDX-License-Identifier: Apache-2.0 OR MIT
# shellcheck shell=bash
# Starting and stopping Debian's OVS, for the scripts beside this one, which source it.

# ovs_in FOLDER: where its files are
ovs_in() {
  dir=$1
  export OVS_RUNDIR=$dir OVS_LOGDIR=$dir OVS_DBDIR=$dir OVS_SYSCONFDIR=$dir
}

vsctl() { ovs-vsctl --db="unix:$dir/db.sock" --timeout=20 "$@"; }

ovs_daemon() {
  local name=$1
  shift
  "$@" --pidfile="$dir/$name.pid" --log-file="$dir/$name.log" -vconsole:off --detach >/dev/null 2>&1 ||
    { echo "$name did not start:" >&2; tail -n 5 "$dir/$name.log" >&2; exit 1; }
}

# ovs_database [WORD...]: starts one, by a command that begins with these words
ovs_database() {
  mkdir -p "$dir"
  ovsdb-tool create "$dir/conf.db" /usr/share/openvswitch/vswitch.ovsschema
  ovs_daemon ovsdb-server "$@" ovsdb-server "$dir/conf.db" --remote="punix:$dir/db.sock"
  vsctl --no-wait init
}

# ovs_vswitchd [WORD...]: the same with the switch
ovs_vswitchd() {
  ovs_daemon ovs-vswitchd "$@" "${vswitchd:-/usr/lib/openvswitch-switch/ovs-vswitchd}" "unix:$dir/db.sock"
}

# ovs_up: starts both; $WRAP is what stands before ovs-vswitchd
ovs_up() {
  ovs_database
  # shellcheck disable=SC2086 # several words
  ovs_vswitchd ${WRAP:-}
}

# each_pair_of_ports REGISTER: the action that makes both ports part of a flow, by a hash over them, which the register gets
each_pair_of_ports() { echo "multipath(symmetric_l3l4+udp,1024,modulo_n,1,0,NXM_NX_$1[])"; }

# ovs_end NAME...: ends these daemons
ovs_end() {
  local daemon pid
  for daemon in "$@"; do
    [ -f "$dir/$daemon.pid" ] || continue
    pid=$(cat "$dir/$daemon.pid")
    kill "$pid" 2>/dev/null || true
    # What it has taken must be free before the next round starts.
    while [ -e "/proc/$pid/exe" ]; do sleep 0.02; done
  done
}

# ovs_stop [DEVICE...]: ends both; the devices are its bridges'
ovs_stop() {
  local device
  ovs_end ovs-vswitchd ovsdb-server
  # its devices outlive it
  for device in "$@" ovs-netdev; do ip link del "$device" 2>/dev/null || true; done
  rm -rf "$dir"
}
