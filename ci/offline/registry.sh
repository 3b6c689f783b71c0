# The local registry on kind's network. Sourced by ci/setup. Without an image registry in reach it holds everything that is
# deployed, under repository names without the host, and the nodes ask it first for every host; with one, only what is built here.
# shellcheck shell=bash

REGISTRY=127.0.0.1:5000 # as this machine sees it; the nodes call it firedrill-registry:5000

registry_ready() { [ "$(docker container inspect -f '{{.State.Running}}' firedrill-registry)" = true ] && curl -fsm 5 "http://$REGISTRY/v2/"; }
registry_make() { # IMAGE; the data is in a volume of Docker's, so that it outlives the container
  docker network inspect kind >/dev/null 2>&1 || docker network create kind
  if docker container inspect firedrill-registry >/dev/null 2>&1; then
    docker start firedrill-registry
  else
    docker run -d --name firedrill-registry --label firedrill=registry --restart unless-stopped --network kind \
      -p "$REGISTRY:5000" -v firedrill-registry:/var/lib/registry "$1"
  fi
  timeout 30 bash -c "until curl -fsm 5 http://$REGISTRY/v2/; do sleep 0.2; done"
}

pushed_ready() { # IMAGES: each is there, and is the very one that the engine has
  local image
  for image in "$@"; do is_pushed "$image" || return 1; done
}
is_pushed() {
  local id url answer
  id=$(docker image inspect -f '{{.Id}}' "$1") || return 1
  url=$(repository "$1")
  url=http://$REGISTRY/v2/${url%:*}/manifests/${url##*:}
  answer=$(curl -fsim 10 "$url" -H 'Accept: application/vnd.docker.distribution.manifest.v2+json' \
    -H 'Accept: application/vnd.oci.image.manifest.v1+json' -H 'Accept: application/vnd.oci.image.index.v1+json') || return 1
  # An engine calls an image by its configuration's digest or, with containerd's image store, by its manifest's.
  [[ $answer == *"$id"* ]]
}
pushed_make() {
  local image target
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
