# shellcheck shell=bash
# the how-to of 2010, line by line: LVM and GFS2 on /dev/drbd1, both nodes Primary, Samba on both
# order: 3
# limit: 480

boot_new
install_repd
start_repd 1 2

step "repadm in drbdadm's place"
on_both repadm create-md r0
service_start() {
    on_both -t 90 repadm service start
}
# The disks are new: nobody may become Primary before one of them was told that its data count.
expect_exit 17 service_start
expect "state" "Inconsistent/Inconsistent" "$(on 1 repadm dstate r0)"
on 1 repadm -- --overwrite-data-of-peer primary all
overview=$(on 1 repadm overview)
echo "$overview"
expect_match "overview shows the sync" 'r0/0 +SyncSource Primary/Secondary UpToDate/Inconsistent' "$overview"
on 2 repadm primary r0
on -t 120 2 repadm wait-sync --wfc-timeout=100 r0
expect "overview" " 1:r0/0  Connected Primary/Primary UpToDate/UpToDate C r-----" "$(on 1 repadm overview | grep -o '.*C r-----')"
bytes=$(r0_bytes)
for machine in 1 2; do
    device_appears "$machine"
    expect "size of /dev/drbd1 on $machine" "$bytes" "$(on "$machine" blockdev --getsize64 /dev/drbd1)"
done

step "the cluster: corosync, dlm, lvmlockd"
start_cluster
start_lvmlockd

step "LVM"
on -t 60 1 'pvcreate /dev/drbd1'
on -t 60 1 'vgcreate --shared drbd_vg /dev/drbd1'
on -t 60 2 'vgchange --lock-start drbd_vg'
on -t 60 1 'lvcreate -q -an -n drbd_lv -L 900M drbd_vg'
on_both -t 60 'vgscan; lvscan; lvchange -asy drbd_vg/drbd_lv'
expect_match "lvscan on node 2" "ACTIVE.*/dev/drbd_vg/drbd_lv" "$(on -t 60 2 lvscan)"
for machine in 1 2; do
    found=$(on -t 60 "$machine" pvs --noheadings -o pv_name,vg_name | xargs)
    expect_match "the physical volume on node $machine is the replicated device" '^/dev/(drbd1|nbd[0-9]+) drbd_vg$' "$found"
done
expect_match "overview names the volume group" drbd_vg "$(on 1 repadm overview r0)"

step "GFS2 on both"
on -t 120 1 'mkfs.gfs2 -q -O -p lock_dlm -j 2 -J 32 -t NASCluster:opt /dev/drbd_vg/drbd_lv'
for machine in 1 2; do
    mount_gfs2 /dev/drbd_vg/drbd_lv /opt "$machine"
done
on 2 'echo "made on node 2" >/opt/hello'
expect "the file of node 2 on node 1" "made on node 2" "$(on 1 cat /opt/hello)"

step "Samba on both"
on 1 'mkdir -p /opt/share && chmod 777 /opt/share'
on_both -t 60 'cp /lab/smb.conf /etc/samba/smb.conf; : >/etc/samba/cluster.conf
    smbd -D; until ss -ltn | grep -q ":445 "; do sleep 0.2; done'
on 1 'head -c 2000000 /dev/urandom >/tmp/put && smbclient -N //192.168.0.18/opt -c "put /tmp/put up.bin"'
on 2 'smbclient -N //192.168.0.19/opt -c "get up.bin /tmp/got"'
expect "what was put on one and got on the other" "$(on 1 'sha256sum </tmp/put')" "$(on 2 'sha256sum </tmp/got')"

step "in use, and it is said by whom"
expect_exit 11 on 1 repadm secondary r0
expect_exit 11 on 2 repadm down r0

step "down again, in order"
# shellcheck disable=SC2016
on_both -t 90 'kill $(pidof smbd); while pidof smbd >/dev/null; do sleep 0.2; done; umount /opt && lvchange -an drbd_vg/drbd_lv && vgchange --lock-stop drbd_vg'
compare_r0_at_the_end
