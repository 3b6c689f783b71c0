//! The proxy between a runbook's `hcloud` and Hetzner's API.
//!
//! It listens on a random port of the loopback address, with a token of its own: commands of a runbook never see the real one. It
//! passes on what reads. It passes on a change only if every resource that the request names belongs to the cluster of the run.

mod route;
#[cfg(test)]
mod tests;

use super::client::{ApiError, Client, Code, Kind, Limits, Reply};
use super::endpoint::Endpoint;
use super::labels::{self, LabelError, Labels, Mark};
use super::token::Token;
use crate::provider::step_environment::{ChangeEnd, ChangeLog, StepEnvironment};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use ring::rand::{SecureRandom, SystemRandom};
use route::{Fields, Route};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Connections that are served at a time. Each carries one request.
const CONNECTIONS_MAX: usize = 16;
/// The limit of a request's body. User data has at most 32 KiB.
const BODY_BYTES_MAX: usize = 256 * 1024;
/// The limit of a query.
const QUERY_BYTES_MAX: usize = 4096;
/// How long a client may take for its request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may last in all, with the requests to the API that it causes.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(120);
/// Bytes of the proxy's own token. Hetzner's tokens have 64 characters too.
const TOKEN_BYTES: usize = 32;
/// Headers of a reply that are passed on.
const REPLY_HEADERS: [&str; 5] =
    ["content-type", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "retry-after"];

/// The proxy cannot be started.
#[derive(Debug, Error)]
pub(crate) enum StepProxyError {
    /// The HTTP client cannot be created.
    #[error(transparent)]
    Client(#[from] ApiError),
    /// The cluster's labels are not valid.
    #[error(transparent)]
    Labels(#[from] LabelError),
    /// No port can be opened.
    #[error("no port on 127.0.0.1 can be opened: {0}")]
    Listen(#[from] std::io::Error),
    /// No random token can be made.
    #[error("the system gives no random bytes for the token of the runbook's hcloud")]
    Random,
}

/// Starts the proxy of one run. `mark` has the labels of the run's cluster. It stops when the environment is dropped.
///
/// # Errors
/// If it cannot be started.
pub(crate) async fn start(
    endpoint: &Endpoint,
    token: &Token,
    mark: &Mark,
    limits: Limits,
) -> Result<StepEnvironment, StepProxyError> {
    let mut random = [0; TOKEN_BYTES];
    SystemRandom::new().fill(&mut random).map_err(|_| StepProxyError::Random)?;
    let own: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let (stop, log) = (CancellationToken::new(), ChangeLog::default());
    let proxy = Arc::new(Proxy {
        client: Client::new(endpoint, token, limits)?,
        cluster: mark.cluster.clone(),
        labels: mark.labels()?,
        address,
        authorization: digest(format!("Bearer {own}").as_bytes()),
        log: log.clone(),
    });
    tokio::spawn(stop.clone().run_until_cancelled_owned(accept(proxy, listener, stop.clone())));
    let variables = [
        ("HCLOUD_ENDPOINT", format!("http://{address}/v1")),
        ("HCLOUD_TOKEN", own.clone()),
        // No context of the user's own takes part.
        ("HCLOUD_CONFIG", "/dev/null".to_owned()),
    ];
    Ok(StepEnvironment {
        variables: variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
        secrets: vec![("the token of the runbook's hcloud", own)],
        requests: log,
        _guard: Some(stop.drop_guard()),
    })
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

async fn accept(proxy: Arc<Proxy>, listener: TcpListener, stop: CancellationToken) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // Too many open files, for example: a connection that ends makes room.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let proxy = proxy.clone();
        let serving = async move {
            let _ = tokio::time::timeout(CONNECTION_TIMEOUT, serve(proxy, stream)).await;
            drop(permit);
        };
        tokio::spawn(stop.clone().run_until_cancelled_owned(serving));
    }
}

async fn serve(proxy: Arc<Proxy>, stream: TcpStream) {
    let service = service_fn(move |request| {
        let proxy = proxy.clone();
        async move {
            // In a task of its own: a client that goes away does not end a request to the API before its end is noted.
            let answer = tokio::spawn(async move { proxy.answer(request).await }).await;
            Ok::<_, Infallible>(answer.unwrap_or_else(|_| failure(500, "server_error", "firedrill's proxy failed")))
        }
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(REQUEST_TIMEOUT).keep_alive(false);
    // A client that goes away is no error of ours.
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

/// One run's proxy.
struct Proxy {
    client: Client,
    cluster: String,
    /// The labels that new resources must have.
    labels: Labels,
    address: SocketAddr,
    /// The digest of the `Authorization` header, so that comparing takes the same time for every value.
    authorization: [u8; 32],
    log: ChangeLog,
}

type Answer = Response<Full<Bytes>>;

impl Proxy {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let (parts, body) = request.into_parts();
        let is_to_us = parts.uri.authority().is_none()
            && the_one(&parts.headers, header::HOST) == Some(self.address.to_string().as_bytes());
        if !is_to_us {
            return failure(403, "forbidden", "the Host header does not name firedrill's proxy");
        }
        match the_one(&parts.headers, header::AUTHORIZATION) {
            None => return failure(401, "unauthorized", "token is required"),
            Some(sent) if digest(sent) != self.authorization => {
                let message = "the token you have provided is invalid: firedrill's proxy takes only the HCLOUD_TOKEN \
                               that it gives to the commands of a runbook";
                return failure(401, "unauthorized", message);
            }
            Some(_) => {}
        }
        let (method, path, query) = (&parts.method, parts.uri.path(), parts.uri.query());
        let route = match route::route(method, path, query) {
            Ok(Route::Read) => return self.read(path, query).await,
            Ok(route) => route,
            Err(why) => return self.refuse(method, path, &why),
        };
        let body = match tokio::time::timeout(REQUEST_TIMEOUT, Limited::new(body, BODY_BYTES_MAX).collect()).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(_)) | Err(_) => {
                return self.refuse(method, path, "its body is too large, or did not arrive in time");
            }
        };
        match self.check(route, &body).await {
            Ok(body) => self.change(method, path, body).await,
            Err(Objection::Refused(why)) => self.refuse(method, path, &why),
            Err(Objection::Api(error)) => answer_of(&error),
        }
    }

    /// Passes on a request that changes nothing.
    async fn read(&self, path: &str, query: Option<&str>) -> Answer {
        if query.is_some_and(|query| query.len() > QUERY_BYTES_MAX) {
            return failure(403, "forbidden", "the query is too long");
        }
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        match self.client.forward(Method::GET, format!("{}{query}", upstream(path)), None).await {
            Ok(reply) => passed_on(reply),
            Err(error) => answer_of(&error),
        }
    }

    /// Passes on a change that was checked, and notes its end.
    async fn change(&self, method: &Method, path: &str, body: Option<Vec<u8>>) -> Answer {
        let path = upstream(path);
        if self.log.is_full() {
            return failure(403, "forbidden", "firedrill's proxy has passed on too many changes of one command");
        }
        let noted = self.log.begin(method.as_str(), path);
        match self.client.forward(method.clone(), path.to_owned(), body).await {
            Ok(reply) => {
                self.log.end(noted, ChangeEnd::Answered(reply.status.as_u16()));
                passed_on(reply)
            }
            Err(error) => {
                self.log.end(noted, ChangeEnd::Unanswered(error.to_string()));
                answer_of(&error)
            }
        }
    }

    fn refuse(&self, method: &Method, path: &str, why: &str) -> Answer {
        if *method != Method::GET {
            // A hostile path is not kept.
            let is_plain =
                path.len() <= 200 && path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_".contains(&byte));
            self.log.refuse(method.as_str(), if is_plain { upstream(path) } else { "(an unusual path)" }, why);
        }
        let message =
            format!("{why}; firedrill's proxy passes on changes of the resources of cluster {} only", self.cluster);
        failure(403, "forbidden", &message)
    }

    /// The body to pass on, if all resources of the request are those of the cluster.
    async fn check(&self, route: Route, body: &[u8]) -> Result<Option<Vec<u8>>, Objection> {
        let refused = |why: &str| Objection::Refused(why.to_owned());
        let body = match body {
            [] => None,
            bytes => match serde_json::from_slice(bytes) {
                Ok(Value::Object(body)) => Some(body),
                _ => return Err(refused("its body is not a JSON object")),
            },
        };
        let (fields, creates): (&Fields, bool) = match route {
            Route::Create(_, fields) => (fields, true),
            Route::Change(_, _, fields) => (fields, false),
            Route::Read => return Err(refused("it is not a change")),
        };
        let empty = Map::new();
        let named = route::read(body.as_ref().unwrap_or(&empty), fields, &self.cluster).map_err(Objection::Refused)?;
        if creates {
            self.check_new_labels(named.labels.as_ref()).map_err(Objection::Refused)?;
        } else if let Route::Change(kind, id, _) = route {
            let current = self.own(kind, id).await?;
            if let Some(new) = &named.labels {
                check_kept_labels(&current, new).map_err(Objection::Refused)?;
            }
        }
        for (kind, id) in named.references {
            self.own(kind, id).await?;
        }
        // Written again: what was checked is what the API reads, also where a key stands twice.
        let written = body.map(|body| serde_json::to_vec(&body)).transpose();
        written.map_err(|_| refused("its body cannot be written as JSON"))
    }

    /// The labels of a resource of the cluster.
    async fn own(&self, kind: Kind, id: i64) -> Result<Labels, Objection> {
        let resource = self.client.resource(kind, id).await.map_err(Objection::Api)?;
        if resource.claim().cluster() == Some(self.cluster.as_str()) {
            return Ok(resource.labels);
        }
        let label = labels::selector_of(&self.cluster);
        Err(Objection::Refused(format!("{kind} {id} does not have the label {label}, so it belongs to others")))
    }

    /// A new resource must have all labels, or it would stay when the cluster is deleted.
    fn check_new_labels(&self, new: Option<&Labels>) -> Result<(), String> {
        let lacks = |(key, value): &(&String, &String)| new.and_then(|new| new.get(*key)) != Some(*value);
        let missing: Vec<_> = self.labels.iter().filter(lacks).map(|(key, value)| format!("{key}={value}")).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let options = missing.iter().map(|label| format!(" --label {label}")).collect::<String>();
        Err(format!("a new resource must have the labels of its cluster: add{options}"))
    }
}

/// firedrill's own labels must stay, or the resource would not be found when its cluster is deleted.
fn check_kept_labels(current: &Labels, new: &Labels) -> Result<(), String> {
    let ours = |labels: &Labels| -> Labels {
        let is_ours = |key: &str| key.starts_with(labels::PREFIX);
        labels.iter().filter(|(key, _)| is_ours(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    if ours(current) == ours(new) {
        return Ok(());
    }
    Err(format!("the labels {}... are firedrill's and must stay as they are", labels::PREFIX))
}

/// Why a change is not passed on.
enum Objection {
    /// It may not be made.
    Refused(String),
    /// The API did not say whose the resource is.
    Api(ApiError),
}

/// The value of a header that must be there once.
fn the_one(headers: &HeaderMap, name: HeaderName) -> Option<&[u8]> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then(|| value.as_bytes())
}

/// The path without the version, which the endpoint already has.
fn upstream(path: &str) -> &str {
    path.strip_prefix("/v1").unwrap_or(path)
}

/// The API's own reply. The password of a new server is left out.
fn passed_on(reply: Reply) -> Answer {
    let Reply { status, headers, body } = reply;
    let body = without_password(&body).unwrap_or(body);
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    // A redirect would lead the client, and its token, elsewhere.
    *answer.status_mut() = if status.is_redirection() { StatusCode::BAD_GATEWAY } else { status };
    for name in REPLY_HEADERS.map(HeaderName::from_static) {
        if let Some(value) = headers.get(&name) {
            answer.headers_mut().insert(name, value.clone());
        }
    }
    answer
}

/// The body without a root password, where it has one.
fn without_password(body: &[u8]) -> Option<Vec<u8>> {
    let mut value: Value = serde_json::from_slice(body).ok()?;
    let password = value.get_mut("root_password").filter(|password| !password.is_null())?;
    *password = Value::Null;
    serde_json::to_vec(&value).ok()
}

/// An answer for a request that the API did not answer, or whose resource could not be looked up.
fn answer_of(error: &ApiError) -> Answer {
    match error {
        ApiError::Refused { status, code, message, .. } => failure(*status, &code.to_string(), message),
        ApiError::GaveUp { last, .. } => answer_of(last),
        error if error.is_not_found() => failure(404, &Code::NotFound.to_string(), &error.to_string()),
        error => failure(502, "bad_gateway", &error.to_string()),
    }
}

/// An error reply in Hetzner's form.
fn failure(status: u16, code: &str, message: &str) -> Answer {
    let body = json!({"error": {"code": code, "message": message, "details": null}});
    let mut answer = Response::new(Full::new(Bytes::from(body.to_string())));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    answer
}
