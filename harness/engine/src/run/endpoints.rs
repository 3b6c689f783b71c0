//! Where each series' attempts go: the Services of the stack, by name from inside and by loopback port from outside.

use super::context::{Context, Stop};
use super::planned::RunError;
use crate::agent::{AgentError, Inside};
use crate::cluster::Cluster;
use crate::observe;
use crate::probe::{self, Endpoint, Login, Place, PostgresEndpoint, ProbeSpec, postgres_url};
use firedrill_core::event::Undo;
use firedrill_core::plan::Series;
use firedrill_core::scenario::{POSTGRES_PORT, ServiceRef, Vantage};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// Every endpoint of a run, and what its writes leave behind.
pub(super) struct Endpoints {
    /// What the outside vantage measures.
    pub(super) outside: Vec<ProbeSpec>,
    /// What the inside vantage measures, by the namespace of its agent; `None` is the run's own.
    pub(super) inside: BTreeMap<Option<String>, Vec<ProbeSpec>>,
    /// Tables to make before the first attempt, by database URL as seen from inside.
    pub(super) tables: Vec<Table>,
    /// Where the acknowledged writes of each probe are looked for, as seen from inside.
    pub(super) stores: BTreeMap<String, Endpoint>,
    /// How to take the messages away that get into streams.
    pub(super) subjects: Vec<Undo>,
}

/// A table that a probe writes into.
pub(super) struct Table {
    /// The database as seen from inside, with its password.
    pub(super) url: String,
    /// The table.
    pub(super) table: String,
    /// How to take it away.
    pub(super) undo: Undo,
}

/// Resolves all series, and makes the outside ports that they need. How to undo each is on disk before it is made.
///
/// # Errors
/// Where a Service, a secret or a free port cannot be had.
pub(super) async fn resolve(context: &Context) -> Result<Endpoints, Stop> {
    let mut found = Endpoints {
        outside: Vec::new(),
        inside: BTreeMap::new(),
        tables: Vec::new(),
        stores: BTreeMap::new(),
        subjects: Vec::new(),
    };
    let doors = doors(context).await?;
    let mut logins: BTreeMap<(String, String), Login> = BTreeMap::new();
    for series in &context.plan.series {
        let service = series.kind.service();
        if let Some((namespace, cluster)) = series.kind.cnpg_cluster() {
            let key = (namespace.to_owned(), cluster.to_owned());
            if let Entry::Vacant(vacant) = logins.entry(key) {
                vacant.insert(login(&context.cluster, namespace, cluster).await?);
            }
        }
        let (host, port) = match series.vantage {
            Vantage::Inside => (format!("{}.{}.svc.cluster.local", service.name, service.namespace), service.port),
            Vantage::Outside => {
                let port = doors.get(&service).copied();
                let port = port.ok_or_else(|| Stop::Failed(format!("no door was made for {}", service.name)))?;
                ("127.0.0.1".to_owned(), port)
            }
        };
        let login = series
            .kind
            .cnpg_cluster()
            .and_then(|(namespace, name)| logins.get(&(namespace.to_owned(), name.to_owned())));
        let (run_id, probe) = (context.mark.run_id.as_str(), series.probe.as_str());
        let endpoint = probe::endpoint_of(&series.kind, &Place { host: &host, port, login, run_id, probe });
        if series.kind.writes() {
            let inside = format!("{}.{}.svc.cluster.local", service.name, service.namespace);
            let place = Place { host: &inside, port: service.port, login, run_id, probe };
            remember(series, &place, &mut found);
        }
        let spec = ProbeSpec {
            series: series.id,
            endpoint,
            every: series.every,
            timeout: series.timeout,
            connection: series.connection,
            in_flight_max: ProbeSpec::in_flight_for(series.every, series.timeout),
            blocked: series.blocked_while.is_some(),
        };
        match series.vantage {
            Vantage::Inside => found.inside.entry(series.agent_namespace.clone()).or_default().push(spec),
            Vantage::Outside => found.outside.push(spec),
        }
    }
    Ok(found)
}

/// Refuses a drill that measures from outside a cluster without enough ports that lead into it, before anything is made.
///
/// # Errors
/// Names the probes, and says what to do.
pub(super) fn check_outside(cluster: &Cluster, series: &[Series]) -> Result<(), RunError> {
    let lacks = lacks_outside(&cluster.name, cluster.outside_ports.len(), series);
    lacks.map_or(Ok(()), |message| {
        let hint =
            "use a cluster that `firedrill up` made, or measure these probes from inside alone (from = [\"inside\"])";
        Err(RunError::Environment { message, hint: Some(hint.to_owned()), dirty: false })
    })
}

fn lacks_outside(cluster: &str, ports: usize, series: &[Series]) -> Option<String> {
    let outside = || series.iter().filter(|series| series.vantage == Vantage::Outside);
    let services: BTreeSet<ServiceRef> = outside().map(|series| series.kind.service()).collect();
    if services.len() <= ports {
        return None;
    }
    let probes: BTreeSet<&str> = outside().map(|series| series.probe.as_str()).collect();
    let probes = probes.into_iter().collect::<Vec<_>>().join(", ");
    let wanted = services.len();
    Some(match ports {
        0 => format!(
            "cluster {cluster} has no port that leads into it from outside, and these probes measure from there: {probes}; a \
             port-forward would not do: it is bound to one pod and to the API server, so it decides no objective"
        ),
        _ => format!(
            "cluster {cluster} has {ports} ports that lead into it from outside, and {wanted} are needed for these probes: \
             {probes}"
        ),
    })
}

/// The namespaces of others that agents run in.
pub(super) fn agent_namespaces(series: &[Series]) -> BTreeSet<String> {
    series.iter().filter_map(|series| series.agent_namespace.clone()).collect()
}

/// Whether an undo takes away what probes wrote, which needs an agent inside the cluster.
pub(super) fn is_data(undo: &Undo) -> bool {
    matches!(undo, Undo::PurgeSubject { .. } | Undo::DropTable { .. })
}

/// Takes away what a probe wrote, from the record alone.
///
/// # Errors
/// Where that is not possible, or the record is of something else.
pub(super) async fn take_away(cluster: &Cluster, inside: &Inside, undo: &Undo) -> Result<(), String> {
    let text = |error: AgentError| error.to_string();
    match undo {
        Undo::PurgeSubject { service, stream, subject } => {
            inside.purge(&nats_url(service), stream, subject).await.map_err(text)
        }
        Undo::DropTable { cluster: of, database, table } => {
            let url = database_url(cluster, of, database).await.map_err(|stop| stop.to_string())?;
            inside.drop_table(&url, table).await.map_err(text)
        }
        _ => Err("no probe wrote it".to_owned()),
    }
}

/// The database that a recorded table is in, as seen from inside.
async fn database_url(cluster: &Cluster, of: &str, database: &str) -> Result<String, Stop> {
    let (namespace, name) = of.split_once('/').ok_or_else(|| Stop::Failed(format!("`{of}` is no namespace/name")))?;
    let login = login(cluster, namespace, name).await?;
    let host = format!("{name}-rw.{namespace}.svc.cluster.local");
    Ok(postgres_url(Some(&login), &host, POSTGRES_PORT, database))
}

/// The URL of a NATS Service as seen from inside.
fn nats_url(service: &ServiceRef) -> String {
    format!("nats://{}.{}.svc.cluster.local:{}", service.name, service.namespace, service.port)
}

async fn login(cluster: &Cluster, namespace: &str, name: &str) -> Result<Login, Stop> {
    let secret = observe::login_secret(cluster, namespace, name).await.map_err(Stop::failed)?;
    let user = cluster.get_secret(namespace, &secret, "username").await.map_err(Stop::failed)?;
    let password = cluster.get_secret(namespace, &secret, "password").await.map_err(Stop::failed)?;
    Ok(Login { user, password })
}

/// Makes a door for every Service that is measured from outside; its port on the loopback address by Service.
async fn doors(context: &Context) -> Result<BTreeMap<ServiceRef, u16>, Stop> {
    let outside = context.plan.series.iter().filter(|series| series.vantage == Vantage::Outside);
    let services: BTreeSet<ServiceRef> = outside.map(|series| series.kind.service()).collect();
    if services.is_empty() {
        return Ok(BTreeMap::new());
    }
    let services: Vec<_> = services.into_iter().collect();
    let doors = context.cluster.plan_doors(&context.mark, &services).await.map_err(Stop::failed)?;
    for door in &doors {
        let undo = Undo::DeleteObject {
            api_version: "v1".to_owned(),
            kind: "Service".to_owned(),
            namespace: Some(door.service.namespace.clone()),
            name: door.name.clone(),
        };
        context.undo.record(undo).await?;
        context.cluster.open_door(&context.mark, door).await.map_err(Stop::failed)?;
    }
    Ok(doors.into_iter().map(|door| (door.service, door.host_port)).collect())
}

/// Notes where the writes of a probe are looked for, and how they are taken away.
fn remember(series: &Series, place: &Place<'_>, found: &mut Endpoints) {
    if found.stores.contains_key(&series.probe) {
        return;
    }
    let store = probe::endpoint_of(&series.kind, place);
    match (probe::undo_of(&series.kind, place), &store) {
        (Some(undo), Endpoint::Postgres(PostgresEndpoint { url, table })) => {
            found.tables.push(Table { url: url.clone(), table: table.clone(), undo });
        }
        (Some(undo), _) => found.subjects.push(undo),
        (None, _) => {}
    }
    found.stores.insert(series.probe.clone(), store);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::PostgresReadEndpoint;
    use firedrill_core::sample::Connection;
    use firedrill_core::scenario::{ProbeKind, TcpProbe};
    use std::time::Duration;

    fn series(probe: &str, port: u16, vantage: Vantage) -> Series {
        let service = ServiceRef { namespace: "n".to_owned(), name: "web".to_owned(), port };
        Series {
            id: 0,
            probe: probe.to_owned(),
            kind: ProbeKind::Tcp(TcpProbe { service }),
            vantage,
            agent_namespace: None,
            blocked_while: None,
            connection: Connection::New,
            every: Duration::from_millis(50),
            timeout: Duration::from_secs(1),
        }
    }

    #[test]
    fn a_cluster_without_ports_from_outside_is_refused_by_the_probe_that_needs_one() {
        let inside = [series("ready", 80, Vantage::Inside)];
        assert_eq!(lacks_outside("c", 0, &inside), None);
        let outside = [series("ready", 80, Vantage::Outside), series("tcp", 80, Vantage::Inside)];
        let why = lacks_outside("c", 0, &outside).unwrap();
        assert!(
            why.contains("cluster c has no port") && why.contains(": ready;") && why.contains("port-forward"),
            "{why}"
        );
        assert_eq!(lacks_outside("c", 1, &outside), None);
        let two =
            [series("a", 80, Vantage::Outside), series("b", 80, Vantage::Outside), series("c", 81, Vantage::Outside)];
        assert!(lacks_outside("c", 1, &two).unwrap().contains("2 are needed for these probes: a, b, c"));
        assert_eq!(lacks_outside("c", 2, &two), None, "two probes of one Service share its port");
    }

    #[test]
    fn a_login_with_any_letter_survives_the_url() {
        let login = Login { user: "a@b:c/d".to_owned(), password: "p#?%&=:@/ü".to_owned() };
        let url = postgres_url(Some(&login), "db", 5432, "x y");
        let every = Duration::from_secs(1);
        let endpoint = Endpoint::PostgresRead(PostgresReadEndpoint { url: url.clone() });
        let (connection, in_flight_max) = (Connection::New, ProbeSpec::in_flight_for(every, every));
        let spec = ProbeSpec { series: 0, endpoint, every, timeout: every, connection, in_flight_max, blocked: false };
        assert_eq!(spec.check(), Ok(()));
        assert!(url.ends_with("@db:5432/x%20y") && !url.contains("p#"), "{url}");
    }
}
