//! Layouts of the stack, and what a scenario says of the names in one that it was not written for.

use super::Scenario;
use super::read::{Placed, Tab};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// The name of a layout: where the parts of the stack are. The stack's file says what layouts it has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Layout(String);

impl Layout {
    /// The layout of that name.
    pub fn named(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// Its name in scenarios and on the command line.
    pub fn name(&self) -> &str {
        &self.0
    }
}

/// That of journals that name none.
impl Default for Layout {
    fn default() -> Self {
        Self::named("bundled")
    }
}

impl std::fmt::Display for Layout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl Scenario {
    /// The scenario as it is for one of its variants: the needs and the probes of that variant's layout, and the variants
    /// that are in the same.
    #[must_use]
    pub fn for_variant(mut self, variant: &str) -> Self {
        let Some(layout) = self.variants.get(variant).map(|variant| variant.layout.clone()) else { return self };
        if layout != self.needs.layout {
            self.needs.template = self.templates_in.remove(&layout).unwrap_or_default();
            self.probes = self.probes_in.remove(&layout).unwrap_or_default();
            self.needs.layout = layout.clone();
        }
        self.probes_in.clear();
        self.templates_in.clear();
        self.variants.retain(|_, variant| variant.layout == layout);
        variant.clone_into(&mut self.default_variant);
        self
    }
}

/// What has another name in one layout.
pub(super) struct Names {
    pub(super) layout: Placed<Layout>,
    /// A name or a label, and the namespace with what it is called there.
    pub(super) moved: Vec<(Placed<String>, Placed<String>)>,
    /// What was looked up, whole: what nobody asks for was said in vain.
    asked: RefCell<BTreeSet<String>>,
}

impl Names {
    /// Those that the file has, as far as they are well formed.
    pub(super) fn all(root: &Tab<'_>) -> BTreeMap<Layout, Names> {
        let well_formed = root.maps("layout").into_iter().filter_map(|(layout, moved)| {
            let value = root.stack()?.layout(&Layout::named(&layout.value))?.name.clone();
            let layout = Placed { value, span: layout.span };
            Some((layout.value.clone(), Names { layout, moved, asked: RefCell::default() }))
        });
        well_formed.collect()
    }

    /// Where something is in this layout, and what it is called there: a name, or a selector, whose labels are looked up
    /// one by one.
    pub(super) fn of(&self, namespace: String, name: String) -> (String, String) {
        self.asked.borrow_mut().insert(name.clone());
        let mut found_in = namespace;
        let mut called = Vec::new();
        for part in name.split(',') {
            match self.place(part.trim()) {
                Some((namespace, other)) => {
                    namespace.clone_into(&mut found_in);
                    called.push(other);
                }
                None => called.push(part),
            }
        }
        (found_in, called.join(","))
    }

    /// Namespace and name of what moved.
    fn place(&self, part: &str) -> Option<(&str, &str)> {
        self.moved.iter().find(|(is, _)| is.value == part).and_then(|(_, to)| to.value.split_once('/'))
    }

    /// Every name and label that was looked up.
    pub(super) fn asked(&self) -> BTreeSet<String> {
        let asked = self.asked.borrow();
        asked.iter().flat_map(|name| name.split(',')).map(|part| part.trim().to_owned()).collect()
    }

    /// A selector that was looked up and whose labels moved to several namespaces.
    pub(super) fn torn(&self) -> Option<String> {
        let asked = self.asked.borrow();
        let namespaces = |selector: &str| -> BTreeSet<String> {
            let places = selector.split(',').filter_map(|part| self.place(part.trim()));
            places.map(|(namespace, _)| namespace.to_owned()).collect()
        };
        asked.iter().find(|selector| namespaces(selector).len() > 1).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(moved: &[(&str, &str)]) -> Names {
        let placed = |text: &str| Placed { value: text.to_owned(), span: 0..0 };
        Names {
            layout: Placed { value: Layout::named("separate"), span: 0..0 },
            moved: moved.iter().map(|(is, to)| (placed(is), placed(to))).collect(),
            asked: RefCell::default(),
        }
    }

    #[test]
    fn names_and_labels_move_with_their_namespace() {
        let names = names(&[("a-nats", "sys/nats"), ("x.io/name=nats", "sys/x.io/name=nats"), ("c=db", "sys/c=other")]);
        let of = |name: &str| {
            let (namespace, name) = names.of("here".to_owned(), name.to_owned());
            format!("{namespace} {name}")
        };
        assert_eq!(of("a-nats"), "sys nats");
        assert_eq!(of("a-nats-2"), "here a-nats-2");
        assert_eq!(of("x.io/name=nats"), "sys x.io/name=nats");
        assert_eq!(of("c=db, role=primary"), "sys c=other, role=primary");
        assert_eq!(of("env in (a, b)"), "here env in (a, b)");
        assert!(names.asked().contains("role=primary") && names.torn().is_none());
    }

    #[test]
    fn a_selector_is_of_one_namespace() {
        let names = names(&[("a=b", "one/a=b"), ("c=d", "two/c=d")]);
        names.of("here".to_owned(), "a=b,c=d".to_owned());
        assert_eq!(names.torn().as_deref(), Some("a=b,c=d"));
    }
}
