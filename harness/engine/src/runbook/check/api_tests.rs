use super::*;
use crate::fake_api::FakeApi;
use serde_json::json;

async fn answers() -> (FakeApi, tempfile::TempDir, ApiAnswers) {
    let (api, folder) = (FakeApi::start().await, tempfile::tempdir().unwrap());
    let containers = json!({"containers": [{"name": "main"}], "initContainers": [{"name": "first"}]});
    for (name, tier) in [("pod-0", "web"), ("pod-1", "data")] {
        let path = format!("/api/v1/namespaces/shop/pods/{name}");
        api.put(&path, json!({"metadata": {"labels": {"tier": tier}}, "spec": containers}));
    }
    api.put("/api/v1/namespaces/default/pods/other", json!({"spec": containers}));
    api.put("/apis/apps/v1/namespaces/shop/deployments/front", json!({}));
    api.put("/api/v1/nodes/node-0", json!({}));
    let cluster = Cluster::connect("test", &api.kubeconfig(folder.path()), "x").await.unwrap();
    let answers = ApiAnswers::of(&cluster);
    (api, folder, answers)
}

async fn said(answers: &mut ApiAnswers, text: &str) -> Option<String> {
    let argv: Vec<String> = text.split(' ').map(str::to_owned).collect();
    answers.answer(&argv, Duration::from_secs(5)).await.map(|answer| {
        assert!(answer.ok() && answer.stderr.is_empty(), "{text}: {answer:?}");
        answer.stdout
    })
}

#[tokio::test]
async fn what_is_certain_is_answered_as_kubectl_prints_it() {
    let (_api, _folder, mut answers) = answers().await;
    for (text, wanted) in [
        ("get --namespace=shop --output=name pods pod-0", "pod/pod-0\n"),
        ("get --namespace=shop --output=name pod", "pod/pod-0\npod/pod-1\n"),
        ("get --namespace=shop --selector=tier=data --output=name pod", "pod/pod-1\n"),
        ("get --namespace=shop --selector=tier=none --output=name pod", ""),
        ("get --output=name pods", "pod/other\n"),
        ("get --selector=tier=web --output=name --all-namespaces pods", "pod/pod-0\n"),
        ("get --namespace=shop --output=name deployment front", "deployment.apps/front\n"),
        ("get --namespace=shop --output=name --ignore-not-found deployments", "deployment.apps/front\n"),
        ("get --namespace=shop --output=name nodes", "node/node-0\n"),
        ("logs --namespace=shop --container=main --tail=1 pod-0", ""),
        ("logs --namespace=shop --container=first --tail=1 pod/pod-0", ""),
    ] {
        assert_eq!(said(&mut answers, text).await.as_deref(), Some(wanted), "{text}");
    }
    let argv = ["get", "--namespace=shop", &format!("--output={LABELS}"), "pods"].map(str::to_owned);
    let labels = answers.answer(&argv, Duration::from_secs(5)).await.unwrap().stdout;
    assert_eq!(labels, "{\"tier\":\"web\"}\n{\"tier\":\"data\"}\n");
}

/// Whatever is not plainly there, kubectl says in its own words.
#[tokio::test]
async fn kubectl_is_asked_where_the_answer_is_not_certain() {
    let (_api, _folder, mut answers) = answers().await;
    for text in [
        "get --namespace=shop --output=name pods pod-9",
        "get --namespace=shop --output=name pods pod-0 pod-1",
        "get --namespace=shop --output=name pods/pod-0",
        "get --namespace=shop --output=name pods,deployments",
        "get --namespace=shop --output=name Pods",
        "get --namespace=shop --output=name po",
        "get --namespace=shop --output=name all",
        "get --namespace=shop --output=json pods",
        "get --namespace=shop pods",
        "get --namespace=shop --namespace=default --output=name pods",
        "get --namespace=shop/x --output=name pods",
        "get --namespace=shop --output=name --all-namespaces=false pods",
        "get --namespace=shop --output=name --field-selector=a=b pods",
        "get --namespace=shop --output=name --selector=tier=web pods pod-0",
        "get --namespace=shop --output=name pods --help",
        "get --namespace=shop --output=name -- pods",
        "delete --namespace=shop --dry-run=server pods pod-0",
        "logs --namespace=shop --container=none --tail=1 pod-0",
        "logs --namespace=shop --container=main --tail=1 deployment/front",
        "logs --namespace=shop --container=main --tail=2 pod-0",
        "exec --namespace=shop pod-9 -- id",
        "exec --namespace=shop deployment/front -- id",
        "exec --namespace=shop --stdin pod-0 -- id",
        // The server of this test runs no commands.
        "exec --namespace=shop pod-0 -- id",
    ] {
        assert_eq!(said(&mut answers, text).await, None, "{text}");
    }
}

#[tokio::test]
async fn a_refusal_is_put_to_kubectl_too() {
    let (api, _folder, mut answers) = answers().await;
    api.refuse("GET", "/api/v1/namespaces/shop/pods");
    assert_eq!(said(&mut answers, "get --namespace=shop --output=name pods").await, None);
    api.accept_all();
    assert!(said(&mut answers, "get --namespace=shop --output=name pods").await.is_some());
}

#[test]
fn a_word_means_one_kind_or_is_left_to_kubectl() {
    let kind = |group: &str, plural: &str, short: &[&str]| Kind {
        resource: ApiResource {
            group: group.to_owned(),
            version: "v1".to_owned(),
            api_version: format!("{group}/v1"),
            kind: String::new(),
            plural: plural.to_owned(),
        },
        is_namespaced: true,
        singular: plural.trim_end_matches('s').to_owned(),
        short: short.iter().map(|&name| name.to_owned()).collect(),
    };
    let kinds = [
        kind("", "pods", &["po"]),
        kind("metrics.k8s.io", "pods", &[]),
        kind("a.example.com", "clusters", &["cl"]),
        kind("b.example.com", "clusters", &[]),
        kind("c.example.com", "services", &[]),
        kind("", "services", &["svc"]),
        kind("d.example.com", "odds", &["secret"]),
        kind("", "secrets", &[]),
    ];
    for (word, group) in [
        ("pod", Some("")),
        ("po", Some("")),
        ("services", Some("")),
        ("cl", Some("a.example.com")),
        ("cluster", None),
        ("secret", None),
        ("secrets", Some("")),
        ("none", None),
    ] {
        assert_eq!(one_kind(&kinds, word).map(|kind| kind.resource.group.as_str()), group, "{word}");
    }
}
