//! `firedrill sweep` as a program: against an API server in memory, with a container engine that only writes down what it is asked.

#[path = "../../engine/tests/fake_api/mod.rs"]
mod fake_api;

use fake_api::FakeApi;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;
use tempfile::TempDir;

const RECORDS: &str = "/apis/apps/v1/namespaces/firedrill-system/controllerrevisions";
const CLUSTER: &str = "firedrill-t";
const RUN: &str = "11300812-new-7c";

struct Machine {
    api: FakeApi,
    folder: TempDir,
}

impl Machine {
    /// A machine with a kind cluster of two nodes and one that a run made, and a container of somebody else's named `victim`.
    async fn new() -> Self {
        let (api, folder) = (FakeApi::start().await, tempfile::tempdir().unwrap());
        let path = |name: &str| folder.path().join(name);
        let port = api.port();
        // The file is recognized by its line with https; the context leads to the server without TLS.
        let kubeconfig = format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: unused\n  cluster:\n    server: https://127.0.0.1:{port}\n\
             - name: c\n  cluster: {{server: 'http://127.0.0.1:{port}'}}\nusers:\n- name: u\n  user: {{token: t}}\n\
             contexts:\n- name: kind-{CLUSTER}\n  context: {{cluster: c, user: u}}\n"
        );
        let own = path("cache/firedrill/clusters").join(CLUSTER);
        fs::create_dir_all(&own).unwrap();
        fs::write(own.join("kubeconfig"), kubeconfig).unwrap();
        let inspected = json!([{"Name": format!("/{CLUSTER}-control-plane"), "Created": "2026-11-30T00:00:00Z",
            "State": {"Running": true},
            "Config": {"Labels": {"io.x-k8s.kind.cluster": CLUSTER, "io.x-k8s.kind.role": "control-plane"}},
            "HostConfig": {"PortBindings": {"6443/tcp": [{"HostPort": port.to_string()}], "31900/tcp": [{"HostPort": "1"}]}}}]);
        fs::write(path("inspect.json"), inspected.to_string()).unwrap();
        let row = |id: &str, name: &str, run: &str| format!("{id}\t{CLUSTER}-{name}\t{run}\trunning\n");
        let rows = [row("cp1", "control-plane", ""), row("w1", "worker", ""), row("n1", "worker-new", RUN)].concat();
        fs::write(path("rows"), rows).unwrap();
        let here = folder.path().display();
        let script = format!(
            "#!/bin/sh\necho \"$*\" >> {here}/asked\ncase \"$*\" in\n  *--no-trunc*) cat {here}/rows ;;\n  ps*) echo cp1 ;;\n  \
             'container inspect'*) cat {here}/inspect.json ;;\n  'rm '*) grep -v '^n1' {here}/rows > {here}/rest; mv {here}/rest {here}/rows ;;\nesac\n"
        );
        fs::create_dir(path("bin")).unwrap();
        fs::write(path("bin/docker"), script).unwrap();
        fs::set_permissions(path("bin/docker"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(path("asked"), "").unwrap();
        Self { api, folder }
    }

    /// A record as the runner would write it. Only who may write records can write this one.
    fn record(&self, id: u32, undo: &Value) {
        let data = json!({"format": 1, "run": RUN, "id": id, "cluster_uid": "here", "provider": "kind", "cluster": CLUSTER,
            "created": "2026-11-30T00:00:00Z", "undo": undo});
        let labels = json!({"firedrill.dev/run": RUN, "app.kubernetes.io/managed-by": "firedrill"});
        let path = format!("{RECORDS}/undo-{RUN}-{id}");
        self.api.put(&path, json!({"metadata": {"labels": labels}, "data": data, "revision": id + 1}));
    }

    async fn sweep(&self, more: &[&str]) -> Output {
        let path = |name: &str| self.folder.path().join(name);
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_firedrill"));
        command.env_clear().env("PATH", format!("{}:/usr/bin:/bin", path("bin").display()));
        command.env("XDG_CACHE_HOME", path("cache")).env("HOME", self.folder.path());
        command.arg("sweep").arg("--runs").arg(path("runs")).args(more);
        command.output().await.unwrap()
    }

    /// What the engine was asked to change.
    fn changes(&self) -> Vec<String> {
        let asked = fs::read_to_string(self.folder.path().join("asked")).unwrap();
        let reads = |line: &&str| line.starts_with("ps ") || line.starts_with("container inspect");
        asked.lines().filter(|line| !reads(line)).map(str::to_owned).collect()
    }
}

fn text(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

fn tenants_pod(undo: &Value) -> Value {
    json!({"metadata": {
        "labels": {"firedrill.dev/run": "r9", "app.kubernetes.io/component": "node-agent"},
        "annotations": {"firedrill.dev/undo": undo.to_string()}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_pod_has_no_container_removed() {
    let machine = Machine::new().await;
    let victim = json!([{"remove_node": {"node": "victim"}}, {"power_on": {"node": "victim"}}]);
    let worker = json!([{"remove_node": {"node": "firedrill-t-worker"}}]);
    machine.api.put("/api/v1/namespaces/tenant/pods/a", tenants_pod(&victim));
    machine.api.put("/api/v1/namespaces/tenant/pods/b", tenants_pod(&worker));
    let swept = machine.sweep(&["--cluster", CLUSTER]).await;
    assert_eq!(swept.status.code(), Some(5), "{}", text(&swept));
    assert!(text(&swept).contains("take node victim away"), "{}", text(&swept));
    assert!(text(&swept).contains("--trust-annotations"), "{}", text(&swept));
    assert_eq!(machine.changes(), [""; 0]);
    assert_eq!(machine.api.writes(), [""; 0]);
    // Even where the user trusts them: neither container carries the label of that run.
    let swept = machine.sweep(&["--cluster", CLUSTER, "--trust-annotations"]).await;
    assert_eq!(swept.status.code(), Some(5), "{}", text(&swept));
    assert_eq!(machine.changes(), [""; 0], "{}", text(&swept));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_removes_the_container_that_its_run_made_and_no_other() {
    let machine = Machine::new().await;
    machine.record(1, &json!({"remove_node": {"node": "victim"}}));
    machine.record(2, &json!({"remove_node": {"node": "firedrill-t-worker"}}));
    machine.record(3, &json!({"remove_node": {"node": "firedrill-t-worker-new"}}));
    machine.record(4, &json!({"power_on": {"node": "firedrill-t-worker", "container": "another-life"}}));
    let swept = machine.sweep(&["--cluster", CLUSTER]).await;
    assert_eq!(swept.status.code(), Some(5), "{}", text(&swept));
    assert!(text(&swept).contains("container firedrill-t-worker is not removed"), "{}", text(&swept));
    assert_eq!(machine.changes(), ["rm --force --volumes n1"], "by its id: {}", text(&swept));
    let left = machine.api.paths(RECORDS);
    assert_eq!(left, [format!("{RECORDS}/undo-{RUN}-2")], "the one that could not be undone");
    // Named as somebody else's cluster, the same record is not obeyed at all.
    let file = machine.api.kubeconfig(machine.folder.path());
    let swept = machine.sweep(&["--kubeconfig", &path(&file), "--context", "x"]).await;
    assert_eq!(swept.status.code(), Some(5), "{}", text(&swept));
    assert!(text(&swept).contains("its node is of the kind cluster"), "{}", text(&swept));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_others_needs_the_namespace_from_plan_rbac() {
    let machine = Machine::new().await;
    machine.record(
        1,
        &json!({"drop_table":
        {"cluster": "n/c", "database": "d", "table": format!("firedrill_{}_rows", RUN.replace('-', "_"))}}),
    );
    machine.api.remove("/api/v1/namespaces/firedrill-system");
    let file = machine.api.kubeconfig(machine.folder.path());
    let swept = machine.sweep(&["--kubeconfig", &path(&file), "--context", "x"]).await;
    assert_eq!(swept.status.code(), Some(4), "{}", text(&swept));
    assert!(text(&swept).contains("plan NAME --rbac"), "{}", text(&swept));
    assert_eq!(machine.api.writes(), [""; 0], "nothing was made");
}

fn path(file: &Path) -> String {
    file.display().to_string()
}
