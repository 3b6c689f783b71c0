use super::*;
use firedrill_core::shell::literal_pipelines;

fn judge() -> (Judge, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let chart = directory.path().join("elsewhere");
    std::fs::create_dir_all(chart.join("templates")).unwrap();
    std::fs::write(chart.join("values-small.yaml"), "").unwrap();
    std::fs::create_dir_all(directory.path().join("deploy/helm")).unwrap();
    std::os::unix::fs::symlink(&chart, directory.path().join("deploy/helm/ironflow")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", chart.join("values-out.yaml")).unwrap();
    let mut judge = Judge::new(OsStr::new("/usr/bin:/bin"), directory.path(), Some("deploy/helm/ironflow"));
    judge.namespaces = ["tenant-b".to_owned()].into();
    (judge, directory)
}

fn words(text: &str) -> Vec<String> {
    let all = literal_pipelines(text).unwrap_or_else(|why| panic!("{text}: {why}"));
    all[0].commands[0].words.clone()
}

#[test]
fn nothing_that_changes_or_leads_elsewhere_is_read() {
    let (judge, _directory) = judge();
    for text in [
        // Subcommands that are on no list, and plugins.
        "kubectl delete pod a",
        "kubectl rollout restart deploy/a",
        "kubectl cluster-info dump",
        "kubectl whatever --help",
        "kubectl krew install x",
        "kubectl config set-context x",
        "kubectl create token a",
        "kubectl cp a:/x y",
        "kubectl proxy",
        "kubectl debug node/a",
        "kubectl -n a",
        "kubectl",
        "helm upgrade a b",
        "helm rollback a",
        "helm uninstall a",
        "helm plugin install x",
        "helm template a b",
        "helm lint x",
        "helm show values oci://x/y",
        "helm show values http://x/y.tgz",
        "helm show values /etc",
        "helm env",
        // Flags: the last one wins, in any spelling.
        "kubectl get pods --help=false",
        "kubectl get pods -h=false",
        "kubectl get pods --dry_run=none",
        "kubectl get pods --dry-run=none",
        "kubectl get --raw /api/x",
        "kubectl get pods -w",
        "kubectl get pods -Aw",
        "kubectl logs -f a",
        "kubectl get pods --kubeconfig other",
        "kubectl get pods --context b",
        "kubectl get pods --context=b",
        "kubectl get pods --as=admin",
        "kubectl get pods --as_group=x",
        "kubectl get pods -s http://x",
        "kubectl get pods --server http://x",
        "kubectl get pods --token x",
        "kubectl get pods --cache-dir=/x",
        "kubectl get pods --profile=cpu --profile-output=/x",
        "kubectl get pods --log-file=/x",
        "kubectl get pods --insecure-skip-tls-verify",
        "kubectl get -k x",
        "kubectl get pods -v9",
        "kubectl get pods -o go-template-file=x",
        "kubectl get pods -ojsonpath-file=x",
        "kubectl get pods --template=/x",
        "kubectl describe -f http://x/y",
        "kubectl get -",
        "kubectl get pods -- --raw=x",
        "helm get values a --kube-context b",
        "helm get values a --kubeconfig b",
        "helm list --registry-config x",
        "helm list --debug",
        "helm get values a --post-renderer x",
        "helm status a --help=false",
        // Content of Secrets.
        "kubectl get secret a -o yaml",
        "kubectl get pods,Secrets -o json",
        "kubectl get secret/a -ojsonpath='{.data}'",
        "kubectl get secrets.v1. -o go-template='{{.}}'",
        // In containers.
        "kubectl exec a",
        "kubectl exec a b -- df",
        "kubectl exec a -- rm -rf /",
        "kubectl exec a -- wget http://localhost/health",
        "kubectl exec a -- wget -O /etc/x http://localhost/health",
        "kubectl exec a -- wget -qO- -O /etc/x http://localhost/health",
        "kubectl exec a -- wget -qO- --output-document=/etc/x http://localhost/health",
        "kubectl exec a -- wget -qO- --post-data=x http://localhost/health",
        "kubectl exec a -- wget -qO- http://evil.com/health",
        "kubectl exec a -- wget -qO- https://localhost/health",
        "kubectl exec a -- wget -qO- http://user@localhost/health",
        "kubectl exec a -- wget -qO- http://169.254.169.254/metrics",
        "kubectl exec a -- wget -qO- http://localhost:8222/shutdown",
        "kubectl exec a -- wget -qO- http://localhost/health http://localhost/x",
        "kubectl exec a -- wget -qO- -i /x http://localhost/health",
        "kubectl exec a -- wget -qO- -P /x http://localhost/health",
        "kubectl exec a -- sh -c df",
        "kubectl exec a -- sh -c 'command -v -- \"x1\"' firedrill x",
        "kubectl exec a -- psql -c 'SELECT 1'",
        "kubectl exec a -- psql -X -w -At -c 'SELECT 1'",
        "kubectl exec a -- nc -l 80",
        "kubectl exec -i a -- nc localhost 4222",
        "kubectl exec a -- nc -z -e /bin/sh localhost 4222",
        "kubectl exec a -- nc -zv example.com 80",
        "kubectl exec a -- nats stream purge b",
        "kubectl exec a -- cat /var/run/secrets/kubernetes.io/serviceaccount/token",
        "kubectl exec a -- head /proc/1/environ",
        "kubectl exec a -- ps e",
        "kubectl exec a -- env",
        "kubectl exec a -- hostname b",
        "kubectl exec a -- ls /proc/1",
        "kubectl exec a -- ls --color=x /",
        "kubectl exec a -- df --output=x",
        "kubectl exec a -- du --files0-from=x",
        "kubectl exec a -- uname --x",
        "kubectl exec a -- id -Z",
        "kubectl exec a -- nslookup x 8.8.8.8",
        "kubectl exec a -- getent passwd root",
        "kubectl exec a -- pg_isready -d 'host=evil.com'",
        "kubectl exec a -- pg_isready -h evil.com",
        // Programs of this machine.
        "tee x",
        "sort -o x",
        "tail -f x",
        "uniq a b",
        "python3 x.py",
        "xargs kubectl delete",
        "sed -i x",
        "eval x",
        "source x",
        "./kubectl get pods",
        "/usr/bin/kubectl get pods",
        "echo -e x",
    ] {
        assert!(judge.read(&words(text)).is_err(), "{text}");
    }
}

#[test]
fn looks_are_read() {
    let (judge, _directory) = judge();
    for (text, wanted) in [
        ("kubectl get pods -n a -l b=c -o wide", "get --namespace=a --selector=b=c --output=wide pods"),
        ("kubectl -n a get pods", "get --namespace=a pods"),
        ("kubectl describe pod a -n b", "describe --namespace=b pod a"),
        ("kubectl logs a -cb --previous --tail=5", "logs --container=b --previous --tail=5 a"),
        ("kubectl top pods -n a", "top pods --namespace=a"),
        (
            "kubectl rollout status statefulset/a -n b --timeout=9s",
            "rollout status --namespace=b --timeout=9s statefulset/a",
        ),
        ("kubectl get pods -A --ignore_not_found", "get --all-namespaces --ignore-not-found pods"),
        (
            "kubectl exec -it -n a b -c c -- wget -qO- 'http://localhost:8222/jsz?streams=true'",
            "exec --namespace=a --container=c b -- wget -qO- http://localhost:8222/jsz?streams=true",
        ),
        ("kubectl exec a -- df -h /data", "exec a -- df -h /data"),
        ("kubectl exec a -- nc -zv nats.x.svc.cluster.local 4222", "exec a -- nc -zv nats.x.svc.cluster.local 4222"),
        ("kubectl exec a -- pg_isready -h localhost", "exec a -- pg_isready -h localhost"),
        (
            "kubectl exec deploy/a -- wget -qO- --timeout=3 http://b.tenant-b:9123/health",
            "exec deploy/a -- wget -qO- --timeout=3 http://b.tenant-b:9123/health",
        ),
        ("kubectl get secrets -n a", "get --namespace=a secrets"),
        ("helm get values a -n b", "get values --namespace=b a"),
        ("helm ls -n a", "ls --namespace=a"),
        ("helm show values deploy/helm/ironflow", "show values deploy/helm/ironflow"),
    ] {
        let Stage::Run(judged) = judge.read(&words(text)).unwrap_or_else(|why| panic!("{text}: {why}")) else {
            panic!("{text}")
        };
        let argv = judged.argv().join(" ");
        assert!(argv == wanted, "{text}: {argv}");
    }
}

#[test]
fn a_change_is_only_tried() {
    let (judge, _directory) = judge();
    for (text, wanted) in [
        ("kubectl delete pod x -n a", "delete --namespace=a --dry-run=server pod x"),
        (
            "kubectl run t --image=b --rm -it --restart=Never -- nc -zv a 1 --dry-run=none",
            "run --image=b --restart=Never --dry-run=server t -- nc -zv a 1 --dry-run=none",
        ),
        ("kubectl rollout undo ds/x", "rollout undo --dry-run=server ds/x"),
        (
            "helm upgrade a ./deploy/helm/ironflow -f deploy/helm/ironflow/values-small.yaml --set a[0]=b",
            "upgrade --values=deploy/helm/ironflow/values-small.yaml --set=a[0]=b --hide-notes --dry-run=server a ./deploy/helm/ironflow",
        ),
    ] {
        assert_eq!(judge.dry_run(&words(text)).unwrap().argv().join(" "), wanted, "{text}");
    }
    for text in [
        "kubectl delete pod x --dry-run=none",
        "kubectl delete pod x --dry_run=none",
        "kubectl delete pod x --dry-run",
        "kubectl delete pod x --help",
        "kubectl delete pod x --help=false",
        "kubectl delete pod x -h=false",
        "kubectl delete --raw /api/v1/x",
        "kubectl delete -f x",
        "kubectl delete -k x",
        "kubectl delete pod x -i",
        "kubectl delete pod x --server=http://x",
        "kubectl delete pod x --as=y",
        "kubectl delete -- pod x",
        "kubectl apply -f -",
        "kubectl create -f http://x/y",
        "kubectl create token x",
        "kubectl create secret generic x --from-file=/etc/shadow",
        "kubectl create configmap x --from-file=/etc/shadow",
        "kubectl create configmap x --from-env-file=/x",
        "kubectl patch pod x --patch-file=/etc/shadow",
        "kubectl run x --image=y --overrides='{}'",
        "kubectl set env deploy/x -",
        "kubectl set env deploy/x --from=secret/y",
        "kubectl annotate pod x --local -f y",
        "kubectl rollout restart deploy/x",
        "kubectl edit pod x",
        "kubectl frob x --dry-run=server",
        "helm upgrade a deploy/helm/ironflow --dry-run=none",
        "helm upgrade a deploy/helm/ironflow --post-renderer=x",
        "helm upgrade a deploy/helm/ironflow --post-renderer-args=x",
        "helm upgrade a deploy/helm/ironflow --dependency-update",
        "helm upgrade a deploy/helm/ironflow --verify --keyring=/x",
        "helm upgrade a deploy/helm/ironflow --repo=http://x",
        "helm upgrade a deploy/helm/ironflow --set-file a=/etc/shadow",
        "helm upgrade a deploy/helm/ironflow --set 'a={{ lookup \"v1\" \"Secret\" \"a\" \"b\" }}'",
        "helm upgrade a deploy/helm/ironflow --set 'a=\\{\\{ x }}'",
        "helm upgrade a deploy/helm/ironflow --set-json 'a=\"\\u007b\\u007b x }}\"'",
        "helm upgrade a deploy/helm/ironflow --create-namespace",
        "helm upgrade a deploy/helm/ironflow --enable-dns",
        "helm upgrade a deploy/helm/ironflow --kube-apiserver=http://x",
        "helm upgrade a deploy/helm/ironflow -f /etc/passwd",
        "helm upgrade a deploy/helm/ironflow -f deploy/helm/ironflow/../../../x",
        "helm upgrade a deploy/helm/ironflow -f deploy/helm/ironflow/values-out.yaml",
        "helm upgrade a deploy/helm/ironflow -f http://x/y.yaml",
        "helm upgrade a deploy/helm/ironflow -f -",
        "helm upgrade a deploy/helm/ironflow -f deploy/helm/ironflow/values-small.yaml,/etc/passwd",
        "helm upgrade a deploy/helm/ironflow/templates",
        "helm upgrade a oci://x/y",
        "helm upgrade a http://x/y.tgz",
        "helm upgrade a repo/y",
        "helm upgrade a /etc",
        "helm upgrade a .",
        "helm install a deploy/helm/ironflow",
    ] {
        assert!(judge.dry_run(&words(text)).is_err(), "{text}");
    }
}

#[test]
fn questions_take_no_strangers_flag_or_statement() {
    let (judge, _directory) = judge();
    let ask = |words: &[&str]| judge.question(&words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>());
    let exec = ["kubectl", "exec", "a", "--"];
    assert!(ask(&[&exec[..], &["sh", "-c", WHERE, "firedrill", "df"]].concat()).is_ok());
    assert!(ask(&[&exec[..], &["psql", "-X", "-w", "-At", "-U", "a", "-d", "b", "-c", "SELECT 1"]].concat()).is_ok());
    let statement = format!("{PREPARE}UPDATE a SET b = 1");
    assert!(ask(&[&exec[..], &["env", READ_ONLY, "psql", "-X", "-w", "-d", "b", "-c", &statement]].concat()).is_ok());
    for words in [
        vec!["kubectl", "get", "pods", "--as=x", "-o", "name"],
        vec!["kubectl", "get", "pods", "--raw=/x"],
        vec!["kubectl", "get", "--kubeconfig=/x", "a", "-o", "name"],
        vec!["kubectl", "exec", "--", "sh", "-c", WHERE, "firedrill", "df"],
        [&exec[..], &["sh", "-c", WHERE, "firedrill", "-x"]].concat(),
        [&exec[..], &["sh", "-c", WHERE, "firedrill", "$(x)"]].concat(),
        [&exec[..], &["sh", "-c", "command -v -- $1", "firedrill", "x"]].concat(),
        [&exec[..], &["psql", "-X", "-w", "-At", "-d", "postgres://evil/b", "-c", "SELECT 1"]].concat(),
        [&exec[..], &["psql", "-X", "-w", "-At", "-d", "host=evil", "-c", "SELECT 1"]].concat(),
        [&exec[..], &["psql", "-X", "-w", "-At", "-o", "/x", "-c", "SELECT 1"]].concat(),
        [&exec[..], &["psql", "-X", "-w", "-At", "-d", "b", "-c", "SELECT pg_reload_conf()"]].concat(),
        [
            &exec[..],
            &["env", READ_ONLY, "psql", "-X", "-w", "-d", "b", "-c", "PREPARE firedrill AS SELECT 1; DROP TABLE a"],
        ]
        .concat(),
        [&exec[..], &["env", "PGOPTIONS=", "psql", "-X", "-w", "-d", "b", "-c", &statement]].concat(),
    ] {
        assert!(ask(&words).is_err(), "{words:?}");
    }
}

#[test]
fn help_is_asked_of_parts_alone_and_cannot_be_taken_back() {
    let (judge, _directory) = judge();
    let flag = |name: &str, value: Option<&str>| (name.to_owned(), value.map(str::to_owned));
    let path = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let given = [flag("grace-period", Some("soon")), flag("l", None)];
    let judged = judge.help("kubectl", &path("delete"), &given).unwrap();
    assert_eq!(judged.argv(), ["delete", "--help", "--grace-period=soon", "-l"]);
    for (program, text, name) in [
        ("kubectl", "frob", "x"),
        ("kubectl", "create frob", "x"),
        ("helm", "frob", "x"),
        ("bash", "", "x"),
        ("kubectl", "delete", "help"),
        ("kubectl", "delete", "h"),
        ("kubectl", "delete", "-help"),
        ("kubectl", "delete", "x=y"),
        ("kubectl", "delete", "x y"),
        ("kubectl", "delete", ""),
        ("kubectl", "delete", "he_lp"),
    ] {
        assert!(judge.help(program, &path(text), &[flag(name, Some("false"))]).is_err(), "{program} {text} {name}");
    }
}
