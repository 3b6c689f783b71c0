//! Faults, as a scenario asks for them: one module each, with its keys, its checks and what others ask of it.
//!
//! A new fault is a module here and its line in [`registry`], and a module of the same name in `engine/src/fault`.

mod registry;

use super::PodSelector;
use super::format::{Key, Kind, Shape, required};
use super::mistake::Mistakes;
use super::read::{Chosen, Placed, Tab};
use super::text::Rule;
use crate::fidelity::{ByProvider, real};
use serde::{Deserialize, Serialize};
use std::time::Duration;

macro_rules! faults {
    ($($name:literal => $module:ident::$variant:ident($kind:ident) $(, undo $undo_name:literal => $undo:ident($undo_kind:ident))?;)+) => {
        $(mod $module;)+
        $(pub use $module::$kind;)+
        $($(pub use $module::$undo_kind;)?)+

        /// A fault, as a scenario asks for it. The journal has it under its name in the scenario file.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Fault {
            $(
                #[doc = concat!("`", $name, "`: see [`", stringify!($kind), "`].")]
                #[serde(rename = $name)]
                $variant($kind),
            )+
            /// Nothing: the control, which must end as *unknown*.
            #[serde(rename = "noop")]
            Noop,
        }

        /// Every fault that takes more than a word, by its name.
        pub(super) const TABLES: &[(&str, &Shape)] = &[$(($name, &$module::DECLARED.shape),)+];

        /// What is declared of each of these, by its name.
        pub(super) const DECLARED: &[(&str, &Declared)] = &[$(($name, &$module::DECLARED),)+];

        impl Fault {
            fn kind(&self) -> &dyn FaultKind {
                match self {
                    $(Fault::$variant(kind) => kind,)+
                    Fault::Noop => &NoopFault,
                }
            }

            /// See [`Fault::fidelity`].
            pub(crate) fn declared_fidelity(&self) -> &'static ByProvider {
                match self {
                    $(Fault::$variant(_) => &$module::DECLARED.fidelity,)+
                    Fault::Noop => &NOOP_FIDELITY,
                }
            }

            fn of_table(name: &str, tab: &Tab<'_>) -> Option<Self> {
                match name {
                    $($name => $kind::read(tab).map(Fault::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

crate::with_faults!(faults);

static NOOP_FIDELITY: ByProvider = ByProvider::everywhere(real("nothing is broken, as in production most of the time"));

/// How close each fault comes to a failure in production, by its name.
pub(crate) fn fidelity_of_faults() -> impl Iterator<Item = (&'static str, &'static ByProvider)> {
    DECLARED.iter().map(|(name, declared)| (*name, &declared.fidelity)).chain([("noop", &NOOP_FIDELITY)])
}

pub use fill::FILLER_FILE;
pub use fill_stream::StreamBefore;
pub use signal::Signal;

/// How long an injection may take.
const INJECT_TIMEOUT: Duration = Duration::from_secs(60);
/// How long an injection may take that fills volumes.
const FILL_TIMEOUT: Duration = Duration::from_secs(180);
/// What a dead run leaves behind of a fault that ends pods or containers.
const PODS_HEAL: &str = "nothing: the cluster makes it again";

const MOUNT_PATH: Key = required("path", Kind::Text(Rule::Path), "where the container has the volume mounted: `/data`");

/// What the undo of a fault that sets the driver of its volumes may touch.
const DRIVER_SETTING: &str = "the setting of the volume driver for the volume with the recorded UID";

/// What is declared of a kind of fault.
pub(super) struct Declared {
    /// What it does.
    pub(super) about: &'static str,
    /// What takes it out again.
    pub(super) undone: &'static str,
    /// Its table with every key, as TOML.
    pub(super) example: &'static str,
    /// How close it comes to a failure in production.
    fidelity: ByProvider,
    /// Its keys.
    shape: Shape,
}

/// What a kind of fault says of itself. Everything but `read` and `left_behind` has a default that is right for most.
trait FaultKind {
    /// Takes it out of its table, whose form was checked.
    fn read(tab: &Tab<'_>) -> Option<Self>
    where
        Self: Sized;

    /// Notes what is wrong with it beyond its form, given the variant's earlier faults.
    fn check(&self, _chosen: &Placed<Chosen<'_>>, _earlier: &[Fault], _mistakes: &mut Mistakes) {}

    /// See [`Fault::pods`].
    fn pods(&self) -> Option<&PodSelector> {
        None
    }

    /// See [`Fault::namespace`].
    fn namespace(&self) -> Option<&str> {
        self.pods().map(|pods| pods.namespace.as_str())
    }

    /// See [`Fault::hits_volumes`].
    fn hits_volumes(&self) -> bool {
        false
    }

    /// Whether it sets the driver of its volumes, of which only the last setting holds.
    fn sets_volume_driver(&self) -> bool {
        false
    }

    /// See [`Fault::holds_volumes`].
    fn holds_volumes(&self) -> bool {
        false
    }

    /// See [`Fault::powers_nodes_off`].
    fn powers_nodes_off(&self) -> bool {
        false
    }

    /// See [`Fault::pods_of_new_nodes`].
    fn pods_of_new_nodes(&self) -> Option<&PodSelector> {
        None
    }

    /// See [`Fault::may_hit_all`].
    fn may_hit_all(&self) -> bool {
        false
    }

    /// See [`Fault::inject_timeout`].
    fn inject_timeout(&self) -> Duration {
        INJECT_TIMEOUT
    }

    /// See [`Fault::rights`].
    fn rights(&self) -> Vec<Right> {
        Vec::new()
    }

    /// See [`Fault::left_behind`].
    fn left_behind(&self) -> &'static str;
}

struct NoopFault;

impl FaultKind for NoopFault {
    fn read(_: &Tab<'_>) -> Option<Self> {
        None
    }

    fn left_behind(&self) -> &'static str {
        "nothing"
    }
}

impl Fault {
    /// Takes a fault out of its place in the file, where its form was checked.
    pub(super) fn read(chosen: &Chosen<'_>) -> Option<Self> {
        match chosen {
            Chosen::Word("noop") => Some(Fault::Noop),
            Chosen::Word(_) => None,
            Chosen::Table(name, tab) => Fault::of_table(name, tab),
        }
    }

    /// Notes what is wrong with it beyond its form, given the variant's earlier faults.
    pub(super) fn check(&self, chosen: &Placed<Chosen<'_>>, earlier: &[Fault], mistakes: &mut Mistakes) {
        self.kind().check(chosen, earlier, mistakes);
    }

    /// Whether it sets the driver of its volumes, of which only the last setting holds.
    pub(super) fn sets_volume_driver(&self) -> bool {
        self.kind().sets_volume_driver()
    }

    /// The pods that it chooses its targets by, where it does so.
    pub fn pods(&self) -> Option<&PodSelector> {
        self.kind().pods()
    }

    /// The namespace that it acts in, where it has one.
    pub fn namespace(&self) -> Option<&str> {
        self.kind().namespace()
    }

    /// Whether its targets are volumes.
    pub fn hits_volumes(&self) -> bool {
        self.kind().hits_volumes()
    }

    /// Whether it keeps volumes attached to their nodes.
    pub fn holds_volumes(&self) -> bool {
        self.kind().holds_volumes()
    }

    /// Whether nodes are off until its undo.
    pub fn powers_nodes_off(&self) -> bool {
        self.kind().powers_nodes_off()
    }

    /// The pods of which one is started on each node that is made for it; `None` where it acts on the nodes that are there.
    pub fn pods_of_new_nodes(&self) -> Option<&PodSelector> {
        self.kind().pods_of_new_nodes()
    }

    /// Whether the service can recover where it hits every pod that there is.
    pub fn may_hit_all(&self) -> bool {
        self.kind().may_hit_all()
    }

    /// How long its injection may take.
    pub fn inject_timeout(&self) -> Duration {
        self.kind().inject_timeout()
    }

    /// The rights of Kubernetes that it needs beyond those of every drill.
    pub fn rights(&self) -> Vec<Right> {
        self.kind().rights()
    }

    /// What a run that dies leaves behind of it, for people.
    pub fn left_behind(&self) -> &'static str {
        self.kind().left_behind()
    }
}

/// A right of Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Right {
    /// The namespace; `None` for the whole cluster.
    pub namespace: Option<String>,
    /// The API group; empty for the core group.
    pub group: String,
    /// The resource, in the plural.
    pub resource: &'static str,
    /// What may be done.
    pub verbs: &'static [&'static str],
    /// The one object that it is for, where it is for one.
    pub name: Option<String>,
}

impl Right {
    fn of_cluster(group: &str, resource: &'static str, verbs: &'static [&'static str]) -> Self {
        Self { namespace: None, group: group.to_owned(), resource, verbs, name: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::form;

    static FILE: Shape = Shape {
        keys: &[required("fault", Kind::Choice { what: "fault", words: &["noop"], tables: TABLES }, "a fault")],
    };

    fn read(text: &str) -> Fault {
        let mut mistakes = Mistakes::of("example");
        let document = form::document(&mut mistakes, &FILE, text, None).unwrap();
        let chosen = Tab::new(document.get_ref(), &FILE, 0..0).choice("fault").map(|chosen| Fault::read(&chosen.value));
        assert_eq!(mistakes.into_sorted(), [], "{text}");
        chosen.flatten().unwrap_or_else(|| panic!("not read: {text}"))
    }

    #[test]
    fn each_example_has_every_key_and_is_read() {
        for (name, declared) in DECLARED {
            let text = format!("fault.{name} = {}", declared.example);
            let fault = read(&text);
            let stored = serde_json::to_value(&fault).unwrap();
            assert_eq!(stored.as_object().unwrap().keys().collect::<Vec<_>>(), [name]);
            assert_eq!(serde_json::from_value::<Fault>(stored).unwrap(), fault);
            let table = text.parse::<toml::Table>().unwrap();
            let mut in_example: Vec<_> = table["fault"][name].as_table().unwrap().keys().map(String::as_str).collect();
            let mut declared: Vec<_> = declared.shape.keys.iter().map(|key| key.name).collect();
            in_example.sort_unstable();
            declared.sort_unstable();
            assert_eq!(in_example, declared, "{name}");
        }
    }

    #[test]
    fn faults_in_saved_runs_are_read_and_written_as_they_were() {
        let pods = r#""pods":{"namespace":"n","labels":"a=b"}"#;
        for stored in [
            format!(r#"{{"signal":{{{pods},"container":"c","count":1,"signal":"KILL"}}}}"#),
            format!(r#"{{"freeze":{{{pods},"container":"c","count":2,"lasts_ms":8000}}}}"#),
            format!(r#"{{"corrupt":{{{pods},"container":"c","count":1,"directory":"/d"}}}}"#),
            format!(r#"{{"fill":{{{pods},"container":"c","count":1,"path":"/d","leave_mib":0}}}}"#),
            format!(
                r#"{{"fill-stream":{{{pods},"container":"c","count":1,"path":"/d","leave_mib":64,"stream":"S","subject":"s"}}}}"#
            ),
            format!(r#"{{"hold-detach":{{{pods},"container":"c","count":1,"path":"/d","lasts":5000}}}}"#),
            format!(r#"{{"slow-attach":{{{pods},"container":"c","count":1,"path":"/d","takes":1000,"lasts":5000}}}}"#),
            format!(r#"{{"delete-pods":{{{pods},"count":3}}}}"#),
            format!(r#"{{"node-off":{{{pods},"count":1}}}}"#),
            format!(r#"{{"node-off":{{{pods},"new":true,"count":1,"with":{{"namespace":"n","labels":"c=d"}}}}}}"#),
            r#"{"helm-values":{"namespace":"n","release":"r","set":["a=b"],"set_json":[]}}"#.to_owned(),
            r#"{"patch":{"object":{"api_version":"apps/v1","kind":"K","namespace":"n","name":"x"},"merge":"{}"}}"#
                .to_owned(),
            format!(r#"{{"end-connections":{{{pods},"peers":{{"namespace":"n","labels":"c=d"}}}}}}"#),
            r#""noop""#.to_owned(),
        ] {
            let fault: Fault = serde_json::from_str(&stored).unwrap();
            assert_eq!(serde_json::to_string(&fault).unwrap(), stored);
        }
        let older = r#"{"freeze":{"pods":{"namespace":"n","labels":"a=b"},"container":"c","count":2}}"#;
        assert!(matches!(serde_json::from_str(older).unwrap(), Fault::Freeze(FreezeFault { lasts: None, .. })));
    }
}
