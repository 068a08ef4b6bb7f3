# shellcheck shell=bash
# Samba in CTDB on GFS2: a public address moves when its node dies, and a client goes on
# order: 8
# limit: 700

boot_new
start_r0 r0-fence.res
primary_r0 1 2
start_cluster
start_fencer
gfs2_on_both /dev/drbd1 /opt
on 1 'mkdir -p /opt/share /opt/.ctdb && chmod 777 /opt/share'

step "CTDB"
start_ctdb 1 2
eventually 120 "both nodes to be well" ctdb_is_well 1 2
on 1 'ctdb status; ctdb ip'
expect_match "the recovery lock is on the shared file system" '/opt/.ctdb/lock' "$(on 1 'ctdb getreclock')"
start_clustered_smbd 1 2

step "a third machine uses the share"
CLIENT_DIR=$(mktemp -d "$LAB_DIR/client.XXXXXX")
head -c 1000000 /dev/urandom >"$CLIENT_DIR/put"
for address in 192.168.0.201 192.168.0.202; do
    eventually 60 "the share at $address" smb "$address" "put /mnt/put $address.bin"
    say "ok: put at $address"
done
smb 192.168.0.201 "get 192.168.0.202.bin /mnt/got" >/dev/null
cmp "$CLIENT_DIR/put" "$CLIENT_DIR/got"
say "ok: what was put at one address is got at the other"

step "the node of an address dies"
victim=$(on 1 ctdb ip | awk '$1 == "192.168.0.202" { print $2 + 1 }')
survivor=$((3 - victim))
say "192.168.0.202 is at node $victim"
begin=$(now_ms)
power_cut "$victim"
eventually 180 "the share at 192.168.0.202 again" smb 192.168.0.202 "put /mnt/put after.bin"
say "ok: the address was served again after $(seconds $(($(now_ms) - begin))) s"
expect "where both addresses are" "192.168.0.201 $((survivor - 1))
192.168.0.202 $((survivor - 1))" "$(on "$survivor" ctdb ip | grep '^192' | sort)"
smb 192.168.0.202 "get 192.168.0.201.bin /mnt/got2" >/dev/null
cmp "$CLIENT_DIR/put" "$CLIENT_DIR/got2"
say "ok: an old file is what it was"
expect "the new one" "$(sha256sum <"$CLIENT_DIR/put")" "$(on "$survivor" 'sha256sum </opt/share/after.bin')"

step "and returns"
boot "$victim"
start_repd "$victim"
on "$victim" repadm up r0
on -t 120 "$victim" repadm wait-sync --wfc-timeout=100 r0
primary_r0 "$victim"
start_cluster "$victim"
mount_gfs2 /dev/drbd1 /opt "$victim"
# Its own copies of CTDB's databases may be half written; it gets them from the other node, as a node
# that was away does.
on "$victim" 'rm -rf /var/lib/ctdb/persistent'
start_ctdb "$victim"
eventually 120 "both nodes to be well" ctdb_is_well 1 2
start_clustered_smbd "$victim"
eventually 60 "the addresses to be spread again" addresses_on_both
smb 192.168.0.201 "get after.bin /mnt/got3" >/dev/null
smb 192.168.0.202 "get after.bin /mnt/got4" >/dev/null
cmp "$CLIENT_DIR/put" "$CLIENT_DIR/got3"
cmp "$CLIENT_DIR/put" "$CLIENT_DIR/got4"
say "ok: the same file by both addresses"
rm -rf "$CLIENT_DIR"

step "afterwards"
stop_ctdb
on_both -t 120 'umount /opt'
expect_exit 0 on -t 120 1 fsck.gfs2 -n /dev/drbd1
for machine in 1 2; do expect_quiet_kernel "$machine" "$KERNEL_TELLS_OF_RECONNECTION"; done
compare_r0_at_the_end
