//! Pages that pods and Services serve, through the API server.
//!
//! Several look at the same ones, each at its own pace. Whoever asks a moment after another one gets the answer that this one
//! gets: looking must take little of the cluster that is measured.

use super::Cluster;
use crate::clock::Clock;
use bytes::Bytes;
use firedrill_core::time::At;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use http_body_util::{BodyExt, Limited};
use kube::client::Body;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::timeout;

/// The limit of one answer; a frozen server accepts the connection and says nothing.
const PAGE_LIMIT: Duration = Duration::from_secs(1);
/// The longest answer that is read, in bytes.
const PAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// For how long after it was asked for a page is the same one.
pub(crate) const SAME_PAGE_FOR: Duration = Duration::from_millis(200);

/// A page's HTTP status and body; why there is none, for people.
type Page = Result<(u16, Bytes), String>;
/// One that whoever asks may wait for.
type Asked = Shared<BoxFuture<'static, Page>>;

/// What was asked for a moment ago, by URL.
pub(super) struct Pages {
    clock: Clock,
    asked: Mutex<HashMap<String, (At, Asked)>>,
}

impl Pages {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, asked: Mutex::default() }
    }

    /// The page that was asked for less than [`SAME_PAGE_FOR`] ago, or one that is asked for now.
    fn recent(&self, url: String, ask: impl FnOnce(String) -> BoxFuture<'static, Page>) -> Asked {
        let now = self.clock.now();
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.retain(|_, (at, _)| now.since(*at) < SAME_PAGE_FOR);
        asked.entry(url.clone()).or_insert_with(|| (now, ask(url).shared())).1.clone()
    }
}

impl Cluster {
    /// One page of a pod or a Service; `of` is such as `pods/NAME:PORT`.
    ///
    /// # Errors
    /// Where it does not answer within a second, for people.
    pub(crate) async fn page(&self, namespace: &str, of: &str, path: &str) -> Page {
        let client = self.client();
        let url = format!("/api/v1/namespaces/{namespace}/{of}/proxy/{path}");
        self.pages.recent(url, |url| ask(client, url).boxed()).await
    }
}

async fn ask(client: kube::Client, url: String) -> Page {
    let request = http::Request::get(url).body(Body::empty()).map_err(|error| error.to_string())?;
    let answer = async {
        let answer = client.send(request).await.map_err(|error| error.to_string())?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), PAGE_BYTES_MAX).collect().await;
        Ok((status, body.map_err(|error| error.to_string())?.to_bytes()))
    };
    let limit = || Err(format!("no answer within {} ms", PAGE_LIMIT.as_millis()));
    timeout(PAGE_LIMIT, answer).await.unwrap_or_else(|_| limit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU16, Ordering};
    use tokio::time::sleep;

    #[tokio::test]
    async fn whoever_asks_at_once_gets_one_answer_and_whoever_asks_later_another() {
        let (pages, asked) = (Pages::new(Clock::start()), AtomicU16::new(0));
        let ask = |of: &str| {
            pages.recent(of.to_owned(), |url| {
                let number = asked.fetch_add(1, Ordering::Relaxed);
                async move { Ok((number, Bytes::from(url))) }.boxed()
            })
        };
        let (one, same, other) = tokio::join!(ask("a"), ask("a"), ask("b"));
        assert_eq!(one, same);
        assert_ne!(one, other);
        let slow = ask("a");
        assert_eq!(slow.await, one, "one that was answered already");
        sleep(SAME_PAGE_FOR * 2).await;
        assert_ne!(ask("a").await, one);
        assert_eq!(asked.load(Ordering::Relaxed), 3);
    }
}
