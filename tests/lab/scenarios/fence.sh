# shellcheck shell=bash
# the link is cut under GFS2 on both; one node has the other's power cut, goes on, and gets it back
# order: 5
# limit: 600

boot_new
gfs2_pair r0-fence.res
start_fencer
for machine in 1 2; do
    start_writer "$machine" "/opt/$machine" 3600
    writer_goes_on "$machine" 30
done
sleep 10

step "the link is cut"
begin=$(now_ms)
link_cut
one_is_dead() {
    ! { is_running 1 && is_running 2; }
}
eventually 90 "one of the two to be shot" one_is_dead
sleep 2
survivor=1
is_running 1 || survivor=2
dead=$((3 - survivor))
is_running "$survivor" || fail "both were shot"
say "ok: node $dead was shot $(seconds $(($(now_ms) - begin))) s after the cut"
writer_goes_on "$survivor" 120
say "ok: node $survivor goes on $(seconds $(($(now_ms) - begin))) s after the cut"
expect "peer's disk is known to be older" "UpToDate/Outdated" "$(on "$survivor" repadm dstate r0)"
sleep 10

step "the other comes back"
link_mend
boot "$dead"
start_repd "$dead"
on "$dead" repadm up r0
on -t 120 "$dead" repadm wait-sync --wfc-timeout=100 r0
primary_r0 "$dead"
expect "roles" Primary/Primary "$(on 1 repadm role r0)"
start_cluster "$dead"
mount_gfs2 /dev/drbd1 /opt "$dead"
writer_goes_on "$survivor" 60
stop_writer "$survivor"
for writer in 1 2; do
    check_written "$dead" "/opt/$writer" "$writer"
done

step "afterwards"
on_both -t 120 'umount /opt'
expect_exit 0 on -t 120 1 fsck.gfs2 -n /dev/drbd1
# A connection that stands still is given up by the nbd driver and made anew; that is no error.
for machine in 1 2; do expect_quiet_kernel "$machine" "$KERNEL_TELLS_OF_RECONNECTION"; done
compare_r0_at_the_end
