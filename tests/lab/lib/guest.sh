# Commands on the machines, by ssh. Every one has a limit on this side: a process of a guest that
# waits for a disk cannot be ended from inside.
# shellcheck shell=bash

# on [-t SECONDS] MACHINE COMMAND...: its output and exit code; 124 when the time is over.
on() {
    local limit=60 machine
    if [ "$1" = -t ]; then
        limit=$2
        shift 2
    fi
    machine=$1
    shift
    # Foreground: in a process group of its own it would outlive an interrupt. ssh must be timeout's own
    # child then, for its children's children are not ended.
    timeout --foreground -k 5 "$limit" \
        ssh -q -i "$IMAGE_DIR/key" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
        -o ControlMaster=auto -o ControlPersist=yes -o ControlPath="$SOCKETS_DIR/$machine.ssh" \
        -o ConnectTimeout=5 -o ServerAliveInterval=15 -o ServerAliveCountMax=8 \
        "root@10.77.0.$((10 + machine))" "$@"
}

# on_both [-t SECONDS] COMMAND...: on both at the same time; fails if it failed on either.
on_both() {
    local options=() one other failed=0
    if [ "$1" = -t ]; then
        options=(-t "$2")
        shift 2
    fi
    on "${options[@]}" 1 "$@" </dev/null &
    one=$!
    on "${options[@]}" 2 "$@" </dev/null &
    other=$!
    wait "$one" || failed=$?
    wait "$other" || failed=$?
    return "$failed"
}

# A machine that is gone leaves a connection that would be waited for.
close_connection() {
    local pid
    pid=$(ssh -O check -o ControlPath="$SOCKETS_DIR/$1.ssh" x 2>&1 | sed -n 's/.*pid=\([0-9]*\).*/\1/p') || true
    [ -z "$pid" ] || kill "$pid" 2>/dev/null || true
    rm -f "$SOCKETS_DIR/$1.ssh"
}

# in_background MACHINE NAME COMMAND: goes on in the guest after this returns; its output is in
# /host/log/NAME, its exit code in /tmp/NAME.exit when it has ended.
in_background() {
    local machine=$1 name=$2
    shift 2
    on "$machine" "rm -f /tmp/$name.exit
        setsid bash -c 'bash -c \"\$1\"; echo \$? >/tmp/$name.exit' x $(printf %q "$*") \
            >/host/log/$name 2>&1 </dev/null & echo \$! >/tmp/$name.pid"
}

# wait_background MACHINE NAME SECONDS: its exit code becomes this one's.
wait_background() {
    local machine=$1 name=$2 code
    eventually "$3" "$name on $machine to end" on "$machine" "test -e /tmp/$name.exit"
    code=$(on "$machine" "cat /tmp/$name.exit")
    [ "$code" = 0 ] || { tail -5 "$LOG_DIR/$name" >&2; }
    return "$code"
}
