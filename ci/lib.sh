# Shared by the scripts of ci/, which source it: where things are kept, and how work is planned, skipped and shown.
# shellcheck shell=bash disable=SC2034 # set here, used by those that source it

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/firedrill
RUST_TARGET=x86_64-unknown-linux-gnu # as in .cargo/config.toml
PROGRAMS=$CACHE/target/$RUST_TARGET/debug
export CARGO_TARGET_DIR=$CACHE/target
export PATH=$CACHE/bin:$PATH:/usr/sbin:/sbin:/usr/local/go/bin:$HOME/.cargo/bin
declare -A KEY=() # what stands for the content of each artifact's recipe, by its name

die() { echo "error: $*" >&2; exit 1; }
spent() { # SECONDS, as people say it
  if (($1 < 60)); then echo "$1s"; else echo "$(($1 / 60))m$(($1 % 60))s"; fi
}
digest() { sha256sum | cut -c1-16; }                    # of standard input
digest_of() { cat -- "$@" | digest; }                   # of files, by content alone: a fresh clone changes nothing

# Cargo knows a workspace's own crates in a target directory by their path within the workspace, and takes what was built of
# another checkout for fresh where the files here are older. Only the crates that no registry holds are built again.
of_this_checkout() {
  [ -d "$CARGO_TARGET_DIR" ] || return 0
  [ "$(cat "$CARGO_TARGET_DIR/checkout" 2>/dev/null)" != "$ROOT" ] || return 0
  local name
  while read -r name; do
    rm -rf "$CARGO_TARGET_DIR"/*/.fingerprint/"$name"-[0-9a-f]* "$CARGO_TARGET_DIR"/*/*/.fingerprint/"$name"-[0-9a-f]*
  done < <(sed -n 's/^name = "\([a-z-]*\)"$/\1/p' "$ROOT"/harness/*/Cargo.toml "$ROOT"/fixtures/*/Cargo.toml)
  echo "$ROOT" > "$CARGO_TARGET_DIR/checkout"
}
of_this_checkout

# A plan is a function that calls `step`. It is run once to count its steps and once to do them. `step TITLE KIND ARGS`
# calls KIND_make ARGS unless KIND_ready ARGS holds; with --check it only tells which it is.
MODE=run MISSING=0 MADE=0
plan() { # NAME FUNCTION
  PLAN=$1 TOTAL=0 DONE=0
  local mode=$MODE
  MODE=count && "$2"
  MODE=$mode && "$2"
}
step() {
  local title=$1 kind=$2 log start=$SECONDS ticker="" status=0
  shift 2
  [ "$MODE" != count ] || { TOTAL=$((TOTAL + 1)); return 0; }
  DONE=$((DONE + 1))
  if "${kind}_ready" "$@" >/dev/null 2>&1; then
    [ "$MODE" != check ] || echo "  there    $PLAN: $title"
    return 0
  elif [ "$MODE" = check ]; then
    MISSING=$((MISSING + 1))
    echo "  MISSING  $PLAN: $title"
    return 0
  fi
  local line="[$PLAN $DONE/$TOTAL] $title …"
  log=$CACHE/log/$(tr -cs 'a-zA-Z0-9.\n' - <<<"$PLAN-$title").log
  printf '%s ' "$line" >&2
  if [ -t 2 ]; then
    (while sleep 1; do printf '\r%s %s ' "$line" "$(spent $((SECONDS - start)))" >&2; done) & ticker=$!
  fi
  set +e
  (set -e; "${kind}_make" "$@") >"$log" 2>&1 </dev/null
  status=$?
  set -e
  if [ -n "$ticker" ]; then kill "$ticker"; wait "$ticker" 2>/dev/null || true; printf '\r%s ' "$line" >&2; fi
  if ((status != 0)); then
    echo "FAILED after $(spent $((SECONDS - start))); the end of $log:" >&2
    tail -n 30 "$log" >&2
    exit 1
  fi
  MADE=$((MADE + 1))
  spent $((SECONDS - start)) >&2
}
