# The local registry on kind's network. Sourced by ci/setup. Without an image registry in reach it holds everything that is
# deployed, under repository names without the host, and the nodes ask it first for every host; with one, only what is built here.
# shellcheck shell=bash

# Docker chooses its port on this machine's loopback address, again at each start, so no other program's port is in the way. The
# nodes call it firedrill-registry:5000, on a network of their own.
registry_address() {
  local port
  [ -z "${REGISTRY:-}" ] || return 0
  port=$(docker port firedrill-registry 5000/tcp | sed -n 's/^127\.0\.0\.1://p' | head -n 1)
  [ -n "$port" ] && REGISTRY=127.0.0.1:$port
}
registry_ready() {
  REGISTRY=""
  [ "$(docker container inspect -f '{{.State.Running}} {{index .Config.Labels "firedrill"}}' firedrill-registry)" = "true registry" ] &&
    registry_address && curl -fsm 5 "http://$REGISTRY/v2/" && return
  REGISTRY=""
  return 1
}
registry_make() { # IMAGE; the data is in a volume of Docker's, so that it outlives the container
  local label
  docker network inspect kind >/dev/null 2>&1 || docker network create kind
  if label=$(docker container inspect -f '{{index .Config.Labels "firedrill"}}' firedrill-registry 2>/dev/null); then
    [ "$label" = registry ] || refuse "a container named firedrill-registry exists that ci/setup did not make: rename it or remove it"
    # One that an earlier version made has a fixed port, which another program may have taken since.
    docker start firedrill-registry || docker rm -f firedrill-registry
  fi
  if ! docker container inspect firedrill-registry >/dev/null 2>&1; then
    docker run -d --name firedrill-registry --label firedrill=registry --restart unless-stopped --network kind \
      -p 127.0.0.1::5000 -v firedrill-registry:/var/lib/registry "$1"
  fi
  registry_address || refuse "the container firedrill-registry has no port on 127.0.0.1: look at docker logs firedrill-registry"
  timeout 30 bash -c "until curl -fsm 5 http://$REGISTRY/v2/; do sleep 0.2; done" ||
    refuse "the local registry does not answer at $REGISTRY: look at docker logs firedrill-registry; the Docker engine must be on this machine, in its network"
}

pushed_ready() { # IMAGES: each is there, and is the very one that the engine has
  local image
  for image in "$@"; do is_pushed "$image" || return 1; done
}
is_pushed() {
  local id url answer
  id=$(docker image inspect -f '{{.Id}}' "$1") || return 1
  registry_address || return 1
  url=$(repository "$1")
  url=http://$REGISTRY/v2/${url%:*}/manifests/${url##*:}
  answer=$(curl -fsim 10 "$url" -H 'Accept: application/vnd.docker.distribution.manifest.v2+json' \
    -H 'Accept: application/vnd.oci.image.manifest.v1+json' -H 'Accept: application/vnd.oci.image.index.v1+json') || return 1
  # An engine calls an image by its configuration's digest or, with containerd's image store, by its manifest's.
  [[ $answer == *"$id"* ]]
}
pushed_make() {
  local image target
  registry_address
  for image in "$@"; do
    is_pushed "$image" && continue
    target=$REGISTRY/$(repository "$image")
    echo "pushing $image"
    docker tag "$image" "$target"
    docker push -q "$target"
    docker rmi "$target"
  done
}
repository() { # IMAGE: its repository and tag without the host
  case "$1" in
    *.*/*) echo "${1#*/}" ;;    # ghcr.io/owner/name:tag
    */*) echo "$1" ;;           # owner/name:tag
    *) echo "library/$1" ;;     # name:tag
  esac
}
