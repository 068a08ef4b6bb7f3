# Samba, by itself or in CTDB, and a client of it.
# shellcheck shell=bash

# in_client COMMAND...: a third machine, which only uses what the other two offer: the programs of
# the image, on the host's own address of the link. CLIENT_DIR is its /mnt.
in_client() {
    CLIENT_DIR=$CLIENT_DIR timeout --foreground -k 5 "${CLIENT_LIMIT:-30}" unshare --mount --propagation private bash -ec '
        mount --bind /dev "$0/dev"
        mount -t tmpfs none "$0/tmp"
        mount -t tmpfs none "$0/run"
        mount --bind "$CLIENT_DIR" "$0/mnt"
        exec chroot "$0" "$@"' "$ROOTFS" "$@"
}

# smb ADDRESS COMMANDS: a client that connects anew
smb() {
    in_client smbclient -N -t 15 -p 445 "//$1/opt" -c "$2"
}

start_ctdb() {
    local machine
    for machine in "$@"; do
        # Addresses are CTDB's work; smbd is started by hand, as there is no init system here.
        on "$machine" 'mkdir -p /etc/ctdb /var/log/ctdb /run/ctdb /var/lib/ctdb/{volatile,persistent,state}
            cp /lab/ctdb.conf /etc/ctdb/ctdb.conf
            printf "192.168.0.18\n192.168.0.19\n" >/etc/ctdb/nodes
            printf "192.168.0.201/24 eth1\n192.168.0.202/24 eth1\n" >/etc/ctdb/public_addresses
            for script in 00.ctdb 01.reclock 10.interface; do ctdb event script enable legacy $script; done
            ctdbd'
    done
}

ctdb_is_well() {
    local machine
    for machine in "$@"; do
        [ "$(on "$machine" ctdb -X status | grep -c '^|[01]|192[^|]*|0|0|0|0|0|0|')" = 2 ] || return 1
    done
}

addresses_on_both() {
    [ "$(on 1 ctdb ip | awk '/^192/ { print $2 }' | sort -u | wc -l)" = 2 ]
}

start_clustered_smbd() {
    local machine
    for machine in "$@"; do
        on "$machine" 'mkdir -p /var/log/samba /var/lib/samba/private /run/samba
            cp /lab/smb.conf /etc/samba/smb.conf
            cp /lab/smb-cluster.conf /etc/samba/cluster.conf
            smbd -D; until ss -ltn | grep -q ":445 "; do sleep 0.2; done'
    done
}

stop_ctdb() {
    on_both -t 90 'kill $(pidof smbd); while pidof smbd >/dev/null; do sleep 0.2; done
        ctdb shutdown; while pidof ctdbd >/dev/null; do sleep 0.2; done'
}
