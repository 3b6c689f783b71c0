//! The API client. Every request goes through [`Client`].
//!
//! Request bodies are types of the crate `hcloud`, which are generated from Hetzner's OpenAPI document, and `reqwest` is the HTTP
//! client that this crate uses. Its calls are not used, because they drop the reply's headers and so the rate limit. Its reply types
//! are not used either: a single unknown enum value fails a whole list, for example `assignee_type: unassigned` of a Primary IP.

mod action;
mod error;
mod forward;
mod rate;
#[allow(dead_code, reason = "a reply is described as far as it is understood, also where nothing asks for a field yet")]
mod reply;
mod resources;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub(crate) use action::Action;
pub(crate) use error::{ApiError, Code};
pub(crate) use forward::Reply;
pub(crate) use rate::RateLimit;
pub(crate) use reply::{Image, PrimaryIp, Resource, Server, ServerStatus, ServerType, Volume};
pub(crate) use resources::{Kind, NewServer, UserData};
#[cfg(test)]
pub(crate) use testing::{Double, action_json, client_of, refusal};

use super::endpoint::Endpoint;
use super::token::Token;
use backon::{BackoffBuilder, ExponentialBuilder};
use error::Refusal;
use http::{HeaderMap, HeaderValue, Method, header};
use rate::Gauge;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Duration;

/// The limit of a reply's size. A page of fifty servers has about 200 kB.
const REPLY_BYTES_MAX: usize = 16 << 20;
/// The API's maximum page size.
const PAGE_ENTRIES: &str = "50";
/// The limit of pages in a list: 50,000 entries are more than any project has.
const PAGES_MAX: u32 = 1000;

/// Timeouts and waits of the client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Timeout of one request with its reply.
    pub(crate) request_timeout: Duration,
    /// Timeout of a request with all of its retries.
    pub(crate) retry_timeout: Duration,
    /// The wait before the first retry. Each further wait is twice as long, plus jitter.
    pub(crate) retry_wait: Duration,
    /// The longest wait before a retry, without jitter.
    pub(crate) retry_wait_max: Duration,
    /// The first wait between two polls of an action. It grows to four times this.
    pub(crate) poll_wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(30),
            retry_timeout: Duration::from_secs(180),
            retry_wait: Duration::from_secs(1),
            retry_wait_max: Duration::from_secs(30),
            poll_wait: Duration::from_millis(500),
        }
    }
}

/// Talks to the API.
#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    endpoint: Endpoint,
    limits: Limits,
    gauge: Gauge,
}

/// A request that can be sent more than once.
struct Request {
    method: Method,
    /// With its query.
    path: String,
    body: Option<Vec<u8>>,
}

impl Request {
    /// Method and path for messages, without the query.
    fn shown(&self) -> String {
        format!("{} {}", self.method, self.path.split('?').next().unwrap_or_default())
    }
}

impl Client {
    /// Creates a client. It sends nothing yet, and the HTTP library does not read the environment.
    ///
    /// # Errors
    /// Where the proxy's address cannot be used.
    pub(crate) fn new(endpoint: &Endpoint, token: &Token, limits: Limits) -> Result<Self, ApiError> {
        let headers: HeaderMap = [(header::AUTHORIZATION, token.authorization())].into_iter().collect();
        let mut http = reqwest::Client::builder()
            .user_agent(concat!("firedrill/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .timeout(limits.request_timeout)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        if let Some(proxy) = endpoint.proxy() {
            // The library's message could quote a password.
            let proxy = reqwest::Proxy::all(proxy.to_string());
            http = http.proxy(proxy.map_err(|_| ApiError::Client("the proxy's address cannot be used".to_owned()))?);
        }
        let http = http.build().map_err(|error| ApiError::Client(words(error)))?;
        Ok(Self { http, endpoint: endpoint.clone(), limits, gauge: Gauge::default() })
    }

    /// The rate limit of the last reply.
    #[allow(dead_code, reason = "for `doctor`")]
    pub(crate) fn rate_limit(&self) -> Option<RateLimit> {
        self.gauge.last()
    }

    /// The wait before a request is repeated for the first time.
    pub(crate) fn retry_wait(&self) -> Duration {
        self.limits.retry_wait
    }

    /// Sends a GET request.
    ///
    /// # Errors
    /// If the API refuses it, sends an unreadable reply, or does not answer in time.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T, ApiError> {
        self.exchange(Request { method: Method::GET, path: with_query(path, query), body: None }).await
    }

    /// Sends a POST request, which creates a resource or starts an action.
    ///
    /// # Errors
    /// If the API refuses it, sends an unreadable reply, or does not answer in time.
    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ApiError> {
        let bytes = serde_json::to_vec(body);
        let unwritable = |_| ApiError::Client(format!("the body of POST {path} cannot be written as JSON"));
        let body = Some(bytes.map_err(unwritable)?);
        self.exchange(Request { method: Method::POST, path: path.to_owned(), body }).await
    }

    /// Sends a DELETE request. Returns its action if there is one.
    ///
    /// # Errors
    /// If the API refuses it, sends an unreadable reply, or does not answer in time.
    pub(crate) async fn delete(&self, path: &str) -> Result<Option<Action>, ApiError> {
        #[derive(serde::Deserialize, Default)]
        struct Reply {
            #[serde(default)]
            action: Option<Action>,
        }
        let request = Request { method: Method::DELETE, path: path.to_owned(), body: None };
        let shown = request.shown();
        let body = self.send(&request).await?;
        // 204 has no body.
        let reply: Reply = if body.is_empty() { Reply::default() } else { read(&shown, &body)? };
        Ok(reply.action)
    }

    /// Reads all pages of a list. `key` is the list's name in the reply.
    ///
    /// # Errors
    /// If the API refuses a page, sends an unreadable one, or does not answer in time.
    pub(crate) async fn list<T: DeserializeOwned>(
        &self,
        path: &str,
        key: &str,
        query: &[(&str, &str)],
    ) -> Result<Vec<T>, ApiError> {
        let (mut all, mut page) = (Vec::new(), 1_u32);
        let shown = format!("GET {path}");
        let unreadable = |why: String| ApiError::Unreadable { request: shown.clone(), why };
        for _ in 0..PAGES_MAX {
            let number = page.to_string();
            let mut query = query.to_vec();
            query.extend([("page", number.as_str()), ("per_page", PAGE_ENTRIES)]);
            let mut reply: Value = self.get(path, &query).await?;
            let entries = reply.get_mut(key).map(Value::take);
            let entries = entries.ok_or_else(|| unreadable(format!("it has no list `{key}`")))?;
            let entries: Vec<T> = serde_json::from_value(entries).map_err(|error| unreadable(error.to_string()))?;
            all.extend(entries);
            let next = reply.pointer("/meta/pagination/next_page").and_then(Value::as_u64);
            match next.and_then(|next| u32::try_from(next).ok()) {
                None => return Ok(all),
                Some(next) if next > page => page = next,
                Some(next) => return Err(unreadable(format!("page {page} is followed by page {next}"))),
            }
        }
        Err(unreadable(format!("it has more than {PAGES_MAX} pages")))
    }

    async fn exchange<T: DeserializeOwned>(&self, request: Request) -> Result<T, ApiError> {
        let body = self.send(&request).await?;
        read(&request.shown(), &body)
    }

    /// Sends a request, and retries transient failures until the timeout. Returns the reply's body.
    async fn send(&self, request: &Request) -> Result<Vec<u8>, ApiError> {
        let limit = self.limits.retry_timeout;
        let mut last = None;
        let attempts = async {
            let mut waits = self.waits();
            loop {
                // One more request must be left for others of the project.
                tokio::time::sleep(self.gauge.pause()).await;
                match self.send_once(request).await {
                    Err(error) if error.is_transient() => {
                        tracing::info!(request = request.shown(), %error, "retrying a request to Hetzner's API");
                        last = Some(error);
                    }
                    done => return done,
                }
                tokio::time::sleep(waits.next().unwrap_or(self.limits.retry_wait_max)).await;
            }
        };
        match tokio::time::timeout(limit, attempts).await {
            Ok(done) => done,
            Err(_) => Err(match last {
                Some(last) => ApiError::GaveUp { limit, last: Box::new(last) },
                None => self.unreachable(request, "timeout".to_owned(), true),
            }),
        }
    }

    /// The waits between retries: exponential backoff with jitter of up to 100 %.
    fn waits(&self) -> impl Iterator<Item = Duration> + use<> {
        let builder = ExponentialBuilder::new().with_factor(2.0).with_jitter().without_max_times();
        builder.with_min_delay(self.limits.retry_wait).with_max_delay(self.limits.retry_wait_max).build()
    }

    async fn send_once(&self, request: &Request) -> Result<Vec<u8>, ApiError> {
        let reply = self.reply_to(request).await?;
        if reply.status.is_success() {
            return Ok(reply.body);
        }
        Err(Refusal::of(request.shown(), reply.status.as_u16(), &reply.body))
    }

    /// Sends a request once. Returns the reply, whatever its status is.
    async fn reply_to(&self, request: &Request) -> Result<Reply, ApiError> {
        let mut sent = self.http.request(request.method.clone(), self.endpoint.url(&request.path));
        if let Some(body) = &request.body {
            let json = HeaderValue::from_static("application/json");
            sent = sent.header(header::CONTENT_TYPE, json).body(body.clone());
        }
        let failed = |error: reqwest::Error| {
            let maybe_done = !error.is_connect();
            self.unreachable(request, words(error), maybe_done)
        };
        let mut reply = sent.send().await.map_err(failed)?;
        self.gauge.read(reply.headers());
        let (status, headers) = (reply.status(), reply.headers().clone());
        let mut body = Vec::new();
        while let Some(piece) = reply.chunk().await.map_err(failed)? {
            if body.len() + piece.len() > REPLY_BYTES_MAX {
                let why = format!("it has more than {REPLY_BYTES_MAX} bytes");
                return Err(ApiError::Unreadable { request: request.shown(), why });
            }
            body.extend_from_slice(&piece);
        }
        Ok(Reply { status, headers, body })
    }

    fn unreachable(&self, request: &Request, why: String, maybe_done: bool) -> ApiError {
        let endpoint = self.endpoint.base().to_owned();
        ApiError::Unreachable { request: request.shown(), endpoint, why, maybe_done }
    }
}

fn read<T: DeserializeOwned>(request: &str, body: &[u8]) -> Result<T, ApiError> {
    // serde's message names a place and a type. For a value that is not allowed it quotes that value: a user_data or a password is
    // in no field that is read here.
    serde_json::from_slice(body)
        .map_err(|error| ApiError::Unreadable { request: request.to_owned(), why: error.to_string() })
}

/// The message of an error and of its causes, without the URL.
fn words(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(next) = cause {
        let text = next.to_string();
        if !words.contains(&text) {
            words = format!("{words}: {text}");
        }
        cause = next.source();
    }
    words
}

fn with_query(path: &str, query: &[(&str, &str)]) -> String {
    let encoded =
        |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
    let query: Vec<_> = query.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) }
}
