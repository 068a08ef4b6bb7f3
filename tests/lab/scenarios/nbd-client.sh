# shellcheck shell=bash
# the card's own client by hand: ext4 on one node, then GFS2 on both at once
# order: 2
# limit: 420

boot_new
install_repd
LAB_ATTACH=off start_repd 1 2

step "a device, by nothing but repadm and nbd-client"
on_both 'repadm create-md r0 && repadm up r0 && repadm wait-connect --wfc-timeout=30 r0'
on 1 repadm -- --overwrite-data-of-peer primary all
on 1 repadm overview
on -t 120 2 repadm wait-sync --wfc-timeout=100 r0
on 2 repadm primary r0
expect "roles" Primary/Primary "$(on 1 repadm role r0)"
on_both 'nbd-client -unix /run/repd/nbd.sock -N r0 -b 4096 /dev/nbd0'
bytes=$(r0_bytes)
for machine in 1 2; do
    expect "size of /dev/nbd0" "$bytes" "$(on "$machine" blockdev --getsize64 /dev/nbd0)"
    expect "its blocks" 4096 "$(on "$machine" blockdev --getss /dev/nbd0)"
done

step "a file system on one node, under load"
on -t 60 1 'mkfs.ext4 -q /dev/nbd0 && mkdir -p /mnt/r0 && mount /dev/nbd0 /mnt/r0'
on -t 90 1 'fio --name=load --directory=/mnt/r0 --rw=randrw --bsrange=4k-64k --size=128M --runtime=20 --time_based \
    --ioengine=libaio --iodepth=8 --verify=crc32c --verify_fatal=1 --end_fsync=1 --output-format=terse >/dev/null'
expect_match "overview names the client" "nbd-client" "$(on 1 repadm overview r0)"
expect_exit 11 on 1 repadm secondary r0
expect_exit 11 on 1 repadm down r0
on -t 60 1 'umount /mnt/r0 && nbd-client -d /dev/nbd0'
expect_match "fsck on the other node" "clean|[0-9]+/[0-9]+ files" "$(on -t 60 2 e2fsck -fn /dev/nbd0)"

step "GFS2 on both at once"
on 1 'nbd-client -unix /run/repd/nbd.sock -N r0 -b 4096 /dev/nbd0'
start_cluster
gfs2_on_both /dev/nbd0 /opt
on 2 'echo "made on node 2" >/opt/hello'
expect "on node 1" "made on node 2" "$(on 1 cat /opt/hello)"
on 1 'mkdir /opt/from1' && on 2 'mkdir /opt/from2'
# shellcheck disable=SC2016
on_both -t 120 'me=/opt/from$(hostname | tail -c 2)
    for i in $(seq 20); do head -c 500000 /dev/urandom >$me/$i; done
    cd $me && sha256sum * >/tmp/sums && sync'
for machine in 1 2; do
    other=$((3 - machine))
    on "$machine" cat /tmp/sums | on -t 60 "$other" "cd /opt/from$machine && sha256sum --quiet -c -"
    say "ok: node $other reads what node $machine wrote"
done

step "clean detach"
on_both -t 60 'umount /opt && nbd-client -d /dev/nbd0 && repadm secondary r0'
expect "roles" Secondary/Secondary "$(on 1 repadm role r0)"
on_both 'repadm down r0'
for machine in 1 2; do
    signal_repd "$machine" TERM
    expect_quiet_kernel "$machine"
done
power_off_synced 1
power_off_synced 2
expect_identical_disks "$bytes"
