//! Whether this machine can run drills: what is there, what is missing, and what to do about it.

use crate::env;
use crate::process::{ProcessError, Tool};
use serde::Serialize;
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
    fn ok(name: &str, found: impl Into<String>) -> Self {
        Self { name: name.to_owned(), state: State::Ok, found: found.into(), remedy: None }
    }

    fn not(name: &str, state: State, found: impl Into<String>, remedy: &str) -> Self {
        Self { name: name.to_owned(), state, found: found.into(), remedy: Some(remedy.to_owned()) }
    }
}

/// Looks at everything that drills need. Nothing is changed.
pub async fn examine() -> Vec<Check> {
    let engine = program("Docker engine", "docker", &["version", "--format", "{{.Server.Version}}"], SETUP).await;
    let has_engine = engine.state == State::Ok;
    let mut checks = vec![engine];
    checks.push(program("kind", "kind", &["version"], SETUP_ENV).await);
    checks.push(program("helm", "helm", &["version", "--template", "{{.Version}}"], SETUP_ENV).await);
    checks.push(program("kubectl", "kubectl", &["version", "--client"], SETUP_ENV).await);
    if has_engine {
        checks.push(cgroups().await);
    }
    checks.push(disk(has_engine).await);
    checks.push(memory());
    checks.push(capabilities());
    checks.push(loop_devices());
    checks.push(inotify());
    checks.push(ports());
    checks.push(manifest());
    if has_engine {
        checks.push(registry().await);
        for (what, variable) in [("node", "NODE"), ("agent", "AGENT"), ("Ironflow", "IRONFLOW")] {
            checks.push(image(what, &format!("FIREDRILL_{variable}_IMAGE")).await);
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

fn manifest() -> Check {
    let variable = "FIREDRILL_CNPG_MANIFEST";
    match env::raw(variable).map(PathBuf::from) {
        Some(path) if path.is_file() => Check::ok("CNPG manifest", path.display().to_string()),
        Some(path) => Check::not("CNPG manifest", State::Failed, format!("{} is not there", path.display()), SETUP_ENV),
        None => Check::not("CNPG manifest", State::Warning, format!("{variable} is not set"), SETUP_ENV),
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

async fn image(what: &str, variable: &str) -> Check {
    let name = format!("{what} image");
    let Some(image) = env::text(variable) else {
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

    #[tokio::test]
    async fn every_failing_check_says_what_to_do() {
        for check in examine().await {
            assert_eq!(check.remedy.is_none(), check.state == State::Ok, "{check:?}");
            assert!(!check.found.is_empty(), "{check:?}");
        }
    }
}
