#!/usr/bin/env bash
# The part of a run that is in namespaces of its own: networks, then one scenario after the other,
# each with new machines, then the table.
set -euo pipefail
# shellcheck source=tests/lab/lib/load.sh
. "$LAB_SOURCE/lib/load.sh"

table=()
failures=0

trap 'exit 130' INT TERM HUP
trap stop_machines EXIT

stop_machines() {
    local machine
    for machine in 1 2; do
        power_cut "$machine"
    done
}

hold() {
    local unshare
    unshare=$(cat "$SOCKETS_DIR/unshare-pid")
    echo "the machines are held. From another terminal:"
    echo "    nsenter -t \$(cat /proc/$unshare/task/$unshare/children) -n -p -m ssh -i $IMAGE_DIR/key -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null root@10.77.0.11    # or .12"
    if [ -t 0 ]; then
        read -rp "Enter ends them. "
    else
        echo "rm $SOCKETS_DIR/hold ends them."
        touch "$SOCKETS_DIR/hold"
        while [ -e "$SOCKETS_DIR/hold" ]; do sleep 1; done
    fi
}

run_scenario() {
    local name=$1 begin code=0 limit result=ok
    export SCENARIO=$name LOG_DIR=$RESULTS_DIR/$name SHARE_DIR=$LAB_DIR/share
    limit=$(sed -n 's/^# limit: //p' "$LAB_SOURCE/scenarios/$name.sh")
    fill_share
    begin=$(now_ms)
    say "=== $name"
    timeout -k 10 "${limit:-600}" bash "$LAB_SOURCE/lib/scenario.sh" "$name" </dev/null \
        > >(tee "$LOG_DIR/output") 2>&1 || code=$?
    case $code in
        0) ;;
        124 | 137) result="FAILED (not done after ${limit:-600} s)" ;;
        *) result=FAILED ;;
    esac
    [ "$result" = ok ] || failures=$((failures + 1))
    table+=("$(printf '%-14s %-8s %7s s' "$name" "$result" "$(seconds $(($(now_ms) - begin)))")")
    say "=== $name: $result"
    [ "$LAB_HOLD" = 0 ] || hold
    stop_machines
    ip link set link2 master br-link
}

# What the machines see as /host. Logs are written there directly, so that they outlive a power cut.
fill_share() {
    mkdir -p "$LOG_DIR"
    rm -rf "$SHARE_DIR" "$LAB_DIR"/client.*
    mkdir -p "$SHARE_DIR"/{bin,log,fence}
    cp "$REPD_BIN_DIR"/{repd,repadm} "$SHARE_DIR/bin/"
    find "$REPO/dist" -name "*.rules" -exec cp {} "$SHARE_DIR/" \;
    mount --bind "$LOG_DIR" "$SHARE_DIR/log"
}

make_networks
choose_accelerator
for name in "$@"; do
    run_scenario "$name"
    umount "$SHARE_DIR/log"
done

echo
printf '%-14s %-8s %9s\n' scenario result time
printf '%s\n' "${table[@]}" | tee "$RESULTS_DIR/table"
[ "$failures" = 0 ]
