#!/usr/bin/env bash
# One scenario, in a process of its own. Whatever fails in it is told with its place.
set -Eeuo pipefail
# shellcheck source=tests/lab/lib/load.sh
. "$LAB_SOURCE/lib/load.sh"

at_end() {
    local code=$?
    set +e
    trap - ERR
    local pid
    for pid in $(jobs -p); do kill "$pid" 2>/dev/null; done
    [ "$code" = 0 ] || collect_state
    exit "$code"
}
trap 'echo "FAILED: ${BASH_SOURCE[0]##*/} line $LINENO: $BASH_COMMAND" >&2' ERR
trap at_end EXIT

# What somebody will want to know who reads why it failed.
collect_state() {
    local machine
    for machine in 1 2; do
        is_running "$machine" || continue
        on -t 30 "$machine" 'repadm status all --json; repadm overview all; lsblk; mount | tail -5; ps axo pid,stat,wchan:20,etime,args
            for log in /var/log/corosync.log /var/log/ctdb/log.ctdb /var/log/samba/log.smbd; do [ -e $log ] && { echo "== $log"; tail -50 $log; }; done' \
            >"$LOG_DIR/$(machine_name "$machine").state" 2>&1
    done
}

# shellcheck source=/dev/null
. "$LAB_SOURCE/scenarios/$1.sh"
