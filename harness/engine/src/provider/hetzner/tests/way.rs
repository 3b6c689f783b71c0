//! The way between the provider and the double: it counts requests, and strikes at one of them.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// What happens at the n-th request, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Strike {
    /// Nothing.
    Never,
    /// It and all later ones are answered by a gateway without the API.
    Down(usize),
    /// It is refused as long as it is repeated.
    Refuse(usize),
    /// The program dies before it is sent, or after it was carried out.
    Die { at: usize, carried_out: bool },
}

struct State {
    double: SocketAddr,
    http: reqwest::Client,
    course: Mutex<Course>,
    died: Notify,
}

struct Course {
    strike: Strike,
    count: usize,
    /// The request that is refused.
    refused: Option<String>,
    has_struck: bool,
    bodies: Vec<String>,
}

/// See the module.
pub(super) struct Way {
    pub(super) address: SocketAddr,
    state: Arc<State>,
}

enum Fate {
    Pass,
    BadGateway,
    Die { carried_out: bool },
}

impl Way {
    pub(super) async fn to(double: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let course = Course { strike: Strike::Never, count: 0, refused: None, has_struck: false, bodies: Vec::new() };
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let state = Arc::new(State { double, http, course: Mutex::new(course), died: Notify::new() });
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = shared.clone();
                let service = service_fn(move |request| answer(state.clone(), request));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Self { address, state }
    }

    /// Counts anew, with this strike.
    pub(super) fn strike(&self, strike: Strike) {
        let mut course = self.state.course.lock().unwrap();
        (course.strike, course.count, course.refused, course.has_struck) = (strike, 0, None, false);
    }

    pub(super) fn has_struck(&self) -> bool {
        self.state.course.lock().unwrap().has_struck
    }

    /// Ends when the program is to die.
    pub(super) async fn died(&self) {
        self.state.died.notified().await;
    }

    /// The bodies of all requests.
    pub(super) fn bodies(&self) -> Vec<String> {
        self.state.course.lock().unwrap().bodies.clone()
    }
}

impl Course {
    fn fate(&mut self, shown: &str) -> Fate {
        self.count += 1;
        let is_due = |at: usize| self.count == at;
        let fate = match self.strike {
            Strike::Never => Fate::Pass,
            Strike::Down(at) if self.count >= at => Fate::BadGateway,
            Strike::Refuse(at) => {
                if is_due(at) {
                    self.refused = Some(shown.to_owned());
                }
                match self.refused.as_deref() == Some(shown) {
                    true => Fate::BadGateway,
                    false => {
                        // Another request: this one was given up.
                        if self.refused.is_some() {
                            self.refused = Some(String::new());
                        }
                        Fate::Pass
                    }
                }
            }
            Strike::Die { at, carried_out } if is_due(at) => Fate::Die { carried_out },
            Strike::Down(_) | Strike::Die { .. } => Fate::Pass,
        };
        self.has_struck |= !matches!(fate, Fate::Pass);
        fate
    }
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, reqwest::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let shown = format!("{} {}", head.method, head.uri);
    let fate = {
        let mut course = state.course.lock().unwrap();
        course.bodies.push(String::from_utf8_lossy(&body).into_owned());
        course.fate(&shown)
    };
    let reply = |status: u16, body: Bytes| Response::builder().status(status).body(Full::new(body)).unwrap();
    match fate {
        Fate::BadGateway => return Ok(reply(502, Bytes::from_static(b"bad gateway"))),
        Fate::Die { carried_out: false } => {
            state.died.notify_one();
            return std::future::pending().await;
        }
        Fate::Pass | Fate::Die { .. } => {}
    }
    let sent = state.http.request(head.method, format!("http://{}{}", state.double, head.uri)).headers(head.headers);
    let answer = sent.body(body).send().await?;
    let status = answer.status().as_u16();
    let bytes = answer.bytes().await?;
    if matches!(fate, Fate::Die { .. }) {
        state.died.notify_one();
        return std::future::pending().await;
    }
    Ok(reply(status, bytes))
}
