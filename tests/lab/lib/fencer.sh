# The power switch that a machine can throw for the other one: a request is a file in /host/fence.
# shellcheck shell=bash

# One request after the other: who was first wins, and what the dead had asked for is void.
start_fencer() {
    local requests=$SHARE_DIR/fence machine
    while sleep 0.1; do
        for machine in 1 2; do
            [ -e "$requests/kill-$machine" ] || continue
            say "fencer: power of $machine off, asked by $(cat "$requests/kill-$machine")"
            power_cut "$machine"
            rm -f "$requests"/kill-*
            touch "$requests/dead-$machine"
        done
    done &
}
