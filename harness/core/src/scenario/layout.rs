//! Layouts of the stack, and what a scenario says of the names in one that it was not written for.

use super::Scenario;
use super::read::{Placed, Tab};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// Where the parts of the stack are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// Ironflow, NATS and PostgreSQL in one namespace, `ironflow`.
    #[default]
    Bundled,
    /// Ironflow in `ironflow`, NATS and PostgreSQL in `ironflow-system`.
    Separate,
    /// Everything once for each tenant, in `tenant-acme` and `tenant-globex`.
    Tenants,
}

impl Layout {
    /// All of them.
    pub const ALL: [Layout; 3] = [Layout::Bundled, Layout::Separate, Layout::Tenants];

    /// Its name in scenarios and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Layout::Bundled => "bundled",
            Layout::Separate => "separate",
            Layout::Tenants => "tenants",
        }
    }

    /// The layout of that name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|layout| layout.name() == name)
    }

    /// The chart's templates that it is made from; the first is the usual one.
    pub fn templates(self) -> &'static [&'static str] {
        match self {
            Layout::Bundled => &["medium", "small"],
            Layout::Separate => &["large"],
            Layout::Tenants => &["multi-tenant"],
        }
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
        let Some(layout) = self.variants.get(variant).map(|variant| variant.layout) else { return self };
        if layout != self.needs.layout {
            self.needs.layout = layout;
            self.needs.template = layout.templates()[0].to_owned();
            self.probes = self.probes_in.remove(&layout).unwrap_or_default();
        }
        self.probes_in.clear();
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
            let layout = Placed { value: Layout::of_name(&layout.value)?, span: layout.span };
            Some((layout.value, Names { layout, moved, asked: RefCell::default() }))
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
            layout: Placed { value: Layout::Separate, span: 0..0 },
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
