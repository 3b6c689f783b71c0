# The tests of ci/check, of its programs, and of ci/words. Sourced by ci/selftest, which has what they use.
# shellcheck shell=bash

# ---- ci/check and its programs
test_the_programs_of_the_checks_are_installed_once() {
  run ci/setup --checkers
  status 0 && same "$(calls "python -m pip install" | grep -c -- --require-hashes)" 1
  : > "$FAKE/calls"
  run ci/setup --checkers
  status 0 && never "go build" && never "python -m pip" && never apt-get && never docker
}
test_cargo_deny_is_built_where_all_is_asked_for() {
  run ci/setup --checkers
  status 0 && never "cargo install"
  run ci/check deny
  status 77 && says "not run: cargo-deny is missing: ci/setup --checkers --all installs it"
  run ci/setup --checkers --all
  status 0 && same "$(calls "cargo install cargo-deny --version" | wc -l)" 1
  : > "$FAKE/calls"
  run ci/setup --checkers --all
  status 0 && never "cargo install"
  sed -i 's/CARGO_DENY=[0-9.]*/CARGO_DENY=0.0.1/' "$COPY/ci/offline/versions.sh"
  run ci/setup --checkers --all
  status 0 && same "$(calls "cargo install cargo-deny --version 0.0.1" | wc -l)" 1
}
test_a_new_pin_installs_the_programs_again() {
  run ci/setup --checkers
  echo "# another version" >> "$COPY/ci/checkers.txt"
  run ci/setup --checkers
  status 0 && same "$(calls "python -m pip install" | wc -l)" 2
}
test_a_program_that_cannot_be_installed_leaves_the_others() {
  without shellcheck
  echo 1000 > "$FAKE/uid"
  touch "$FAKE/pip-fails"
  run ci/setup --checkers
  status 77 && says "sudo apt-get install --no-remove shellcheck" && says "no matching distribution"
  run ci/check
  status 77 && says "not run: shellcheck is missing" && says "actionlint: passed" && says "not run: typos is missing" && says "not run: cargo-deny is missing"
}
test_setup_for_drills_needs_no_checks() {
  without shellcheck
  touch "$FAKE/pip-fails"
  run ci/setup
  status 0 && never "python -m pip"
}
checks() { # ci/check with its programs installed
  run ci/setup --checkers --all
  : > "$FAKE/calls"
  run ci/check "$@"
}
test_every_shell_script_is_checked() {
  mkdir -p "$COPY/fixtures/new" "$COPY/target"
  printf '#!/bin/sh\n' | tee "$COPY/target/built" > "$COPY/fixtures/new/script"
  checks shellcheck
  status 0
  local file
  for file in ci/check ci/lib.sh ci/offline/node.sh ci/offline/node/entrypoint fixtures/new/script; do
    calls "shellcheck -x" | grep -qF " ./$file" || fails "$file is not checked"
  done
  for file in ci/bench.py ci/record ci/checkers.txt target/built; do
    ! calls "shellcheck -x" | grep -qF " ./$file" || fails "$file is not a shell script"
  done
}
test_each_check_says_what_its_program_found() {
  local program
  for program in shellcheck actionlint typos cargo-deny; do
    echo 2 > "$FAKE/$program-exit"
    checks "${program#cargo-}"
    status 1
    rm "$FAKE/$program-exit"
    run ci/check "${program#cargo-}"
    status 0
  done
}
test_a_check_that_finds_something_outweighs_one_that_could_not_run() {
  checks
  rm "$BOX/cache/firedrill/cargo-deny/bin/cargo-deny"
  echo 2 > "$FAKE/shellcheck-exit"
  run ci/check
  status 1 && says "shellcheck: FAILED" && says "typos: passed" && says "deny: not run"
}
test_without_the_advisory_database_the_check_did_not_run() {
  echo "[ERROR] failed to fetch advisory database: could not resolve host" > "$FAKE/fetch-says"
  checks advisories
  status 77 && says "not run: the advisory database cannot be reached" && never ".* check .*advisories"
  touch "$FAKE/advisories"
  run ci/check advisories
  status 0 && same "$(calls ".* check .*advisories" | wc -l)" 1
  echo 1 > "$FAKE/cargo-deny-exit"
  run ci/check advisories
  status 1
}
test_a_broken_deny_toml_is_not_a_missing_database() {
  echo "[ERROR] failed to validate configuration file" > "$FAKE/fetch-says"
  checks advisories
  status 1 && says "failed to validate"
}
test_an_unknown_check_is_refused() {
  run ci/check spell
  status 3 && says "spell is not a check (checks: shellcheck actionlint typos deny advisories)"
}

# ---- ci/words
test_words_names_the_place_and_what_to_write() {
  printf '%s\n' 'Fine.' '' 'The pod is made anew.' > "$BOX/bad.md"
  run ci/words "$BOX/bad.md"
  status 1 && says "bad.md:3: \"anew\": write 'again', or 'recreate'"
}
test_words_leaves_code_alone() {
  cat > "$BOX/good.md" <<'D'
`made_anew` is a name.
```
anew
```
D
  run ci/words "$BOX/good.md"
  status 0
}
test_words_reads_comments_and_strings_of_code() {
  cat > "$BOX/bad.sh" <<'D'
anew=1 # made anew
made=${#anew} # fine
echo "never anew"
D
  cat > "$BOX/bad.rs" <<'D'
let anew = anew("\"", 'a'); // Made anew, see `anew`.
bail!("it {} anew", anew);
let url = "a://b"; anew();
D
  run ci/words "$BOX/bad.sh" "$BOX/bad.rs"
  status 1 && says "4 phrases found" && says "bad.sh:1:" && says "bad.sh:3:" && says "bad.rs:1:" && says "bad.rs:2:"
}
test_words_finds_long_sentences() {
  { printf '%s\n' 'One.' ''; seq -s ' ' 60; } > "$BOX/long.md"
  run ci/words "$BOX/long.md"
  status 1 && says "long.md:3: a sentence of"
}
