//! What `firedrill doctor --provider hetzner` asks of the API. Nothing is created or changed.

#[cfg(test)]
mod tests;

use super::client::{ApiError, Client, Code, Limits, Reply};
use super::endpoint::Endpoint;
use super::labels;
use super::machine_types::{self, Choice, Need};
use super::price::{Item, Prices};
use super::token::Token;
use crate::clock::Clock;
use crate::doctor::{Check, State};
use http::{HeaderMap, Method, header};
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// The image that nodes boot.
const IMAGE: &str = "debian-13";
/// Nodes of a cluster for whose price the doctor asks: one control plane and three workers.
const NODES: usize = 4;
/// Requests that a cluster and its drills take at least.
const REQUESTS_MIN: i64 = 300;
/// How far this machine's clock may be off: certificates and the expiry of resources are compared with it.
const CLOCK_OFF_MAX_S: i64 = 30;

/// How long the API may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Of the client.
    pub(super) limits: Limits,
    /// An answer that took longer is worth a warning.
    pub(super) slow_after: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let limit = Duration::from_secs(10);
        let limits = Limits { request_timeout: limit, retry_timeout: limit, ..Limits::default() };
        Self { limits, slow_after: Duration::from_secs(2) }
    }
}

/// Examines the API that the environment names, with the environment's token.
pub(crate) async fn examine() -> Vec<Check> {
    let (endpoint, token) = (Endpoint::from_environment(), Token::from_environment());
    let mut checks = vec![match &endpoint {
        Ok(endpoint) if endpoint.is_hetzner() => Check::ok("endpoint", format!("{}, which bills", endpoint.base())),
        Ok(endpoint) => Check::ok("endpoint", format!("{}, which is not Hetzner's own", endpoint.base())),
        Err(error) => Check::not("endpoint", State::Failed, error.to_string(), "correct or unset the variable"),
    }];
    match &token {
        Ok(_) => {}
        Err(error) => {
            let remedy = "create a token with Read & Write in the Hetzner Console, under Security";
            checks.push(Check::not("token", State::Failed, error.to_string(), remedy));
        }
    }
    if let (Ok(endpoint), Ok(token)) = (endpoint, token) {
        checks.extend(examine_api(&endpoint, &token, Patience::default()).await);
    }
    checks
}

/// Examines an API.
pub(super) async fn examine_api(endpoint: &Endpoint, token: &Token, patience: Patience) -> Vec<Check> {
    let unreached = |error: &ApiError| {
        let remedy = "see whether this machine reaches it, whether HTTPS_PROXY is right, and status.hetzner.com";
        vec![Check::not("API", State::Failed, error.to_string(), remedy)]
    };
    let client = match Client::new(endpoint, token, patience.limits) {
        Ok(client) => client,
        Err(error) => return unreached(&error),
    };
    let clock = Clock::start();
    let asked = clock.now();
    let reply = match client.forward(Method::GET, "/locations".to_owned(), None).await {
        Ok(reply) => reply,
        Err(error) => return unreached(&error),
    };
    let took = clock.now().since(asked);
    if reply.status.is_server_error() {
        return match reply.json("GET /locations") {
            Err(error) => unreached(&error),
            Ok(_) => Vec::new(),
        };
    }
    let mut checks = vec![speed(took, patience.slow_after), clock_check(&reply.headers, clock.timestamp(asked), took)];
    let (validity, is_valid) = validity(&reply);
    checks.push(validity);
    if is_valid {
        checks
            .push(permission(client.forward(Method::POST, "/placement_groups".to_owned(), Some(b"{}".to_vec())).await));
        checks.push(project(&client).await);
        checks.push(quota());
        let choices = choices(&client).await;
        checks.push(server_types(&choices));
        checks.push(image(&client).await);
        checks.push(prices(&client, choices.as_ref().ok().and_then(|choices| choices.first())).await);
        checks.push(rate(&client));
    }
    checks
}

fn speed(took: Duration, slow_after: Duration) -> Check {
    let found = format!("answered in {:.2} s", took.as_secs_f64());
    if took <= slow_after {
        return Check::ok("API", found);
    }
    let remedy = "see status.hetzner.com and the network: each step of a cluster takes several requests";
    Check::not("API", State::Warning, found, remedy)
}

/// Compares the clocks by the reply's `Date`, which has whole seconds.
fn clock_check(headers: &HeaderMap, asked: Timestamp, took: Duration) -> Check {
    let date = headers.get(header::DATE).and_then(|date| date.to_str().ok());
    let date = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok()).map(|date| date.timestamp().as_second());
    let remedy = "set this machine's clock: certificates and the expiry of resources depend on it";
    let Some(date) = date else {
        return Check::not("clock", State::Warning, "unknown: the API's reply has no readable Date", remedy);
    };
    let took_s = i64::try_from(took.as_secs()).unwrap_or(i64::MAX);
    let off = (date - asked.as_second()).saturating_sub(took_s / 2);
    let direction = if off < 0 { "ahead of" } else { "behind" };
    if off.abs() <= 1 {
        return Check::ok("clock", "as the API's, within 1 s");
    }
    let found = format!("{} s {direction} the API's", off.abs());
    if off.abs() <= CLOCK_OFF_MAX_S {
        Check::ok("clock", found)
    } else {
        Check::not("clock", State::Warning, found, remedy)
    }
}

fn validity(reply: &Reply) -> (Check, bool) {
    let error = match reply.json("GET /locations") {
        Ok(_) => return (Check::ok("token", "valid"), true),
        Err(error) => error,
    };
    let (found, remedy) = match &error {
        ApiError::Refused { code: Code::Unauthorized, message, .. } => {
            let remedy =
                "create a token with Read & Write in the Hetzner Console, under Security; deleted tokens end at once";
            (message.clone(), remedy)
        }
        error => (error.to_string(), "see what the API says"),
    };
    (Check::not("token", State::Failed, found, remedy), false)
}

/// Whether the token may change things, by a request that creates nothing with any token: a placement group needs a name, and is free.
fn permission(reply: Result<Reply, ApiError>) -> Check {
    let unknown = |why: String| {
        let found = format!("unknown: {why}");
        Check::not("permission", State::Warning, found, "see in the Hetzner Console whether the token has Read & Write")
    };
    let error = match reply.and_then(|reply| reply.json("POST /placement_groups")) {
        Ok(_) => return unknown("the API created a placement group that has no name: delete it".to_owned()),
        Err(error) => error,
    };
    match (error.code(), &error) {
        (Some(Code::Forbidden), _) => {
            let remedy = "create a token with the permission Read & Write";
            Check::not("permission", State::Failed, "the token is read-only", remedy)
        }
        (_, ApiError::Refused { status: 400 | 422, .. }) => Check::ok("permission", "Read & Write"),
        _ => unknown(error.to_string()),
    }
}

/// The number of entries of a list.
async fn count(client: &Client, kind: &str, selector: Option<&str>) -> Result<u64, ApiError> {
    let mut query = vec![("per_page", "1")];
    query.extend(selector.map(|selector| ("label_selector", selector)));
    let reply: Value = client.get(&format!("/{kind}"), &query).await?;
    let total = reply.pointer("/meta/pagination/total_entries").and_then(Value::as_u64);
    let why = "it has no total_entries".to_owned();
    total.ok_or(ApiError::Unreadable { request: format!("GET /{kind}"), why })
}

/// The API does not name the project of a token: by what is in it a person sees whether it is the right one.
async fn project(client: &Client) -> Check {
    let counts = async {
        let ours = labels::selector_of_all();
        let (servers, volumes) = (count(client, "servers", None).await?, count(client, "volumes", None).await?);
        let (addresses, own) =
            (count(client, "primary_ips", None).await?, count(client, "servers", Some(&ours)).await?);
        Ok::<_, ApiError>(format!("{servers} servers ({own} of firedrill), {volumes} volumes, {addresses} Primary IPs"))
    };
    match counts.await {
        Ok(found) => Check::ok("project", format!("the token's project has {found}")),
        Err(error) => read_failed("project", &error),
    }
}

fn read_failed(name: &str, error: &ApiError) -> Check {
    Check::not(name, State::Failed, error.to_string(), "run it again; see status.hetzner.com")
}

fn quota() -> Check {
    let found = "unknown: the API does not tell the project's limits";
    let remedy = "a cluster takes 4 servers and 4 Primary IPs: compare with Limits in the Hetzner Console";
    Check::not("quota", State::Warning, found, remedy)
}

async fn choices(client: &Client) -> Result<Vec<Choice>, machine_types::ChoiceError> {
    let need = Need { server_type: None, location: None, architecture: "x86".to_owned(), cores: 2, memory_gb: 4.0 };
    machine_types::choices(client, &need).await
}

fn server_types(choices: &Result<Vec<Choice>, machine_types::ChoiceError>) -> Check {
    let choices = match choices {
        Ok(choices) => choices,
        Err(error) => {
            let remedy = "try again later: capacity changes within hours";
            return Check::not("server types", State::Failed, error.to_string(), remedy);
        }
    };
    let mut at: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for choice in choices {
        at.entry(&choice.location).or_default().push(&choice.server_type);
    }
    let at = at.iter().map(|(location, types)| format!("{location}: {}", types.join(", ")));
    Check::ok(
        "server types",
        format!("available with 2 cores and 4 GB, the cheapest first\n{}", at.collect::<Vec<_>>().join("\n")),
    )
}

async fn image(client: &Client) -> Check {
    match machine_types::image(client, IMAGE, "x86").await {
        Ok(id) => Check::ok("image", format!("{IMAGE} (x86) is image {id}")),
        Err(error) => Check::not("image", State::Failed, error.to_string(), "see `hcloud image list`"),
    }
}

async fn prices(client: &Client, choice: Option<&Choice>) -> Check {
    let remedy = "without prices no cost can be bounded, and firedrill makes no cluster: run it again";
    let prices = match Prices::fetch(client).await {
        Ok(prices) => prices,
        Err(error) => return Check::not("prices", State::Failed, error.to_string(), remedy),
    };
    let Some(Choice { server_type, location, .. }) = choice else {
        return Check::ok("prices", format!("readable, in {}", prices.currency));
    };
    let server = Item::Server { server_type: server_type.clone(), location: location.clone() };
    let node = [server, Item::Ipv4 { location: location.clone() }];
    let items: Vec<Item> = std::iter::repeat_n(node, NODES).flatten().collect();
    match prices.all_per_hour(&items) {
        Ok(sum) => {
            let currency = &prices.currency;
            Check::ok(
                "prices",
                format!("{sum} {currency} each begun hour for {NODES} x {server_type} with IPv4 in {location}"),
            )
        }
        Err(error) => Check::not("prices", State::Failed, error.to_string(), remedy),
    }
}

fn rate(client: &Client) -> Check {
    let remedy = "other clients use the same project: stop them, or wait; one more request is granted each second";
    match client.rate_limit() {
        Some(rate) if rate.remaining >= REQUESTS_MIN => {
            Check::ok("rate limit", format!("{} of {} requests left", rate.remaining, rate.limit))
        }
        Some(rate) => {
            let found = format!("{} of {} requests left", rate.remaining, rate.limit);
            Check::not("rate limit", State::Warning, found, remedy)
        }
        None => Check::not("rate limit", State::Warning, "unknown: the replies have no RateLimit headers", remedy),
    }
}
