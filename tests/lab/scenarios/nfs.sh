# shellcheck shell=bash
# device, volume group, mount, export and address as one package that runs on one node or the other
# order: 9
# limit: 600

boot_new
start_r0 r0-single.res
# The volume group is of one node at a time here; no lock daemon.
on_both 'sed "s/use_lvmlockd = 1/use_lvmlockd = 0/" /lab/lvmlocal.conf >/etc/lvm/lvmlocal.conf; mkdir -p /srv/nfs'

step "what the package is made of"
primary_r0 1
on -t 60 1 'pvcreate -q /dev/drbd1 && vgcreate -q nfs_vg /dev/drbd1 && lvcreate -q -n data -L 800M nfs_vg && mkfs.ext4 -q /dev/nfs_vg/data && vgchange -an nfs_vg'
secondary_r0 1

package() {
    local machine=$1 order=$2
    on -t 120 "$machine" "/lab/nfs-package $order"
}

step "the package on node 1"
package 1 start
on 1 'chmod 777 /srv/nfs'
CLIENT_DIR=$(mktemp -d "$LAB_DIR/client.XXXXXX")
head -c 30000000 /dev/urandom >"$CLIENT_DIR/first"
nfs_copy() {
    CLIENT_LIMIT=${CLIENT_LIMIT:-60} in_client nfs-cp "$1" "$2"
}
server="nfs://192.168.0.200/srv/nfs"
nfs_copy /mnt/first "$server/first"
expect "the client's file on the server" "$(sha256sum <"$CLIENT_DIR/first")" "$(on 1 'sha256sum </srv/nfs/first')"
expect_match "overview names the volume group" nfs_vg "$(on 1 repadm overview r0)"
expect_exit 11 on 1 repadm secondary r0

step "moved in order"
begin=$(now_ms)
package 1 stop
package 2 start
say "ok: moved in $(seconds $(($(now_ms) - begin))) s"
nfs_copy "$server/first" /mnt/back
cmp "$CLIENT_DIR/first" "$CLIENT_DIR/back"
say "ok: the client's file by the same address"

step "its node dies while a client writes"
# The client gives a server that is silent 10 s, then copies the file that was under way anew. (The
# client of this host, libnfs, never asks again by itself where its server has died with a request.)
FILES=30
for file in $(seq $FILES); do head -c 3000000 /dev/urandom >"$CLIENT_DIR/file$file"; done
copy_all() {
    local file try=0
    for file in $(seq $FILES); do
        # A new name each time: it creates only what is not there.
        until CLIENT_LIMIT=10 nfs_copy "/mnt/file$file" "$server/file$file.$try"; do
            try=$((try + 1))
            [ "$try" -lt 60 ] || return 1
            sleep 1
        done
        echo "$file $try" >>"$CLIENT_DIR/copied"
    done
    echo "copies that were begun anew: $try"
}
copy_all >"$LOG_DIR/nfs-client" 2>&1 &
client=$!
sleep 4
kill -0 "$client" || fail "the client was done before the node died"
begin=$(now_ms)
power_cut 2
eventually 60 "node 1 to take over" package 1 start
say "ok: taken over $(seconds $(($(now_ms) - begin))) s after the power cut"
wait "$client" || fail "the client has failed: $(tail -3 "$LOG_DIR/nfs-client")"
say "$(tail -1 "$LOG_DIR/nfs-client")"
expect "files that the client was told are there" "$FILES" "$(wc -l <"$CLIENT_DIR/copied")"
while read -r file try; do
    [ "$(sha256sum <"$CLIENT_DIR/file$file")" = "$(on 1 "sha256sum </srv/nfs/file$file.$try" </dev/null)" ] ||
        fail "file$file is not what the client wrote"
done <"$CLIENT_DIR/copied"
say "ok: all $FILES files of the client are intact"
nfs_copy "$server/first" /mnt/again
cmp "$CLIENT_DIR/first" "$CLIENT_DIR/again"
say "ok: the old file"
rm -rf "$CLIENT_DIR"

step "the other node is back as the standby"
boot 2
start_repd 2
on 2 repadm up r0
on -t 120 2 repadm wait-sync --wfc-timeout=100 r0
expect "roles" Primary/Secondary "$(on 1 repadm role r0)"
expect "LVM of the standby sees nothing" "" "$(on 2 'pvs --noheadings 2>/dev/null; true')"
package 1 stop
for machine in 1 2; do expect_quiet_kernel "$machine"; done
bytes=$(r0_bytes)
on_both 'repadm down r0'
power_off_synced 1
power_off_synced 2
expect_identical_disks "$bytes"
