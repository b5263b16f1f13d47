#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The shipped unit and drop-in under a real systemd: sudo tests/system/systemd.sh TARGET/debug
# Boots the machine's own systemd as process 1 of namespaces, on a copy of the machine's files that is in memory only; starts
# portwayd and Debian's openvswitch-switch, lets a host ping the bridge, restarts portwayd, pings again, and stops all.
# Needs systemd, openvswitch-switch, iproute2, iputils-ping and cgroup2. Says what happened, and whether it was as it
# should be.
set -euo pipefail
programs=$(realpath "$1")
tree=$(cd "$(dirname "$0")/../.." && pwd)

if [ "${2:-}" = inside ]; then
    out=$3 root=$3/root
    mkdir "$out/memory" "$root"
    mount -t tmpfs none "$out/memory"
    mkdir "$out/memory/upper" "$out/memory/work"
    mount -t overlay none -o "lowerdir=/,upperdir=$out/memory/upper,workdir=$out/memory/work" "$root"
    install -D "$programs/portwayd" "$root/usr/sbin/portwayd"
    install -D "$programs/portway" "$root/usr/bin/portway"
    install -D -m 644 "$programs/libportway_netlink.so" "$root/usr/lib/portway/libportway_netlink.so"
    install -D "$tree/dist/openvswitch/modprobe" "$root/usr/lib/portway/openvswitch/modprobe"
    install -D -m 644 "$tree/dist/openvswitch/ovs-vswitchd.conf" \
        "$root/etc/systemd/system/ovs-vswitchd.service.d/portway.conf"
    install -D -m 644 "$tree/dist/portwayd.service" "$root/etc/systemd/system/portwayd.service"
    install -D -m 644 "$tree/dist/portway.toml" "$root/etc/portway/portway.toml"
    # Nothing else of the machine's is started, and it has no bridges.
    rm -rf "$root"/etc/systemd/system/*.wants "$root"/etc/systemd/system/*.requires "$root/etc/openvswitch/conf.db"
    mkdir -p "$root/said"
    mount --bind "$out/said" "$root/said"
    cat >"$root/etc/systemd/system/probe.service" <<'UNIT'
[Unit]
Wants=openvswitch-switch.service
After=openvswitch-switch.service portwayd.service
[Service]
Type=oneshot
ExecStart=/bin/sh /probe.sh
StandardOutput=append:/said/probe
StandardError=append:/said/probe
UNIT
    printf '[Unit]\nRequires=probe.service\nAfter=probe.service\n' >"$root/etc/systemd/system/probe.target"
    cat >"$root/probe.sh" <<'PROBE'
result() { echo "= $1: $?"; }
systemctl is-active portwayd ovsdb-server ovs-vswitchd; result active
ip netns add h
ip link add p1 type veth peer name q1 netns h
ip link set p1 up
ip -n h addr add 10.9.0.1/24 dev q1
ip -n h link set q1 up
ovs-vsctl -t 30 add-br br0 -- add-port br0 p1; result bridge
ip addr add 10.9.0.2/24 dev br0
ip link set br0 up
ip netns exec h ping -q -c 5 -i 0.2 10.9.0.2; result ping
systemctl restart portwayd; result restart
ip netns exec h ping -q -c 10 -i 0.5 10.9.0.2; result ping-again
systemctl stop openvswitch-switch ovs-vswitchd ovsdb-server portwayd; result stop
systemctl is-failed portwayd ovsdb-server ovs-vswitchd || echo "= healthy: 0"
journalctl --no-pager -u portwayd -u ovs-vswitchd
systemctl exit 0
PROBE
    cd "$root"
    mount -t proc none proc
    mount -t sysfs none sys
    mount -t cgroup2 none sys/fs/cgroup
    mount -t tmpfs none run
    mount -t tmpfs none tmp
    mount --rbind /dev dev
    exec env -i container=portway PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        chroot . /lib/systemd/systemd --system --unit=probe.target --log-target=console
fi

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
mkdir "$out/said"
timeout 120 unshare --pid --fork --mount --net --uts --ipc --cgroup --kill-child "$0" "$programs" inside "$out" </dev/null || true
cat "$out/said/probe"
for step in active bridge ping restart ping-again stop healthy; do
    grep -q "^= $step: 0$" "$out/said/probe" || { echo "not as it should be: $step"; exit 1; }
done
echo "all as it should be"
