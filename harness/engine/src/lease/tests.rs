use super::*;
use crate::clock::suspended;
use std::sync::{Arc, Mutex};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

fn seen(process: Option<&str>) -> LeaseHolder {
    LeaseHolder { holder: "run r1".into(), process: process.and_then(ProcessId::parse) }
}

fn own() -> ProcessId {
    ProcessId::parse("host=here boot=b1 ns=4026 pid=10 start=1000").unwrap()
}

#[test]
fn a_free_lease_is_taken() {
    assert_eq!(decide(None, &own(), |_| Some(true), None), Decision::Take);
    let released = LeaseHolder { holder: String::new(), process: None };
    assert_eq!(decide(Some(&released), &own(), |_| Some(true), None), Decision::Take);
}

#[test]
fn a_holder_on_this_machine_is_judged_by_its_process() {
    let neighbour = seen(Some("host=here boot=b1 ns=4026 pid=11 start=900"));
    assert_eq!(decide(Some(&neighbour), &own(), |_| Some(true), None), Decision::Held);
    assert_eq!(decide(Some(&neighbour), &own(), |_| Some(false), None), Decision::Take);
}

#[test]
fn a_holder_that_is_hidden_here_is_judged_by_its_renewals() {
    let neighbour = seen(Some("host=here boot=b1 ns=4026 pid=11 start=900"));
    let decide = |unchanged| decide(Some(&neighbour), &own(), |_| None, unchanged);
    assert_eq!(decide(None), Decision::Watch);
    assert_eq!(decide(Some(Duration::ZERO)), Decision::Held);
    assert_eq!(decide(Some(DURATION)), Decision::Take);
}

#[test]
fn a_holder_elsewhere_is_judged_by_its_renewals() {
    for elsewhere in ["host=there boot=b2 ns=4026 pid=11 start=900", "host=here boot=b1 ns=4999 pid=11 start=900"] {
        let far = seen(Some(elsewhere));
        let decide = |unchanged| decide(Some(&far), &own(), |_| panic!("not visible from here"), unchanged);
        assert_eq!(decide(None), Decision::Watch);
        assert_eq!(decide(Some(Duration::from_secs(59))), Decision::Watch);
        assert_eq!(decide(Some(DURATION)), Decision::Take);
        assert_eq!(decide(Some(Duration::ZERO)), Decision::Held, "it was renewed while being watched");
    }
    assert_eq!(decide(Some(&seen(None)), &own(), |_| Some(true), None), Decision::Watch);
}

/// What somebody else does to the Lease.
type Change = Box<dyn FnOnce(&mut State)>;

/// An API server with one Lease, which answers as the test says.
struct Api {
    state: Arc<Mutex<State>>,
    server: MockServer,
}

#[derive(Default)]
struct State {
    lease: Option<LeaseObject>,
    version: u64,
    /// When the Lease was written last: from then on another counts.
    written: Option<At>,
    /// From now on nothing is answered, though what arrives is still written where that is said.
    silent: bool,
    writes_in_silence: u32,
    /// The next write is done, and answered with this code.
    answer_lost: bool,
}

struct Answers(Arc<Mutex<State>>, Clock);

impl Respond for Answers {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let mut state = self.0.lock().unwrap();
        let failure = |code: u16, reason: &str| {
            let body = serde_json::json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": reason,
                "reason": reason, "code": code});
            ResponseTemplate::new(code).set_body_json(body)
        };
        let silence = ResponseTemplate::new(200).set_delay(Duration::from_secs(30));
        if state.silent && (request.method == http::Method::GET || state.writes_in_silence == 0) {
            return silence;
        }
        let version = |state: &State| Some(state.version.to_string());
        if request.method == http::Method::GET {
            return match &state.lease {
                Some(lease) => ResponseTemplate::new(200).set_body_json(lease),
                None => failure(404, "NotFound"),
            };
        }
        let Some(held) = state.lease.as_ref() else {
            if request.method == http::Method::PUT {
                return failure(404, "NotFound");
            }
            let mut lease: LeaseObject = request.body_json().unwrap();
            (lease.metadata.uid, lease.metadata.resource_version) = (Some("u-1".to_owned()), version(&state));
            (state.lease, state.written) = (Some(lease.clone()), Some(self.1.now()));
            return ResponseTemplate::new(201).set_body_json(lease);
        };
        let mut lease: LeaseObject = request.body_json().unwrap();
        if lease.metadata.resource_version != held.metadata.resource_version {
            return failure(409, "Conflict");
        }
        lease.metadata.uid.clone_from(&held.metadata.uid);
        state.version += 1;
        lease.metadata.resource_version = version(&state);
        (state.lease, state.written) = (Some(lease.clone()), Some(self.1.now()));
        if state.silent {
            state.writes_in_silence -= 1;
            return silence;
        }
        if std::mem::take(&mut state.answer_lost) {
            return failure(504, "Timeout");
        }
        ResponseTemplate::new(200).set_body_json(lease)
    }
}

/// A hundredth part of the real times and more, with as much between the deadline and the whole duration.
const QUICK: Timing = Timing {
    every: Duration::from_millis(50),
    request: Duration::from_millis(300),
    deadline: Duration::from_millis(800),
    check: Duration::from_millis(10),
};
/// What the other side waits, in the same measure.
const QUICK_DURATION: Duration = Duration::from_millis(1_600);

impl Api {
    async fn start(clock: Clock) -> Self {
        let (state, server) = (Arc::new(Mutex::new(State::default())), MockServer::start().await);
        Mock::given(wiremock::matchers::any()).respond_with(Answers(state.clone(), clock)).mount(&server).await;
        Self { state, server }
    }

    async fn cluster(&self) -> Cluster {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config");
        let text = serde_json::json!({"apiVersion": "v1", "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": self.server.uri()}}], "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}]});
        std::fs::write(&file, text.to_string()).unwrap();
        Cluster::connect("test", &file, "x").await.unwrap()
    }

    /// Takes the Lease as `run r1`, and renews it in the background.
    async fn hold(&self, clock: Clock) -> JoinHandle<String> {
        let (cluster, own) = (self.cluster().await, own());
        let renewed = clock.now();
        let held = write(&cluster, &clock, "r1", "run r1", &own, None).await.unwrap().unwrap();
        let renewing = Holder { cluster, clock, holder: "run r1".to_owned(), held, renewed };
        tokio::spawn(renewing.until_lost(QUICK))
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
    }

    fn version(&self) -> u64 {
        self.state.lock().unwrap().version
    }

    async fn renewed_times(&self, times: u64) {
        let from = self.version();
        while self.version() < from + times {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn reason_within(limit: Duration, task: JoinHandle<String>) -> String {
    tokio::time::timeout(limit, task).await.expect("the holder was not told").unwrap()
}

#[tokio::test]
async fn a_holder_that_cannot_renew_is_told_before_another_may_take_over() {
    // Nothing arrives any more; or the writes arrive and the answers do not, so that the other side counts from later.
    for writes_in_silence in [0, 2] {
        let clock = Clock::start();
        let api = Api::start(clock).await;
        let task = api.hold(clock).await;
        api.renewed_times(3).await;
        let silent_from = clock.now();
        api.change(|state| (state.silent, state.writes_in_silence) = (true, writes_in_silence));
        let reason = reason_within(Duration::from_secs(20), task).await;
        let told = clock.now();
        let written = api.state.lock().unwrap().written.unwrap();
        assert!(told < written.plus(QUICK_DURATION), "told at {told:?}, written at {written:?}");
        assert!(told.since(silent_from) + QUICK.every + QUICK.request >= QUICK.deadline, "too early: {told:?}");
        assert!(reason.starts_with("the lease on the cluster could not be renewed for 0 s: no answer"), "{reason}");
    }
}

#[tokio::test]
async fn a_suspended_holder_is_told_as_soon_as_it_is_awake() {
    let clock = suspended::clock();
    let api = Api::start(Clock::start()).await;
    let task = api.hold(clock).await;
    api.renewed_times(2).await;
    api.change(|state| state.silent = true);
    suspended::suspend(QUICK.deadline);
    let woken = Clock::start();
    reason_within(Duration::from_secs(20), task).await;
    assert!(woken.now().since(At(0)) < QUICK.deadline / 2, "{:?}", woken.now());
}

#[tokio::test]
async fn another_holder_a_deletion_and_a_release_are_losses_at_once() {
    let clock = Clock::start();
    let holder = |name: &'static str| {
        move |state: &mut State| {
            state.version += 1;
            let version = state.version.to_string();
            let lease = state.lease.as_mut().unwrap();
            lease.metadata.resource_version = Some(version);
            lease.spec.as_mut().unwrap().holder_identity = Some(name.to_owned());
        }
    };
    let anew = move |state: &mut State| {
        holder("run r1")(state);
        state.lease.as_mut().unwrap().metadata.uid = Some("u-2".to_owned());
    };
    let cases: [(&str, Change); 4] = [
        ("the cluster was taken over by run r2", Box::new(holder("run r2"))),
        ("the lease on the cluster was released by somebody else", Box::new(holder(""))),
        ("the lease on the cluster was deleted", Box::new(|state| state.lease = None)),
        ("the lease on the cluster was deleted", Box::new(anew)),
    ];
    for (expected, change) in cases {
        let api = Api::start(clock).await;
        let task = api.hold(clock).await;
        api.renewed_times(1).await;
        let changed = clock.now();
        api.change(change);
        assert_eq!(reason_within(Duration::from_secs(20), task).await, expected);
        assert!(clock.now().since(changed) < QUICK.deadline, "that is not at once");
    }
}

#[tokio::test]
async fn an_answer_that_was_lost_and_a_strangers_annotation_are_no_losses() {
    let clock = Clock::start();
    let api = Api::start(clock).await;
    let task = api.hold(clock).await;
    api.change(|state| state.answer_lost = true);
    api.renewed_times(4).await;
    api.change(|state| {
        state.version += 1;
        let version = state.version.to_string();
        state.lease.as_mut().unwrap().metadata.resource_version = Some(version);
    });
    api.renewed_times(4).await;
    assert!(!task.is_finished());
    task.abort();
}

#[tokio::test]
async fn work_ends_when_the_lock_is_lost() {
    let (tell, lost) = watch::channel(None);
    assert_eq!(while_held(lost.clone(), async { 7 }).await, Ok(7));
    tell.send_replace(Some("taken".to_owned()));
    assert_eq!(while_held(lost, std::future::pending::<()>()).await, Err("taken".to_owned()));
}
