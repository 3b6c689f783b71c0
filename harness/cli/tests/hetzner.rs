//! `firedrill` as a program with `--provider hetzner`: without a token, with a double of the API, and beside strangers' resources.

use hetzner_double::config::Config;
use hetzner_double::{Double, MemoryBackend};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const TOKEN: &str = "t0kenThatNothingMayShow";

/// Runs the program on a machine without kind clusters.
async fn run(folder: &TempDir, endpoint: &str, token: Option<&str>, args: &[&str]) -> Output {
    let bin = folder.path().join("bin");
    fs::create_dir_all(&bin).unwrap();
    // No cluster of kind, and no program but this one.
    fs::write(bin.join("docker"), "#!/bin/sh\nexit 0\n").unwrap();
    fs::set_permissions(bin.join("docker"), fs::Permissions::from_mode(0o755)).unwrap();
    run_in(folder, &format!("{}:/usr/bin:/bin", bin.display()), endpoint, token, args).await
}

/// Runs the program with that `PATH`.
async fn run_in(folder: &TempDir, path: &str, endpoint: &str, token: Option<&str>, args: &[&str]) -> Output {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_firedrill"));
    command.env_clear().env("PATH", path);
    command.env("XDG_CACHE_HOME", folder.path().join("cache")).env("HOME", folder.path());
    command.env("HCLOUD_ENDPOINT", endpoint);
    if let Some(token) = token {
        command.env("HCLOUD_TOKEN", token);
    }
    command.args(["--log", "trace"]).args(args).output().await.unwrap()
}

fn text(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

async fn double() -> (Double, String) {
    let double = Double::start(Config::new(TOKEN), Arc::new(MemoryBackend::default())).await.unwrap();
    let endpoint = format!("http://{}/v1", double.api);
    (double, endpoint)
}

/// A request, sent by hand.
async fn send(double: &Double, method: &str, path: &str, body: &Value) -> Value {
    let mut stream = TcpStream::connect(double.api).await.unwrap();
    let body = body.to_string();
    let request = format!(
        "{method} /v1{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

async fn groups(double: &Double) -> Vec<String> {
    let all = send(double, "GET", "/placement_groups", &json!({})).await;
    let name = |group: &Value| group["name"].as_str().unwrap().to_owned();
    all["placement_groups"].as_array().unwrap().iter().map(name).collect()
}

#[tokio::test]
async fn a_user_of_hetzner_needs_no_container_engine() {
    let (double, endpoint) = double().await;
    let folder = tempfile::tempdir().unwrap();
    for args in [&["list"][..], &["down", "--all"]] {
        let done = run_in(&folder, "/nonexistent", &endpoint, Some(TOKEN), args).await;
        assert_eq!(done.status.code(), Some(0), "{args:?}: {}", text(&done));
    }
    drop(double);
}

#[tokio::test]
async fn without_a_token_nobody_is_asked() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (endpoint, folder) = (format!("http://{}/v1", listener.local_addr().unwrap()), tempfile::tempdir().unwrap());
    for args in [&["list"][..], &["down", "--all"], &["sweep", "--expired"]] {
        let done = run(&folder, &endpoint, None, args).await;
        assert_eq!(done.status.code(), Some(0), "{args:?}: {}", text(&done));
        assert!(!text(&done).to_lowercase().contains("hetzner"), "{args:?}: {}", text(&done));
    }
    let asked = tokio::time::timeout(Duration::from_millis(100), listener.accept()).await;
    assert!(asked.is_err(), "the API was asked");
    let up = ["up", "--no-stack", "--provider", "hetzner", "--allow-from", "198.51.100.7"];
    let done = run(&folder, &endpoint, None, &up).await;
    assert_eq!(done.status.code(), Some(4), "{}", text(&done));
    assert!(text(&done).contains("no Hetzner Cloud token: set HCLOUD_TOKEN"), "{}", text(&done));
}

#[tokio::test]
async fn an_option_of_another_provider_is_bad_input() {
    let (double, endpoint) = double().await;
    let folder = tempfile::tempdir().unwrap();
    let done = run(&folder, &endpoint, None, &["up", "--no-stack", "--location", "fsn1", "--keep"]).await;
    assert_eq!(done.status.code(), Some(3), "{}", text(&done));
    assert!(text(&done).contains("provider kind does not know --location, --keep"), "{}", text(&done));
    assert!(text(&done).contains("--provider hetzner"), "{}", text(&done));
    for (args, says) in [
        (&["--workers", "2"][..], "--allow-from is missing"),
        (&["--allow-from", "0.0.0.0/0"], "open the API server to the internet"),
        (&["--allow-from", "198.51.100.7", "--server-type", "cx99"], "Hetzner has no server type cx99"),
        (&["--allow-from", "198.51.100.7", "--location", "moon1"], "Hetzner has no location moon1"),
        (&["--allow-from", "198.51.100.7", "--max-cost", "0.01"], "--max-cost is 0.0100"),
        (&["--allow-from", "198.51.100.7", "--control-planes", "2"], "etcd needs 1 or 3"),
    ] {
        let args = [&["up", "firedrill-t", "--no-stack", "--provider", "hetzner"], args].concat();
        let done = run(&folder, &endpoint, Some(TOKEN), &args).await;
        assert_eq!(done.status.code(), Some(3), "{args:?}: {}", text(&done));
        assert!(text(&done).contains(says), "{args:?}: {}", text(&done));
        assert!(!text(&done).contains(TOKEN), "{args:?}");
    }
    assert!(groups(&double).await.is_empty(), "nothing was made");
}

#[tokio::test]
async fn what_has_expired_is_swept_and_strangers_stay() {
    let (double, endpoint) = double().await;
    let folder = tempfile::tempdir().unwrap();
    let labels = |cluster: &str, expires: &str| {
        json!({"firedrill.dev/cluster": cluster, "firedrill.dev/run": "up-1",
        "firedrill.dev/owner": "ann", "firedrill.dev/expires": expires})
    };
    for (name, labels) in [
        ("old", labels("firedrill-old", "1700000000")),
        ("new", labels("firedrill-new", "4000000000")),
        ("strangers", json!({"firedrill.dev/cluster": "production", "firedrill.dev/expires": "1700000000"})),
        ("web", json!({})),
    ] {
        let group = json!({"name": name, "type": "spread", "labels": labels});
        send(&double, "POST", "/placement_groups", &group).await;
    }
    let done = run(&folder, &endpoint, Some(TOKEN), &["list"]).await;
    assert!(
        text(&done).contains("firedrill-old") && text(&done).contains("no servers, 1 other resources"),
        "{}",
        text(&done)
    );
    let done = run(&folder, &endpoint, Some(TOKEN), &["sweep", "--expired"]).await;
    assert_eq!(done.status.code(), Some(0), "{}", text(&done));
    assert!(text(&done).contains("deleted placement group old"), "{}", text(&done));
    assert_eq!(groups(&double).await, ["new", "strangers", "web"]);
    let done = run(&folder, &endpoint, Some(TOKEN), &["sweep", "--expired"]).await;
    assert!(text(&done).contains("no cluster has expired"), "{}", text(&done));
    let done = run(&folder, &endpoint, Some(TOKEN), &["down"]).await;
    assert_eq!(done.status.code(), Some(0), "{}", text(&done));
    assert_eq!(groups(&double).await, ["strangers", "web"]);
    // A cluster of somebody else is not one of ours, whatever its label says.
    let done = run(&folder, &endpoint, Some(TOKEN), &["down", "production"]).await;
    assert_eq!(done.status.code(), Some(3), "{}", text(&done));
    assert!(!text(&done).contains(TOKEN));
    let done = run(&folder, &endpoint, Some("aTokenOfNobody"), &["list"]).await;
    assert_eq!(done.status.code(), Some(4), "{}", text(&done));
    assert!(text(&done).contains("not a valid token") && !text(&done).contains("aTokenOfNobody"), "{}", text(&done));
}
