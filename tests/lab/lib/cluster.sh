# The cluster below GFS2: corosync, dlm, and LVM's lock daemon.
# shellcheck shell=bash

# start_cluster [MACHINE]: without one on both, which wait for each other
start_cluster() {
    local command
    command='mkdir -p /etc/corosync /etc/dlm /var/log/corosync /var/lib/corosync
        cp /lab/corosync.conf /etc/corosync/
        cp /lab/dlm.conf /etc/dlm/
        cp /lab/lvmlocal.conf /etc/lvm/
        corosync
        until corosync-quorumtool -s 2>/dev/null | grep -q "^Quorate: *Yes"; do sleep 0.2; done
        modprobe -a dlm gfs2
        dlm_controld
        until dlm_tool status >/dev/null 2>&1; do sleep 0.2; done'
    if [ $# = 0 ]; then
        on_both -t 90 "$command"
    else
        on -t 90 "$1" "$command"
    fi
    say "cluster: $(on "${1:-1}" 'corosync-quorumtool -s | grep -E "^(Quorate|Total votes)" | tr -s " \n" " "')"
}

start_lvmlockd() {
    on_both 'lvmlockd -g dlm; until lvmlockctl -i >/dev/null 2>&1; do sleep 0.2; done'
}

# Both Primary with GFS2 mounted as /opt, as the how-to leaves it. start_r0's argument.
gfs2_pair() {
    start_r0 "$@"
    primary_r0 1 2
    start_cluster
    gfs2_on_both /dev/drbd1 /opt
}

# GFS2 on a device that both have, mounted on both.
gfs2_on_both() {
    local device=$1 where=$2
    on -t 120 1 "mkfs.gfs2 -q -O -K -p lock_dlm -j 2 -J 32 -t NASCluster:opt $device"
    mount_gfs2 "$device" "$where" 1
    mount_gfs2 "$device" "$where" 2
}

mount_gfs2() {
    on -t 60 "$3" "mkdir -p $2; mount -t gfs2 -o noatime $1 $2"
}
