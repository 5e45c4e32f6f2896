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

# configure_and_build PRESET TARGET…: both steps, quiet when all is well, loud when not.
configure_and_build() {
  local preset=$1 log
  shift
  log="$ROOT/build/$preset.log"
  mkdir -p "$ROOT/build"
  if ! (cd "$ROOT" && cmake --preset "$preset") >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    die "configuring '$preset' failed; the whole output is in $log"
  fi
  # Progress goes to the terminal only; the log keeps every line.
  if ! cmake --build "$ROOT/build/$preset" --parallel "$(nproc)" --target "$@" >>"$log" 2>&1; then
    grep -nE 'error|FAILED|undefined reference' "$log" | tail -n 40 >&2
    die "building '$preset' failed; the whole output is in $log"
  fi
}
