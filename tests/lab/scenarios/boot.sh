# shellcheck shell=bash
# both machines come up, their kernels have what the others need, the link can be broken in all ways
# order: 1
# limit: 300

boot_new

step "kernel modules"
on_both 'modprobe -a nbd gfs2 dlm drbd sch_netem'
for machine in 1 2; do
    loaded=$(on "$machine" 'for m in nbd gfs2 dlm drbd; do [ -d /sys/module/$m ] && echo $m; done' | tr '\n' ' ')
    expect "modules on $machine" "nbd gfs2 dlm drbd " "$loaded"
    expect "partitions of vda on $machine" "vda1 134217728
vda2 134217728
vda3 $VDA3_BYTES" "$(on "$machine" "lsblk -rbno NAME,SIZE /dev/vda | tail -n +2")"
done

step "link"
can_ping() {
    on -t 20 1 "ping -q -c 2 -i 0.2 -W 1 192.168.0.19" >/dev/null
}
say "round trip: $(link_rtt_us 20) microseconds"
link_cut
expect_exit 1 can_ping
link_mend
eventually 10 "the link" can_ping
link_carrier down
expect "carrier of eth1" 0 "$(on 1 cat /sys/class/net/eth1/carrier)"
expect_exit 1 can_ping
link_carrier up
eventually 10 "the link" can_ping
link_slow delay 20ms
expect_at_least "round trip with 2 x 20 ms, in microseconds" 40000 "$(link_rtt_us 10)"
link_slow loss 30%
lost=$(on 1 "ping -q -c 60 -i 0.02 -W 1 192.168.0.19" | sed -n 's/.* \([0-9]*\)[.0-9]*% packet loss.*/\1/p')
expect_at_least "percent lost of pings with 30 % each way" 20 "$lost"
link_slow off

step "machines"
pause 2
expect_exit 1 can_ping
continue_machine 2
eventually 10 "a continued machine" can_ping
on 2 'echo gone >/srv/unwritten; echo kept >/srv/written; sync /srv/written'
power_cut 2
expect_exit 1 can_ping
boot 2
expect "what was synced before the power cut" kept "$(on 2 cat /srv/written)"
for machine in 1 2; do expect_quiet_kernel "$machine"; done
