//! The rate limit, from the headers of each reply.

use http::HeaderMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// If only this many requests remain, each request waits until one more is allowed.
const RESERVE: i64 = 10;
/// The API allows one more request per second (3600 per hour).
const PER_REQUEST: Duration = Duration::from_secs(1);

/// The rate limit headers of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RateLimit {
    /// Allowed requests per hour.
    pub(crate) limit: i64,
    /// Remaining requests.
    pub(crate) remaining: i64,
    /// The time at which the limit is full again, in seconds since the epoch.
    pub(crate) reset_unix_s: i64,
}

impl RateLimit {
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse().ok();
        Some(Self {
            limit: number("ratelimit-limit")?,
            remaining: number("ratelimit-remaining")?,
            reset_unix_s: number("ratelimit-reset")?,
        })
    }
}

/// The rate limit of the last reply.
#[derive(Debug, Default)]
pub(super) struct Gauge(Mutex<Option<RateLimit>>);

impl Gauge {
    pub(super) fn read(&self, headers: &HeaderMap) {
        if let Some(read) = RateLimit::of(headers) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(read);
        }
    }

    pub(super) fn last(&self) -> Option<RateLimit> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The wait before the next request, so that other clients of the project keep some.
    pub(super) fn pause(&self) -> Duration {
        match self.last() {
            Some(rate) if rate.remaining <= RESERVE => PER_REQUEST,
            _ => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn the_last_requests_are_not_used_up_at_once() {
        let gauge = Gauge::default();
        assert_eq!((gauge.last(), gauge.pause()), (None, Duration::ZERO));
        let reply = |remaining: &str| {
            let rest = [("ratelimit-limit", "3600"), ("ratelimit-reset", "1800000000")];
            headers(&[rest[0], rest[1], ("ratelimit-remaining", remaining)])
        };
        gauge.read(&reply("11"));
        assert_eq!(gauge.last(), Some(RateLimit { limit: 3600, remaining: 11, reset_unix_s: 1_800_000_000 }));
        assert_eq!(gauge.pause(), Duration::ZERO);
        gauge.read(&reply("10"));
        assert_eq!(gauge.pause(), PER_REQUEST);
        // A reply of something in between says nothing of it.
        gauge.read(&headers(&[("ratelimit-remaining", "x")]));
        assert_eq!(gauge.last().unwrap().remaining, 10);
    }
}
