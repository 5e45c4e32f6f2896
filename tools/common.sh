# Shared by the scripts of this folder; sourced, never run.
# Gives: ROOT (the checkout), say, die, as_root, find_cuda, configure_and_build.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '\033[1m==>\033[0m %s\n' "$*"; }
die() {
  printf 'farcall: %s\n' "$1" >&2
  shift
  for line in "$@"; do printf '         %s\n' "$line" >&2; done
  exit 1
}

# Runs a command as root: directly, or through sudo.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    die "this needs root, and there is no sudo here: $*" \
        "Run it as root once, then start again."
  fi
}

# Sets CUDA_HOME to a toolkit that has cuda.h, or returns 1.
find_cuda() {
  local nvcc folder
  for folder in "${CUDA_HOME:-}" /usr/local/cuda; do
    [ -n "$folder" ] && [ -f "$folder/include/cuda.h" ] && { export CUDA_HOME=$folder; return 0; }
  done
  if nvcc=$(command -v nvcc); then
    folder=$(dirname "$(dirname "$(readlink -f "$nvcc")")")
    [ -f "$folder/include/cuda.h" ] && { export CUDA_HOME=$folder; return 0; }
  fi
  # Debian's own package spreads the toolkit over /usr.
  [ -f /usr/include/cuda.h ] && { export CUDA_HOME=/usr; return 0; }
  return 1
}

# configure_preset PRESET LOG [SETTING]: dies with the end of its output when it fails.
configure_preset() {
  local preset=$1 log=$2
  shift 2
  if ! (cd "$ROOT" && cmake --preset "$preset" "$@") >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    die "configuring '$preset' failed; the whole output is in $log"
  fi
}

# configure_and_build PRESET TARGET…: both steps, quiet when all is well, loud when not.
# Fresh builds with sanitizers compile several sources as one file: half the work (tests/README.md). A
# folder that is there already keeps its way: it may be somebody's who edits one file at a time.
configure_and_build() {
  local preset=$1 log batch=()
  shift
  log="$ROOT/build/$preset.log"
  mkdir -p "$ROOT/build"
  [ "$preset" = release ] || [ -f "$ROOT/build/$preset/CMakeCache.txt" ] || batch=(-DFARCALL_BATCH=8)
  configure_preset "$preset" "$log" "${batch[@]}"
  local build=(cmake --build "$ROOT/build/$preset" --parallel "$(nproc)" --target "$@")
  # Progress goes to the terminal only; the log keeps every line.
  "${build[@]}" >>"$log" 2>&1 && return
  if [ ${#batch[@]} -gt 0 ]; then
    # A new file may not get on with its batch, which is no fault of the file's.
    mv "$log" "$log.batches"
    say "build: $preset again, each file by itself: it failed in batches ($log.batches)"
    configure_preset "$preset" "$log" -DFARCALL_BATCH=1
    "${build[@]}" >>"$log" 2>&1 && return
  fi
  grep -nE 'error|FAILED|undefined reference' "$log" | tail -n 40 >&2
  die "building '$preset' failed; the whole output is in $log"
}
