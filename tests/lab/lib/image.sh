# The image that both machines boot: Debian, with the packages that the scenarios need, its stock
# kernel, and an initramfs of our own (that of Debian takes many times as long without KVM).
# shellcheck shell=bash

SUITE=bookworm
ROOTFS=$IMAGE_DIR/rootfs

IMAGE_BASE="ca-certificates udev kmod procps iproute2 iputils-ping openssh-server netbase psmisc"
IMAGE_PACKAGES="python3-minimal strace lsof jq tcpdump
    nbd-client nbdkit libnbd-bin drbd-utils
    corosync dlm-controld gfs2-utils lvm2 lvm2-lockd
    samba samba-vfs-modules smbclient cifs-utils ctdb ethtool iptables
    nfs-kernel-server nfs-common libnfs-utils iputils-arping fio dbench xfsprogs e2fsprogs"
# What the initramfs loads to reach the root disk, the network and the directory of the host.
INITRAMFS_MODULES="virtio_pci virtio_blk ext4 virtio_net 9pnet_virtio 9p"

# A stage is done again when what it is made of has changed: its stamp holds a digest of that.
stage_is_done() {
    [ -e "$IMAGE_DIR/$1.stamp" ] && [ "$(cat "$IMAGE_DIR/$1.stamp")" = "$2" ]
}

stage_done() {
    echo "$2" >"$IMAGE_DIR/$1.stamp"
}

digest() {
    sha256sum | cut -c1-32
}

# The archive that this host's apt uses, so that a lab behind a mirror or cache of its own uses it
# too. $1 is what the release must be called: with "-security" or without.
host_archive() {
    local security=$1
    apt-get indextargets --format '$(REPO_URI) $(COMPONENT) $(ORIGIN) $(RELEASE) $(SUITE) $(LABEL)' \
        'Created-By: Packages' | awk -v security="$security" '
        $2 == "main" && $3 == "Debian" && (/[Ss]ecurity/ ? security : !security) { print $1; exit }'
}

make_sources_list() {
    local main security
    main=${LAB_MIRROR:-$(host_archive 0)}
    security=$(host_archive 1)
    [ -n "$main" ] || die "no Debian archive among the sources of this host's apt; name one: LAB_MIRROR=http://…"
    echo "deb $main $SUITE main"
    echo "deb $main $SUITE-updates main"
    [ -z "$security" ] || echo "deb $security $SUITE-security main"
}

# Runs a command in the root file system, with what packages expect to be mounted. The mounts are in
# a namespace of their own: nothing is left behind, whatever happens.
in_rootfs() {
    ROOTFS=$ROOTFS unshare --mount --propagation private bash -ec '
        mount -t proc proc "$ROOTFS/proc"
        mount -t sysfs sys "$ROOTFS/sys"
        mount --rbind /dev "$ROOTFS/dev"
        touch "$ROOTFS/etc/resolv.conf"
        mount --bind "$(readlink -f /etc/resolv.conf)" "$ROOTFS/etc/resolv.conf"
        export DEBIAN_FRONTEND=noninteractive LC_ALL=C
        exec chroot "$ROOTFS" "$@"' in_rootfs "$@"
}

build_base() {
    local log=$IMAGE_DIR/base.log sources
    say "image: debootstrap $SUITE"
    rm -rf "$ROOTFS" "$IMAGE_DIR"/*.stamp
    sources=$(make_sources_list)
    echo "$sources" >"$log"
    debootstrap --variant=minbase --include="${IMAGE_BASE// /,}" "$SUITE" "$ROOTFS" \
        "$(awk 'NR == 1 { print $2 }' <<<"$sources")" >>"$log" 2>&1 || { tail -20 "$log"; die "debootstrap has failed: $log"; }
    echo "$sources" >"$ROOTFS/etc/apt/sources.list"
    apt-config dump | grep -i 'Acquire::.*Proxy' >"$ROOTFS/etc/apt/apt.conf.d/50lab-proxy" || true
    # A lab needs no documentation, and no safety against a loss of power while it is built.
    printf '%s\n' force-unsafe-io path-exclude=/usr/share/{doc,man,locale,info}/'*' >"$ROOTFS/etc/dpkg/dpkg.cfg.d/lab"
    # Packages must not start their daemons on the host.
    printf '#!/bin/sh\nexit 101\n' >"$ROOTFS/usr/sbin/policy-rc.d"
    chmod +x "$ROOTFS/usr/sbin/policy-rc.d"
}

build_packages() {
    local log=$IMAGE_DIR/packages.log
    say "image: packages"
    # shellcheck disable=SC2086 # a list of words
    { in_rootfs apt-get -qq update &&
        in_rootfs apt-get -qq -y --no-install-recommends -o Dpkg::Use-Pty=0 install $IMAGE_PACKAGES &&
        in_rootfs sh -c 'cd /var/tmp && apt-get -qq -o APT::Sandbox::User=root download "$(
            apt-cache depends linux-image-amd64 | awk "/Depends:/ { print \$2; exit }")" && apt-get clean'
    } >"$log" 2>&1 || { tail -20 "$log"; die "packages could not be installed: $log"; }
    mv "$ROOTFS"/var/tmp/linux-image-*.deb "$IMAGE_DIR/kernel.deb"
    rm -rf "$ROOTFS"/var/lib/apt/lists/*
}

# The kernel is unpacked and not installed, so that no package makes an initramfs.
build_kernel() {
    local unpacked=$IMAGE_DIR/kernel version modules
    say "image: kernel"
    rm -rf "$unpacked"
    mkdir "$unpacked"
    dpkg -x "$IMAGE_DIR/kernel.deb" "$unpacked"
    version=$(ls "$unpacked/lib/modules")
    modules=$unpacked/lib/modules/$version
    # Drivers of what no virtual machine has would be half of the image.
    (cd "$modules/kernel" && rm -rf sound drivers/{gpu,media,infiniband,staging,usb,iio,hwmon,input,bluetooth,isdn,mtd} \
        drivers/net/{wireless,ethernet,can,usb,phy} net/{bluetooth,wireless,mac80211,can,nfc})
    # busybox's insmod takes no compressed modules.
    find "$modules" -name '*.ko.xz' -exec xz -d {} +
    rm -rf "$ROOTFS/usr/lib/modules"
    mkdir -p "$ROOTFS/usr/lib/modules"
    cp -a "$modules" "$ROOTFS/usr/lib/modules/"
    chroot "$ROOTFS" depmod "$version"
    cp "$unpacked/boot/vmlinuz-$version" "$IMAGE_DIR/vmlinuz"
    echo "$version" >"$IMAGE_DIR/kernel-version"
    rm -rf "$unpacked"
    build_initramfs "$version"
}

build_initramfs() {
    local version=$1 tree=$IMAGE_DIR/initramfs module file
    rm -rf "$tree"
    mkdir -p "$tree"/{bin,modules,proc,sys,dev,sysroot}
    cp "$(command -v busybox)" "$tree/bin/busybox"
    for module in $INITRAMFS_MODULES; do
        # builtin ones have no file
        chroot "$ROOTFS" modprobe -S "$version" --show-depends "$module" | awk '/^insmod/ { print $2 }'
    done | awk '!seen[$0]++' | while read -r file; do
        cp "$ROOTFS$file" "$tree/modules/"
        basename "$file" >>"$tree/modules/order"
    done
    cp "$LAB_SOURCE/guest/initramfs-init" "$tree/init"
    chmod +x "$tree/init"
    (cd "$tree" && find . | cpio -o -H newc --quiet | gzip -1) >"$IMAGE_DIR/initrd.gz"
    rm -rf "$tree"
}

# Our own files, and then the whole as a file system; without mounting anything.
build_root() {
    local megabytes
    say "image: root file system"
    rm -rf "$ROOTFS/lab"
    mkdir -p "$ROOTFS/lab" "$ROOTFS/host"
    cp "$LAB_SOURCE"/guest/* "$ROOTFS/lab/"
    cp "$(command -v busybox)" "$ROOTFS/lab/busybox"
    chmod +x "$ROOTFS"/lab/{init,rc,busybox,fence-peer,fio-job,nfs-package,*.py}
    cp "$ROOTFS/lab/inittab" "$ROOTFS/etc/inittab"
    [ -e "$IMAGE_DIR/key" ] || ssh-keygen -q -t ed25519 -N '' -C lab -f "$IMAGE_DIR/key"
    cp "$IMAGE_DIR/key.pub" "$ROOTFS/lab/authorized_keys"
    cp "$ROOTFS/lab/sshd.conf" "$ROOTFS/etc/ssh/sshd_config.d/lab.conf"
    sed -i 's/^root:[^:]*:/root::/' "$ROOTFS/etc/shadow"
    printf '%s\n' '127.0.0.1 localhost' '192.168.0.18 linux-nas01' '192.168.0.19 linux-nas02' >"$ROOTFS/etc/hosts"
    : >"$ROOTFS/etc/fstab"
    # twice what there is would be waste, a scenario's logs must fit
    megabytes=$(($(du -sm --apparent-size "$ROOTFS" | cut -f1) * 13 / 10 + 500))
    rm -f "$IMAGE_DIR"/root.img*
    mke2fs -q -t ext4 -L labroot -m 0 -O ^metadata_csum,^64bit -E lazy_itable_init=0,lazy_journal_init=0 \
        -d "$ROOTFS" "$IMAGE_DIR/root.img.new" "${megabytes}M"
    chmod 444 "$IMAGE_DIR/root.img.new"
    mv "$IMAGE_DIR/root.img.new" "$IMAGE_DIR/root.img"
}

build_image() {
    local begin base packages kernel root
    mkdir -p "$IMAGE_DIR"
    begin=$(now_ms)
    base=$(echo "$SUITE $IMAGE_BASE" | digest)
    packages=$(echo "$base $IMAGE_PACKAGES" | digest)
    kernel=$( (echo "$packages" "$INITRAMFS_MODULES"; cat "$LAB_SOURCE/guest/initramfs-init") | digest)
    root=$( (echo "$kernel"; cat "$LAB_SOURCE"/guest/*) | digest)
    if stage_is_done root "$root" && [ -e "$IMAGE_DIR/root.img" ]; then
        return
    fi
    if ! stage_is_done packages "$packages"; then
        if ! stage_is_done base "$base"; then
            build_base
            stage_done base "$base"
        fi
        rm -f "$IMAGE_DIR"/{kernel,root}.stamp
        build_packages
        stage_done packages "$packages"
    fi
    if ! stage_is_done kernel "$kernel"; then
        build_kernel
        stage_done kernel "$kernel"
    fi
    build_root
    stage_done root "$root"
    say "image: built in $(seconds $(($(now_ms) - begin))) s, kernel $(cat "$IMAGE_DIR/kernel-version"), $(du -sh "$IMAGE_DIR" | cut -f1)"
}
