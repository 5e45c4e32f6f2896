#!/bin/sh
# Runs one fuzzer from its corpus for $FARCALL_FUZZ_SECONDS (default 5). A find stays behind as
# crash-* or timeout-* in the working folder, whose name is printed.
#
# Usage: short_run.sh FUZZER CORPUS
set -eu
finds=$(mktemp -d)
cd "$finds"
mkdir new
if "$1" -max_total_time="${FARCALL_FUZZ_SECONDS:-5}" -timeout=20 -rss_limit_mb=4096 \
        -print_final_stats=1 new "$2"; then
  rm -rf "$finds"
else
  echo "the find is in $finds"
  exit 1
fi
