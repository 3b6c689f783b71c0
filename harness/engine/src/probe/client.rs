//! One series' client, of whichever kind.

use super::cause::{Failure, Sent};
use super::endpoint::{Endpoint, EndpointError};
use super::http::HttpProbe;
use super::ironflow::{Drill, IronflowProbe};
use super::nats::{NatsProbe, Way};
use super::postgres::{self, PostgresProbe};
use super::remarks::{Notes, Remarks};
use super::schedule::ProbeSpec;
use super::tcp::{self, TcpProbe};
use firedrill_core::sample::{Cause, Outcome};

pub(super) struct Client {
    kind: Kind,
    writes: bool,
    /// The name and port that must not be reached, where they must not.
    kept_from: Option<(String, u16)>,
    timeout: std::time::Duration,
}

enum Kind {
    Http(Box<HttpProbe>),
    Tcp(TcpProbe),
    Nats(Box<NatsProbe>),
    Postgres(Box<PostgresProbe>),
    Ironflow(Box<IronflowProbe>),
}

impl Client {
    pub(super) fn new(spec: &ProbeSpec, remarks: &Remarks) -> Result<Self, EndpointError> {
        let notes = Notes::new(remarks, spec.series);
        let way =
            |prefix: &Option<String>| Way { inbox_prefix: prefix.clone(), timeout: spec.timeout, notes: notes.clone() };
        let &ProbeSpec { series, connection, timeout, in_flight_max: limit, .. } = spec;
        let kind = match &spec.endpoint {
            Endpoint::Http { url, status, body } => {
                HttpProbe::new(url, (*status, body.clone()), connection, limit, notes.clone())
                    .map(|probe| Kind::Http(Box::new(probe)))
            }
            Endpoint::Tcp { host, port } => TcpProbe::new(host, *port, connection, limit).map(Kind::Tcp),
            Endpoint::Jetstream { url, stream, subject, inbox_prefix } => {
                NatsProbe::publish(url, stream, subject, series, connection, way(inbox_prefix))
                    .map(|probe| Kind::Nats(Box::new(probe)))
            }
            Endpoint::Nats { url, inbox_prefix } => {
                NatsProbe::round_trip(url, connection, way(inbox_prefix)).map(|probe| Kind::Nats(Box::new(probe)))
            }
            Endpoint::Postgres { url, table } => {
                let statement = postgres::Statement::insert(table, series);
                statement
                    .and_then(|statement| {
                        PostgresProbe::new(url, statement, connection, (limit, timeout), notes.clone())
                    })
                    .map(|probe| Kind::Postgres(Box::new(probe)))
            }
            Endpoint::PostgresRead { url } => {
                PostgresProbe::new(url, postgres::Statement::Read, connection, (limit, timeout), notes.clone())
                    .map(|probe| Kind::Postgres(Box::new(probe)))
            }
            Endpoint::Ironflow { base_url, event, key_prefix, payload_kib } => {
                let drill = Drill::new(event, key_prefix, series, *payload_kib);
                IronflowProbe::new(base_url, drill, connection, limit).map(|probe| Kind::Ironflow(Box::new(probe)))
            }
        };
        let kind = kind.map_err(|reason| spec.endpoint.error(reason))?;
        let other_end = || {
            let reason = "only over HTTP and TCP is it known whether a connection was made";
            spec.endpoint.other_end().ok_or_else(|| spec.endpoint.error(reason))
        };
        let kept_from = spec.blocked.then(other_end).transpose()?;
        Ok(Self { kind, writes: spec.endpoint.writes(), kept_from, timeout })
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
        let tried = async {
            match &self.kind {
                Kind::Http(probe) => probe.attempt(&sent).await,
                Kind::Tcp(probe) => probe.attempt(&sent).await,
                Kind::Nats(probe) => probe.attempt(seq, &sent).await,
                Kind::Postgres(probe) => probe.attempt(seq, &sent).await,
                Kind::Ironflow(probe) => probe.attempt(seq, &sent).await,
            }
        };
        let result = match tokio::time::timeout(self.timeout, tried).await {
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
