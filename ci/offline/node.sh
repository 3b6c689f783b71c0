# The node image. Sourced by ci/setup.
# shellcheck shell=bash

node() { # the offline one: a drop-in for kindest/node, which holds the cluster's own images as the original does
  local tag=$NODE_IMAGE image
  KEPT_IMAGES=("$ETCD_IMAGE" "$COREDNS_IMAGE" "$PAUSE_IMAGE" "$KUBE_ROUTER_IMAGE" "$LOCAL_PATH_IMAGE")
  KEY["$tag"]=$({
    digest_of "$OFFLINE"/node/* "$OFFLINE/runc-without-sys-resource" "$OFFLINE/node.sh"
    echo "${KEY[bin/kubernetes]} ${KEY[firedrill.local/node-rootfs]}"
    for image in firedrill.local/components "${KEPT_IMAGES[@]}"; do echo "${KEY[$image]}"; done
  } | digest)
  step "image $tag" node
}
node_ready() { labelled "$NODE_IMAGE"; }
node_make() {
  local context builder component components=()
  context=$(mktemp -d)
  cp "$OFFLINE"/node/* "$OFFLINE/runc-without-sys-resource" "$context/"
  cp "$KIT/bin/kubernetes" "$context/hyper"
  docker build -q --build-arg "version=v$KUBERNETES" -t firedrill.local/node-empty "$context"
  for component in kube-apiserver kube-controller-manager kube-scheduler kube-proxy; do
    components+=("registry.k8s.io/$component:v$KUBERNETES")
    docker tag firedrill.local/components "${components[-1]}"
  done
  docker save -o "$context/images.tar" "${components[@]}" "${KEPT_IMAGES[@]}"
  builder=$(docker run -d --privileged --entrypoint sleep -v "$context/images.tar:/images.tar:ro" firedrill.local/node-empty infinity)
  docker exec "$builder" bash -ec '
    containerd >/dev/null 2>&1 & pid=$!
    until ctr version >/dev/null 2>&1; do sleep 0.2; done
    ctr -n k8s.io images import /images.tar >/dev/null
    kill $pid; wait $pid || true; rm -rf /run/containerd' || { docker rm -f "$builder"; return 1; }
  docker commit -c "LABEL firedrill.key=${KEY[$NODE_IMAGE]}" -c 'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]' \
    "$builder" "$NODE_IMAGE"
  docker rm -f "$builder"
  rm -rf "$context"
}

kindest_node() { # with an image registry: kind's own, told where firedrill.local is
  KEY["$ONLINE_NODE_IMAGE"]=$({ echo "$KINDEST_NODE"; cat "$OFFLINE/node/hosts.toml"; } | digest)
  step "image $ONLINE_NODE_IMAGE" kindest_node
}
kindest_node_ready() { labelled "$ONLINE_NODE_IMAGE"; }
kindest_node_make() {
  docker build -q --label "firedrill.key=${KEY[$ONLINE_NODE_IMAGE]}" -t "$ONLINE_NODE_IMAGE" -f - "$OFFLINE/node" <<D
FROM $KINDEST_NODE
COPY hosts.toml /etc/containerd/certs.d/firedrill.local/hosts.toml
D
}
