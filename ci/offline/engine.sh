# The Docker engine. Sourced by ci/setup. One is started only on a machine that has none: a second dockerd beside an engine that
# does not answer would take its data folder and its iptables rules.
# shellcheck shell=bash

SOCKET=$SYSTEM/var/run/docker.sock
ENGINE_STARTS=/proc/self/status # its CapBnd line tells what a dockerd started here may do

engine_ready() { timeout 20 docker info && ! is_podman; } # without a limit it waits for ever for an engine that hangs
is_podman() { docker --version 2>/dev/null | grep -qi podman; }
engine_answers() { engine_ready >/dev/null 2>&1; }

# Whether there is an engine, or something in its place, though none answers. FOUND says what it is and what to do about it.
engine_exists() {
  local context state pid owner
  FOUND=""
  if [ -n "${DOCKER_HOST:-}" ]; then
    FOUND="no Docker engine answers at DOCKER_HOST=$DOCKER_HOST: start that engine, or unset DOCKER_HOST"
    return 0
  fi
  if type -P docker >/dev/null; then
    if is_podman; then
      FOUND="the docker command is Podman's, and drills need a Docker engine: remove the package podman-docker"
      return 0
    fi
    context=${DOCKER_CONTEXT:-$(docker context inspect -f '{{.Name}}' 2>/dev/null || true)}
    if [ "${context:-default}" != default ]; then
      FOUND="the engine of the docker context $context does not answer: start it, or choose this machine's engine: docker context use default"
      return 0
    fi
  fi
  if [ -S "$SOCKET" ] && [ ! -w "$SOCKET" ]; then
    FOUND="user $(id -un) may not use the Docker engine at $SOCKET: sudo usermod -aG docker $(id -un), then log in again"
    return 0
  fi
  if [ -d "$SYSTEM/run/systemd/system" ] && [[ "$(systemctl show -p LoadState --value docker.service 2>/dev/null)" =~ ^(loaded|masked)$ ]]; then
    state=$(systemctl show -p ActiveState --value docker.service)
    FOUND="the systemd unit docker.service is $state and its engine does not answer: systemctl restart docker (its log: journalctl -u docker)"
    return 0
  fi
  if pid=$(dockerd_process); then
    FOUND="a dockerd is running (process $pid) and does not answer: look at its log, and restart it"
    return 0
  fi
  if socket_is_open; then
    FOUND="a program listens on $SOCKET, and docker info fails: find out why (docker info), and restart that engine"
    return 0
  fi
  owner=$(docker_owner)
  if [ -n "$owner" ] && ! type -P dockerd >/dev/null; then
    FOUND="the docker command is of the package $owner, and there is no dockerd: install the engine of that packaging, or set DOCKER_HOST to one that runs"
    return 0
  fi
  return 1
}
dockerd_process() { # the first dockerd in this process namespace, other than a zombie
  local folder namespace
  namespace=$(readlink "$SYSTEM/proc/self/ns/pid" || true)
  for folder in "$SYSTEM"/proc/[0-9]*; do
    [ "$(cat "$folder/comm" 2>/dev/null)" = dockerd ] || continue
    ! grep -q '^State:[[:space:]]*Z' "$folder/status" 2>/dev/null || continue
    [ "$(readlink "$folder/ns/pid" || echo "$namespace")" = "$namespace" ] || continue
    echo "${folder##*/}"
    return 0
  done
  return 1
}
socket_is_open() { # a socket file that a dead engine left is none
  [ -S "$SOCKET" ] || return 1
  type -P curl >/dev/null || return 0
  local status=0
  curl -s -m 5 -o /dev/null --unix-socket "$SOCKET" http://localhost/_ping || status=$?
  ((status != 7)) # 7: nobody takes the connection
}
docker_owner() { # the package that the docker command is of, where it is neither Debian's own nor a file of no package
  local path owner
  path=$(type -P docker) && type -P dpkg >/dev/null || return 0
  owner=$(dpkg -S "$(readlink -f "$path")" 2>/dev/null | head -n 1 | cut -d: -f1) || true
  case "$owner" in docker.io | docker-cli) ;; *) echo "$owner" ;; esac
}

engine_make() {
  if engine_exists; then
    if dockerd_process >/dev/null; then wait_for_engine 30 && return; fi # it may have been started just now
    refuse "$FOUND"
  fi
  is_root || refuse "no Docker engine is running, and only root can start one: run ci/setup as root once, or start one that you may use"
  type -P dockerd >/dev/null || refuse "there is no dockerd: run ci/setup again, which installs one"
  local flags=() wrapper=$SYSTEM/usr/local/sbin/runc-without-sys-resource sys_resource_bit=24
  if (((0x$(awk '/^CapBnd/ {print $2}' "$ENGINE_STARTS") >> sys_resource_bit & 1) == 0)); then
    # The wrapper names Debian's runc; another packaging has it elsewhere.
    sed "s|/usr/sbin/runc|$(type -P runc || echo /usr/sbin/runc)|" "$OFFLINE/runc-without-sys-resource" > "$wrapper"
    chmod 755 "$wrapper"
    flags=(--add-runtime "nores=$wrapper" --default-runtime nores)
  fi
  # 9: the lock that ci/setup holds while it runs, and no longer
  setsid dockerd "${flags[@]}" >"$SYSTEM/var/log/dockerd.log" 2>&1 </dev/null 9>&- &
  wait_for_engine 30 || { tail -n 20 "$SYSTEM/var/log/dockerd.log"; die "the Docker engine did not start: see $SYSTEM/var/log/dockerd.log"; }
}
wait_for_engine() { # SECONDS
  local limit=$((SECONDS + $1))
  while ((SECONDS < limit)); do
    if timeout 5 docker info >/dev/null 2>&1; then return 0; fi
    sleep 0.5
  done
  return 1
}
