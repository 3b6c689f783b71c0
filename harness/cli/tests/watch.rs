//! `firedrill watch` as a process: stopped, without ports or file descriptors, and with logins that nobody may see.

use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

const FIREDRILL: &str = env!("CARGO_BIN_EXE_firedrill");

fn watch(arguments: &[&str]) -> Command {
    let mut command = Command::new(FIREDRILL);
    command.arg("watch").args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn ended(child: Child) -> (Output, String) {
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    (output, text)
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Answers every connection with this, until the test ends.
fn server(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || {
                let mut stream = stream.unwrap();
                let read = stream.read(&mut [0; 1024]).unwrap_or(0);
                if read > 0 {
                    // The client may have gone.
                    drop(stream.write_all(answer.as_bytes()));
                }
            });
        }
    });
    address
}

fn run(program: &str, arguments: &[&str]) {
    let done = Command::new(program).args(arguments).status().unwrap();
    assert!(done.success(), "{program} {arguments:?}");
}

/// What the operating system calls a child.
fn id(child: &Child) -> String {
    child.id().to_string()
}

const NO_CONTENT: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

#[test]
fn a_watcher_that_was_stopped_says_how_long_it_did_not_watch() {
    let url = format!("http://{}/", server(NO_CONTENT));
    let start = |output| {
        let arguments = ["--http", &url, "--every", "20ms", "--for", "7s", "--fail-on", "outage", "--output", output];
        watch(&arguments).spawn().unwrap()
    };
    let (as_json, as_text) = (start("json"), start("text"));
    std::thread::sleep(Duration::from_millis(1_500));
    run("kill", &["-STOP", &id(&as_json), &id(&as_text)]);
    std::thread::sleep(Duration::from_millis(4_000));
    run("kill", &["-CONT", &id(&as_json), &id(&as_text)]);
    let ((output, text), (_, people)) = (ended(as_json), ended(as_text));
    let seen = json(&text);
    assert_eq!(seen["outages"], serde_json::json!([]), "{seen}");
    let gaps = seen["gaps"].as_array().unwrap();
    let longest = gaps.iter().map(|gap| gap["length_ms"].as_f64().unwrap()).fold(0.0, f64::max);
    assert!((3_700.0..5_500.0).contains(&longest), "{seen}");
    assert_eq!(output.status.code(), Some(2), "an outage may have been missed");
    assert!(people.contains("not watched for "), "{people}");
}

#[test]
fn an_outage_ends_with_1_where_that_is_asked_for() {
    let url = format!("http://{}/", server("HTTP/1.1 429 Slow Down\r\ncontent-length: 0\r\n\r\n"));
    let arguments = ["--http", &url, "--for", "500ms", "--sustained", "100ms"];
    let (output, text) = ended(watch(&arguments).spawn().unwrap());
    assert_eq!(output.status.code(), Some(0), "that is what watching is for: {text}");
    assert!(text.contains(": status 429"), "{text}");
    let (output, text) = ended(watch(&arguments).args(["--fail-on", "outage", "--output", "json"]).spawn().unwrap());
    assert_eq!(output.status.code(), Some(1));
    let seen = json(&text);
    assert_eq!((&seen["failures"][0]["code"], &seen["failures"][0]["detail"]), (&429.into(), &"status 429".into()));
}

#[test]
fn without_file_descriptors_nothing_is_said_of_the_service() {
    let address = server("").to_string();
    let arguments = ["--tcp", &address, "--every", "20ms", "--for", "4s", "--output", "json", "--fail-on", "outage"];
    let child = watch(&arguments).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(1_000));
    // Fewer than it has open already: every further one fails with EMFILE.
    run("prlimit", &["--pid", &id(&child), "--nofile=3:3"]);
    let (output, text) = ended(child);
    let seen = json(&text);
    assert_eq!(seen["outages"], serde_json::json!([]), "{seen}");
    assert!(seen["not_sent"]["no-file-descriptor"].as_u64().is_some_and(|count| count >= 100), "{seen}");
    assert!(seen["gaps"].as_array().is_some_and(|gaps| !gaps.is_empty()), "{seen}");
    assert_eq!(output.status.code(), Some(2), "not known");
}

#[test]
fn without_local_ports_nothing_is_said_of_the_service() {
    // A network of its own with eight ports to connect from. A server on the same loopback answers all the time; each connection
    // keeps its port for a minute.
    let script = "ip link set lo up && echo 40000 40007 > /proc/sys/net/ipv4/ip_local_port_range || exit 99
        echo 0 > /proc/sys/net/ipv4/tcp_tw_reuse || exit 99
        \"$0\" agent probe --listen 127.0.0.1:9200 --expires-after 20 & agent=$!
        until \"$0\" watch --tcp 127.0.0.1:9200 --for 1ms --every 1ms --sustained 1ms --fail-on outage; do sleep 0.1; done >&2
        \"$0\" watch --tcp 127.0.0.1:9200 --every 20ms --for 4s --output json --fail-on outage; code=$?
        kill $agent; exit $code";
    let output =
        Command::new("unshare").args(["--user", "--map-root-user", "--net", "sh", "-c", script, FIREDRILL]).output();
    let output = output.unwrap();
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_ne!(output.status.code(), Some(99), "{errors}");
    let seen = json(&text);
    assert_eq!(seen["outages"], serde_json::json!([]), "{seen}");
    assert!(seen["not_sent"]["no-local-port"].as_u64().is_some_and(|count| count >= 100), "{seen} {errors}");
    assert_eq!(output.status.code(), Some(2), "not known: {seen}");
}

#[test]
fn a_login_is_seen_nowhere() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let open = server(NO_CONTENT);
    let away = server("HTTP/1.1 302 Found\r\nlocation: http://u:sEcret@h/?sEcret\r\ncontent-length: 0\r\n\r\n");
    let urls = |place: SocketAddr| {
        [
            ["--http".to_owned(), format!("http://user:sEcret@{place}/?key=sEcret")],
            ["--nats".to_owned(), format!("nats://user:sEcret%23@{place}")],
            ["--postgres".to_owned(), format!("postgres://user:sEcret@{place}/db?sslmode=disable&password=sEcret")],
        ]
    };
    let wrong = [
        ["--http".to_owned(), "http://user:sEc#ret@host/".to_owned()],
        ["--nats".to_owned(), "nats://user:sEc#ret@host".to_owned()],
        ["--postgres".to_owned(), "postgres://user:sEcret@host/?nothing=sEcret".to_owned()],
        ["--tcp".to_owned(), "http://user:sEcret@host:80".to_owned()],
        ["--tcp".to_owned(), "user:sEcret@host".to_owned()],
    ];
    let (mut all, count) = (urls(closed).to_vec(), wrong.len());
    all.extend(urls(open));
    all.push(["--http".to_owned(), format!("http://user:sEcret@{away}/")]);
    let right = all.len();
    all.extend(wrong);
    assert_eq!(all.len(), right + count);
    for (index, [kind, url]) in all.iter().enumerate() {
        for output in ["text", "json"] {
            let arguments = [kind.as_str(), url, "--for", "300ms", "--sustained", "100ms", "--output", output];
            let child = watch(&arguments).env("FIREDRILL_LOG", "trace").spawn().unwrap();
            let (done, text) = ended(child);
            let shown = format!("{text}{}", String::from_utf8_lossy(&done.stderr));
            // The last is `user:sEcret` in base64.
            let secrets = ["Ecret", "sEc", "dXNlcjpzRWNyZXQ"];
            assert!(!secrets.iter().any(|secret| shown.contains(secret)), "{kind}: {shown}");
            assert_eq!(done.status.code(), Some(if index < right { 0 } else { 3 }), "{kind}: {shown}");
        }
    }
}
