# Assertions. One that fails says what was expected and what was found, and ends the scenario.
# shellcheck shell=bash

step() {
    echo
    say "--- $*"
}

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# expect WHAT EXPECTED FOUND
expect() {
    [ "$2" = "$3" ] || fail "$1
  expected: $2
  found:    $3"
    say "ok: $1: $3"
}

# expect_match WHAT PATTERN FOUND: an extended regular expression
expect_match() {
    grep -Eq -- "$2" <<<"$3" || fail "$1
  expected: something that matches $2
  found:    $3"
    say "ok: $1"
}

# expect_at_most WHAT LIMIT FOUND, whole numbers
expect_at_most() {
    [ "$3" -le "$2" ] || fail "$1
  expected: at most $2
  found:    $3"
    say "ok: $1: $3 (at most $2)"
}

expect_at_least() {
    [ "$3" -ge "$2" ] || fail "$1
  expected: at least $2
  found:    $3"
    say "ok: $1: $3 (at least $2)"
}

# expect_exit CODE COMMAND...: what it prints is shown
expect_exit() {
    local expected=$1 code=0 output
    shift
    output=$("$@" 2>&1) || code=$?
    [ "$code" = "$expected" ] || fail "exit code of: $*
  expected: $expected
  found:    $code
$output"
    say "ok: exit code $code of: $*"
    [ -z "$output" ] || sed 's/^/    /' <<<"$output"
}

# eventually SECONDS WHAT COMMAND...: until it succeeds
eventually() {
    local deadline=$(($(now_ms) + $1 * 1000)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ "$(now_ms)" -lt "$deadline" ] || fail "waited in vain for $what
  last answer of $*:
$("$@" 2>&1 || true)"
        sleep 0.3
    done
}

# What a kernel says when something went wrong below a file system or with the machine itself.
KERNEL_TROUBLE='I/O error|Buffer I/O|BUG:|Oops|TX timeout|timed out|hung task|blocked for more than|EXT4-fs error|XFS.*(error|shutdown)|gfs2: .*(withdraw|fatal|error)|nbd[0-9]+: .*([Ee]rror|[Ff]ail|[Dd]ead|stuck)|Remounting filesystem read-only'

# expect_quiet_kernel MACHINE [PATTERN THAT IS EXPECTED]
expect_quiet_kernel() {
    local found
    found=$(grep -aE "$KERNEL_TROUBLE" "$LOG_DIR/$(machine_name "$1").dmesg" | grep -avE "${2:-^$}" || true)
    expect "trouble in the kernel log of $(machine_name "$1")" "" "$found"
}

# The copies, read from the disk files of both machines on the host; the machines must be off, or
# idle and synced. $1: how many bytes are replicated.
expect_identical_disks() {
    python3 "$LAB_SOURCE/lib/disk.py" --compare "$DISKS_DIR/data1.raw" "$DISKS_DIR/data2.raw" "$VDA3_OFFSET" "$1" ||
        fail "the disks of the two machines differ within the first $1 bytes of vda3"
    say "ok: both copies are identical"
}

# The nbd driver says so when its connection breaks and is replaced; requests wait meanwhile.
# shellcheck disable=SC2034
KERNEL_TELLS_OF_RECONNECTION='nbd[0-9]+: (Receive control failed|Send (data|control|request) failed|Request send failed|Connection timed out|Possible stuck request|Dead connection)'
