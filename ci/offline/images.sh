# Root file systems from Debian packages and images made of them and of bin/: what no image registry can be asked for.
# Sourced by ci/setup. An image holds the programs of its original and no more, so that a command which fails there fails here.
# shellcheck shell=bash

mmdebstrap() { # makes root file systems as root or in a user namespace
  command mmdebstrap "$@" && return
  is_root || refuse "mmdebstrap failed; without root it needs the package uidmap, a line for $(id -un) in /etc/subuid and /etc/subgid, and a kernel that lets users make namespaces: its own words are in $CACHE/log"
  return 1
}

rootfs() { # NAME PACKAGES [MMDEBSTRAP OPTIONS]
  KEY["firedrill.local/$1-rootfs"]=$(echo "$DEBIAN $*" | digest)
  step "root file system $1" rootfs "$@"
}
rootfs_ready() { labelled "firedrill.local/$1-rootfs"; }
rootfs_make() {
  local name=$1 packages=$2 tag=firedrill.local/$1-rootfs tar=$KIT/rootfs/$1.tar
  shift 2
  if [ ! -s "$tar" ] || [ "$(cat "$KIT/key/rootfs-$name")" != "${KEY[$tag]}" ]; then
    mmdebstrap --variant=minbase --include="$packages" --dpkgopt='path-exclude=/usr/share/man/*' \
      --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' "$@" "$DEBIAN" "$tar"
    echo "${KEY[$tag]}" > "$KIT/key/rootfs-$name"
  fi
  docker import -c "LABEL firedrill.key=${KEY[$tag]}" "$tar" "$tag"
}

image() { # TAG INPUTS, with a Dockerfile on standard input; an input is bin/NAME, certificates or a file of this folder
  local tag=$1 recipe base input
  shift
  recipe=$(cat)
  base=$(sed -n 's/^FROM //p' <<<"$recipe")
  KEY["$tag"]=$({
    echo "$recipe ${KEY[$base]:-}"
    for input in "$@"; do echo "${KEY[$input]:-$(digest_of "$(input_path "$input")")}"; done
  } | digest)
  DOCKERFILE=$recipe step "image $tag" image "$tag" "$@"
}
image_ready() { labelled "$1"; }
image_make() {
  local tag=$1 context input
  shift
  context=$(mktemp -d)
  for input in "$@"; do cp "$(input_path "$input")" "$context/"; done
  echo "$DOCKERFILE" > "$context/Dockerfile"
  docker build -q --label "firedrill.key=${KEY[$tag]}" -t "$tag" "$context"
  rm -rf "$context"
}
input_path() {
  case "$1" in
    bin/*) echo "$KIT/$1" ;;
    certificates) echo "$SYSTEM/etc/ssl/certs/ca-certificates.crt" ;;
    *) echo "$OFFLINE/$1" ;;
  esac
}
labelled() { [ "$(docker image inspect -f '{{index .Config.Labels "firedrill.key"}}' "$1")" = "${KEY[$1]}" ]; }

node_images() { # what a cluster needs before it can pull anything: kept in the node image
  rootfs node systemd,systemd-sysv,dbus,containerd,runc,iptables,nftables,ipset,iproute2,ethtool,socat,conntrack,jq,mount,kmod,procps,containernetworking-plugins,curl,ca-certificates,e2fsprogs,hostname,ebtables,iputils-ping,libseccomp2,util-linux
  rootfs net iptables,ipset,iproute2,conntrack,kmod,ca-certificates,procps,e2fsprogs,mount
  image firedrill.local/components bin/kubernetes <<'D'
FROM firedrill.local/net-rootfs
COPY kubernetes /usr/local/bin/hyper
RUN for name in kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubectl; do ln -s hyper /usr/local/bin/$name; done \
 && update-alternatives --set iptables /usr/sbin/iptables-legacy && update-alternatives --set ip6tables /usr/sbin/ip6tables-legacy
D
  image "$ETCD_IMAGE" bin/etcd <<'D'
FROM scratch
COPY etcd /usr/local/bin/etcd
ENV PATH=/usr/local/bin
D
  image "$COREDNS_IMAGE" bin/coredns <<'D'
FROM scratch
COPY coredns /coredns
ENTRYPOINT ["/coredns"]
D
  image "$PAUSE_IMAGE" bin/pause <<'D'
FROM scratch
COPY pause /pause
USER 65535:65535
ENTRYPOINT ["/pause"]
D
  image "$KUBE_ROUTER_IMAGE" bin/kube-router <<'D'
FROM firedrill.local/net-rootfs
COPY kube-router /usr/local/bin/kube-router
ENTRYPOINT ["/usr/local/bin/kube-router"]
D
  image "$LOCAL_PATH_IMAGE" bin/local-path-provisioner <<'D'
FROM firedrill.local/net-rootfs
COPY local-path-provisioner /usr/local/bin/local-path-provisioner
ENTRYPOINT ["/usr/local/bin/local-path-provisioner"]
D
}

# shellcheck disable=SC2034 # ci/setup fills the registry with them
STACK_IMAGES=("$NATS_IMAGE" "$CNPG_IMAGE" "$POSTGRES_IMAGE" "$PGBOUNCER_IMAGE" "$BUSYBOX_IMAGE" "$METRICS_SERVER_IMAGE"
  "$PROMETHEUS_IMAGE" "$BLACKBOX_IMAGE"
  "$CSI_PROVISIONER_IMAGE" "$CSI_ATTACHER_IMAGE" "$CSI_RESIZER_IMAGE" "$CSI_REGISTRAR_IMAGE")
# shellcheck disable=SC2034 # and with these, which kind's nodes hold already and the nodes on the Hetzner double pull
CLUSTER_IMAGES=(registry.k8s.io/kube-{apiserver,controller-manager,scheduler,proxy}:v"$KUBERNETES"
  "$ETCD_IMAGE" "$COREDNS_IMAGE" "$PAUSE_IMAGE" "$KUBE_ROUTER_IMAGE")
stack_images() { # what is deployed: kept in the registry
  rootfs registry docker-registry,ca-certificates
  image firedrill.local/registry registry.yml <<'D'
FROM firedrill.local/registry-rootfs
COPY registry.yml /etc/registry.yml
VOLUME /var/lib/registry
ENTRYPOINT ["docker-registry", "serve", "/etc/registry.yml"]
D
  # The applets are those that Alpine links and Debian's busybox has. No python, no curl, no `nats`: the original has none.
  image "$NATS_IMAGE" bin/nats-server bin/busybox bin/mksh bin/nc certificates nats-entrypoint <<'D'
FROM scratch
COPY busybox nc /bin/
COPY mksh /bin/sh
COPY nats-entrypoint /usr/local/bin/docker-entrypoint.sh
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY nats-server /usr/local/bin/nats-server
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
RUN ["/bin/busybox", "sh", "-c", "PATH=/bin; for name in arch awk base64 basename bc blkdiscard bunzip2 bzcat bzip2 cal cat chgrp chmod chown chroot clear cmp cp cut date dc dd df diff dirname dmesg dnsdomainname du echo egrep env expand expr factor fallocate false fgrep find fold free getopt grep groups gunzip gzip head hexdump hostid hostname id ifconfig install ip ipcalc kill killall less link ln logger ls lzcat md5sum mkdir mkfifo mknod mktemp more mount mv netstat nl nproc nsenter nslookup od passwd paste pidof ping ping6 printf ps pwd readlink realpath reset rev rm rmdir route run-parts sed seq setsid sha1sum sha256sum sha512sum shred shuf sleep sort stat strings stty su sync sysctl tac tail tar tee test time timeout top touch tr traceroute true truncate tty umount uname unexpand uniq unlink unxz unzip uptime usleep vi watch wc wget which who whoami xargs xxd xzcat yes zcat; do busybox ln -s busybox /bin/$name; done"]
RUN mkdir -p /tmp /root && chmod 1777 /tmp && echo root:x:0:0:root:/root:/bin/sh > /etc/passwd && echo root:x:0: > /etc/group
EXPOSE 4222 8222 6222
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["nats-server"]
D
  image "$CNPG_IMAGE" bin/cnpg-manager <<'D'
FROM scratch
COPY cnpg-manager /manager
COPY cnpg-manager /operator/manager_amd64
USER 65532:65532
ENTRYPOINT ["/manager"]
D
  # The cluster that the package makes at installation is not wanted; the user is 26 in CNPG's image.
  rootfs postgres postgresql-17,postgresql-common,ca-certificates,gnupg,libsasl2-modules,libldap-common \
    "--customize-hook=rm -rf \"\$1\"/var/lib/postgresql/17 \"\$1\"/etc/postgresql/17" \
    "--customize-hook=chroot \"\$1\" sh -c 'old=\$(id -u postgres); usermod -u 26 postgres; find / -xdev -user \$old -exec chown -h postgres {} +'"
  image "$POSTGRES_IMAGE" <<'D'
FROM firedrill.local/postgres-rootfs
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/postgresql/17/bin
USER 26
D
  rootfs pgbouncer pgbouncer,postgresql-client,ca-certificates
  image "$PGBOUNCER_IMAGE" <<'D'
FROM firedrill.local/pgbouncer-rootfs
RUN ln -s /usr/sbin/pgbouncer /usr/bin/pgbouncer && groupadd -r --gid 996 pgbouncer && useradd -r --uid 998 --gid 996 pgbouncer \
 && mkdir -p /var/run/pgbouncer /var/log/pgbouncer && chown -R pgbouncer:pgbouncer /var/run/pgbouncer /var/log/pgbouncer /etc/pgbouncer
EXPOSE 6432
USER pgbouncer
ENTRYPOINT ["pgbouncer", "/etc/pgbouncer/pgbouncer.ini"]
D
  image "$BUSYBOX_IMAGE" bin/busybox bin/mksh bin/nc <<'D'
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "sh", "-c", "/bin/busybox --install -s /bin; rm /bin/nc /bin/sh; mkdir -p /etc /tmp /root; chmod 1777 /tmp; echo root:x:0:0:root:/root:/bin/sh > /etc/passwd; echo root:x:0: > /etc/group"]
COPY nc /bin/nc
COPY mksh /bin/sh
CMD ["sh"]
D
  local sidecar name
  for sidecar in "$CSI_PROVISIONER_IMAGE" "$CSI_ATTACHER_IMAGE" "$CSI_RESIZER_IMAGE" "$CSI_REGISTRAR_IMAGE"; do
    name=${sidecar##*/} name=${name%:*}
    image "$sidecar" "bin/$name" <<D
FROM scratch
COPY $name /$name
ENTRYPOINT ["/$name"]
D
  done
  image "$METRICS_SERVER_IMAGE" bin/metrics-server certificates <<'D'
FROM scratch
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY metrics-server /metrics-server
USER 65534
ENTRYPOINT ["/metrics-server"]
D
  image "$PROMETHEUS_IMAGE" bin/prometheus bin/libc.so.6 bin/ld-linux-x86-64.so.2 certificates <<'D'
FROM scratch
COPY ld-linux-x86-64.so.2 /lib64/
COPY libc.so.6 /lib/x86_64-linux-gnu/
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY prometheus /bin/prometheus
USER 65534
EXPOSE 9090
ENTRYPOINT ["/bin/prometheus"]
D
  image "$BLACKBOX_IMAGE" bin/blackbox_exporter bin/libc.so.6 bin/ld-linux-x86-64.so.2 certificates <<'D'
FROM scratch
COPY ld-linux-x86-64.so.2 /lib64/
COPY libc.so.6 /lib/x86_64-linux-gnu/
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY blackbox_exporter /bin/blackbox_exporter
USER 65534
EXPOSE 9115
ENTRYPOINT ["/bin/blackbox_exporter"]
D
}
