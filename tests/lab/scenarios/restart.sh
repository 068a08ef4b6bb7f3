# shellcheck shell=bash
# repd killed, or replaced by another binary, ten times in turns on both nodes, under mounted GFS2
# order: 6
# limit: 1200

ROUNDS=${LAB_ROUNDS:-10}

boot_new
gfs2_pair
for machine in 1 2; do start_writer "$machine" "/opt/$machine" 3600; done

whole_again() {
    on 1 'test "$(repadm cstate r0) $(repadm role r0) $(repadm dstate r0)" = "Connected Primary/Primary UpToDate/UpToDate"' &&
        on 2 'test "$(repadm role r0)" = Primary/Primary'
}

for round in $(seq "$ROUNDS"); do
    machine=$(((round + 1) % 2 + 1))
    step "round $round of $ROUNDS, node $machine"
    begin=$(now_ms)
    # Twice on each node in turn: a crash, then an upgrade.
    if [ $(((round + 1) / 2 % 2)) = 1 ]; then
        signal_repd "$machine" KILL
        say "killed"
    else
        on "$machine" 'cp /usr/sbin/repd /usr/sbin/repd.new && mv /usr/sbin/repd.new /usr/sbin/repd'
        signal_repd "$machine" TERM
        say "ended, binary replaced"
    fi
    start_repd "$machine"
    eventually 90 "both connected, Primary and UpToDate" whole_again
    for each in 1 2; do writer_goes_on "$each" 90; done
    say "ok: both write again $(seconds $(($(now_ms) - begin))) s after the signal"
done

step "afterwards"
for machine in 1 2; do stop_writer "$machine"; done
check_written 2 /opt/1 1
check_written 1 /opt/2 2
on_both -t 120 'umount /opt'
for machine in 1 2; do
    expect "I/O errors in the kernel log of node $machine" "" \
        "$(grep -a 'I/O error' "$LOG_DIR/$(machine_name "$machine").dmesg" || true)"
    expect_quiet_kernel "$machine" "$KERNEL_TELLS_OF_RECONNECTION"
done
compare_r0_at_the_end
