# shellcheck shell=bash
# the same fio jobs on kernel DRBD and on repd in the same machines, in turns; resync times of both
# order: 10
# limit: 5400

REPEATS=${LAB_REPEATS:-3}
JOB_SECONDS=${LAB_JOB_SECONDS:-7}
JOBS="randwrite-4k-1 randwrite-4k-32 randread-4k-32 write-128k-8 read-1m-8"
RESULTS=$LOG_DIR/fio
RESYNCS=$LOG_DIR/resyncs

boot_new
install_repd
on_both 'modprobe drbd; mkdir -p /var/lib/linstor; cp /lab/r0.res /etc/drbd.d/r0.res'

measure() {
    local variant=$1 device=$2 job
    for job in $JOBS; do
        echo "$variant $job $(on -t $((JOB_SECONDS + 60)) 1 "/lab/fio-job $device $job $JOB_SECONDS")" | tee -a "$RESULTS"
    done
}

# Each variant: how /dev/vda3 gets to be served by it, both nodes Primary, and how it is let go.
drbd_up() {
    on_both 'drbdadm create-md --force r0 >/dev/null 2>&1; drbdadm up r0; drbdadm wait-connect r0'
    on 1 'drbdadm -- --clear-bitmap new-current-uuid r0'
    eventually 30 "DRBD UpToDate" drbd_is UpToDate/UpToDate
    # One after the other: DRBD refuses two at once.
    for machine in 1 2; do on "$machine" drbdadm primary r0; done
}

drbd_is() {
    [ "$(on 1 drbdadm dstate r0)" = "$1" ]
}

drbd_down() {
    on_both 'drbdadm down r0'
}

repd_up() {
    start_repd 1 2
    on_both 'repadm create-md --force r0 && repadm up r0 && repadm wait-connect --wfc-timeout=30 r0' >/dev/null
    on 1 repadm new-current-uuid --clear-bitmap r0
    eventually 30 "repd UpToDate" r0_is UpToDate/UpToDate
}

repd_down() {
    on_both 'repadm down r0'
    for machine in 1 2; do signal_repd "$machine" TERM; done
}

run_raw() {
    measure raw /dev/vda3
}

run_drbd() {
    drbd_up
    measure drbd /dev/drbd1
    drbd_down
}

run_repd() {
    repd_up
    primary_r0 1 2
    measure repd /dev/drbd1
    secondary_r0 1 2
    repd_down
}

# Two connections of the kernel's driver, made by its own client.
run_repd-2() {
    LAB_ATTACH=off repd_up
    on_both 'repadm primary r0 && nbd-client -C 2 -unix /run/repd/nbd.sock -N r0 -b 4096 /dev/nbd9' >/dev/null
    measure repd-2 /dev/nbd9
    on_both 'nbd-client -d /dev/nbd9 && repadm secondary r0'
    repd_down
}

# NBD without replication: what the driver alone costs.
run_nbdkit() {
    on 1 'nbdkit -U /run/nbdkit.sock -P /run/nbdkit.pid file /dev/vda3; until [ -e /run/nbdkit.pid ]; do sleep 0.1; done
        nbd-client -unix /run/nbdkit.sock -b 4096 /dev/nbd9' >/dev/null
    measure nbdkit /dev/nbd9
    on 1 'nbd-client -d /dev/nbd9; kill $(cat /run/nbdkit.pid); rm -f /run/nbdkit.sock'
}

for repeat in $(seq "$REPEATS"); do
    step "turn $repeat of $REPEATS; load of the host: $(cut -d' ' -f1-3 /proc/loadavg)"
    for variant in raw drbd repd repd-2 nbdkit; do "run_$variant"; done
done

scattered="fio --name=scattered --rw=randwrite --bs=4k --number_ios=16384 --iodepth=32 --direct=1 --ioengine=libaio --thread --output-format=terse"

# resync WHAT WAIT: how long until the copy of node 2 is whole again, as seen on node 2
resync() {
    local what=$1 order=$2 whole=$3
    echo "$what: $(on -t 900 2 "begin=\$(cut -d' ' -f1 /proc/uptime); $order
        until $whole; do sleep 0.1; done
        end=\$(cut -d' ' -f1 /proc/uptime); awk \"BEGIN { printf \\\"%.1f s\\\", \$end - \$begin }\"")" | tee -a "$RESYNCS"
}

step "resyncs"
for repeat in $(seq "$REPEATS"); do
    drbd_up
    on 2 'drbdadm secondary r0'
    whole='[ "$(drbdadm cstate r0) $(drbdadm dstate r0)" = "Connected UpToDate/UpToDate" ]'
    # Its controller is off: as fast as it can.
    on_both 'drbdsetup disk-options 1 --c-plan-ahead=0 --resync-rate=4000M'
    resync "DRBD, unlimited, all of 1 GiB" "drbdadm invalidate r0; sleep 0.5" "$whole"
    on 2 'drbdadm disconnect r0'
    on -t 120 1 "$scattered --filename=/dev/drbd1 >/dev/null"
    resync "DRBD, unlimited, 64 MiB scattered" "drbdadm connect r0; sleep 0.5" "$whole"
    drbd_down

    repd_up
    primary_r0 1
    whole='[ "$(repadm cstate r0) $(repadm dstate r0)" = "Connected UpToDate/UpToDate" ]'
    resync "repd, as it is, all of 1 GiB" "repadm invalidate r0; sleep 0.5" "$whole"
    on 2 'repadm disconnect r0'
    on -t 120 1 "$scattered --filename=/dev/drbd1 >/dev/null"
    resync "repd, as it is, 64 MiB scattered" "repadm connect r0; sleep 0.5" "$whole"
    secondary_r0 1
    repd_down
done

step "result, medians of $REPEATS"
code=0
python3 "$LAB_SOURCE/lib/compare_table.py" "$RESULTS" || code=$?
sort "$RESYNCS"
for machine in 1 2; do expect_quiet_kernel "$machine" "$KERNEL_TELLS_OF_RECONNECTION"; done
expect "repd reaches what is asked of it" 0 "$code"
