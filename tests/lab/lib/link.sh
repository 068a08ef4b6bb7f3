# The network: it exists in a namespace of the lab's own. "control" joins the host with both machines
# for commands; "link" joins the machines, and it is the one that breaks.
# shellcheck shell=bash

make_networks() {
    local machine
    ip link set lo up
    ip link add br-control type bridge forward_delay 0 stp_state 0
    ip link add br-link type bridge forward_delay 0 stp_state 0
    for machine in 1 2; do
        ip tuntap add "control$machine" mode tap vnet_hdr
        ip link set "control$machine" master br-control up
        ip tuntap add "link$machine" mode tap vnet_hdr
        ip link set "link$machine" master br-link up
    done
    ip addr add 10.77.0.1/24 dev br-control
    # The host is a client there, too.
    ip addr add 192.168.0.1/24 dev br-link
    ip link set br-control up
    ip link set br-link up
}

# Both see at once that the cable is out.
link_carrier() {
    local machine state=false
    [ "$1" = down ] || state=true
    for machine in 1 2; do
        is_running "$machine" && qmp "$machine" set_link name=nic1 "up=$state" >/dev/null
    done
    say "link: carrier $1"
}

# Silence: what is sent is lost, and nobody is told. Outside of the machines.
link_cut() {
    ip link set link2 nomaster
    say "link: cut silently"
}

link_mend() {
    ip link set link2 master br-link
    say "link: mended"
}

# link_slow delay 5ms | loss 2% | rate 100mbit: on what each machine sends. link_slow off
link_slow() {
    if [ "$1" = off ]; then
        on_both "tc qdisc del dev eth1 root"
    else
        on_both "tc qdisc replace dev eth1 root netem limit 10000 $*"
    fi
    say "link: $*"
}

# Mean round trip in microseconds, of $1 pings.
link_rtt_us() {
    on 1 "ping -q -c $1 -i 0.05 192.168.0.19" | awk -F/ '/^rtt/ { print int($5 * 1000) }'
}
