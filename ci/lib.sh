# Shared by the scripts of ci/, which source it: where things are kept, and how work is planned, skipped and shown.
# shellcheck shell=bash disable=SC2034 # set here, used by those that source it

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/firedrill
# What belongs to one checkout alone: its programs and the names of its images. The kit and cargo's target directory are shared.
MINE=$CACHE/checkouts/$(printf %s "$ROOT" | sha256sum | cut -c1-12)
PROGRAMS=$MINE/bin
CHECKERS=$CACHE/checkers # a virtual environment of Python with programs of ci/check
RUST_TARGET=x86_64-unknown-linux-gnu # as in .cargo/config.toml
SYSTEM=${FIREDRILL_SYSTEM_ROOT:-}    # ci/selftest alone sets it: a folder in place of this machine's root
export PATH=$PROGRAMS:$CACHE/bin:$PATH:$SYSTEM/usr/sbin:$SYSTEM/sbin:$SYSTEM/usr/local/go/bin:$HOME/.cargo/bin
declare -A KEY=() # what stands for the content of each artifact's recipe, by its name

die() { echo "error: $*" >&2; exit 1; }
REFUSED=78
refuse() { echo "error: $*" >&2; exit $REFUSED; } # for a step: only the user can change this, and the message says it all
NOT_RUN=77
not_run() { # for a check that says nothing of the sources: ci/test takes the reason from REASON_FILE
  echo "not run: $*" >&2
  [ -z "${REASON_FILE:-}" ] || echo "$*" > "$REASON_FILE"
  exit $NOT_RUN
}
is_root() { [ "$(id -u)" = 0 ]; }
spent() { # SECONDS, as people say it
  if (($1 < 60)); then echo "$1s"; else echo "$(($1 / 60))m$(($1 % 60))s"; fi
}
digest() { sha256sum | cut -c1-16; }                    # of standard input
digest_of() { cat -- "$@" | digest; }                   # of files, by content alone: a fresh clone changes nothing

take_lock() { # FD FILE WHAT: waits until no other process holds FILE, which FD is opened on
  flock -n "$1" || { echo "another $3 is running (checkout $(head -n 1 "$2")): waiting for it" >&2; flock "$1"; }
  echo "$ROOT" > "$2"
}

# Runs a command with the shared target directory, which holds the dependencies of every checkout, already built. One checkout
# at a time: cargo knows the workspace's crates by their path within the workspace, so it takes what it built for another
# checkout for its own. Run other programs than cargo in here only if they must be this checkout's build.
in_target() (
  export CARGO_TARGET_DIR=$CACHE/target
  mkdir -p "$CARGO_TARGET_DIR"
  exec 8>>"$CACHE/target.lock"
  take_lock 8 "$CACHE/target.lock" "cargo command in $CARGO_TARGET_DIR"
  forget_other_checkout "$CARGO_TARGET_DIR"
  "$@" 8>&- # a process that the command leaves behind must not hold the lock
  true      # so that bash does not replace itself, and its lock, by the command
)
forget_other_checkout() { # TARGET: only the crates that no registry holds are built again
  local name target=$1
  [ "$(cat "$target/checkout" 2>/dev/null)" != "$ROOT" ] || return 0
  while read -r name; do
    rm -rf "$target"/*/.fingerprint/"$name"-[0-9a-f]* "$target"/*/*/.fingerprint/"$name"-[0-9a-f]*
  done < <(sed -n 's/^name = "\([a-z-]*\)"$/\1/p' "$ROOT"/harness/*/Cargo.toml "$ROOT"/fixtures/*/Cargo.toml)
  echo "$ROOT" > "$target/checkout"
}

# A plan is a function that calls `step`. It is run once to count its steps and once to do them. `step TITLE KIND ARGS`
# calls KIND_make ARGS unless KIND_ready ARGS holds; with --check it only says whether it holds.
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
    (while sleep 1 && kill -0 $$; do printf '\r%s %s ' "$line" "$(spent $((SECONDS - start)))" >&2; done) 9>&- & ticker=$!
  fi
  set +e
  (set -e; "${kind}_make" "$@") >"$log" 2>&1 </dev/null
  status=$?
  set -e
  if [ -n "$ticker" ]; then kill "$ticker"; wait "$ticker" 2>/dev/null || true; printf '\r%s ' "$line" >&2; fi
  if ((status == REFUSED)); then
    echo "stopped" >&2
    tail -n 1 "$log" >&2
    exit 1
  elif ((status != 0)); then
    echo "FAILED after $(spent $((SECONDS - start))); the end of $log:" >&2
    tail -n 30 "$log" >&2
    exit 1
  fi
  MADE=$((MADE + 1))
  spent $((SECONDS - start)) >&2
}
