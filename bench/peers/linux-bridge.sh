#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The kernel's own bridge, switching between devices.
#
#   linux-bridge.sh up DEVICE...     makes it
#   linux-bridge.sh down             removes it
set -euo pipefail
case $1 in
up)
  shift
  ip link add peerbr type bridge
  for device in "$@"; do ip link set "$device" master peerbr; done
  ip link set peerbr up
  ;;
down)
  ip link del peerbr 2>/dev/null || true
  ;;
esac
