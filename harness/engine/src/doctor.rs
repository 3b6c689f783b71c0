//! Whether this machine can run drills: what is there, what is missing, and what to do about it.

use crate::env;
use crate::process::{ProcessError, Tool};
use firedrill_core::stack::Stack;
use serde::Serialize;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

const CALL_LIMIT: Duration = Duration::from_secs(10);
const GIB: u64 = 1 << 30;
/// Free disk that a cluster with the stack and its images takes, in bytes.
const DISK_MIN_BYTES: u64 = 15 * GIB;
/// Memory that a cluster with the stack takes, in bytes.
const MEMORY_MIN_BYTES: u64 = 6 * GIB;
/// inotify instances that two clusters take together, with room to spare; as in `ci/setup`.
const INOTIFY_INSTANCES_MIN: u64 = 512;
const SETUP: &str = "run ci/setup";
const SETUP_ENV: &str = "run ci/setup, then: eval \"$(ci/setup --env)\"";

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// How it is.
    pub state: State,
    /// What is there.
    pub found: String,
    /// What to do about it, where something is to be done.
    pub remedy: Option<String>,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// Drills may run, some of them or some time not.
    Warning,
    /// No drill can run.
    Failed,
}

impl Check {
    pub(crate) fn ok(name: &str, found: impl Into<String>) -> Self {
        Self { name: name.to_owned(), state: State::Ok, found: found.into(), remedy: None }
    }

    pub(crate) fn not(name: &str, state: State, found: impl Into<String>, remedy: &str) -> Self {
        Self { name: name.to_owned(), state, found: found.into(), remedy: Some(remedy.to_owned()) }
    }
}

/// For whose clusters a machine is examined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Clusters of kind, whose nodes are containers of this machine.
    Kind,
    /// Clusters of Hetzner Cloud.
    Hetzner,
}

/// Looks at everything that drills need, with what this stack needs. Nothing is changed.
///
/// `stack` is its definition, or why that cannot be read.
pub async fn examine(purpose: Purpose, stack: Result<&Stack, String>) -> Vec<Check> {
    match purpose {
        Purpose::Kind => for_kind(stack).await,
        Purpose::Hetzner => for_hetzner(stack).await,
    }
}

async fn for_hetzner(stack: Result<&Stack, String>) -> Vec<Check> {
    let mut checks = crate::provider::examine_hetzner().await;
    checks.push(hcloud().await);
    checks.push(program("helm", "helm", &["version", "--template", "{{.Version}}"], SETUP_ENV).await);
    checks.push(program("kubectl", "kubectl", &["version", "--client"], SETUP_ENV).await);
    checks.extend(of_stack(&stack));
    checks
}

/// Only runbooks that name it need it. Debian's version 1.30 does not know its own version.
async fn hcloud() -> Check {
    match ask("hcloud", &["version"]).await.as_deref() {
        Ok("hcloud was not built properly") => Check::ok("hcloud", "installed; it does not say its version"),
        Ok(text) => Check::ok("hcloud", version_in(text)),
        Err(error) => {
            let remedy = "runbooks that name it fail: install it (Debian: apt-get install hcloud-cli)";
            Check::not("hcloud", State::Warning, error.to_string(), remedy)
        }
    }
}

fn of_stack(stack: &Result<&Stack, String>) -> Vec<Check> {
    let mut checks = vec![match stack {
        Ok(stack) => Check::ok("stack", stack.title.clone()),
        Err(error) => Check::not("stack", State::Failed, error.clone(), "name its definition with --stack"),
    }];
    checks.extend(stack.iter().flat_map(|stack| &stack.operators).map(|operator| manifest(&operator.name)));
    checks
}

async fn for_kind(stack: Result<&Stack, String>) -> Vec<Check> {
    let engine = program("Docker engine", "docker", &["version", "--format", "{{.Server.Version}}"], SETUP).await;
    let has_engine = engine.state == State::Ok;
    let mut checks = vec![engine];
    checks.push(program("kind", "kind", &["version"], SETUP_ENV).await);
    checks.push(program("helm", "helm", &["version", "--template", "{{.Version}}"], SETUP_ENV).await);
    checks.push(program("kubectl", "kubectl", &["version", "--client"], SETUP_ENV).await);
    if has_engine {
        checks.push(cgroups().await);
    }
    if has_engine {
        checks.push(engine_place().await);
    }
    checks.push(disk(has_engine).await);
    checks.push(memory());
    checks.push(capabilities());
    checks.push(loop_devices());
    checks.push(inotify());
    checks.push(ports());
    checks.extend(of_stack(&stack));
    if has_engine {
        checks.push(registry().await);
        for name in
            ["node", "agent"].into_iter().chain(stack.iter().flat_map(|stack| stack.images.keys()).map(String::as_str))
        {
            checks.push(image(name).await);
        }
    }
    checks
}

async fn ask(program: &str, args: &[&str]) -> Result<String, ProcessError> {
    Ok(Tool::new(program, CALL_LIMIT).args(args).run().await?.trim().to_owned())
}

async fn program(name: &str, program: &str, args: &[&str], remedy: &str) -> Check {
    match ask(program, args).await {
        Ok(text) => Check::ok(name, version_in(&text)),
        Err(error) => Check::not(name, State::Failed, error.to_string(), remedy),
    }
}

/// The first word of a program's words about its version that has digits and dots.
fn version_in(text: &str) -> String {
    let is_version =
        |word: &&str| word.contains('.') && word.trim_start_matches('v').starts_with(|c: char| c.is_ascii_digit());
    let word = text.split_whitespace().find(is_version);
    word.map_or_else(
        || text.lines().next().unwrap_or_default().to_owned(),
        |word| word.trim_start_matches('v').to_owned(),
    )
}

async fn cgroups() -> Check {
    match ask("docker", &["info", "--format", "{{.CgroupVersion}}"]).await.as_deref() {
        Ok("1") => Check::ok("cgroups", "version 1, which Kubernetes up to 1.34 works with as it is"),
        Ok(version) => Check::ok("cgroups", format!("version {version}")),
        Err(error) => Check::not("cgroups", State::Warning, error.to_string(), "see what `docker info` says"),
    }
}

/// Whether the ports that the engine publishes are on this machine's loopback address, where drills and kubectl use them.
async fn engine_place() -> Check {
    let ask_endpoint = ["context", "inspect", "--format", "{{.Endpoints.docker.Host}}"];
    let endpoint = match env::text("DOCKER_HOST") {
        Some(host) => host,
        None => ask("docker", &ask_endpoint).await.unwrap_or_default(),
    };
    let published = ask("docker", &["ps", "--format", "{{.Ports}}"]).await.unwrap_or_default();
    let ports: Vec<u16> = published.lines().flat_map(published_ports).collect();
    let reached = ports.iter().take(PORTS_TRIED).map(|port| reaches(*port)).collect::<Vec<_>>();
    let gateway = "{{range .IPAM.Config}}{{.Gateway}} {{end}}";
    let gateway = ask("docker", &["network", "inspect", "bridge", "--format", gateway]).await.unwrap_or_default();
    let bridge = gateway.split_whitespace().find_map(|word| word.parse::<Ipv4Addr>().ok());
    place_of(&endpoint, &reached, bridge.map(|bridge| (bridge, is_of_this_network(bridge))))
}

/// Published ports that are tried.
const PORTS_TRIED: usize = 8;
/// How long a published port may take to accept a connection.
const PORT_TIMEOUT: Duration = Duration::from_secs(1);

/// The TCP ports of the loopback address among those that a container publishes: `127.0.0.1:40001->6443/tcp, 80/tcp`.
fn published_ports(line: &str) -> impl Iterator<Item = u16> {
    line.split(", ").filter_map(|port| {
        let (here, _) = port.split_once("->").filter(|(_, inner)| inner.ends_with("/tcp"))?;
        let (address, port) = here.rsplit_once(':')?;
        matches!(address, "127.0.0.1" | "0.0.0.0").then(|| port.parse().ok())?
    })
}

fn reaches(port: u16) -> bool {
    std::net::TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, port).into(), PORT_TIMEOUT).is_ok()
}

/// Whether an address is one of this network namespace's own.
fn is_of_this_network(address: Ipv4Addr) -> bool {
    std::net::UdpSocket::bind((address, 0)).is_ok()
}

/// `reached` are the published ports that were tried; `bridge` is the address of the engine's bridge and whether this network
/// namespace has it.
fn place_of(endpoint: &str, reached: &[bool], bridge: Option<(Ipv4Addr, bool)>) -> Check {
    let name = "engine's network";
    let remedy = "run firedrill where the engine runs: drills reach a cluster at the ports that the engine publishes on \
                  127.0.0.1";
    let remote =
        ["tcp://", "ssh://", "http://", "https://"].into_iter().find_map(|scheme| endpoint.strip_prefix(scheme));
    let is_loopback = |place: &str| ["127.", "localhost", "[::1]"].iter().any(|start| place.starts_with(start));
    if reached.contains(&true) {
        return Check::ok(name, "a published port was reached on 127.0.0.1");
    }
    if remote.is_some_and(|place| !is_loopback(place)) {
        let found =
            "the engine is on another machine or in another network namespace (DOCKER_HOST or the Docker context)";
        return Check::not(name, State::Warning, found, remedy);
    }
    match (reached, bridge) {
        ([_, ..], bridge) => {
            let found = format!("none of {} published ports was reached on 127.0.0.1", reached.len());
            // What runs in those containers may not listen.
            let state = if bridge.is_some_and(|(_, ours)| !ours) { State::Failed } else { State::Warning };
            Check::not(name, state, found, remedy)
        }
        ([], Some((_, true))) => Check::ok(name, "the engine's bridge is in this network namespace"),
        ([], Some((bridge, false))) => {
            let found = format!("the engine's bridge address {bridge} is not in this network namespace");
            Check::not(name, State::Warning, found, remedy)
        }
        ([], None) => {
            Check::not(name, State::Warning, "unknown: the engine has no bridge and publishes no port", remedy)
        }
    }
}

async fn disk(has_engine: bool) -> Check {
    let root = match has_engine {
        true => ask("docker", &["info", "--format", "{{.DockerRootDir}}"]).await.ok().map(PathBuf::from),
        false => None,
    };
    let root = root.filter(|root| root.is_dir()).or_else(env::cache_dir).unwrap_or_else(|| PathBuf::from("/"));
    let place = root.ancestors().find(|place| place.is_dir()).unwrap_or(Path::new("/"));
    let free = rustix::fs::statvfs(place).map(|fs| fs.f_bavail.saturating_mul(fs.f_frsize));
    match free {
        Ok(free) => enough("disk", free, DISK_MIN_BYTES, &format!("free at {}", place.display()), "make room"),
        Err(error) => Check::not("disk", State::Warning, error.to_string(), "see whether it is there"),
    }
}

fn enough(name: &str, there: u64, needed: u64, what: &str, remedy: &str) -> Check {
    let there_gib = there as f64 / GIB as f64;
    let found = format!("{there_gib:.1} GiB {what}, {} GiB needed", needed / GIB);
    if there >= needed { Check::ok(name, found) } else { Check::not(name, State::Failed, found, remedy) }
}

fn memory() -> Check {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let Some(total) = meminfo(&text, "MemTotal") else {
        return Check::not("memory", State::Warning, "unknown", "see that there are 6 GiB");
    };
    let check = enough("memory", total, MEMORY_MIN_BYTES, "in all", "use a machine with more");
    let available = meminfo(&text, "MemAvailable").unwrap_or(total);
    if check.state == State::Ok && available < MEMORY_MIN_BYTES {
        let found = format!("{:.1} GiB of it available", available as f64 / GIB as f64);
        return Check::not(
            "memory",
            State::Warning,
            found,
            "enough where a cluster is up already; else end other programs",
        );
    }
    check
}

/// A line of `/proc/meminfo`, in bytes.
fn meminfo(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib.saturating_mul(1024))
}

/// What the engine's nodes need; an engine that is not a child of this user's processes may have it all the same.
const CAPABILITIES: [(&str, u32); 3] = [("CAP_NET_ADMIN", 12), ("CAP_SYS_ADMIN", 21), ("CAP_SYS_RESOURCE", 24)];

fn capabilities() -> Check {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let missing = missing_capabilities(&text);
    if missing.is_empty() {
        return Check::ok("capabilities", CAPABILITIES.map(|(name, _)| name).join(", "));
    }
    let remedy = match missing.as_slice() {
        ["CAP_SYS_RESOURCE"] => "ci/setup sets the engine up to do without; mounted ext4 file systems cannot grow",
        _ => "needed where ci/setup has to start an engine; not with one that runs already",
    };
    Check::not("capabilities", State::Warning, format!("this user lacks {}", missing.join(", ")), remedy)
}

fn missing_capabilities(status: &str) -> Vec<&'static str> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    CAPABILITIES.iter().filter(|(_, bit)| bits & (1 << bit) == 0).map(|(name, _)| *name).collect()
}

fn loop_devices() -> Check {
    let remedy = "load the module: modprobe loop; drills with bounded volumes need them";
    if !Path::new("/dev/loop-control").exists() {
        return Check::not("loop devices", State::Warning, "none", remedy);
    }
    let entries = std::fs::read_dir("/dev").into_iter().flatten().flatten();
    let is_loop = |name: &str| name.strip_prefix("loop").is_some_and(|rest| rest.parse::<u32>().is_ok());
    let count = entries.filter(|entry| is_loop(&entry.file_name().to_string_lossy())).count();
    Check::ok("loop devices", format!("{count}, and more can be made"))
}

/// Each node's kubelet, kube-proxy and containerd take some; with too few, a second cluster's kube-proxy ends at its start.
fn inotify() -> Check {
    let path = "/proc/sys/fs/inotify/max_user_instances";
    let count = std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u64>().ok());
    match count {
        Some(count) if count >= INOTIFY_INSTANCES_MIN => Check::ok("inotify", format!("{count} instances")),
        Some(count) => Check::not(
            "inotify",
            State::Warning,
            format!("{count} instances, too few for two clusters at once"),
            "run ci/setup, or: sysctl -w fs.inotify.max_user_instances=512",
        ),
        None => Check::not("inotify", State::Warning, format!("{path} cannot be read"), "see whether /proc is mounted"),
    }
}

fn ports() -> Check {
    match std::net::TcpListener::bind(("127.0.0.1", 0)) {
        Ok(_) => Check::ok("ports", "127.0.0.1 gives free ones"),
        Err(error) => {
            let remedy = "bring the loopback interface up: ip link set lo up";
            Check::not("ports", State::Failed, format!("127.0.0.1: {error}"), remedy)
        }
    }
}

fn manifest(operator: &str) -> Check {
    let (name, variable) = (format!("{operator} manifest"), env::of_manifest(operator));
    match env::raw(&variable).map(PathBuf::from) {
        Some(path) if path.is_file() => Check::ok(&name, path.display().to_string()),
        Some(path) => Check::not(&name, State::Failed, format!("{} is not there", path.display()), SETUP_ENV),
        None => Check::not(&name, State::Warning, format!("{variable} is not set"), SETUP_ENV),
    }
}

async fn registry() -> Check {
    let args = ["container", "inspect", "--format", "{{.State.Status}}", "firedrill-registry"];
    let needed = "needed unless every image is in a registry that nodes reach: run ci/setup";
    match ask("docker", &args).await.as_deref() {
        Ok("running") => Check::ok("local registry", "running"),
        Ok(state) => Check::not("local registry", State::Warning, state, "`firedrill up` starts it"),
        Err(_) => Check::not("local registry", State::Warning, "there is none", needed),
    }
}

async fn image(what: &str) -> Check {
    let (name, variable) = (format!("{what} image"), env::of_image(what));
    let Some(image) = env::text(&variable) else {
        return Check::not(&name, State::Warning, format!("{variable} is not set"), SETUP_ENV);
    };
    match ask("docker", &["image", "inspect", "--format", "{{.Id}}", &image]).await {
        Ok(_) => Check::ok(&name, image),
        Err(_) => Check::not(&name, State::Warning, format!("{image} is not in the engine"), SETUP_ENV),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        assert_eq!(version_in("kind v0.33.0 go1.26.8 linux/amd64"), "0.33.0");
        assert_eq!(version_in("Client Version: v1.34.4\nKustomize Version: v5.7.1"), "1.34.4");
        assert_eq!(version_in("20.10.24+dfsg1"), "20.10.24+dfsg1");
        assert_eq!(version_in("unknown"), "unknown");
    }

    #[test]
    fn memory_is_read_in_bytes() {
        let text = "MemTotal:       24684512 kB\nMemAvailable:    5000000 kB\n";
        assert_eq!(meminfo(text, "MemTotal"), Some(24_684_512 * 1024));
        assert_eq!(meminfo(text, "Mem"), None);
        assert_eq!(enough("disk", 14 * GIB, DISK_MIN_BYTES, "free", "make room").state, State::Failed);
    }

    #[test]
    fn capabilities_are_read_from_their_bits() {
        assert_eq!(missing_capabilities("CapEff:\t000001ffffffffff\n"), Vec::<&str>::new());
        assert_eq!(missing_capabilities("CapEff:\t000001fffeffffff\n"), ["CAP_SYS_RESOURCE"]);
        assert_eq!(missing_capabilities("").len(), 3);
    }

    #[test]
    fn an_engine_in_another_network_is_told_from_one_in_this() {
        let bridge = Ipv4Addr::new(172, 17, 0, 1);
        let socket = "unix:///var/run/docker.sock";
        let state = |endpoint: &str, reached: &[bool], bridge| place_of(endpoint, reached, bridge).state;
        assert_eq!(state(socket, &[], Some((bridge, true))), State::Ok);
        assert_eq!(state(socket, &[], Some((bridge, false))), State::Warning, "a socket shared by a container, say");
        assert_eq!(state(socket, &[false, true], Some((bridge, false))), State::Ok, "a virtual machine that forwards");
        assert_eq!(state(socket, &[false], Some((bridge, false))), State::Failed);
        assert_eq!(state(socket, &[false], Some((bridge, true))), State::Warning, "nobody may listen there");
        assert_eq!(state(socket, &[], None), State::Warning);
        for remote in ["tcp://docker:2375", "ssh://user@host"] {
            assert_eq!(state(remote, &[], Some((bridge, true))), State::Warning, "its bridge may have our address");
            assert!(!place_of(remote, &[], None).found.contains("user"), "a login may be in it");
        }
        assert_eq!(state("tcp://127.0.0.1:2375", &[], Some((bridge, true))), State::Ok);
        assert!(is_of_this_network(Ipv4Addr::LOCALHOST) && !is_of_this_network(Ipv4Addr::new(192, 0, 2, 1)));
        let line = "127.0.0.1:40001->6443/tcp, 0.0.0.0:80->80/tcp, :::80->80/tcp, 10.0.0.1:7->7/tcp, 9/tcp, 127.0.0.1:5->5/udp";
        assert_eq!(published_ports(line).collect::<Vec<_>>(), [40_001, 80]);
    }

    #[tokio::test]
    async fn every_failing_check_says_what_to_do() {
        let text = include_str!("../../../fixtures/stack/ironflow/stack.toml");
        let stack = firedrill_core::stack::parse("ironflow", ("stack.toml", text)).unwrap();
        for stack in [Ok(&stack), Err("gone".to_owned())] {
            for check in examine(Purpose::Kind, stack).await {
                assert_eq!(check.remedy.is_none(), check.state == State::Ok, "{check:?}");
                assert!(!check.found.is_empty(), "{check:?}");
            }
        }
    }
}
