//! Real servers in containers. Their ports are fixed, so that a server that was killed and started again has its address.

use std::sync::Once;
use std::time::Duration;
use testcontainers::core::{IntoContainerPort, WaitFor};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt};
use tokio::process::Command;

/// What every test container carries, so that one that outlived its test is found again.
const LABEL: (&str, &str) = ("firedrill", "test");
/// Test containers older than this are left over: no test takes as long.
const LEFT_OVER_S: i64 = 3_600;

/// Takes away what earlier tests left behind; testcontainers has nothing that does.
async fn sweep() {
    static ONCE: Once = Once::new();
    let mut first = false;
    ONCE.call_once(|| first = true);
    if !first {
        return;
    }
    let clock = firedrill_engine::clock::Clock::start();
    let now_unix = clock.unix_seconds(clock.now());
    let filter = format!("label={}={}", LABEL.0, LABEL.1);
    let ids = docker(&["ps", "-aq", "--no-trunc", "--filter", &filter]).await;
    for id in ids.split_whitespace() {
        // Another test may take its own away meanwhile.
        let Some(created) = try_docker(&["inspect", "--format", "{{.Created}}", id]).await else { continue };
        let created: jiff::Timestamp = created.trim().parse().unwrap();
        if now_unix - created.as_second() > LEFT_OVER_S {
            drop(try_docker(&["rm", "-f", "-v", id]).await);
        }
    }
}

async fn try_docker(args: &[&str]) -> Option<String> {
    let output = Command::new("docker").args(args).output().await.unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

async fn docker(args: &[&str]) -> String {
    try_docker(args).await.unwrap_or_else(|| panic!("docker {args:?} failed"))
}

/// A port that nobody listens on right now.
async fn free_port() -> u16 {
    tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

/// A server in a container, gone when this is dropped.
pub(crate) struct Contained {
    container: ContainerAsync<GenericImage>,
    port: u16,
}

impl Contained {
    async fn start(image: GenericImage, inner_port: u16, user: Option<&str>, command: &[&str]) -> Self {
        sweep().await;
        let port = free_port().await;
        let mut request = image
            .with_cmd(command.iter().copied())
            .with_mapped_port(port, inner_port.tcp())
            .with_label(LABEL.0, LABEL.1)
            .with_startup_timeout(Duration::from_secs(60));
        if let Some(user) = user {
            request = request.with_user(user);
        }
        let container = request.start().await.expect("the image must be in the engine: see ci/setup");
        Self { container, port }
    }

    /// NATS with JetStream on the container's disk.
    pub(crate) async fn nats() -> Self {
        let image =
            GenericImage::new("nats", "2.15.2-alpine").with_wait_for(WaitFor::message_on_stderr("Server is ready"));
        Self::start(image, 4222, None, &["-js", "-sd", "/data"]).await
    }

    /// PostgreSQL with further settings, such as `-c fsync=off`. The user is `app`, the database `postgres`.
    pub(crate) async fn postgres(settings: &str) -> Self {
        let image = GenericImage::new("ghcr.io/cloudnative-pg/postgresql", "17-minimal-trixie")
            .with_wait_for(WaitFor::message_on_stderr("database system is ready to accept connections"))
            .with_entrypoint("bash");
        let script = format!(
            "set -e; if ! [ -d /tmp/pg ]; then initdb -D /tmp/pg -A trust -U app --no-sync; \
             echo 'host all all all trust' >> /tmp/pg/pg_hba.conf; fi; \
             exec postgres -D /tmp/pg -c listen_addresses=* -c unix_socket_directories=/tmp {settings}"
        );
        Self::start(image, 5432, Some("26"), &["-c", &script]).await
    }

    pub(crate) fn nats_url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(crate) fn postgres_url(&self) -> String {
        format!("postgres://app:unused@127.0.0.1:{}/postgres", self.port)
    }

    /// Stops every process of it, without ending one. With cgroup v1 a container that forks meanwhile can escape the
    /// engine's freezer, which then gives up: it is asked again.
    pub(crate) async fn freeze(&self) {
        let mut last = None;
        for _ in 0..5 {
            match self.container.pause().await {
                Ok(()) => return,
                Err(error) => last = Some(error),
            }
        }
        panic!("the container could not be frozen: {last:?}");
    }

    /// Lets them go on.
    pub(crate) async fn thaw(&self) {
        self.container.unpause().await.unwrap();
    }

    /// Ends every process of it at once.
    pub(crate) async fn kill(&self) {
        drop(docker(&["kill", "--signal", "KILL", self.container.id()]).await);
    }

    /// Starts what was killed.
    pub(crate) async fn revive(&self) {
        drop(docker(&["start", self.container.id()]).await);
    }
}
