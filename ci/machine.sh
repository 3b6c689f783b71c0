# What the machine itself must have: packages, languages, limits and an engine. Sourced by ci/setup.
# shellcheck shell=bash

base() {
  step "Debian packages" packages missing_packages
  step "Go and Rust" languages
  if is_root || inotify_ready; then
    step "inotify instances" inotify
  elif [ "$MODE" != count ]; then # one cluster works without
    echo "warning: too few inotify instances for two clusters, and only root can raise them: sudo sysctl -w fs.inotify.max_user_instances=$INOTIFY_MIN" >&2
  fi
  step "Docker engine" engine
}

packages_ready() { [ -z "$("$1")" ]; } # FUNCTION that prints the missing packages, one a line
packages_make() {
  local packages
  mapfile -t packages < <("$1")
  type -P apt-get >/dev/null || refuse "not a Debian machine: install what these Debian packages hold: ${packages[*]}"
  is_root || refuse "only root can install packages: sudo apt-get install --no-remove ${packages[*]}"
  apt-get update -q
  if [[ " ${packages[*]} " == *" docker.io "* ]] && ! type -P docker >/dev/null && apt-cache show docker-cli >/dev/null 2>&1; then
    packages+=(docker-cli) # a package of its own from Debian 13 on
  fi
  # What is installed already stays as it is: it is not named, so it is not upgraded, and nothing is removed in its favour.
  DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends --no-remove "${packages[@]}" ||
    die "apt-get could not install ${packages[*]} without removing another package: install them by hand"
}
missing_packages() { # only those whose command or file is missing
  {
    missing mmdebstrap jq curl git make python3
    type -P cc >/dev/null || echo gcc
    type -P strip >/dev/null || echo binutils
    type -P mkfs.xfs >/dev/null && type -P xfs_io >/dev/null || echo xfsprogs
    type -P losetup >/dev/null || echo mount
    if type -P python3 >/dev/null && ! python3 -c 'import json'; then echo python3; fi
    if type -P cc >/dev/null && ! cc -E -include stdlib.h -x c /dev/null >/dev/null; then echo libc6-dev; fi
    [ -n "$(compgen -G "$SYSTEM/usr/share/keyrings/debian-archive-keyring.*")" ] || echo debian-archive-keyring
    [ -s "$SYSTEM/etc/ssl/certs/ca-certificates.crt" ] || echo ca-certificates
    if engine_answers; then return; fi
    engine_exists || missing iptables
    if [ -z "$FOUND" ] && ! type -P dockerd >/dev/null; then
      echo docker.io # where there is another engine, its packages and this one exclude each other
    elif ! type -P docker >/dev/null; then
      echo docker-cli
    fi
  } 2>/dev/null | sort -u
}
missing() {
  local command
  for command in "$@"; do type -P "$command" >/dev/null || echo "$command"; done
}
languages_ready() { command -v go && command -v cargo; }
languages_make() { refuse "Go >= 1.26 and Rust (see rust-version in Cargo.toml) must be installed first"; }
INOTIFY=$SYSTEM/proc/sys/fs/inotify/max_user_instances INOTIFY_MIN=512 # Linux gives 128, with which a second cluster's kube-proxy dies
inotify_ready() { [ "$(cat "$INOTIFY")" -ge "$INOTIFY_MIN" ]; }
inotify_make() { echo "$INOTIFY_MIN" > "$INOTIFY"; }
