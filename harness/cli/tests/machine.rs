//! What of the machine and of the caller's shell reaches firedrill, and what does not: signals, variables, proxies.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a step of a test may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// firedrill with nothing of this test's environment but the path.
#[allow(clippy::disallowed_methods, reason = "a test is not the product")]
fn firedrill(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_firedrill"));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The same, which does not ignore the signals that its caller ignores (`nohup`).
#[allow(clippy::disallowed_methods, reason = "a test is not the product")]
fn heeds_signals(args: &[&str]) -> Command {
    let mut command = Command::new("env");
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.args(["--default-signal=HUP,INT,QUIT,TERM", env!("CARGO_BIN_EXE_firedrill")]).args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn text_of(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn within(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    for _ in 0..limit.as_millis() / 20 {
        if done() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

fn ends(child: &mut Child) -> bool {
    within(PATIENCE, || child.try_wait().unwrap().is_some())
}

#[test]
fn every_signal_that_ends_programs_ends_a_watch_in_order() {
    for signal in ["INT", "TERM", "HUP", "QUIT"] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut child = heeds_signals(&["watch", "--tcp", &address, "--for", "10m"]).spawn().unwrap();
        // The second attempt shows that it measures, and so that it listens for signals.
        drop((listener.accept().unwrap(), listener.accept().unwrap()));
        let sent = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        if !ends(&mut child) {
            child.kill().unwrap();
            panic!("SIG{signal} did not end it");
        }
        let output = child.wait_with_output().unwrap();
        let ended = (output.status.signal(), output.status.code());
        assert_eq!(ended, (None, Some(0)), "SIG{signal}: {}", text_of(&output));
        assert!(text_of(&output).contains("attempts"), "SIG{signal}: it must say what it saw: {}", text_of(&output));
    }
}

#[test]
fn variables_of_postgresql_do_not_reach_a_probe() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let said = Arc::new(Mutex::new(Vec::new()));
    let heard = said.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // TLS is declined, and a password asked for in the clear.
            for answer in [&b"N"[..], b"R\0\0\0\x08\0\0\0\x03", b""] {
                let mut bytes = [0; 1024];
                let count = stream.read(&mut bytes).unwrap_or(0);
                heard.lock().unwrap().extend_from_slice(&bytes[..count]);
                let _ = stream.write_all(answer);
            }
        }
    });
    let url = format!("postgres://app@127.0.0.1:{port}/app");
    let leaks = [
        ("PGUSER", "leak"),
        ("PGPASSWORD", "leak"),
        ("PGDATABASE", "leak"),
        ("PGOPTIONS", "-c leak=1"),
        ("PGAPPNAME", "leak"),
        ("PGSSLMODE", "verify-full"),
        ("PGSSLROOTCERT", "/leak"),
        ("PGSSLCERT", "/leak"),
        ("PGHOST", "leak.invalid"),
        ("PGHOSTADDR", "192.0.2.1"),
        ("PGPORT", "1"),
        ("PGPASSFILE", "/leak"),
    ];
    let output = firedrill(&["watch", "--postgres", &url, "--table", "t", "--for", "2s"]).envs(leaks).output().unwrap();
    let bytes = said.lock().unwrap().clone();
    assert!(!bytes.is_empty(), "nothing arrived: {}", text_of(&output));
    let text = String::from_utf8_lossy(&bytes).into_owned();
    assert!(!text.contains("leak"), "{text:?}");
    // TLS is asked for and, where it is declined, done without: `prefer`, and not `verify-full`.
    assert_eq!(bytes[..8], [0, 0, 0, 8, 4, 210, 22, 47], "{text:?}");
    assert!(text.contains("user\0app\0") && text.contains("application_name\0firedrill\0"), "{text:?}");
    assert!(bytes.windows(6).any(|window| window == b"p\0\0\0\x05\0"), "an empty password: {text:?}");
}

/// An API server in the clear that says that drills are allowed, and nothing else.
struct Api {
    address: String,
    requests: Arc<AtomicUsize>,
}

impl Api {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = requests.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let counted = counted.clone();
                std::thread::spawn(move || answer(&stream.unwrap(), &counted));
            }
        });
        Self { address, requests }
    }
}

fn answer(mut stream: &TcpStream, counted: &AtomicUsize) {
    let mut lines = BufReader::new(stream).lines();
    while let Some(Ok(line)) = lines.next() {
        let marker = line.contains("/configmaps/firedrill-allowed");
        while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        counted.fetch_add(1, Ordering::Relaxed);
        let (status, body) = match marker {
            true => ("200 OK", r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"firedrill-allowed"}}"#),
            false => (
                "404 Not Found",
                r#"{"apiVersion":"v1","kind":"Status","status":"Failure","message":"none here","reason":"NotFound","code":404}"#,
            ),
        };
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n");
        if stream.write_all(format!("{head}{body}").as_bytes()).is_err() {
            return;
        }
    }
}

/// A proxy that counts who asks for what, and lets nobody through.
fn proxy() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = asked.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut line = String::new();
            let _ = BufReader::new(&stream).read_line(&mut line);
            seen.lock().unwrap().push(line.trim().to_owned());
            let _ = stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n");
        }
    });
    (address, asked)
}

fn executable(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn kubeconfig(folder: &Path, server: &str, user: &str) -> PathBuf {
    let file = folder.join("config");
    let text = format!(
        "{{apiVersion: v1, kind: Config, clusters: [{{name: c, cluster: {{server: '{server}'}}}}], \
         users: [{{name: u, user: {user}}}], contexts: [{{name: x, context: {{cluster: c, user: u}}}}]}}"
    );
    std::fs::write(&file, text).unwrap();
    file
}

/// `firedrill plan` of any drill: it asks for the mark that drills are allowed before anything else.
fn plan(kubeconfig: &Path) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut command = firedrill(&["plan", "nats-quorum-loss", "--context", "x", "--agent-image", "none"]);
    command.arg("--scenarios").arg(root.join("scenarios")).arg("--stack").arg(root.join("fixtures/stack/ironflow"));
    command.arg("--kubeconfig").arg(kubeconfig);
    command
}

const TOKEN: &str = "{token: t}";

#[test]
fn a_proxy_is_for_api_servers_that_are_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let (address, asked) = proxy();
    let https_proxy = format!("http://{address}");
    let count = || asked.lock().unwrap().len();

    let away = kubeconfig(folder.path(), "https://api.firedrill.invalid:6443", TOKEN);
    for name in ["HTTPS_PROXY", "https_proxy"] {
        let before = count();
        let output = plan(&away).env(name, &https_proxy).output().unwrap();
        assert_eq!(output.status.code(), Some(4), "{}", text_of(&output));
        assert!(count() > before, "{name}: {}", text_of(&output));
        assert_eq!(asked.lock().unwrap()[before], "CONNECT api.firedrill.invalid:6443 HTTP/1.1");
    }
    let before = count();
    for except in ["*", ".firedrill.invalid", "api.firedrill.invalid:6443", "other, api.firedrill.invalid"] {
        let output = plan(&away).env("HTTPS_PROXY", &https_proxy).env("NO_PROXY", except).output().unwrap();
        assert_eq!(output.status.code(), Some(4), "{}", text_of(&output));
    }
    // Loopback, with no word of it in NO_PROXY, in the clear and with TLS, which nobody speaks here.
    let api = Api::start();
    let here = kubeconfig(folder.path(), &format!("http://{}", api.address), TOKEN);
    let output = plan(&here).env("HTTPS_PROXY", &https_proxy).output().unwrap();
    assert!(api.requests.load(Ordering::Relaxed) > 0, "{}", text_of(&output));
    let here = kubeconfig(folder.path(), "https://127.0.0.1:1", TOKEN);
    let output = plan(&here).env("HTTPS_PROXY", &https_proxy).output().unwrap();
    assert!(text_of(&output).contains("Connection refused"), "{}", text_of(&output));
    assert_eq!(count(), before, "the proxy was asked: {:?}", asked.lock().unwrap());
}

#[test]
fn a_proxy_that_is_not_supported_is_one_clear_message() {
    let folder = tempfile::tempdir().unwrap();
    let away = kubeconfig(folder.path(), "https://api.firedrill.invalid:6443", TOKEN);
    for scheme in ["socks5", "https"] {
        let value = format!("{scheme}://u:secret@127.0.0.1:1");
        let output = plan(&away).env("HTTPS_PROXY", value).output().unwrap();
        let text = text_of(&output);
        assert_eq!(output.status.code(), Some(3), "{text}");
        let expected =
            format!("HTTPS_PROXY names a proxy of the kind {scheme}://, and only http:// ones are supported");
        assert!(text.contains(&expected) && !text.contains("secret") && text.lines().count() <= 2, "{text}");
    }
}

#[test]
fn a_probe_never_uses_a_proxy() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut line = String::new();
            let _ = BufReader::new(&stream).read_line(&mut line);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let (address, asked) = proxy();
    let proxies = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY"];
    let proxies = proxies.map(|name| (name, format!("http://{address}")));
    let url = format!("http://127.0.0.1:{port}/");
    let output = firedrill(&["watch", "--http", &url, "--for", "2s"]).envs(proxies).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text_of(&output));
    assert_eq!(asked.lock().unwrap().len(), 0);
}

#[test]
fn a_credential_plugin_has_its_variables_and_is_tried_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    std::fs::create_dir_all(folder.path().join("bin")).unwrap();
    std::fs::create_dir_all(&home).unwrap();
    let seen = folder.path().join("seen");
    executable(
        &folder.path().join("bin/plugin"),
        "#!/bin/sh\n[ \"$AWS_PROFILE\" = drills ] || { echo 'plugin: no profile' >&2; exit 1; }\n\
         echo '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":{\"token\":\"t\"}}'\n",
    );
    // Stands for kubectl: it calls the plugin as kubectl does, with the environment that it was given.
    let stand_in = format!(
        "#!/bin/sh\nenv >{0}\necho \"$@\" >>{0}\n[ -z \"$LOGGED_OUT\" ] || exit 1\nexec {1}/bin/plugin\n",
        seen.display(),
        folder.path().display()
    );
    executable(&folder.path().join("bin/kubectl"), &stand_in);
    let api = Api::start();
    let user = "{exec: {apiVersion: client.authentication.k8s.io/v1, command: ./bin/plugin, interactiveMode: Never}}";
    let config = kubeconfig(folder.path(), &format!("http://{}", api.address), user);
    let path = format!("{}/bin:/usr/bin:/bin", folder.path().display());
    let run = |variables: &[(&str, &str)]| {
        let mut command = plan(&config);
        command.env("PATH", &path).env("HOME", &home).env("HELM_NAMESPACE", "leak").env("BASH_ENV", "/leak");
        command.envs(variables.iter().copied()).output().unwrap()
    };
    let _ = run(&[("AWS_PROFILE", "drills"), ("XDG_CACHE_HOME", "/cache")]);
    let text = std::fs::read_to_string(&seen).unwrap();
    let has = |line: &str| text.lines().any(|seen| seen == line);
    assert!(has("AWS_PROFILE=drills") && has("XDG_CACHE_HOME=/cache"), "{text}");
    assert!(has(&format!("HOME={}", home.display())) && has("get --raw /readyz"), "{text}");
    assert!(!text.contains("leak"), "{text}");
    assert!(text.lines().any(|line| line.starts_with("HELM_CONFIG_HOME=") && !line.contains("home/")), "{text}");

    // Where it does not work for kubectl, the plan says so in its words. It works for this program, which has it all.
    executable(&folder.path().join("bin/kubectl"), "#!/bin/sh\necho 'plugin: the login has expired' >&2\nexit 1\n");
    let output = run(&[("AWS_PROFILE", "drills")]);
    let text = text_of(&output);
    assert_eq!(output.status.code(), Some(4), "{text}");
    assert!(text.contains("plugin: the login has expired") && text.contains("bin/plugin"), "{text}");
}
