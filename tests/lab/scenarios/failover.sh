# shellcheck shell=bash
# one Primary, its power is cut under load; the other takes over, and the first comes back as Secondary
# order: 4
# limit: 700

boot_new
start_r0 r0-single.res
bytes=$(r0_bytes)

step "a file system under load on node 1"
primary_r0 1
on -t 60 1 "mkfs.${LAB_FS:-ext4} -q /dev/drbd1 && mkdir -p /srv/r0 && mount /dev/drbd1 /srv/r0"
on 2 mkdir -p /srv/r0
expect_exit 11 on 2 repadm primary r0
start_writer 1 /srv/r0/files 300
in_background 1 fio 'fio --name=load --directory=/srv/r0 --rw=randwrite --bs=4k --size=64M --time_based --runtime=300 --ioengine=libaio --iodepth=8 --direct=1'
writer_goes_on 1 30
sleep 15

step "power cut"
power_cut 1
begin=$(now_ms)
eventually 40 "node 2 to become Primary" on -t 30 2 repadm primary r0
device_appears 2
on -t 60 2 'mount /dev/drbd1 /srv/r0'
say "served again after $(seconds $(($(now_ms) - begin))) s"
expect_match "the journal was replayed" 'recovery complete|Ending recovery|Ending clean mount' \
    "$(grep -a 'EXT4\|XFS' "$LOG_DIR/linux-nas02.dmesg")"
check_written 2 /srv/r0/files 1
start_writer 2 /srv/r0/files2 12
wait_background 2 writer2 60

step "the first comes back"
boot 1
start_repd 1
on 1 repadm up r0
begin=$(now_ms)
on -t 320 1 repadm wait-sync --wfc-timeout=300 r0
say "ok: UpToDate again after $(seconds $(($(now_ms) - begin))) s"
expect "roles" Secondary/Primary "$(on 1 repadm role r0)"
expect "disks" UpToDate/UpToDate "$(on 1 repadm dstate r0)"
sent=$(on 2 repadm status --json r0 | python3 -c '
import json, sys
print(json.load(sys.stdin)[0]["connections"][0]["peer_devices"][0]["resync-sent"])')
# What the activity log had hot, 67 extents of 4 MiB, and what node 2 has written meanwhile.
expect_at_most "KiB that were resynced" $((67 * 4096 + 64 * 1024)) "$sent"

step "and takes it back in order"
on -t 60 2 'umount /srv/r0'
secondary_r0 2
primary_r0 1
on -t 60 1 'mount /dev/drbd1 /srv/r0'
check_written 1 /srv/r0/files 1
check_written 1 /srv/r0/files2 2
on -t 60 1 'umount /srv/r0'
for machine in 1 2; do expect_quiet_kernel "$machine"; done
has_attach || on 1 nbd-client -d /dev/nbd0
on 1 repadm secondary r0
on_both "repadm down r0"
power_off_synced 1
power_off_synced 2
expect_identical_disks "$bytes"
