#!/bin/sh
# A recording of LTTng's that really lost events, to measure large traces with (benchmarks/scale.py --ctf, which repeats
# it): SQLite with tracepoints of its own (experiments/ust), all four of its runs, on sub-buffers of 8 KiB.
#   scripts/record_lttng.sh OUT
# Takes gcc, lttng-tools, liblttng-ust-dev and libsqlite3-dev. Every recording loses other events.
set -e
out=${1:?a folder that is not there yet}
case $out in /*) ;; *) out=$PWD/$out ;; esac
ust=$(cd "$(dirname "$0")/../experiments/ust" && pwd)
work=$(mktemp -d)
session=lossy-$$
trap 'lttng destroy "$session" > "$work/log" 2>&1 || true; rm -rf "$work"' EXIT
cd "$work"
gcc -O1 -I"$ust" "$ust/sqlite.c" -o sqlite -llttng-ust -ldl -lpthread -lsqlite3
lttng create "$session" --output="$out" > log
lttng enable-channel -u -s "$session" ch --subbuf-size=8k --num-subbuf=4 > log
lttng enable-event -u 'sqlite:*' -c ch -s "$session" > log
lttng add-context -u -s "$session" -c ch -t vtid -t procname -t vpid > log
lttng start "$session" > log
for run in 0 1 2 3; do ./sqlite "$run" > log; done
lttng stop "$session" > log
