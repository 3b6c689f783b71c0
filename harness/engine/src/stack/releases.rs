//! What each layout of the stack is made of: its Helm releases, their namespaces and their values.

use super::StackOptions;
use firedrill_core::scenario::Layout;
use std::path::PathBuf;

/// What a release holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Ironflow with NATS and PostgreSQL.
    Whole,
    /// NATS and PostgreSQL alone.
    Dependencies,
    /// Ironflow alone.
    Server,
}

/// One Helm release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Release {
    /// Its name.
    pub(super) name: &'static str,
    /// Its namespace.
    pub(super) namespace: &'static str,
    /// What it holds.
    pub(super) role: Role,
    /// Ironflow's Service; none where it holds no Ironflow.
    pub(super) service: Option<&'static str>,
}

/// Every namespace that some layout uses.
pub(super) const NAMESPACES: [&str; 4] = ["ironflow", "ironflow-system", "tenant-acme", "tenant-globex"];
/// The PostgreSQL cluster of the separate layout.
pub(super) const SEPARATE_DATABASE: &str = "ironflow-db";
/// The Secret with which Ironflow of the separate layout finds its database, key `url`.
pub(super) const SEPARATE_LOGIN: &str = "ironflow-database-login";

const BUNDLED: [Release; 1] =
    [Release { name: "ironflow", namespace: "ironflow", role: Role::Whole, service: Some("ironflow") }];
const SEPARATE: [Release; 2] = [
    Release { name: "ironflow-system", namespace: "ironflow-system", role: Role::Dependencies, service: None },
    Release { name: "ironflow", namespace: "ironflow", role: Role::Server, service: Some("ironflow") },
];
const TENANTS: [Release; 2] = [
    Release { name: "acme", namespace: "tenant-acme", role: Role::Whole, service: Some("acme-ironflow") },
    Release { name: "globex", namespace: "tenant-globex", role: Role::Whole, service: Some("globex-ironflow") },
];

/// The releases of a layout, in the order of their installation.
pub(super) fn releases(layout: Layout) -> &'static [Release] {
    match layout {
        Layout::Bundled => &BUNDLED,
        Layout::Separate => &SEPARATE,
        Layout::Tenants => &TENANTS,
    }
}

impl Release {
    /// Its values files, the last one wins.
    pub(super) fn values_files(&self, options: &StackOptions) -> Vec<PathBuf> {
        let of_chart = |name: &str| options.chart.join(format!("values-{name}.yaml"));
        let mut files = match self.role {
            Role::Whole => vec![of_chart(&options.template)],
            Role::Dependencies => vec![of_chart("separate-system")],
            Role::Server => vec![of_chart(&options.template), of_chart("separate")],
        };
        let more = if self.role == Role::Dependencies { &options.dependency_values } else { &options.values };
        files.extend(more.iter().cloned());
        files
    }

    /// Values of its own beside the files, none of them secret.
    pub(super) fn settings(&self, options: &StackOptions) -> Vec<(String, String)> {
        let mut settings: Vec<_> = match self.role {
            Role::Dependencies => Vec::new(),
            Role::Whole | Role::Server => options.image_values(),
        };
        if self.role == Role::Server {
            settings.push(("externalDatabase.existingSecret.name".to_owned(), SEPARATE_LOGIN.to_owned()));
        }
        if options.layout == Layout::Tenants {
            settings.push(("ingress.host".to_owned(), format!("{}.ironflow.example.com", self.name)));
        }
        settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(layout: Layout) -> StackOptions {
        StackOptions {
            layout,
            template: layout.templates()[0].to_owned(),
            chart: "chart".into(),
            values: vec!["own.yaml".into()],
            dependency_values: vec!["deps.yaml".into()],
            ironflow_image: Some("a/b:1".into()),
            cnpg_manifest: "cnpg.yaml".into(),
            monitoring: "monitoring".into(),
        }
    }

    #[test]
    fn every_release_has_its_values_in_order() {
        let files = |layout| {
            let options = options(layout);
            let all = releases(layout).iter().map(|release| {
                let files = release.values_files(&options);
                let files: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
                format!("{}@{}: {}", release.name, release.namespace, files.join(" "))
            });
            all.collect::<Vec<_>>()
        };
        assert_eq!(files(Layout::Bundled), ["ironflow@ironflow: chart/values-medium.yaml own.yaml"]);
        assert_eq!(
            files(Layout::Separate),
            [
                "ironflow-system@ironflow-system: chart/values-separate-system.yaml deps.yaml",
                "ironflow@ironflow: chart/values-large.yaml chart/values-separate.yaml own.yaml"
            ]
        );
        assert_eq!(
            files(Layout::Tenants),
            [
                "acme@tenant-acme: chart/values-multi-tenant.yaml own.yaml",
                "globex@tenant-globex: chart/values-multi-tenant.yaml own.yaml"
            ]
        );
    }

    #[test]
    fn every_namespace_of_a_layout_is_known() {
        for layout in Layout::ALL {
            assert!(releases(layout).iter().all(|release| NAMESPACES.contains(&release.namespace)));
        }
    }

    #[test]
    fn no_setting_is_secret() {
        for layout in Layout::ALL {
            for release in releases(layout) {
                let settings = release.settings(&options(layout));
                let names: Vec<_> = settings.iter().map(|(name, _)| name.as_str()).collect();
                assert!(!names.contains(&"externalDatabase.url") && !names.contains(&"postgresql.auth.password"));
            }
        }
    }
}
