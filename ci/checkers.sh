# The programs of ci/check. Sourced by ci/setup, which installs what it can: without one of them its check does not run.
# shellcheck shell=bash

checker_packages() { step "Debian packages of the checks" packages missing_checker_packages; }
missing_checker_packages() {
  missing shellcheck
  python3 -c 'import ensurepip' 2>/dev/null || echo python3-venv
}

checker_binary() { binary actionlint "$ACTIONLINT" github.com/rhysd/actionlint/cmd/actionlint; }

# The program that PyPI has ready-made from its authors, pinned by the digest of its file.
checker_wheels() { step "typos" wheels; }
WHEELS=$ROOT/ci/checkers.txt
wheels_ready() { [ -x "$CHECKERS/bin/typos" ] && [ "$(cat "$CHECKERS/key")" = "$(digest_of "$WHEELS")" ]; }
wheels_make() {
  rm -rf "$CHECKERS"
  python3 -m venv "$CHECKERS"
  "$CHECKERS/bin/python" -m pip install -q --no-deps --only-binary :all: --require-hashes -r "$WHEELS"
  digest_of "$WHEELS" > "$CHECKERS/key"
}

# Nobody who wrote cargo-deny publishes it ready-made in a package registry, so it is built: that takes minutes.
checker_deny() { step "cargo-deny $CARGO_DENY" deny; }
deny_ready() { [ -x "$CACHE/cargo-deny/bin/cargo-deny" ] && [ "$(cat "$CACHE/cargo-deny/version")" = "$CARGO_DENY" ]; }
deny_make() {
  cargo install cargo-deny --version "$CARGO_DENY" --locked --force --root "$CACHE/cargo-deny" --target-dir "$CACHE/cargo-deny/target"
  rm -rf "$CACHE/cargo-deny/target"
  echo "$CARGO_DENY" > "$CACHE/cargo-deny/version"
}

checkers() { # [--all]
  local name status failed=() names=(checker_packages checker_binary checker_wheels)
  [ "${1:-}" != --all ] || names+=(checker_deny)
  for name in "${names[@]}"; do
    set +e # in a condition the steps' own `set -e` would do nothing
    (set -e; plan checks "$name")
    status=$?
    set -e
    [ "$status" = 0 ] || failed+=("$name")
  done
  [ "${#failed[@]}" = 0 ] || not_run "ci/setup --checkers could not install all programs (see above)"
}
