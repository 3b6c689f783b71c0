//! Kinds of probe, as a scenario asks for them: one module each, with its keys and what others ask of it.
//!
//! A new kind is a module here and its line in [`registry`], and a module in `engine/src/probe`.

mod registry;

use super::ServiceRef;
use super::format::Shape;
use super::read::Tab;
use serde::{Deserialize, Serialize};

macro_rules! probes {
    ($($name:literal => $module:ident::$variant:ident($kind:ident);)+) => {
        $(pub(super) mod $module;)+
        $(pub use $module::$kind;)+

        /// What a probe does in one attempt. The journal has it under its name in the scenario file.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum ProbeKind {
            $(
                #[doc = concat!("`", $name, "`: see [`", stringify!($kind), "`].")]
                #[serde(rename = $name)]
                $variant($kind),
            )+
        }

        /// The keys of a probe that say what it does.
        pub(super) const NAMES: &[&str] = &[$($name),+];

        /// What is declared of each of these.
        pub(super) const DECLARED: &[(&str, &Declared)] = &[$(($name, &$module::DECLARED),)+];

        impl ProbeKind {
            /// Its name in a scenario file.
            pub fn name(&self) -> &'static str {
                match self {
                    $(ProbeKind::$variant(_) => $name,)+
                }
            }

            fn format(&self) -> &dyn ProbeFormat {
                match self {
                    $(ProbeKind::$variant(kind) => kind,)+
                }
            }

            fn declared(&self) -> &'static Declared {
                match self {
                    $(ProbeKind::$variant(_) => &$module::DECLARED,)+
                }
            }

            /// Takes it out of its table, whose form was checked.
            pub(super) fn read(name: &str, tab: &Tab<'_>) -> Option<Self> {
                match name {
                    $($name => $kind::read(tab).map(ProbeKind::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

crate::with_probes!(probes);

pub use postgres::POSTGRES_PORT;

/// What is declared of a kind of probe.
pub(super) struct Declared {
    /// What it does.
    pub(super) about: &'static str,
    /// Whether an acknowledged attempt leaves a write behind that the ledger looks for.
    pub(super) writes: bool,
    /// Its table with every key, as TOML.
    pub(super) example: &'static str,
    /// Its keys.
    pub(super) shape: Shape,
}

/// What a kind of probe says of itself.
trait ProbeFormat {
    /// Takes it out of its table, whose form was checked.
    fn read(tab: &Tab<'_>) -> Option<Self>
    where
        Self: Sized;

    /// See [`ProbeKind::service`].
    fn service(&self) -> ServiceRef;

    /// See [`ProbeKind::is_http`].
    fn is_http(&self) -> bool {
        false
    }

    /// See [`ProbeKind::cnpg_cluster`].
    fn cnpg_cluster(&self) -> Option<(&str, &str)> {
        None
    }

    /// See [`ProbeKind::keeps_connections`].
    fn keeps_connections(&self) -> bool {
        true
    }

    /// See [`ProbeKind::knows_connections`].
    fn knows_connections(&self) -> bool {
        false
    }
}

impl ProbeKind {
    /// The Service that it asks.
    pub fn service(&self) -> ServiceRef {
        self.format().service()
    }

    /// Whether it asks over HTTP, so that an Ingress can lead to its Service.
    pub fn is_http(&self) -> bool {
        self.format().is_http()
    }

    /// Namespace and name of the CNPG cluster that it asks, where it asks one.
    pub fn cnpg_cluster(&self) -> Option<(&str, &str)> {
        self.format().cnpg_cluster()
    }

    /// Whether an acknowledged attempt leaves a write behind that the ledger looks for.
    pub fn writes(&self) -> bool {
        self.declared().writes
    }

    /// Whether an attempt can go over a connection that was opened before.
    pub fn keeps_connections(&self) -> bool {
        self.format().keeps_connections()
    }

    /// Whether it is known of an attempt whether its connection was made.
    pub fn knows_connections(&self) -> bool {
        self.format().knows_connections()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::form;
    use crate::scenario::format::PROBE;
    use crate::scenario::mistake::Mistakes;

    #[test]
    fn each_example_has_every_key_and_is_read() {
        for (name, declared) in DECLARED {
            let text = format!("{name} = {}", declared.example);
            let mut mistakes = Mistakes::of("example");
            let document = form::document(&mut mistakes, &PROBE, &text, None).unwrap();
            let tab = Tab::new(document.get_ref(), &PROBE, 0..0).table(name).unwrap();
            let kind = ProbeKind::read(name, &tab).unwrap();
            assert_eq!(mistakes.into_sorted(), [], "{text}");
            assert_eq!(kind.name(), *name);
            let stored = serde_json::to_value(&kind).unwrap();
            assert_eq!(serde_json::from_value::<ProbeKind>(stored).unwrap(), kind);
            let table = text.parse::<toml::Table>().unwrap();
            let mut in_example: Vec<_> = table[*name].as_table().unwrap().keys().map(String::as_str).collect();
            let mut declared: Vec<_> = declared.shape.keys.iter().map(|key| key.name).collect();
            in_example.sort_unstable();
            declared.sort_unstable();
            assert_eq!(in_example, declared, "{name}");
        }
    }

    #[test]
    fn probes_in_saved_runs_are_read_and_written_as_they_were() {
        let service = r#""service":{"namespace":"n","name":"s","port":1}"#;
        for stored in [
            format!(r#"{{"http":{{{service},"path":"/","status":200,"body":null}}}}"#),
            format!(r#"{{"jetstream":{{{service},"stream":"S","subject":"s"}}}}"#),
            r#"{"postgres":{"cluster":"c","namespace":"n","database":"d"}}"#.to_owned(),
            format!(r#"{{"ironflow":{{{service},"event":"e","payload_kib":0}}}}"#),
            format!(r#"{{"tcp":{{{service}}}}}"#),
        ] {
            let kind: ProbeKind = serde_json::from_str(&stored).unwrap();
            assert_eq!(serde_json::to_string(&kind).unwrap(), stored);
        }
    }
}
