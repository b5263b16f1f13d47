#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The kernel's own vxlan device and bridge, in two namespaces (bv1, bv2) that have a cable u between them and a host's device each.
#
#   vxlan-kernel.sh up DEVICE1 DEVICE2     makes them
#   vxlan-kernel.sh down                   removes them
set -euo pipefail
case $1 in
up)
  for n in 1 2; do
    device=$((n + 1))
    ip -n bv$n link add vx type vxlan id 7 dstport 4789 local 172.31.0.$n remote 172.31.0.$((3 - n)) dev u
    ip -n bv$n link add peerbr type bridge
    ip -n bv$n link set vx master peerbr
    ip -n bv$n link set "${!device}" master peerbr
    ip -n bv$n link set vx up
    ip -n bv$n link set peerbr up
  done
  ;;
down)
  for n in 1 2; do
    ip -n bv$n link del peerbr 2>/dev/null || true
    ip -n bv$n link del vx 2>/dev/null || true
  done
  ;;
esac
