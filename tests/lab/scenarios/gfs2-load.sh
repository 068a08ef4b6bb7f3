# shellcheck shell=bash
# writers of several kinds on GFS2 on both nodes for minutes; then everything is compared
# order: 7
# limit: 900

SECONDS_OF_LOAD=${LAB_LOAD_SECONDS:-120}

boot_new
gfs2_pair
on 1 'mkdir /opt/{1,2} && truncate -s 1M /opt/counters'

step "a lock that goes to and fro"
in_background 1 ping_pong1 'timeout -s INT 25 ping_pong -rw /opt/pong 3 | tr "\r" "\n"; true'
in_background 2 ping_pong2 'timeout -s INT 25 ping_pong -rw /opt/pong 3 | tr "\r" "\n"; true'
for machine in 1 2; do
    wait_background "$machine" "ping_pong$machine" 60
    # With two programs at it, each sees the byte go up by two while they are both there.
    expect_match "ping_pong on $machine sees the other's writes" 'data increment = 2' "$(tr '\r' '\n' <"$LOG_DIR/ping_pong$machine")"
done

step "all writers, $SECONDS_OF_LOAD s"
for machine in 1 2; do
    start_writer "$machine" "/opt/$machine/durable" "$SECONDS_OF_LOAD"
    in_background "$machine" "exerciser$machine" "python3 /lab/exerciser.py /opt/$machine/exerciser $SECONDS_OF_LOAD $machine"
    in_background "$machine" "counter$machine" "python3 /lab/counter.py /opt/counters $SECONDS_OF_LOAD"
    in_background "$machine" "dbench$machine" "mkdir /opt/$machine/dbench && dbench -D /opt/$machine/dbench -t $SECONDS_OF_LOAD 2"
done
sleep "$SECONDS_OF_LOAD"
for machine in 1 2; do
    for writer in writer exerciser counter dbench; do
        wait_background "$machine" "$writer$machine" 120
        say "$writer of node $machine: $(tail -1 "$LOG_DIR/$writer$machine")"
    done
done
expect "the common counter" $(($(tail -1 "$LOG_DIR/counter1") + $(tail -1 "$LOG_DIR/counter2"))) \
    "$(on 1 'python3 /lab/counter.py --read /opt/counters')"
check_written 2 /opt/1/durable 1
check_written 1 /opt/2/durable 2

step "afterwards"
on_both -t 120 'umount /opt'
for machine in 1 2; do
    expect_exit 0 on -t 120 "$machine" fsck.gfs2 -n /dev/drbd1
    expect_quiet_kernel "$machine"
done
compare_r0_at_the_end
