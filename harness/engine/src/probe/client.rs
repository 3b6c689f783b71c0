//! One series' client, of whichever kind.

use super::cause::{Failure, Sent};
use super::endpoint::{Endpoint, EndpointError};
use super::http::HttpProbe;
use super::ironflow::{Drill, IronflowProbe};
use super::nats::NatsProbe;
use super::postgres::PostgresProbe;
use super::schedule::ProbeSpec;
use super::tcp::TcpProbe;
use firedrill_core::sample::{Cause, Outcome};

pub(super) struct Client {
    kind: Kind,
    writes: bool,
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
    pub(super) fn new(spec: &ProbeSpec) -> Result<Self, EndpointError> {
        let &ProbeSpec { series, connection, timeout, in_flight_max: limit, .. } = spec;
        let kind = match &spec.endpoint {
            Endpoint::Http { url, status, body } => {
                HttpProbe::new(url, *status, body.clone(), connection, limit).map(|probe| Kind::Http(Box::new(probe)))
            }
            Endpoint::Tcp { host, .. } if host.is_empty() => Err("no host".to_owned()),
            Endpoint::Tcp { host, port } => Ok(Kind::Tcp(TcpProbe::new(host, *port, connection, limit))),
            Endpoint::Jetstream { url, stream, subject } => {
                NatsProbe::publish(url, stream, subject, series, connection, timeout)
                    .map(|probe| Kind::Nats(Box::new(probe)))
            }
            Endpoint::Nats { url } => {
                NatsProbe::round_trip(url, connection, timeout).map(|probe| Kind::Nats(Box::new(probe)))
            }
            Endpoint::Postgres { url, table } => PostgresProbe::insert(url, table, series, connection, limit)
                .map(|probe| Kind::Postgres(Box::new(probe))),
            Endpoint::PostgresRead { url } => {
                PostgresProbe::read(url, series, connection, limit).map(|probe| Kind::Postgres(Box::new(probe)))
            }
            Endpoint::Ironflow { base_url, event, key_prefix, payload_kib } => {
                let drill = Drill::new(event, key_prefix, series, *payload_kib);
                IronflowProbe::new(base_url, drill, connection, limit).map(|probe| Kind::Ironflow(Box::new(probe)))
            }
        };
        let kind = kind.map_err(|reason| spec.endpoint.error(reason))?;
        Ok(Self { kind, writes: spec.endpoint.writes(), timeout })
    }

    /// One attempt, within the timeout.
    pub(super) async fn attempt(&self, seq: u32) -> Outcome {
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
        match result {
            Ok(()) => Outcome::Ok,
            Err(Failure { cause, code, refused }) => {
                Outcome::Failed { cause, code, maybe_applied: self.writes && sent.is_marked() && !refused }
            }
        }
    }
}
