# Every version of the kit, in one place. What a Go module provides is pinned, with checksums, by go/NAME/go.mod, and a build
# stops where the two disagree; node/*.yaml repeat the two images of the node's own.
# shellcheck shell=bash disable=SC2034 # read by those that source it

KUBERNETES=1.34.4 KIND=0.33.0 HELM=4.3.1 NATS_CLI=0.5.1 CARGO_DENY=0.20.2 ACTIONLINT=1.7.12
ETCD=3.6.5 COREDNS=1.14.7 KUBE_ROUTER=2.10.0 LOCAL_PATH=0.0.30
CSI_PROVISIONER=6.3.0 CSI_ATTACHER=4.12.0 CSI_RESIZER=2.2.0
NATS=2.15.2 CNPG=1.30.0 METRICS_SERVER=0.7.2
PROMETHEUS=2.53.3 BLACKBOX=0.26.0 # Debian's; fixtures/monitoring names the images
DEBIAN=trixie # of every root file system

# The names that kubeadm 1.34 asks for.
ETCD_IMAGE=registry.k8s.io/etcd:3.6.5-0
COREDNS_IMAGE=registry.k8s.io/coredns/coredns:v1.12.1
PAUSE_IMAGE=registry.k8s.io/pause:3.10.1

KUBE_ROUTER_IMAGE=firedrill.local/kube-router:v$KUBE_ROUTER
LOCAL_PATH_IMAGE=firedrill.local/local-path-provisioner:v$LOCAL_PATH

# What is deployed, by the names that charts and manifests use. PgBouncer's is the default of CNPG 1.30.0.
NATS_IMAGE=nats:$NATS-alpine
CNPG_IMAGE=ghcr.io/cloudnative-pg/cloudnative-pg:$CNPG
POSTGRES_IMAGE=ghcr.io/cloudnative-pg/postgresql:17-minimal-trixie
PGBOUNCER_IMAGE=ghcr.io/cloudnative-pg/pgbouncer:1.25.1
BUSYBOX_IMAGE=busybox:latest
METRICS_SERVER_IMAGE=registry.k8s.io/metrics-server/metrics-server:v$METRICS_SERVER
PROMETHEUS_IMAGE=prom/prometheus:v$PROMETHEUS
BLACKBOX_IMAGE=prom/blackbox-exporter:v$BLACKBOX

# The sidecars of fixtures/volumes/deploy/driver.yaml, which names them too.
CSI_PROVISIONER_IMAGE=registry.k8s.io/sig-storage/csi-provisioner:v$CSI_PROVISIONER
CSI_ATTACHER_IMAGE=registry.k8s.io/sig-storage/csi-attacher:v$CSI_ATTACHER
CSI_RESIZER_IMAGE=registry.k8s.io/sig-storage/csi-resizer:v$CSI_RESIZER
CSI_REGISTRAR_IMAGE=registry.k8s.io/sig-storage/csi-node-driver-registrar:v2.15.0 # offline: go/csi-sidecars/main.go under this name

# The node: ours where no image registry answers; where one does, kind's own, which is published for this version of the series.
NODE_IMAGE=firedrill.local/node:v$KUBERNETES
KINDEST_NODE=kindest/node:v1.34.3
ONLINE_NODE_IMAGE=firedrill.local/node:v1.34.3-kindest
