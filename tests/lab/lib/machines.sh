# The two machines: boot, power cut, pause. A machine is named by its number, 1 or 2.
# shellcheck shell=bash

DISKS_DIR=$LAB_DIR/disks
# Disk vda: 128 MiB, 128 MiB, and vda3 for the replicated device.
DISK_MB=1400
VDA3_OFFSET=$(((2048 + 2 * 128 * 2048) * 512))
VDA3_BYTES=$((1024 * 1024 * 1024))

machine_name() {
    printf 'linux-nas%02d' "$1"
}

machine_pid() {
    cat "$SOCKETS_DIR/$1.pid" 2>/dev/null
}

is_running() {
    local pid
    pid=$(machine_pid "$1") && kill -0 "$pid" 2>/dev/null
}

# One command of QEMU's monitor.
qmp() {
    local machine=$1
    shift
    python3 "$LAB_SOURCE/lib/qmp.py" "$SOCKETS_DIR/$machine.qmp" "$@"
}

# New disks, as out of the box, for both machines.
new_disks() {
    local machine
    mkdir -p "$DISKS_DIR"
    for machine in 1 2; do
        rm -f "$DISKS_DIR/data$machine.raw" "$DISKS_DIR/root$machine.qcow2"
        python3 "$LAB_SOURCE/lib/disk.py" "$DISKS_DIR/data$machine.raw" "$DISK_MB"
        qemu-img create -q -f qcow2 -b "$IMAGE_DIR/root.img" -F raw "$DISKS_DIR/root$machine.qcow2"
    done
}

# Processor and accelerator. Emulated, a processor without the newest protections is a third faster;
# its one core gets maxcpus=2 so that QEMU keeps the barriers that two cores need: without, a
# network card was once seen to stop for good. It has no SSE 4.2: QEMU computes a CRC-32C by that bit
# by bit, at 200 MB/s, while a real processor's instruction is faster than any table. Without it repd
# uses a table, as the kernel's ext4 does, which costs what it costs anywhere.
machine_options() {
    if [ "$ACCEL" = kvm ]; then
        echo "-accel kvm -cpu $KVM_CPU -smp 2"
    else
        echo "-accel tcg,thread=multi,tb-size=512 -cpu qemu64,+ssse3,+sse4.1,+popcnt,+aes,+pclmulqdq,+rdrand -smp 1,maxcpus=2"
    fi
}

power_on() {
    local machine=$1 options
    read -ra options <<<"$(machine_options)"
    : >"$SOCKETS_DIR/$machine.console"
    rm -f "$SHARE_DIR/fence/dead-$machine"
    # The data disk comes first: it is vda. The link's card can lose its carrier: nic1.
    qemu-system-x86_64 -name "$(machine_name "$machine")" -machine q35 "${options[@]}" -m 1536 \
        -nodefaults -no-user-config -display none -no-reboot \
        -kernel "$IMAGE_DIR/vmlinuz" -initrd "$IMAGE_DIR/initrd.gz" \
        -append "console=ttyS0 quiet loglevel=4 mitigations=off nowatchdog net.ifnames=0 panic=5 no_timer_check tsc=reliable raid=noautodetect lab.node=$machine" \
        -drive "if=none,id=data,format=raw,file=$DISKS_DIR/data$machine.raw,cache=writeback,discard=unmap,aio=threads" \
        -device "virtio-blk-pci,drive=data,serial=data$machine" \
        -drive "if=none,id=root,format=qcow2,file=$DISKS_DIR/root$machine.qcow2,cache=unsafe" \
        -device "virtio-blk-pci,drive=root,serial=root$machine" \
        -netdev "tap,id=control,ifname=control$machine,script=no,downscript=no,vhost=off" \
        -device "virtio-net-pci,netdev=control,mac=52:54:00:00:01:0$machine,romfile=" \
        -netdev "tap,id=link,ifname=link$machine,script=no,downscript=no,vhost=off" \
        -device "virtio-net-pci,id=nic1,netdev=link,mac=52:54:00:00:02:0$machine,romfile=" \
        -fsdev "local,id=host,path=$SHARE_DIR,security_model=none" -device virtio-9p-pci,fsdev=host,mount_tag=lab \
        -device virtio-rng-pci -qmp "unix:$SOCKETS_DIR/$machine.qmp,server=on,wait=off" \
        -chardev "file,id=console,path=$SOCKETS_DIR/$machine.console,logfile=$LOG_DIR/$(machine_name "$machine").console,logappend=on" \
        -serial chardev:console -pidfile "$SOCKETS_DIR/$machine.pid" -daemonize
}

# Until a machine takes commands.
wait_ready() {
    local machine=$1 deadline=$(($(now_ms) + 120000))
    until grep -qa LAB-READY "$SOCKETS_DIR/$machine.console" && on -t 10 "$machine" true 2>/dev/null; do
        is_running "$machine" || die "$(machine_name "$machine") ended while it booted: $LOG_DIR/$(machine_name "$machine").console"
        [ "$(now_ms)" -lt "$deadline" ] || die "$(machine_name "$machine") is not up after 120 s"
        sleep 0.2
    done
}

boot() {
    local machine begin
    begin=$(now_ms)
    for machine in "$@"; do
        power_on "$machine"
    done
    for machine in "$@"; do
        wait_ready "$machine"
    done
    say "booted: $* in $(seconds $(($(now_ms) - begin))) s"
}

# What nearly every scenario begins with.
boot_new() {
    new_disks
    boot 1 2
}

# As if its plug were pulled: what only its memory had is gone.
power_cut() {
    local machine=$1 pid
    pid=$(machine_pid "$machine") || return 0
    close_connection "$machine"
    kill -KILL "$pid" 2>/dev/null || true
    while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
    rm -f "$SOCKETS_DIR/$machine.pid" "$SOCKETS_DIR/$machine.qmp"
}

# Stands still with all that it has, and goes on later; its clock then lags.
pause() {
    qmp "$1" stop >/dev/null
}

continue_machine() {
    qmp "$1" cont >/dev/null
}

# Has all that the machine's kernel has not yet written go to the disks, then ends it.
power_off_synced() {
    on -t 60 "$1" sync
    power_cut "$1"
}

# The replicated part of a machine's disk as it is on the host: bytes 0 to $2 of vda3.
digest_of_disk() {
    python3 "$LAB_SOURCE/lib/disk.py" --digest "$DISKS_DIR/data$1.raw" "$VDA3_OFFSET" "$2"
}
