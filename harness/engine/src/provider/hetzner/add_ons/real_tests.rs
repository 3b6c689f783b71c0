//! A whole cluster on the double's machines: the user data alone boots it, and the add-ons do what they promise. It takes minutes, root, a
//! Docker engine and the offline kit: `ci/hetzner-cluster` prepares all that and runs it.
#![allow(clippy::print_stderr, clippy::disallowed_methods, reason = "times of a real cluster are measured")]

mod bed;

use super::super::client::Kind;
use bed::{Bed, CONTROL_PLANE, MINUTE};
use std::time::Instant;

/// Pods that are told apart by their node and by an index file that each serves.
fn web(name: &str, node: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: web, pod: {name}}}}}
spec:
  nodeName: {node}
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: busybox:latest
    command: [sh, -c, 'mkdir -p /tmp/www; echo {name} > /tmp/www/index.html; exec busybox httpd -f -p 8080 -h /tmp/www']
"
    )
}

/// The first NodePort is one that the firewall opens for drills, the second is not.
const SERVICE: &str = "apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  selector: {pod: web-1}
  ports:
  - {name: http, port: 80, targetPort: 8080, nodePort: 31900}
  - {name: other, port: 81, targetPort: 8080, nodePort: 32000}
";

const DENY: &str = "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny}
spec: {podSelector: {matchLabels: {pod: web-1}}, policyTypes: [Ingress]}
";

/// A Deployment whose pod holds a volume, so that it moves when its node is gone.
const DATA: &str = "apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: data}
spec:
  strategy: {type: Recreate}
  selector: {matchLabels: {app: data}}
  template:
    metadata: {labels: {app: data}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: main
        image: busybox:latest
        command: [sleep, '100000']
        volumeMounts: [{name: data, mountPath: /data}]
      volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
";

/// The machine has few processors: one test at a time.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test(flavor = "multi_thread")]
#[ignore = "boots a cluster"]
async fn three_control_planes_boot_in_parallel() {
    let _held = ONE_AT_A_TIME.lock().await;
    let bed = Bed::boot(&["control-plane-2", "control-plane-3"], &["worker-1"]).await;
    bed.add_ons().await;
    let phases = "jsonpath={.items[*].status.phase}";
    bed.until(MINUTE, "three members of etcd run", async || {
        let args = ["get", "pods", "--namespace", "kube-system", "--selector", "component=etcd", "-o", phases];
        bed.kubectl(&args)
            .await
            .is_ok_and(|text| text.split_whitespace().filter(|phase| *phase == "Running").count() == 3)
    })
    .await;
    bed.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "boots a cluster"]
async fn a_cluster_boots_by_its_user_data_and_its_add_ons_keep_their_promises() {
    let _held = ONE_AT_A_TIME.lock().await;
    let bed = Bed::boot(&[], &["worker-1", "worker-2", "worker-3"]).await;
    bed.add_ons().await;
    let begun = Instant::now();
    bed.add_ons().await;
    eprintln!("the same add-ons again: {:.1?}", begun.elapsed());
    network(&bed).await;
    metadata(&bed).await;
    policy(&bed).await;
    let volume = volume(&bed).await;
    power_cut(&bed).await;
    server_deleted(&bed, volume).await;
    bed.close().await;
}

async fn network(bed: &Bed) {
    bed.apply(&(web("web-1", "worker-1") + "---\n" + &web("web-2", "worker-2") + "---\n" + SERVICE)).await;
    bed.kubectl(&["wait", "--for=condition=Ready", "--timeout=120s", "pod/web-1", "pod/web-2"]).await.unwrap();
    let address = bed.kubectl(&["get", "pod", "web-1", "-o", "jsonpath={.status.podIP}"]).await.unwrap();
    bed.until(MINUTE, "a pod of another node answers", async || bed.fetches("web-2", &format!("{address}:8080")).await)
        .await;
    bed.until(MINUTE, "a Service answers by its name", async || {
        bed.fetches("web-2", "web.default.svc.cluster.local").await
    })
    .await;
    // More than one packet, so that the overlay's MTU is seen to fit.
    bed.exec("web-1", "head -c 3000000 /dev/zero > /tmp/www/large").await.unwrap();
    let bytes = bed.exec("web-2", &format!("wget -qO- http://{address}:8080/large | wc -c")).await.unwrap();
    assert_eq!(bytes.trim(), "3000000");
    // From outside, by a NodePort of the control plane, on which the pod is not.
    assert!(bed.connects(CONTROL_PLANE, 31_900), "a NodePort of drills");
    assert!(!bed.connects(CONTROL_PLANE, 32_000), "another NodePort");
    let ids = "jsonpath={range .items[*]}{.metadata.name} {.spec.providerID}{\"\\n\"}{end}";
    let ids = bed.kubectl(&["get", "nodes", "-o", ids]).await.unwrap();
    let expected = format!("worker-1 hcloud://{}", bed.server("worker-1"));
    assert!(ids.lines().any(|line| line == expected), "{ids}");
}

/// Pods do not reach the metadata service, in which the keys of the cluster's authorities are; a pod in the host's network does.
async fn metadata(bed: &Bed) {
    let ask = "wget -qO- -T 3 http://169.254.169.254/hetzner/v1/metadata/instance-id";
    for pod in ["web-1", "web-2"] {
        let error = bed.exec(pod, ask).await.unwrap_err();
        assert!(error.contains("timed out"), "{error}");
    }
    let host = web("host", CONTROL_PLANE)
        .replace("spec:\n", "spec:\n  hostNetwork: true\n  tolerations: [{operator: Exists}]\n");
    bed.apply(&host.replace("-p 8080", "-p 18080")).await;
    bed.kubectl(&["wait", "--for=condition=Ready", "--timeout=120s", "pod/host"]).await.unwrap();
    assert_eq!(bed.exec("host", ask).await.unwrap().trim(), bed.server(CONTROL_PLANE).to_string());
    bed.kubectl(&["delete", "pod", "host"]).await.unwrap();
}

async fn policy(bed: &Bed) {
    let address = bed.kubectl(&["get", "pod", "web-1", "-o", "jsonpath={.status.podIP}"]).await.unwrap();
    let address = format!("{address}:8080");
    assert!(bed.fetches("web-2", &address).await, "without a policy it answers");
    bed.apply(DENY).await;
    bed.until(MINUTE, "the policy is in force", async || !bed.fetches("web-2", &address).await).await;
    bed.kubectl(&["delete", "networkpolicy", "deny"]).await.unwrap();
    bed.until(MINUTE, "the policy is lifted", async || bed.fetches("web-2", &address).await).await;
}

/// A claim gets a volume with our labels, which keeps its data from one node to the next, and grows in use. Its id.
async fn volume(bed: &Bed) -> i64 {
    bed.kubectl(&["cordon", "worker-2", "worker-3"]).await.unwrap();
    let begun = Instant::now();
    bed.apply(DATA).await;
    bed.rolled_out("data").await;
    eprintln!("a claim is bound, attached and mounted after {:.1?}", begun.elapsed());
    bed.exec("deployment/data", "echo kept > /data/file; sync /data/file").await.unwrap();
    let volumes = bed.client.volumes(&bed.selector()).await.unwrap();
    let [volume] = volumes.as_slice() else { panic!("{volumes:?}") };
    assert_eq!((volume.server, volume.size), (Some(bed.server("worker-1")), 10));
    assert_eq!(volume.labels.get("firedrill.dev/claim-name").map(String::as_str), Some("data"));
    assert!(volume.name.starts_with("pvc-"), "{}", volume.name);

    // To another node.
    bed.kubectl(&["uncordon", "worker-2"]).await.unwrap();
    bed.kubectl(&["cordon", "worker-1"]).await.unwrap();
    let begun = Instant::now();
    bed.kubectl(&["rollout", "restart", "deployment/data"]).await.unwrap();
    bed.rolled_out("data").await;
    eprintln!("its pod moved to another node within {:.1?}", begun.elapsed());
    assert_eq!(bed.exec("deployment/data", "cat /data/file").await.unwrap().trim(), "kept");
    assert_eq!(bed.node_of("data").await, "worker-2");
    bed.kubectl(&["uncordon", "worker-1", "worker-3"]).await.unwrap();

    let patch = r#"{"spec": {"resources": {"requests": {"storage": "12Gi"}}}}"#;
    bed.kubectl(&["patch", "pvc", "data", "--patch", patch]).await.unwrap();
    let begun = Instant::now();
    // The kubelet looks at a pod that runs every minute or so.
    bed.until(3 * MINUTE, "the volume has grown", async || {
        let said = bed.exec("deployment/data", "df -m /data | tail -n 1").await.unwrap_or_default();
        said.split_whitespace().nth(1).and_then(|mib| mib.parse::<u64>().ok()).is_some_and(|mib| mib > 11_000)
    })
    .await;
    eprintln!("it has grown in use after {:.1?}", begun.elapsed());
    volume.id
}

/// A worker that loses its power comes back with its pods, its routes and its volume.
async fn power_cut(bed: &Bed) {
    let server = bed.server("worker-2");
    bed.exec("deployment/data", "echo again > /data/file; sync /data/file; echo lost > /data/lost").await.unwrap();
    let action = bed.client.act(Kind::Server, server, "poweroff", &serde_json::json!({})).await.unwrap();
    bed.client.wait_for_actions(vec![action], MINUTE).await.unwrap();
    let begun = Instant::now();
    bed.until(2 * MINUTE, "the node is seen to be gone", async || !bed.is_ready("worker-2").await).await;
    eprintln!("NotReady {:.1?} after the power went", begun.elapsed());
    let action = bed.client.act(Kind::Server, server, "poweron", &serde_json::json!({})).await.unwrap();
    bed.client.wait_for_actions(vec![action], MINUTE).await.unwrap();
    let begun = Instant::now();
    bed.until(3 * MINUTE, "the node is back", async || bed.is_ready("worker-2").await).await;
    eprintln!("Ready again {:.1?} after the power came back", begun.elapsed());
    bed.until(3 * MINUTE, "the pod has its volume again", async || {
        bed.exec("deployment/data", "cat /data/file").await.is_ok_and(|text| text.trim() == "again")
    })
    .await;
    eprintln!("its pod reads its volume {:.1?} after the power came back", begun.elapsed());
    assert!(bed.exec("deployment/data", "cat /data/lost").await.unwrap_or_default().is_empty(), "it was never synced");
    bed.until(2 * MINUTE, "its pods are reached", async || bed.fetches("web-2", "web.default.svc.cluster.local").await)
        .await;
}

/// A server that is deleted leaves its volume, which another node gets at once if the node is marked as out of service.
async fn server_deleted(bed: &Bed, volume: i64) {
    let node = bed.node_of("data").await;
    let begun = Instant::now();
    bed.client.delete_resource(Kind::Server, bed.server(&node), 2 * MINUTE).await.unwrap();
    let taint = "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute";
    bed.until(2 * MINUTE, "the node is seen to be gone", async || !bed.is_ready(&node).await).await;
    bed.kubectl(&["taint", "node", &node, taint]).await.unwrap();
    bed.until(3 * MINUTE, "another node has the volume", async || {
        let reads = bed.exec("deployment/data", "cat /data/file").await.is_ok_and(|text| text.trim() == "again");
        reads && bed.node_of("data").await != node
    })
    .await;
    eprintln!("another node's pod reads the volume {:.1?} after the server was deleted", begun.elapsed());
    let now = bed.client.volumes(&bed.selector()).await.unwrap();
    assert_eq!(now.iter().map(|volume| volume.id).collect::<Vec<_>>(), [volume]);
    bed.kubectl(&["delete", "node", &node]).await.unwrap();

    // Deleting the claim deletes the volume.
    bed.kubectl(&["delete", "deployment/data", "pvc/data"]).await.unwrap();
    bed.until(2 * MINUTE, "the volume is deleted", async || {
        bed.client.volumes(&bed.selector()).await.is_ok_and(|left| left.is_empty())
    })
    .await;
}
