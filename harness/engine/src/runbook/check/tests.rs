//! Whole checks with kubectl, helm, shells and filters replaced by recorders, and the lists held against this project's own
//! runbooks.

mod hostile;

use super::*;
use firedrill_core::document::read;
use firedrill_core::scenario::bind_targets;
use hostile::hostile;
use proptest::prelude::*;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// Where this project's runbooks name the chart.
const CHART: &str = "deploy/helm/ironflow";
/// Writes its name and its arguments to a file, and answers as if all were there.
const RECORDER: &str = r#"#!/bin/sh
{ printf '%s\0' "${0##*/}" "$@"; printf '\n'; } >> 'LOG'
case " $* " in
*' --help '*)
  path=
  for word; do [ "$word" != --help ] || break; path="$path $word"; done
  case "$path" in
  '' | ' rollout' | ' top' | ' set' | ' create' | ' auth' | ' get' | ' show' | ' config') [ "${0##*/}$path" = 'kubectl get' ] || printf 'Available Commands:\n  x   y\n\n' ;;
  esac
  printf "Options:\n    -n, --namespace='':\n    -l, --selector='':\n    -o, --output='':\n    -c, --container='':\n"
  printf "    -f, --values='':\n    --set='':\n    -p, --patch='':\n    --dry-run='none':\n    -i, --stdin=false:\n\n"
  printf 'Usage:\n  %s%s [options]\n' "${0##*/}" "$path" ;;
*webhookconfigurations*) printf '{"items": []}' ;;
*) printf 'namespace/a\nnamespace/ironflow\nnamespace/ironflow-system\npod/b\nvalues: {}\nMANIFEST:\n---\n' ;;
esac
"#;
/// Everything that a recorder stands for.
const RECORDED: [&str; 27] = [
    "kubectl",
    "helm",
    "grep",
    "egrep",
    "jq",
    "tail",
    "head",
    "wc",
    "cut",
    "tr",
    "sort",
    "uniq",
    "python3",
    "sh",
    "bash",
    "xargs",
    "awk",
    "sed",
    "tee",
    "cat",
    "env",
    "rm",
    "touch",
    "curl",
    "eval",
    "kubectl-evil",
    "kubectl-create-evil",
];

struct Recorders {
    folder: TempDir,
    checker: Checker,
}

impl Recorders {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let script = RECORDER.replace("LOG", &folder.path().join("log").display().to_string());
        let bin = folder.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        for name in RECORDED {
            std::fs::write(bin.join(name), &script).unwrap();
            std::fs::set_permissions(bin.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let variables: Vec<(OsString, OsString)> =
            vec![("PATH".into(), bin.into()), ("HOME".into(), folder.path().into())];
        let directory = super::folder(&root().join("fixtures/chart/ironflow"), Some(CHART)).unwrap();
        let asker = Asker::with(variables, directory.path(), Some(CHART.to_owned()));
        let checker = Checker { asker, not_asked: BTreeMap::new(), _directory: directory };
        Self { folder, checker }
    }

    /// What was run, as programs with arguments. What was judged is the same.
    fn recorded(&self) -> Vec<Vec<String>> {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let recorded: Vec<Vec<String>> =
            log.lines().map(|line| line.split_terminator('\0').map(str::to_owned).collect()).collect();
        let judged: Vec<Vec<String>> = self
            .checker
            .asker
            .log
            .iter()
            .map(|judged| {
                let program = judged.program().unwrap().file_name().unwrap().to_str().unwrap();
                std::iter::once(program.to_owned()).chain(judged.argv().iter().cloned()).collect()
            })
            .collect();
        assert_eq!(recorded, judged);
        let mut files: Vec<_> =
            std::fs::read_dir(self.folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
        files.retain(|name| name != "log" && name != "bin");
        assert!(files.is_empty(), "{files:?}");
        recorded
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Says in its own words, and not in those of the lists, what must never be run.
fn object(argv: &[String]) -> Option<&'static str> {
    let words: Vec<&str> = argv.iter().map(String::as_str).collect();
    let (program, args) = words.split_first().unwrap();
    let end = args.iter().position(|arg| *arg == "--").unwrap_or(args.len());
    let (outer, inner) = (&args[..end], args.get(end + 1..).unwrap_or_default());
    let flags =
        || outer.iter().filter(|arg| arg.starts_with('-')).map(|arg| arg.split('=').next().unwrap().replace('_', "-"));
    let has = |names: &[&str]| flags().any(|flag| names.contains(&flag.as_str()));
    match *program {
        "kubectl" | "helm" => {
            let verb = outer.first().copied().unwrap_or_default();
            let helps = flags().filter(|flag| matches!(flag.as_str(), "--help" | "-h")).count();
            if helps > 0 {
                let is_plain = helps == 1 && outer.contains(&"--help") && inner.is_empty();
                let builtin =
                    |verb: &str| !verb.contains("evil") && verb.chars().all(|c| c.is_ascii_lowercase() || c == '-');
                return (!is_plain || !builtin(verb)).then_some("a help that is taken back, or a plugin");
            }
            if has(&[
                "--kubeconfig",
                "--context",
                "--cluster",
                "--user",
                "--server",
                "-s",
                "--token",
                "--as",
                "--as-group",
                "--raw",
                "--cache-dir",
                "--profile",
                "--profile-output",
                "--log-file",
                "--kustomize",
                "-k",
                "--post-renderer",
                "--set-file",
                "--repo",
                "--kube-context",
                "--patch-file",
                "--from-file",
                "--watch",
                "-w",
                "--follow",
                "--stdin",
                "-i",
                "--tty",
                "-t",
                "-it",
                "--overrides",
                "--dependency-update",
                "--registry-config",
                "-v",
            ]) {
                return Some("a flag that leads elsewhere");
            }
            let dry: Vec<&&str> = outer.iter().filter(|arg| arg.replace('_', "-").starts_with("--dry-run")).collect();
            let last = outer.iter().rev().find(|arg| arg.starts_with('-'));
            let is_dry = dry.len() == 1 && last == Some(&"--dry-run=server");
            if outer.iter().any(|arg| arg.starts_with("--filename") && *arg != "--filename=-") || has(&["-f"]) {
                return Some("a file");
            }
            match (*program, verb) {
                ("kubectl", "exec") => {
                    match inner.first().copied().unwrap_or_default() {
                        "df" | "du" | "ls" | "id" | "uptime" | "whoami" | "uname" | "nslookup" | "getent"
                        | "pg_isready" => None,
                        "cilium" | "nats-server" | "psql" | "grep" => None,
                        "sh" => (inner[2] != "command -v -- \"$1\"").then_some("a shell in a container"),
                        "env" => (inner[1] != "PGOPTIONS=-cdefault_transaction_read_only=on")
                            .then_some("a session that writes"),
                        "wget" => inner
                            .iter()
                            .any(|arg| arg.starts_with("--post") || arg.starts_with("/"))
                            .then_some("a file of wget"),
                        "nc" => (!inner.iter().any(|arg| arg.starts_with('-') && arg.contains('z')))
                            .then_some("nc that sends"),
                        _ => Some("a program in a container"),
                    }
                }
                ("kubectl", "get" | "describe" | "logs" | "events" | "version" | "cluster-info" | "api-resources")
                | ("kubectl", "api-versions" | "explain" | "top" | "options")
                | ("helm", "get" | "status" | "list" | "ls" | "history" | "version") => None,
                ("kubectl", "rollout") if matches!(outer[1], "status" | "history") => None,
                ("kubectl", "auth") => (outer[1] != "can-i").then_some("auth"),
                ("helm", "show") => (outer.last() != Some(&"deploy/helm/ironflow")
                    && outer.last() != Some(&"deploy/helm/ironflow/"))
                .then_some("another chart"),
                ("helm", "template") => (outer.last() != Some(&".firedrill-values")).then_some("another chart"),
                _ => (!is_dry).then_some("a change that is not only tried"),
            }
        }
        "grep" | "tail" | "head" | "wc" | "cut" | "tr" | "sort" | "uniq" => {
            // Behind `--` stand no files: a pattern of grep's, sets of tr's.
            let operands = inner.len() + outer.iter().filter(|arg| !arg.starts_with('-')).count();
            let is_pattern = *program == "grep" && operands <= 1 || *program == "tr" && operands <= 2;
            let letters: &[&str] = match *program {
                "sort" => &["-o", "-T", "-S", "-R", "-m"],
                "grep" => &["-r", "-R", "-f", "-P", "-d", "-D"],
                "tail" => &["-f", "-F", "-s"],
                _ => &[],
            };
            let is_bad =
                outer.iter().any(|arg| arg.starts_with("--") || letters.iter().any(|letter| arg.starts_with(letter)));
            (is_bad || operands > 0 && !is_pattern).then_some("a file")
        }
        "jq" => {
            let operands: Vec<&&str> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
            let is_bad = operands.len() != 1
                || args.iter().any(|arg| arg.starts_with("--") || arg.starts_with("-L") || arg.starts_with("-f"));
            (is_bad || operands[0].contains("input_filename") || operands[0].contains("$ENV"))
                .then_some("jq with a file")
        }
        "python3" => (args != ["-I", "-m", "json.tool"]).then_some("a script"),
        _ => Some("a program on no list"),
    }
}

async fn check(recorders: &mut Recorders, file: &str, text: &str) -> Report {
    let document = read(file, text);
    recorders.checker.check(&document, None, &Layout::default()).await.unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn nothing_unlisted_is_ever_run(lines in prop::collection::vec(hostile(), 1..4)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut recorders = Recorders::new();
        let text = format!("```sh\n{}\n```\n", lines.join("\n"));
        runtime.block_on(check(&mut recorders, "a.md", &text));
        for argv in recorders.recorded() {
            prop_assert_eq!(object(&argv), None, "{:?} of {}", argv, text);
        }
    }
}

/// The fixtures that are also run on a real cluster, by `ci/hostile`.
#[tokio::test]
async fn hostile_runbooks_run_nothing_unlisted() {
    let files = std::fs::read_dir(root().join("fixtures/runbooks")).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<PathBuf> =
        files.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("hostile")).collect();
    files.sort();
    assert!(files.len() >= 5, "{files:?}");
    for path in files {
        let mut recorders = Recorders::new();
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let report = check(&mut recorders, name, &text).await;
        assert!(report.commands >= 10, "{name}: {}", report.commands);
        for argv in recorders.recorded() {
            assert_eq!(object(&argv), None, "{name}: {argv:?}");
        }
        // None of their commands is taken for one that was checked in full.
        assert_eq!(report.checked, 0, "{name}");
    }
}

/// A look that is run leads through the whole: it is read, judged, run and its pipe connected.
#[tokio::test]
async fn a_harmless_runbook_is_run() {
    let mut recorders = Recorders::new();
    let report = check(&mut recorders, "a.md", "```sh\nkubectl get pods -n a 2>&1 | grep -i b\n```\n").await;
    assert_eq!((report.checked, report.findings.len(), report.unchecked.len()), (1, 0, 0), "{report:?}");
    let recorded = recorders.recorded();
    assert_eq!(
        recorded[recorded.len() - 2..],
        [vec!["kubectl", "get", "--namespace=a", "pods"], vec!["grep", "-i", "--", "b"]]
    );
}

/// Changes are put to the API server with this program's own flag, and the manifests of an upgrade too.
#[tokio::test]
async fn a_change_is_tried_and_not_made() {
    let mut recorders = Recorders::new();
    let text = "```sh\nkubectl delete pod b -n a\nhelm upgrade b deploy/helm/ironflow -n a --set x=y\n```\n";
    let report = check(&mut recorders, "a.md", text).await;
    assert_eq!((report.checked, report.findings.len()), (2, 0), "{report:?}");
    let recorded: Vec<String> = recorders.recorded().iter().map(|argv| argv.join(" ")).collect();
    for wanted in [
        "kubectl delete --namespace=a --dry-run=server pod b",
        "helm upgrade --namespace=a --set=x=y --hide-notes --dry-run=server b deploy/helm/ironflow",
        "kubectl apply --server-side --force-conflicts --field-manager=helm --filename=- --namespace=a --dry-run=server",
    ] {
        assert!(recorded.iter().any(|argv| argv == wanted), "{wanted}: {recorded:?}");
    }
}

/// Which commands of this project's runbooks and corrections are not run and not tried, with the reason. A list that grows
/// shorter here loses drift; one more reason is one more line that nobody checks.
#[test]
fn what_is_refused_of_the_projects_own_runbooks() {
    let directory = super::folder(&root().join("fixtures/chart/ironflow"), Some(CHART)).unwrap();
    let mut judge = judge::Judge::new(std::ffi::OsStr::new(""), directory.path(), Some(CHART));
    judge.namespaces = ["tenant-globex".to_owned()].into();
    let targets = TargetNames { pods: &["pod-0", "pod-1"], nodes: &["node-0"], volumes: &["volume-0"] };
    let (mut all, mut refused) = (0, std::collections::BTreeSet::new());
    let mut scenarios: Vec<_> =
        std::fs::read_dir(root().join("scenarios")).unwrap().map(|folder| folder.unwrap().path()).collect();
    scenarios.sort();
    for folder in scenarios.iter().filter(|folder| folder.join("runbook.md").is_file()) {
        let text = std::fs::read_to_string(folder.join("runbook.md")).unwrap();
        for written in read("runbook.md", &text).commands.iter().filter(|written| written.language == Language::Shell) {
            all += 1;
            if let Err(reason) = judged(&judge, &bind_targets(&written.text, targets)) {
                refused.insert(format!("{}: {}\n    {reason}", folder.file_name().unwrap().display(), written.text));
            }
        }
    }
    let list: Vec<String> = refused.into_iter().collect();
    insta::assert_snapshot!(format!("{} of {all} commands\n{}", list.len(), list.join("\n")));
}

fn judged(judge: &judge::Judge, text: &str) -> Result<(), String> {
    let pipelines = literal_pipelines(text).map_err(|why| why.to_string())?;
    for command in pipelines.iter().flat_map(|pipeline| &pipeline.commands) {
        let read = judge.read(&command.words).map(drop);
        read.or_else(|reason| {
            judge.dry_run(&command.words).map(drop).map_err(|other| {
                if other.starts_with("neither") || other.contains("on the list of what only reads") {
                    reason
                } else {
                    other
                }
            })
        })?;
    }
    Ok(())
}
