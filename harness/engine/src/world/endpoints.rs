//! Where each series' attempts go: the Services of the stack, by name from inside and by their external endpoints from outside.

use crate::agent::{AgentError, Inside};
use crate::cluster::{Cluster, ClusterError, RunMark};
use crate::observe;
use crate::port::Refusal;
use crate::probe::{self, Endpoint, Login, Place, PostgresEndpoint, ProbeSpec, postgres_url};
use crate::provider::{ExternalEndpoint, ExternalNeed, MachineError, Route};
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
    /// How Services are reached from outside.
    pub(super) external: Vec<ExternalEndpoint>,
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

impl Endpoints {
    /// How to take away what has to be made, and what the probes will write.
    pub(super) fn undos(&self, mark: &RunMark) -> Vec<Undo> {
        let node_ports = self.node_ports().map(|(service, node_port)| Undo::DeleteObject {
            api_version: "v1".to_owned(),
            kind: "Service".to_owned(),
            namespace: Some(service.namespace.clone()),
            name: name_of_node_port(mark, node_port),
        });
        let tables = self.tables.iter().map(|table| table.undo.clone());
        node_ports.chain(self.subjects.iter().cloned()).chain(tables).collect()
    }

    /// The Services that get a node port of this run, with the port.
    pub(super) fn node_ports(&self) -> impl Iterator<Item = (&ServiceRef, u16)> {
        self.external.iter().filter_map(|endpoint| match &endpoint.route {
            Route::New { node_port } => Some((&endpoint.service, *node_port)),
            Route::Existing { .. } => None,
        })
    }

    /// By which way other Services are reached from outside, a line each.
    pub(super) fn notes(&self) -> Vec<String> {
        let note = |ExternalEndpoint { service, host, port, route }: &ExternalEndpoint| match route {
            Route::New { .. } => None,
            Route::Existing { through } => {
                let ServiceRef { namespace, name, port: of } = service;
                Some(format!("from outside, port {of} of service {namespace}/{name} is {host}:{port} ({through})"))
            }
        };
        self.external.iter().filter_map(note).collect()
    }
}

/// The name of the run's Service with that node port.
pub(super) fn name_of_node_port(mark: &RunMark, node_port: u16) -> String {
    format!("firedrill-{}-{node_port}", mark.run_id)
}

/// Resolves all series, and finds out how Services are reached from outside. Nothing is made.
///
/// # Errors
/// Where a Service, a secret or a free port cannot be had.
pub(super) async fn resolve(cluster: &Cluster, mark: &RunMark, all: &[Series]) -> Result<Endpoints, ClusterError> {
    let mut found = Endpoints {
        outside: Vec::new(),
        inside: BTreeMap::new(),
        external: external_endpoints(cluster, all).await?,
        tables: Vec::new(),
        stores: BTreeMap::new(),
        subjects: Vec::new(),
    };
    let mut logins: BTreeMap<(String, String), Login> = BTreeMap::new();
    for series in all {
        let service = series.kind.service();
        if let Some((namespace, database)) = series.kind.cnpg_cluster() {
            let key = (namespace.to_owned(), database.to_owned());
            if let Entry::Vacant(vacant) = logins.entry(key) {
                vacant.insert(login(cluster, namespace, database).await?);
            }
        }
        let (host, port) = match series.vantage {
            Vantage::Inside => (format!("{}.{}.svc.cluster.local", service.name, service.namespace), service.port),
            Vantage::Outside => {
                let endpoint = found.external.iter().find(|endpoint| endpoint.service == service);
                let none = || ClusterError::Other(format!("{} cannot be reached from outside", service.name));
                let endpoint = endpoint.ok_or_else(none)?;
                (endpoint.host.clone(), endpoint.port)
            }
        };
        let login = series
            .kind
            .cnpg_cluster()
            .and_then(|(namespace, name)| logins.get(&(namespace.to_owned(), name.to_owned())));
        let (run_id, probe) = (mark.run_id.as_str(), series.probe.as_str());
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

/// Refuses a drill that measures from outside where its Services cannot be reached from there, before anything is made.
///
/// # Errors
/// Names the Services and the probes, and says what to do.
pub(super) async fn check_outside(cluster: &Cluster, series: &[Series]) -> Result<(), Refusal> {
    let Err(error) = cluster.machines.check_external(cluster, &external_needs(series)).await else { return Ok(()) };
    let MachineError::NoEndpoint(why) = error else {
        return Err(Refusal { message: error.to_string(), hint: "see what firedrill doctor says".to_owned() });
    };
    let probes: BTreeSet<&str> = outside(series).map(|series| series.probe.as_str()).collect();
    let probes = probes.into_iter().collect::<Vec<_>>().join(", ");
    let hint = "give each of these Services an address outside of the cluster (type NodePort or LoadBalancer, or an Ingress for HTTP), \
                use a cluster that `firedrill up` made, or measure these probes from inside alone (from = [\"inside\"])";
    Err(Refusal {
        message: format!(
            "{why}; these probes measure from outside: {probes}; a port-forward would not do: it is bound to one pod and to the API \
             server, so it decides no objective"
        ),
        hint: hint.to_owned(),
    })
}

/// The series that are measured from outside.
fn outside(series: &[Series]) -> impl Iterator<Item = &Series> {
    series.iter().filter(|series| series.vantage == Vantage::Outside)
}

/// Their Services, each once.
fn external_needs(series: &[Series]) -> Vec<ExternalNeed> {
    let mut needs = BTreeMap::new();
    for series in outside(series) {
        *needs.entry(series.kind.service()).or_insert(true) &= series.kind.is_http();
    }
    needs.into_iter().map(|(service, http)| ExternalNeed { service, http }).collect()
}

/// The namespaces of others that agents run in.
pub(super) fn agent_namespaces(series: &[Series]) -> BTreeSet<String> {
    series.iter().filter_map(|series| series.agent_namespace.clone()).collect()
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
            let url = database_url(cluster, of, database).await.map_err(|error| error.to_string())?;
            inside.drop_table(&url, table).await.map_err(text)
        }
        _ => Err("no probe wrote it".to_owned()),
    }
}

/// The database that a recorded table is in, as seen from inside.
async fn database_url(cluster: &Cluster, of: &str, database: &str) -> Result<String, ClusterError> {
    let wrong = || ClusterError::Other(format!("`{of}` is not namespace/name"));
    let (namespace, name) = of.split_once('/').ok_or_else(wrong)?;
    let login = login(cluster, namespace, name).await?;
    let host = format!("{name}-rw.{namespace}.svc.cluster.local");
    Ok(postgres_url(Some(&login), &host, POSTGRES_PORT, database))
}

/// The URL of a NATS Service as seen from inside.
fn nats_url(service: &ServiceRef) -> String {
    format!("nats://{}.{}.svc.cluster.local:{}", service.name, service.namespace, service.port)
}

async fn login(cluster: &Cluster, namespace: &str, name: &str) -> Result<Login, ClusterError> {
    let secret = observe::login_secret(cluster, namespace, name).await?;
    let user = cluster.get_secret(namespace, &secret, "username").await?;
    let password = cluster.get_secret(namespace, &secret, "password").await?;
    Ok(Login { user, password })
}

/// Where every Service is reached that is measured from outside.
async fn external_endpoints(cluster: &Cluster, series: &[Series]) -> Result<Vec<ExternalEndpoint>, ClusterError> {
    let endpoints = cluster.machines.external_endpoints(cluster, &external_needs(series)).await;
    endpoints.map_err(|error| match error {
        MachineError::Cluster(error) => error,
        other => ClusterError::Other(other.to_string()),
    })
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
    use crate::fake_api::FakeApi;
    use crate::probe::PostgresReadEndpoint;
    use crate::provider::fake::FakeMachines;
    use firedrill_core::sample::Connection;
    use firedrill_core::scenario::{HttpProbe, ProbeKind, TcpProbe};
    use std::sync::Arc;
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

    #[tokio::test]
    async fn a_cluster_without_ports_from_outside_is_refused_by_the_probe_that_needs_one() {
        let refused = async |ports, series: &[Series]| {
            let api = FakeApi::start().await;
            let folder = tempfile::tempdir().unwrap();
            let cluster = Cluster::connect("c", &api.kubeconfig(folder.path()), "x").await.unwrap();
            let cluster = cluster.provided_by("fake", Arc::new(FakeMachines::with_ports(ports)));
            let checked = check_outside(&cluster, series).await;
            checked.err().map(|refusal| refusal.message)
        };
        let inside = [series("ready", 80, Vantage::Inside)];
        assert_eq!(refused(0, &inside).await, None);
        let outside = [series("ready", 80, Vantage::Outside), series("tcp", 80, Vantage::Inside)];
        let why = refused(0, &outside).await.unwrap();
        assert!(why.contains("0 of 1 ports") && why.contains(": ready;") && why.contains("port-forward"), "{why}");
        assert_eq!(refused(1, &outside).await, None);
        let two =
            [series("a", 80, Vantage::Outside), series("b", 80, Vantage::Outside), series("c", 81, Vantage::Outside)];
        let why = refused(1, &two).await.unwrap();
        assert!(why.contains("1 of 2 ports") && why.contains("measure from outside: a, b, c;"), "{why}");
        assert_eq!(refused(2, &two).await, None, "two probes of one Service share its port");
    }

    #[tokio::test]
    async fn a_cluster_of_others_is_refused_where_its_owner_gave_a_service_no_address() {
        let (api, folder) = (FakeApi::start().await, tempfile::tempdir().unwrap());
        let cluster = Cluster::connect("c", &api.kubeconfig(folder.path()), "x").await.unwrap();
        let outside = [series("ready", 80, Vantage::Outside)];
        let Refusal { message, hint } = check_outside(&cluster, &outside).await.unwrap_err();
        let expected = "service n/web port 80 is not there; these probes measure from outside: ready; ";
        assert!(message.starts_with(expected), "{message}");
        assert!(hint.contains("NodePort or LoadBalancer"));
        assert!(check_outside(&cluster, &[series("ready", 80, Vantage::Inside)]).await.is_ok());
    }

    #[test]
    fn a_service_may_be_reached_by_http_where_every_probe_of_it_asks_so() {
        let http = |series: Series| {
            let service = series.kind.service();
            let kind = ProbeKind::Http(HttpProbe { service, path: "/".to_owned(), status: 200, body: None });
            Series { kind, ..series }
        };
        let of = |probe: &str, port| series(probe, port, Vantage::Outside);
        let all = [http(of("a", 80)), of("b", 80), http(of("c", 81)), series("d", 82, Vantage::Inside)];
        let needs: Vec<_> = external_needs(&all).iter().map(|need| (need.service.port, need.http)).collect();
        assert_eq!(needs, [(80, false), (81, true)]);
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
