# What the host must have.
# shellcheck shell=bash

HOST_PROGRAMS=(
    debootstrap:debootstrap
    qemu-system-x86_64:qemu-system-x86
    qemu-img:qemu-utils
    busybox:busybox-static
    mke2fs:e2fsprogs
    cpio:cpio
    gzip:gzip
    xz:xz-utils
    ssh:openssh-client
    ip:iproute2
    unshare:util-linux
    python3:python3
)

missing_packages() {
    local entry
    for entry in "${HOST_PROGRAMS[@]}"; do
        command -v "${entry%%:*}" >/dev/null || echo "${entry##*:}"
    done | sort -u
}

# check_host INSTALL
check_host() {
    local packages
    [ "$(id -u)" = 0 ] || die "root is needed: for network namespaces, taps, and to make a root file system"
    mapfile -t packages < <(missing_packages)
    # Twice: a package may drive out another, if that one came from a newer release.
    for _ in 1 2; do
        [ "${#packages[@]}" -gt 0 ] && [ "$1" = 1 ] || break
        apt-get -q update
        DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install "${packages[@]}"
        mapfile -t packages < <(missing_packages)
    done
    [ "${#packages[@]}" = 0 ] || die "packages are missing on this host (or run with --install):
    apt-get update && apt-get install --no-install-recommends ${packages[*]}"
    [ -c /dev/net/tun ] || die "no /dev/net/tun: this kernel has no taps, or this is a container without them"
}

scenario_names() {
    local file
    # The order is theirs: what the others rest on comes first.
    for file in "$LAB_SOURCE"/scenarios/*.sh; do
        printf '%s %s\n' "$(sed -n 's/^# order: //p' "$file")" "$(basename "$file" .sh)"
    done | sort -n | cut -d' ' -f2
}

list_scenarios() {
    local name
    for name in $(scenario_names); do
        printf '%-14s %s\n' "$name" "$(sed -n '2s/^# //p' "$LAB_SOURCE/scenarios/$name.sh")"
    done
}

# Whether KVM runs a kernel, not only whether its device is there: in some clouds it does not, and to
# find out takes seconds. So it is remembered until this host boots anew. Sets ACCEL, and KVM_CPU.
choose_accelerator() {
    local cpu memory=$LAB_DIR/accelerator boot
    boot=$(cat /proc/sys/kernel/random/boot_id)
    if [ ! -w /dev/kvm ] || [ "${LAB_ACCEL:-}" = tcg ]; then
        ACCEL=tcg KVM_CPU=
    elif grep -qs "^$boot " "$memory"; then
        read -r boot ACCEL KVM_CPU <"$memory"
    else
        ACCEL=tcg KVM_CPU=
        for cpu in host qemu64; do
            if kvm_boots "$cpu"; then
                ACCEL=kvm KVM_CPU=$cpu
                break
            fi
        done
        echo "$boot $ACCEL $KVM_CPU" >"$memory"
    fi
    if [ "$ACCEL" = kvm ]; then
        say "machines: by KVM, processor $KVM_CPU"
    else
        say "machines: emulated in software; no KVM here, or none that works"
    fi
    export ACCEL KVM_CPU
}

kvm_boots() {
    timeout 10 qemu-system-x86_64 -machine q35 -accel kvm -cpu "$1" -m 256 -nodefaults -no-user-config \
        -display none -no-reboot -kernel "$IMAGE_DIR/vmlinuz" -initrd "$IMAGE_DIR/initrd.gz" \
        -append "console=ttyS0 quiet panic=1 lab.probe" -serial stdio </dev/null 2>/dev/null |
        grep -qa LAB-PROBE-OK
}
