# The Rust programs, and the three images that run in the cluster. Sourced by ci/setup.
# shellcheck shell=bash

programs() {
  step "cargo build" cargo
  step "image firedrill.local/ironflow" program ironflow ironflow ironflow-worker
  step "image firedrill.local/agent" program agent firedrill
  step "image firedrill.local/volumes" program volumes volumes
}

RUST_PROGRAMS=(firedrill ironflow ironflow-worker volumes)
cargo_ready() { # cargo knows best what is fresh: it is asked every time
  local program
  [ "$MODE" = check ] || return
  for program in "${RUST_PROGRAMS[@]}"; do [ -x "$PROGRAMS/$program" ] || return; done
}
cargo_make() { cd "$ROOT" && in_target build_programs; }
build_programs() { # and copies them, before another checkout's build can take their place
  local program built
  cargo build --workspace --bins
  for program in "${RUST_PROGRAMS[@]}"; do
    built=$CARGO_TARGET_DIR/$RUST_TARGET/debug/$program
    cmp -s "$built" "$PROGRAMS/$program" && continue
    cp "$built" "$PROGRAMS/$program.new"
    mv "$PROGRAMS/$program.new" "$PROGRAMS/$program"
  done
}

# Tagged by what is in them, so that a cluster runs exactly what was built, and an unchanged program is not pushed again.
program_files() {
  local name=$1 program
  shift
  for program in "$@"; do echo "$PROGRAMS/$program"; done
  [ "$name" != ironflow ] || printf '%s\n' "$KIT"/bin/{busybox,mksh,nc} "$SYSTEM/etc/ssl/certs/ca-certificates.crt"
}
program_ref() {
  local files
  mapfile -t files < <(program_files "$@")
  echo "firedrill.local/$1:$({ cat "${files[@]}"; declare -f program_make; base_key "$1"; } | sha256sum | cut -c1-12)"
}
base_key() { [ "$1" != volumes ] || echo "${KEY[firedrill.local/volumes-rootfs]}"; } # what the image stands on
program_ready() {
  local ref
  ref=$(program_ref "$@") && [ "$(cat "$MINE/ref/$1")" = "$ref" ] && is_pushed "$ref"
}
program_make() {
  local name=$1 ref context file files
  ref=$(program_ref "$@")
  if is_pushed "$ref"; then # another checkout has built the very same
    echo "$ref" > "$MINE/ref/$name"
    return
  fi
  context=$(mktemp -d)
  mapfile -t files < <(program_files "$@")
  for file in "${files[@]}"; do cp "$file" "$context/"; done
  shift
  (cd "$context" && strip "$@")
  if [ "$name" = ironflow ]; then
    # The runbook runs wget in this container, and the original image has a shell.
    cat > "$context/Dockerfile" <<'D'
FROM scratch
COPY busybox nc /bin/
COPY mksh /bin/sh
RUN ["/bin/busybox", "sh", "-c", "PATH=/bin; for name in wget nslookup; do busybox ln -s busybox /bin/$name; done; busybox mkdir -m 1777 /tmp"]
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY ironflow ironflow-worker /
USER 65532:65532
ENTRYPOINT ["/ironflow"]
D
  elif [ "$name" = volumes ]; then
    printf 'FROM firedrill.local/volumes-rootfs\nCOPY volumes /volumes-driver\nENTRYPOINT ["/volumes-driver"]\n' > "$context/Dockerfile"
  else
    printf 'FROM scratch\nCOPY firedrill /firedrill\nENTRYPOINT ["/firedrill"]\n' > "$context/Dockerfile"
  fi
  docker build -q --label "firedrill=$name" -t "$ref" "$context"
  pushed_make "$ref"
  echo "$ref" > "$MINE/ref/$name"
  rm -rf "$context"
  drop_images "$name"
}
# Earlier builds go from the engine, except those that a checkout uses now; clusters that run them have pulled them, and the
# registry keeps them.
drop_images() {
  local unused
  mapfile -t unused < <(docker images --format '{{.ID}} {{.Repository}}:{{.Tag}}' --filter "label=firedrill=$1" |
    awk 'NR == FNR {used[$1]; next} !($2 in used) {print $2 ~ /<none>/ ? $1 : $2}' <(cat "$CACHE"/checkouts/*/ref/"$1") -)
  [ "${#unused[@]}" = 0 ] || docker rmi -f "${unused[@]}"
}
