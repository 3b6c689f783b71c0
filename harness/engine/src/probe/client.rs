//! One series' client, of whichever kind.

use super::cause::{Failure, Sent};
use super::endpoint::EndpointError;
use super::remarks::{Notes, Remarks};
use super::schedule::ProbeSpec;
use super::tcp;
use async_trait::async_trait;
use firedrill_core::sample::{Cause, Outcome};

pub(super) struct Client {
    attempts: Box<dyn Attempts>,
    writes: bool,
    /// The name and port that must not be reached, where they must not.
    kept_from: Option<(String, u16)>,
    timeout: std::time::Duration,
}

/// What makes the attempts of one series.
#[async_trait]
pub(super) trait Attempts: Send + Sync {
    /// One attempt. `sent` is marked once the other end may have been reached.
    async fn attempt(&self, seq: u32, sent: &Sent) -> Result<(), Failure>;
}

impl Client {
    pub(super) fn new(spec: &ProbeSpec, remarks: &Remarks) -> Result<Self, EndpointError> {
        let attempts = spec.endpoint.attempts(spec, Notes::new(remarks, spec.series))?;
        let other_end = || {
            let reason = "only over HTTP and TCP is it known whether a connection was made";
            spec.endpoint.other_end().ok_or_else(|| spec.endpoint.error(reason))
        };
        let kept_from = spec.blocked.then(other_end).transpose()?;
        Ok(Self { attempts, writes: spec.endpoint.writes(), kept_from, timeout: spec.timeout })
    }

    /// One attempt, within the timeout.
    pub(super) async fn attempt(&self, seq: u32) -> Outcome {
        if let Some((host, port)) = &self.kept_from {
            // Who does not know the address was not kept from it.
            let name = Err(Failure::of(Cause::Name));
            match tokio::time::timeout(self.timeout, tcp::resolve(host, *port)).await.unwrap_or(name) {
                Ok(_) => {}
                Err(Failure { local: Some(why), .. }) => return Outcome::NotSent { why },
                Err(_) => return Outcome::Failed { cause: Cause::Name, code: 0, maybe_applied: false },
            }
        }
        let sent = Sent::default();
        let result = match tokio::time::timeout(self.timeout, self.attempts.attempt(seq, &sent)).await {
            Ok(result) => result,
            Err(_) => Err(Failure::of(Cause::Timeout)),
        };
        let result = if self.kept_from.is_some() { kept_out(result, &sent) } else { result };
        match result {
            Ok(()) => Outcome::Ok,
            // What was sent before this machine failed may have been applied.
            Err(Failure { local: Some(why), .. }) if !sent.is_marked() => Outcome::NotSent { why },
            Err(Failure { cause, code, refused, .. }) => {
                Outcome::Failed { cause, code, maybe_applied: self.writes && sent.is_marked() && !refused }
            }
        }
    }
}

/// An attempt that must not come through. It was kept out where no connection was made. Where one was, it came through,
/// whatever was said over it. All else, such as a name that does not resolve, shows neither.
fn kept_out(result: Result<(), Failure>, sent: &Sent) -> Result<(), Failure> {
    match result {
        Err(Failure { cause: Cause::Refused | Cause::Timeout | Cause::Unreachable, .. }) if !sent.is_marked() => Ok(()),
        Err(failure) if !sent.is_marked() => Err(failure),
        Ok(()) | Err(_) => Err(Failure::of(Cause::Reached)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_connection_that_is_not_made_was_kept_out() {
        let (unsent, sent) = (Sent::default(), Sent::default());
        sent.mark();
        let failed = |cause| Err(Failure::of(cause));
        for cause in [Cause::Refused, Cause::Timeout, Cause::Unreachable] {
            assert_eq!(kept_out(failed(cause), &unsent), Ok(()));
            assert_eq!(kept_out(failed(cause), &sent), failed(Cause::Reached), "a frozen server was reached");
        }
        assert_eq!(kept_out(failed(Cause::Name), &unsent), failed(Cause::Name), "an unknown name shows nothing");
        assert_eq!(kept_out(Err(Failure::coded(Cause::Status, 503)), &sent), failed(Cause::Reached));
        assert_eq!(kept_out(Ok(()), &unsent), failed(Cause::Reached), "a TCP connection that was opened");
    }
}
