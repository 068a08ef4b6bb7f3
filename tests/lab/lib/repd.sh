# repd on the machines.
# shellcheck shell=bash

# install_repd [RESOURCE FILE]: of guest/
install_repd() {
    local resource=${1:-r0.res}
    on_both 'install -m 755 /host/bin/repd /host/bin/repadm /usr/sbin/
        mkdir -p /etc/repd.d /var/lib/repd
        cp /lab/repd.conf /etc/repd.conf
        cp /lab/'"$resource"' /etc/repd.d/r0.res
        for rules in /host/*.rules; do
            [ -e "$rules" ] || continue
            cp "$rules" /usr/lib/udev/rules.d/
            udevadm control --reload
        done'
}

# The daemon as its unit would run it.
start_repd() {
    local machine
    for machine in "$@"; do
        on "$machine" 'ulimit -n 65536; ulimit -l unlimited
            setsid /usr/sbin/repd --kernel-attach '"${LAB_ATTACH:-auto}"' >>/host/log/$(hostname).repd 2>&1 </dev/null &
            echo $! >/run/repd.pid
            for i in $(seq 100); do
                repadm status all >/dev/null 2>&1 && exit 0
                kill -0 $! || break
                sleep 0.1
            done
            echo "repd does not answer" >&2; tail -5 /host/log/$(hostname).repd >&2; exit 1'
    done
}

# signal_repd MACHINE SIGNAL: returns when it is gone
signal_repd() {
    on "$1" 'pid=$(cat /run/repd.pid); kill -'"$2"' $pid; while kill -0 $pid 2>/dev/null; do sleep 0.05; done'
}

# The kernel attach may not be there yet, or not be wanted: then the card's own client makes
# /dev/drbd1, by the same command that anybody would type.
has_attach() {
    [ "${LAB_NO_ATTACH:-0}" = 0 ]
}

primary_r0() {
    local machine
    for machine in "$@"; do
        on "$machine" repadm primary r0
        device_appears "$machine"
    done
}

# /dev/drbd1, by whatever makes it here.
device_appears() {
    if ! has_attach; then
        on "$1" 'echo "KERNEL==\"nbd0\", SYMLINK+=\"drbd1\"" >/etc/udev/rules.d/99-lab.rules
            udevadm control --reload
            nbd-client -unix /run/repd/nbd.sock -N r0 -b 4096 /dev/nbd0
            udevadm trigger --settle --action=change /dev/nbd0'
    fi
    eventually 20 "/dev/drbd1 of $(machine_name "$1")" on "$1" test -b /dev/drbd1
}

secondary_r0() {
    local machine
    for machine in "$@"; do
        has_attach || on "$machine" nbd-client -d /dev/nbd0
        on "$machine" repadm secondary r0
    done
}

# Metadata, up, first sync left out: for what is not about the first sync.
start_r0() {
    install_repd "${1:-r0.res}"
    start_repd 1 2
    on_both 'repadm create-md r0 && repadm up r0 && repadm wait-connect --wfc-timeout=30 r0'
    on 1 repadm new-current-uuid --clear-bitmap r0
    eventually 20 "both UpToDate" r0_is 'UpToDate/UpToDate'
}

r0_is() {
    [ "$(on 1 repadm dstate r0)" = "$1" ]
}

# How many bytes are replicated. repd says KiB.
r0_bytes() {
    on 1 "repadm status --json r0" | python3 -c '
import json, sys
print(json.load(sys.stdin)[0]["devices"][0]["size"] * 1024)'
}

# Nothing open on either node any more; then the copies must be the same.
compare_r0_at_the_end() {
    local bytes
    bytes=$(r0_bytes)
    on_both "repadm wait-sync --wfc-timeout=60 r0"
    secondary_r0 1 2
    on_both "repadm down r0; sync"
    power_off_synced 1
    power_off_synced 2
    expect_identical_disks "$bytes"
}
