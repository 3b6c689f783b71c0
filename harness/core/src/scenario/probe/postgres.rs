//! A PostgreSQL insert, committed.

use super::{Declared, ProbeFormat};
use crate::scenario::ServiceRef;
use crate::scenario::format::{Kind, NAMESPACE, Shape, of_stack};
use crate::scenario::read::Tab;
use crate::scenario::text::Rule;
use serde::{Deserialize, Serialize};

pub(in crate::scenario) static DECLARED: Declared = Declared {
    about: "a PostgreSQL insert, committed",
    writes: true,
    example: r#"{ cluster = "ironflow-postgresql", namespace = "ironflow", database = "ironflow" }"#,
    shape: Shape {
        keys: &[
            of_stack(
                "cluster",
                "postgres-cluster",
                Kind::Text(Rule::Kubernetes),
                "the CNPG cluster whose read-write Service is asked",
            ),
            NAMESPACE,
            of_stack("database", "database", Kind::Text(Rule::Word), "the database"),
        ],
    },
};

/// Where CNPG has PostgreSQL take clients.
pub const POSTGRES_PORT: u16 = 5432;

/// A PostgreSQL insert, committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostgresProbe {
    /// The CNPG cluster whose read-write Service is asked.
    pub cluster: String,
    /// Its namespace.
    pub namespace: String,
    /// The database.
    pub database: String,
}

impl ProbeFormat for PostgresProbe {
    fn read(tab: &Tab<'_>) -> Option<Self> {
        let (namespace, cluster) = tab.named_in_layout("cluster")?;
        Some(Self { cluster, namespace, database: tab.text("database")?.value })
    }

    fn service(&self) -> ServiceRef {
        ServiceRef { namespace: self.namespace.clone(), name: format!("{}-rw", self.cluster), port: POSTGRES_PORT }
    }

    fn cnpg_cluster(&self) -> Option<(&str, &str)> {
        Some((&self.namespace, &self.cluster))
    }
}
