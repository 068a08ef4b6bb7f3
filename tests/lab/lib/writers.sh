# Writers that know what they were promised.
# shellcheck shell=bash

# start_writer MACHINE DIRECTORY SECONDS: files that are synced one by one
start_writer() {
    touch "$LOG_DIR/writer$1.promised"
    in_background "$1" "writer$1" "mkdir -p $2 && exec python3 /lab/durable.py $2 /host/log/writer$1.promised $3"
}

# stop_writer MACHINE: in order, so that it tells how it went
stop_writer() {
    on "$1" touch /tmp/stop-writers
    wait_background "$1" "writer$1" 60
    say "writer of node $1: $(cat "$LOG_DIR/writer$1")"
    on "$1" rm /tmp/stop-writers
}

# check_written MACHINE DIRECTORY WRITER: what a writer was promised is there, seen from MACHINE
check_written() {
    local answer
    answer=$(on -t 120 "$1" python3 /lab/durable.py --check "$2" "/host/log/writer$3.promised" 2>&1) ||
        fail "files that were synced are not there, or wrong:
$answer"
    say "ok: what the writer of node $3 had synced, seen from node $1: $answer"
}

# A writer has a promise from now: it is not stuck.
writer_goes_on() {
    local before
    before=$(promises "$1")
    eventually "$2" "the writer of node $1 to go on" more_promises "$1" "$before"
}

promises() {
    wc -l <"$LOG_DIR/writer$1.promised"
}

more_promises() {
    [ "$(promises "$1")" -gt "$2" ]
}
