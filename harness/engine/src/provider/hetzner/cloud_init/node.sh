#!/bin/sh
# Makes this server a node: firedrill-node init|join VERSION REPOSITORY
# Repeating it is harmless. What it needs is in /etc/firedrill. apt installs only what the image lacks.
set -eu
how=$1 version=$2 repository=$3
key=/etc/apt/keyrings/kubernetes.asc

metadata() { # every image with cloud-init has python3, and not every one has curl
  python3 -c 'import sys, urllib.request
address = "http://169.254.169.254/hetzner/v1/metadata/" + sys.argv[1]
print(urllib.request.urlopen(address, timeout=10).read().decode().strip())' "$1"
}

is_installed() {
  for program in containerd runc nft conntrack kubeadm kubelet; do
    command -v "$program" >/dev/null || return 1
  done
  [ "$(kubeadm version -o short)" = "v$version" ] && [ "$(kubelet --version)" = "Kubernetes v$version" ]
}

if [ -e /etc/kubernetes/kubelet.conf ]; then
  echo "this server is a node already"
  exit 0
fi

# Only what fstab names: in a container, `swapoff -a` would be about its host.
if [ -e /etc/fstab ]; then
  awk '$1 !~ /^#/ && $3 == "swap" { print $1 }' /etc/fstab | xargs -r swapoff
  sed -i '/^[^#].*[[:space:]]swap[[:space:]]/d' /etc/fstab
fi
modprobe overlay 2>/dev/null || grep -qw overlay /proc/filesystems
modprobe br_netfilter 2>/dev/null || [ -d /proc/sys/net/bridge ]
sysctl -q -p /etc/sysctl.d/90-kubernetes.conf

if ! is_installed; then
  export DEBIAN_FRONTEND=noninteractive
  mkdir -p /etc/apt/keyrings
  if [ ! -e "$key" ]; then
    python3 -c 'import sys, urllib.request
sys.stdout.buffer.write(urllib.request.urlopen(sys.argv[1], timeout=60).read())' "${repository%/}/Release.key" >"$key.new"
    mv "$key.new" "$key"
  fi
  apt-get -q -o Acquire::Retries=5 -o DPkg::Lock::Timeout=300 update
  # Debian's containerd would start with its own settings, and keep them until it is restarted.
  apt-get -q -y -o Acquire::Retries=5 -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold install --no-install-recommends \
    containerd runc nftables conntrack iptables "kubelet=$version-*" "kubeadm=$version-*"
  apt-mark hold kubelet kubeadm
fi

# The keys of the cluster's authorities are in the metadata of its control planes: no pod may reach them.
systemctl daemon-reload
systemctl enable --now firedrill-metadata.service
systemctl restart containerd
systemctl enable kubelet

address=$(metadata public-ipv4)
instance=$(metadata instance-id)
sed -e "s/@PUBLIC_IPV4@/$address/g" -e "s/@INSTANCE_ID@/$instance/g" /etc/firedrill/kubeadm.yaml >/run/firedrill-kubeadm.yaml
chmod 600 /run/firedrill-kubeadm.yaml

for attempt in 1 2 3; do
  if [ -d /etc/firedrill/pki ]; then
    mkdir -p /etc/kubernetes
    cp -a /etc/firedrill/pki /etc/kubernetes/
  fi
  # A joining node waits for the API server by itself, for as long as its configuration says.
  if kubeadm "$how" --config /run/firedrill-kubeadm.yaml; then
    rm -f /run/firedrill-kubeadm.yaml
    exit 0
  fi
  echo "kubeadm $how failed (attempt $attempt of 3)"
  # What is half done would stand in the way of the next attempt.
  kubeadm reset --force || true
done
exit 1
