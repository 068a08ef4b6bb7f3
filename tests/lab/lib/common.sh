# Where things are, and how the lab talks. Sourced first, by everything.
# shellcheck shell=bash

REPO=$(cd "$LAB_SOURCE/../.." && pwd)
# Everything that the lab makes is below this directory: the image, disks, logs.
LAB_DIR=${LAB_DIR:-$REPO/target/lab}
mkdir -p "$LAB_DIR"
LAB_DIR=$(cd "$LAB_DIR" && pwd)
REPD_BIN_DIR=${REPD_BIN_DIR:-$REPO/target/release}
IMAGE_DIR=$LAB_DIR/image

# Administration programs are not on every user's path.
export PATH="$PATH:/usr/sbin:/sbin"
export LC_ALL=C.UTF-8

say() {
    printf '%(%H:%M:%S)T %s\n' -1 "$*"
}

die() {
    echo "lab: $*" >&2
    exit 1
}

# Milliseconds of a clock that only this machine's own time of day moves.
now_ms() {
    local us=${EPOCHREALTIME//[.,]/}
    echo $((us / 1000))
}

# 1234 -> 1.2
seconds() {
    echo "$(($1 / 1000)).$(($1 % 1000 / 100))"
}
