# shellcheck shell=bash
# kernel attach: names, holders, a daemon that dies under a mount
# order: 3
# limit: 420

boot_new
install_repd
# Smaller than the disk, for a while.
sized() {
    on_both "sed -i '/size /d; s|^resource .*|&\n  disk { size $1; }|' /etc/repd.d/r0.res && repadm dump r0 >/dev/null"
}
sized 600M
start_repd 1 2
on_both 'repadm create-md r0 && repadm up r0 && repadm wait-connect --wfc-timeout=30 r0'
on 1 repadm new-current-uuid --clear-bitmap r0
eventually 20 "both UpToDate" r0_is 'UpToDate/UpToDate'

step "primary makes the device, by its names"
for machine in 1 2; do
    expect_match "what primary says" "r0/0 is /dev/drbd1" "$(on "$machine" repadm primary r0 2>&1)"
    on "$machine" test -b /dev/drbd1
    expect "by resource" "$(on "$machine" readlink -f /dev/drbd1)" \
        "$(on "$machine" readlink -f /dev/repd/by-res/r0/0)"
    expect_match "udev knows the name" "/dev/drbd1" \
        "$(on "$machine" 'udevadm info --query=symlink --root $(readlink -f /dev/drbd1)')"
    expect "its size" $((600 << 20)) "$(on "$machine" blockdev --getsize64 /dev/drbd1)"
    expect "its blocks" 4096 "$(on "$machine" blockdev --getss /dev/drbd1)"
done
on 1 repadm primary r0

step "whoever has it open is named"
on -t 60 1 'mkfs.ext4 -q /dev/drbd1 && mkdir -p /mnt/r0 && mount /dev/drbd1 /mnt/r0'
expect_match "a mount" "mounted on /mnt/r0" "$(on 1 'repadm secondary r0 2>&1; true')"
expect_exit 11 on 1 repadm down r0
on 2 'sleep 100 </dev/drbd1 >/dev/null 2>&1 &'
expect_match "a process" "process [0-9]+ .sleep." "$(on 2 'repadm secondary r0 2>&1; true')"
on 2 'pkill -x sleep'

step "a daemon that is killed, and one that is replaced, under a mount"
on -t 60 1 'echo one >/mnt/r0/one && sync'
for signal in KILL TERM; do
    signal_repd 1 "$signal"
    on -t 60 1 "(echo $signal >/mnt/r0/$signal; sync; echo done >/tmp/$signal) >/dev/null 2>&1 </dev/null &"
    sleep 1
    start_repd 1
    eventually 60 "writes go on after SIG$signal" on 1 test -e "/tmp/$signal"
done
expect "files" "KILL TERM lost+found one" "$(on 1 'ls /mnt/r0 | sort | tr "\n" " " | sed "s/ $//"')"

step "it grows under the mount, and where its daemon is away"
size_is() {
    [ "$(on "$1" blockdev --getsize64 /dev/drbd1)" = "$2" ]
}
eventually 60 "both UpToDate again" r0_is 'UpToDate/UpToDate'
sized 800M
on_both repadm adjust r0
on 1 repadm resize r0
for machine in 1 2; do eventually 20 "800 MiB on $machine" size_is "$machine" $((800 << 20)); done
on -t 60 1 'resize2fs /dev/drbd1 >/dev/null 2>&1'
[ "$(on 1 'df -m --output=size /mnt/r0 | tail -1')" -gt 700 ] || die "the file system has not grown"
sized 900M
on_both repadm adjust r0
on 1 repadm resize r0
signal_repd 2 KILL
start_repd 2
for machine in 1 2; do eventually 60 "900 MiB on $machine" size_is "$machine" $((900 << 20)); done
on -t 60 1 'umount /mnt/r0 && e2fsck -fn /dev/drbd1 >/dev/null 2>&1'

step "secondary takes it away"
on_both 'repadm secondary r0'
for machine in 1 2; do
    on "$machine" 'test ! -e /dev/drbd1 && test ! -e /dev/repd'
    expect "its connection" "" "$(on "$machine" 'cat /sys/block/nbd*/pid 2>/dev/null; true')"
done

step "what is not ours is left alone"
on 2 'echo "no device" >/dev/drbd1'
expect_match "said so" "left alone" "$(on 2 repadm primary r0 2>&1)"
on 2 'test -b /dev/repd/by-res/r0/0 && grep -q "no device" /dev/drbd1 && rm /dev/drbd1'
on 2 repadm secondary r0
on_both 'repadm down r0'
