# Go binaries from go/NAME, one module each. Sourced by ci/setup. Used with an image registry too: the tools come from here.
# shellcheck shell=bash

binary() { # NAME VERSION PACKAGE [LDFLAGS]
  local recipe=$OFFLINE/go/${RECIPE:-$1}
  KEY["bin/$1"]=$({ echo "$3 ${4:-} $GO_FLAGS"; cat "$recipe"/*; } | digest)
  step "$1${2:+ $2}" binary "$@" # RECIPE names the module's folder where several binaries share one
}
binary_ready() { [ -x "$KIT/bin/$1" ] && [ "$(cat "$KIT/key/$1")" = "${KEY["bin/$1"]}" ]; }
binary_make() {
  local work=$KIT/go/$1
  rm -rf "$work"
  cp -r "$OFFLINE/go/${RECIPE:-$1}" "$work"
  # The pinned version must be the one that versions.sh names, since image tags are made of the latter.
  [ -z "$2" ] || grep -Eq "^(require |	)[^ ]+ v$2( |$)" "$work/go.mod" || die "go/$1/go.mod does not pin $2"
  # -mod=mod: `go mod tidy` also wants the tests' modules, which may not be served.
  (cd "$work" && CGO_ENABLED=0 GOFLAGS=$GO_FLAGS go build -mod=mod -ldflags "-s -w ${4:-}" -o "$KIT/bin/$1.new" "$3")
  mv "$KIT/bin/$1.new" "$KIT/bin/$1"
  echo "${KEY["bin/$1"]}" > "$KIT/key/$1"
}
GO_FLAGS="-trimpath -buildvcs=false"

tool_binaries() {
  local version="k8s.io/component-base/version"
  binary kubernetes "$KUBERNETES" . "-X $version.gitVersion=v$KUBERNETES -X $version.gitMajor=1 -X $version.gitMinor=34 -X $version.gitTreeState=clean"
  binary nc "" .
  binary kind "$KIND" sigs.k8s.io/kind
  binary helm "$HELM" helm.sh/helm/v4/cmd/helm
  binary nats "$NATS_CLI" github.com/nats-io/natscli/nats
}
image_binaries() {
  binary pause "" .
  binary etcd "$ETCD" go.etcd.io/etcd/server/v3
  binary coredns "$COREDNS" github.com/coredns/coredns
  binary nats-server "$NATS" github.com/nats-io/nats-server/v2
  binary kube-router "$KUBE_ROUTER" github.com/cloudnativelabs/kube-router/v2/cmd/kube-router
  binary local-path-provisioner "$LOCAL_PATH" github.com/rancher/local-path-provisioner
  binary cnpg-manager "$CNPG" github.com/cloudnative-pg/cloudnative-pg/cmd/manager \
    "-X github.com/cloudnative-pg/cloudnative-pg/pkg/versions.buildVersion=$CNPG"
  local csi=github.com/kubernetes-csi
  RECIPE=csi-sidecars binary csi-provisioner "$CSI_PROVISIONER" $csi/external-provisioner/v6/cmd/csi-provisioner
  RECIPE=csi-sidecars binary csi-attacher "$CSI_ATTACHER" $csi/external-attacher/v4/cmd/csi-attacher
  RECIPE=csi-sidecars binary csi-resizer "$CSI_RESIZER" $csi/external-resizer/v2/cmd/csi-resizer
  RECIPE=csi-sidecars binary csi-node-driver-registrar "" .
  binary metrics-server "$METRICS_SERVER" sigs.k8s.io/metrics-server/cmd/metrics-server
}

# Prometheus and its prober, with the C library that they need, out of Debian's packages.
prometheus() {
  local name key
  key=$({ echo "$DEBIAN $PROMETHEUS $BLACKBOX"; declare -f prometheus_make; } | digest)
  for name in "${PROMETHEUS_FILES[@]}"; do KEY["bin/$name"]=$key; done
  step "prometheus $PROMETHEUS and its prober" prometheus
}
PROMETHEUS_FILES=(prometheus blackbox_exporter libc.so.6 ld-linux-x86-64.so.2)
prometheus_ready() {
  local name
  for name in "${PROMETHEUS_FILES[@]}"; do [ -x "$KIT/bin/$name" ] || return 1; done
  [ "$(cat "$KIT/key/prometheus")" = "${KEY["bin/prometheus"]}" ]
}
prometheus_make() {
  local work lib=usr/lib/x86_64-linux-gnu
  work=$(mktemp -d)
  mmdebstrap --variant=extract --include=prometheus,prometheus-blackbox-exporter "$DEBIAN" "$work/packages.tar"
  tar -xf "$work/packages.tar" -C "$work" ./usr/bin/prometheus ./usr/bin/prometheus-blackbox-exporter ./$lib/libc.so.6 ./$lib/ld-linux-x86-64.so.2
  # Debian moves on within a release: an image must not carry another version's name.
  "$work/$lib/ld-linux-x86-64.so.2" --library-path "$work/$lib" "$work/usr/bin/prometheus" --version | grep -F "version $PROMETHEUS" || die "Debian $DEBIAN has no Prometheus $PROMETHEUS"
  "$work/$lib/ld-linux-x86-64.so.2" --library-path "$work/$lib" "$work/usr/bin/prometheus-blackbox-exporter" --version | grep -F "version $BLACKBOX" || die "Debian $DEBIAN has no prober $BLACKBOX"
  install -m 755 "$work/usr/bin/prometheus" "$work/$lib/libc.so.6" "$work/$lib/ld-linux-x86-64.so.2" "$KIT/bin/"
  install -m 755 "$work/usr/bin/prometheus-blackbox-exporter" "$KIT/bin/blackbox_exporter"
  rm -rf "$work"
  echo "${KEY["bin/prometheus"]}" > "$KIT/key/prometheus"
}

# The tools on the PATH: kubectl is the Kubernetes binary by another name.
links_ready() {
  local name
  for name in kind helm nats kubectl; do [ -L "$CACHE/bin/$name" ] || return 1; done
}
links_make() {
  local name
  for name in kind helm nats; do ln -sfn "$KIT/bin/$name" "$CACHE/bin/$name"; done
  ln -sfn "$KIT/bin/kubernetes" "$CACHE/bin/kubectl"
}

# CNPG's release manifest comes with its module; it is applied unchanged.
manifest_ready() { [ -s "$CNPG_MANIFEST" ]; }
manifest_make() {
  local work=$KIT/go/cnpg-manifest module=github.com/cloudnative-pg/cloudnative-pg
  rm -rf "$work"
  cp -r "$OFFLINE/go/cnpg-manager" "$work"
  cd "$work" || return
  GOFLAGS=-mod=mod go mod download "$module"
  install -m 644 "$(GOFLAGS=-mod=mod go list -m -f '{{.Dir}}' "$module")/releases/cnpg-$CNPG.yaml" "$CNPG_MANIFEST"
}

# A static busybox and a static shell, out of Debian's packages. Not busybox's own shell, because in Debian's build it prefers
# the applets inside it to what the image holds; and not the machine's own packages: before 1.37 that busybox's wget crashes.
busybox() {
  KEY["bin/busybox"]=$({ echo "$DEBIAN"; declare -f busybox_make; } | digest) # the recipe: Debian may update the packages
  KEY["bin/mksh"]=${KEY["bin/busybox"]}
  step "busybox and a shell" busybox
}
busybox_ready() { [ -x "$KIT/bin/busybox" ] && [ -x "$KIT/bin/mksh" ] && [ "$(cat "$KIT/key/busybox")" = "${KEY["bin/busybox"]}" ]; }
busybox_make() {
  local work
  work=$(mktemp -d)
  mmdebstrap --variant=extract --include=busybox-static,mksh "$DEBIAN" "$work/packages.tar"
  tar -xf "$work/packages.tar" -C "$work" ./usr/bin/busybox ./usr/lib/x86_64-linux-musl/bin/mksh
  install -m 755 "$work/usr/bin/busybox" "$work/usr/lib/x86_64-linux-musl/bin/mksh" "$KIT/bin/"
  rm -rf "$work"
  echo "${KEY["bin/busybox"]}" > "$KIT/key/busybox"
}
