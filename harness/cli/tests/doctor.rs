//! `firedrill doctor` as a program, on a machine without any other program.

use serde_json::Value;
use std::net::TcpListener;
use std::process::{Command, Output};

const TOKEN: &str = "t0kenThatNoOutputMayShow";

fn doctor(args: &[&str], variables: &[(&str, &str)]) -> Output {
    let nowhere = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_firedrill"));
    command.arg("doctor").args(args).env_clear().env("PATH", nowhere.path()).env("HOME", nowhere.path());
    command.envs(variables.iter().copied()).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn names(args: &[&str]) -> Vec<String> {
    let output = doctor(&[args, &["--output", "json"]].concat(), &[]);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output)));
    found["checks"].as_array().unwrap().iter().map(|check| check["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn each_provider_has_its_own_checks_and_kind_is_the_default() {
    let of_kind = names(&["--provider", "kind"]);
    assert_eq!(names(&[]), of_kind);
    assert!(of_kind.iter().any(|name| name == "kind") && !of_kind.iter().any(|name| name == "token"), "{of_kind:?}");
    let of_hetzner = names(&["--provider", "hetzner"]);
    assert_eq!(of_hetzner[..5], ["endpoint", "token", "hcloud", "helm", "kubectl"]);
    assert_eq!(doctor(&["--provider", "docker"], &[]).status.code(), Some(3));
}

#[test]
fn without_a_usable_token_or_endpoint_the_environment_is_not_as_required() {
    for (variables, words) in [
        (vec![], "no Hetzner Cloud token: set HCLOUD_TOKEN"),
        (vec![("HCLOUD_TOKEN", TOKEN), ("HCLOUD_TOKEN_FILE", "/x")], "both HCLOUD_TOKEN and HCLOUD_TOKEN_FILE are set"),
        (vec![("HCLOUD_TOKEN", TOKEN), ("HCLOUD_ENDPOINT", "http://192.0.2.1/v1")], "must begin with https://"),
    ] {
        let output = doctor(&["--provider", "hetzner"], &variables);
        let said = text(&output);
        assert_eq!(output.status.code(), Some(4), "{said}");
        assert!(said.contains(words) && said.contains("→ ") && !said.contains(TOKEN), "{said}");
    }
}

#[test]
fn an_api_that_is_down_is_named_and_the_token_is_not() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let endpoint = format!("http://127.0.0.1:{port}/v1");
    for args in [&["--provider", "hetzner"][..], &["--provider", "hetzner", "--output", "json"]] {
        let output = doctor(args, &[("HCLOUD_TOKEN", TOKEN), ("HCLOUD_ENDPOINT", &endpoint)]);
        let said = text(&output);
        assert_eq!(output.status.code(), Some(4), "{said}");
        assert!(said.contains("does not answer GET /locations") && !said.contains(TOKEN), "{said}");
    }
}
