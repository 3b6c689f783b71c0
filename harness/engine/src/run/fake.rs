//! For tests: a run's context on an API server that says what a test has it say.

use super::Drill;
use super::board::Board;
use super::context::Context;
use super::interrupt::{InterruptSource, Interrupts};
use super::panics::Panics;
use super::recorder::Recorder;
use super::undo_log::{RunRecords, UndoLog};
use crate::cluster::Cluster;
use crate::port::RunMark;
use crate::world;
use firedrill_core::event::{Event, Record};
use firedrill_core::plan::{self, Plan};
use firedrill_core::scenario::{Scenario, parse};
use firedrill_core::stack::{self, Stack};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the server answers to a method and a path with its query; `None`: it never does.
type Answer = Arc<dyn Fn(&str, &str) -> Option<(u16, String)> + Send + Sync>;

/// A run on a fake cluster.
pub(super) struct FakeRun {
    pub(super) context: Context,
    pub(super) folder: TempDir,
    _interrupts: InterruptSource,
}

/// What a cluster without any object answers.
pub(super) fn empty_cluster(path: &str) -> (u16, String) {
    let kinds =
        r#"{"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": []}"#;
    match path.split('?').next().unwrap_or_default() {
        "/readyz" => (200, "ok".to_owned()),
        "/api" | "/apis" => (200, kinds.to_owned()),
        _ => (
            404,
            r#"{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}"#
                .to_owned(),
        ),
    }
}

impl FakeRun {
    pub(super) async fn new(answer: impl Fn(&str, &str) -> Option<(u16, String)> + Send + Sync + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = serve(Arc::new(answer)).await;
        let kubeconfig = folder.path().join("kubeconfig");
        let text = format!(
            "{{apiVersion: v1, kind: Config, clusters: [{{name: c, cluster: {{server: 'http://{address}'}}}}], \
             users: [{{name: u, user: {{token: t}}}}], contexts: [{{name: x, context: {{cluster: c, user: u}}}}]}}"
        );
        std::fs::write(&kubeconfig, text).unwrap();
        let cluster = Cluster::connect("test", &kubeconfig, "x").await.unwrap();
        let (progress, _seen) = tokio::sync::mpsc::channel(64);
        let ports = world::ports(&cluster, None, None, "");
        let journal = folder.path().join("events.jsonl");
        let recorder = Recorder::create(&*ports.store, &journal, ports.clock, progress).unwrap();
        let scenario = scenario();
        let variant = scenario.variants["pod"].clone();
        let (board, _sink, _samples) =
            Board::open(&*ports.store, &folder.path().join("samples.bin"), &[], variant.sustained).unwrap();
        let plan = Plan {
            run_id: "r1".to_owned(),
            scenario: scenario.name.clone(),
            variant: "pod".to_owned(),
            seed: 1,
            faults: Vec::new(),
            series: Vec::new(),
            phases: plan::phases(&scenario, "pod").unwrap(),
            expires_after: Duration::from_secs(1),
        };
        let (source, interrupts): (InterruptSource, Interrupts) = InterruptSource::new();
        let (variant_name, agent_image, stack) = ("pod".to_owned(), String::new(), Arc::new(stack()));
        let drill = Drill { scenario, stack, variant: variant_name, seed: None, noop: false, agent_image };
        let mark = RunMark { run_id: "r1".to_owned(), expires_unix: 0 };
        let records = RunRecords { cluster: ports.cluster.clone(), uid: "u".to_owned(), mark: mark.clone() };
        let undo = UndoLog::new(recorder.clone(), records);
        let context = Context {
            drill: Arc::new(drill),
            variant: Arc::new(variant),
            plan: Arc::new(plan),
            ports,
            mark,
            folder: folder.path().to_owned(),
            undo,
            recorder,
            board,
            interrupts,
            lease_lost: watch::channel(None).1,
            panics: Panics::from_now(),
            left_behind: Arc::default(),
            accepted: Arc::default(),
            now: Arc::default(),
        };
        Self { context, folder, _interrupts: source }
    }

    /// What was recorded so far.
    pub(super) fn events(&self) -> Vec<Event> {
        let text = std::fs::read_to_string(self.folder.path().join("events.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str::<Record>(line).unwrap().event).collect()
    }
}

/// The stack of the shipped scenarios.
pub(crate) fn stack() -> Stack {
    let text = include_str!("../../../../fixtures/stack/ironflow/stack.toml");
    stack::parse("ironflow", ("stack.toml", text)).unwrap()
}

fn scenario() -> Scenario {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios/postgres-primary-down");
    let read = |file: &str| std::fs::read_to_string(folder.join(file));
    parse("postgres-primary-down", ("scenario.toml", &read("scenario.toml").unwrap()), read, &stack()).unwrap()
}

/// In this runtime, so that paused time stands still while it works.
async fn serve(answer: Answer) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(one(stream, answer.clone()));
        }
    });
    address
}

async fn one(mut stream: TcpStream, answer: Answer) {
    let mut request = Vec::new();
    let mut buffer = [0; 4_096];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(count) => request.extend_from_slice(&buffer[..count]),
        }
    }
    let head = String::from_utf8_lossy(&request).into_owned();
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    match answer(method, path) {
        None => std::future::pending().await,
        Some((status, body)) => {
            let text = format!(
                "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(text.as_bytes()).await.ok();
        }
    }
}
