#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# In-memory forwarding by Debian's OVS-DPDK on one polling core: an endless capture file in, a null port out.
#
#   ovs-dpdk.sh CAPTURE SECONDS RULE     prints {"mpps": N, "mpps_per_cpu_second": N}
#
# mpps counts packets per second; mpps_per_cpu_second per second of the polling thread's CPU time, which is the same on
# a machine that does nothing else, and holds where it does.
#
# RULE is an OpenFlow rule, as `in_port=1,actions=output:2` or `actions=NORMAL`; port 1 receives, port 2 is the null
# port, behind which 02:00:00:00:00:01 is known to be. Run by `cargo xtask bench`, in a private world with 512 huge
# pages of 2 MiB set aside.
set -euo pipefail
capture=$1 seconds=$2 rule=$3

. "$(dirname "$0")/ovs.sh"
ovs_in "$(mktemp -d /run/ovs-dpdk.XXXXXX)"
vswitchd=/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk
trap 'ovs_stop peerbr' EXIT

last_cpu=$(($(nproc --all) - 1))
mkdir -p /dev/hugepages
mountpoint -q /dev/hugepages || mount -t hugetlbfs hugetlbfs /dev/hugepages

ovs_database
# --no-pci: the machine's own network cards are left alone
vsctl --no-wait set Open_vSwitch . \
  other_config:dpdk-init=true \
  other_config:dpdk-socket-mem=600 \
  other_config:dpdk-lcore-mask=1 \
  other_config:pmd-cpu-mask="$(printf '%x' $((1 << last_cpu)))" \
  other_config:dpdk-extra=--no-pci
ovs_vswitchd

vsctl add-br peerbr -- set Bridge peerbr datapath_type=netdev fail_mode=secure
vsctl add-port peerbr out -- set Interface out type=dpdk ofport_request=2 options:dpdk-devargs=net_null0,no-rx=1
ovs-ofctl add-flow peerbr "$rule"
vsctl add-port peerbr in -- set Interface in type=dpdk ofport_request=1 \
  "options:dpdk-devargs=\"net_pcap0,rx_pcap=$capture,infinite_rx=1\""

control=$(echo "$dir"/ovs-vswitchd*.ctl)
appctl() { ovs-appctl --target="$control" "$@"; }
appctl fdb/add peerbr out 0 02:00:00:00:00:01 >/dev/null

# Nanoseconds of CPU time that the polling thread has had.
thread=$(grep -l '^pmd-' /proc/"$(cat "$dir/ovs-vswitchd.pid")"/task/*/comm)
cpu_time() { read -r nanoseconds _ <"${thread%comm}schedstat"; }

sleep 2 # flows installed, caches warm
appctl dpif-netdev/pmd-stats-clear >/dev/null
cpu_time && before=$nanoseconds
sleep "$seconds"
cpu_time
# "  Tx packets:   47726272  (15851 Kpps)": what left counts, not what came
appctl dpif-netdev/pmd-perf-show -nh | awk -v nanoseconds=$((nanoseconds - before)) '
  /Tx packets:/ { packets = $3; gsub(/[()]/, ""); kpps = $4 }
  END {
    if (packets == 0) exit 1
    printf "{\"mpps\": %.3f, \"mpps_per_cpu_second\": %.3f}\n", kpps / 1000, packets * 1000 / nanoseconds
  }'
