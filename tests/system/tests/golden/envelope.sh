#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
# How addresses.txt, losses.txt, permitted.txt and refused.txt were made: run this as root on a machine whose kernel has openvswitch and
# psample (they are Debian 12's, 6.1.192-2).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
probe="python3 $here/../python/envelope.py"
sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
unshare -n $probe addresses >"$here/addresses.txt"
unshare -n $probe losses >"$here/losses.txt"
unshare -n $probe permissions >"$here/permitted.txt"
unshare -n setpriv --reuid=65534 --clear-groups $probe permissions >"$here/refused.txt"
# These are permitted the same ...
for who in "unshare -Ur -n" "unshare -Ur -n unshare -Ur -n" "setpriv --reuid=65534 --clear-groups unshare -Ur -n" \
    "unshare -n setpriv --reuid=65534 --clear-groups --inh-caps=+net_admin --ambient-caps=+net_admin"; do
    $who $probe permissions | cmp - "$here/permitted.txt"
done
# ... and these are refused the same.
for who in "unshare -n unshare -Ur" "unshare -Ur -n unshare -Ur" "unshare -n setpriv --bounding-set=-net_admin"; do
    $who $probe permissions | cmp - "$here/refused.txt"
done
