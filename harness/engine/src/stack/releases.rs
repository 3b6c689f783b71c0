//! What a release of the stack is installed with: its chart and its values.

use super::StackOptions;
use firedrill_core::stack::Release;
use std::path::PathBuf;

impl StackOptions {
    /// The releases of the layout, in the order of their installation.
    pub(super) fn releases(&self) -> &[Release] {
        self.stack.releases(&self.layout)
    }

    /// The chart of a release.
    pub(super) fn chart_of(&self, release: &Release) -> PathBuf {
        release.chart.as_ref().map_or_else(|| self.chart.clone(), |chart| self.folder.join(chart))
    }

    /// The values files of a release, the last one wins.
    pub(super) fn values_files(&self, release: &Release) -> Vec<PathBuf> {
        let chart = self.chart_of(release);
        let mut files: Vec<_> = release.chart_values(&self.template).map(|file| chart.join(file)).collect();
        if release.is_of_template() {
            files.extend(self.template_values());
        }
        files.extend(release.values.iter().map(|file| self.folder.join(file)));
        files
    }

    /// The values files that come with the template, or those that were given in their place.
    fn template_values(&self) -> Vec<PathBuf> {
        if !self.values.is_empty() {
            return self.values.clone();
        }
        let template = self.stack.templates.get(&self.template);
        template.iter().flat_map(|template| &template.values).map(|file| self.folder.join(file)).collect()
    }

    /// Values of a release beside the files, none of them secret.
    pub(super) fn settings(&self, release: &Release) -> Vec<String> {
        let images = release.images.iter().flat_map(|name| self.image_values(name));
        images.chain(release.set.iter().cloned()).collect()
    }

    /// The chart's values for an image, where one was given.
    fn image_values(&self, name: &str) -> Vec<String> {
        let (Some(image), Some(given)) = (self.stack.images.get(name), self.images.get(name)) else {
            return Vec::new();
        };
        // A colon belongs to a port where a slash comes after it.
        let (repository, tag) = match given.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')) {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (given.as_str(), None),
        };
        let repository = format!("{}={repository}", image.repository);
        std::iter::once(repository).chain(tag.map(|tag| format!("{}={tag}", image.tag))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::inputs::tests::options;
    use super::*;
    use firedrill_core::scenario::Layout;

    fn in_layout(layout: &str) -> StackOptions {
        let options = options(std::path::Path::new("s"));
        let layout = Layout::named(layout);
        let template = options.stack.usual_template(&layout).unwrap().to_owned();
        StackOptions { layout, template, chart: "chart".into(), ..options }
    }

    fn of_each<T>(options: &StackOptions, of: impl Fn(&Release) -> T) -> Vec<T> {
        options.releases().iter().map(of).collect()
    }

    #[test]
    fn every_release_has_its_values_in_order() {
        let files = |options: &StackOptions| {
            of_each(options, |release| {
                let files = options.values_files(release);
                let files: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
                format!("{}@{}: {}", release.name, release.namespace, files.join(" "))
            })
        };
        assert_eq!(files(&in_layout("bundled")), ["ironflow@ironflow: chart/values-medium.yaml s/medium.yaml"]);
        let own = StackOptions { values: vec!["own.yaml".into()], ..in_layout("separate") };
        assert_eq!(
            files(&own),
            [
                "ironflow-system@ironflow-system: chart/values-separate-system.yaml s/separate-system.yaml",
                "ironflow@ironflow: chart/values-large.yaml chart/values-separate.yaml own.yaml"
            ]
        );
        assert_eq!(
            files(&in_layout("tenants")),
            [
                "acme@tenant-acme: chart/values-multi-tenant.yaml",
                "globex@tenant-globex: chart/values-multi-tenant.yaml"
            ]
        );
    }

    #[test]
    fn every_release_has_its_settings() {
        let settings = |layout: &str| {
            let options = in_layout(layout);
            of_each(&options, |release| options.settings(release).join(" "))
        };
        let image = "image.repository=firedrill.local/ironflow image.tag=1";
        assert_eq!(settings("bundled"), [image]);
        let secret = "externalDatabase.existingSecret.name=ironflow-database-login";
        assert_eq!(settings("separate"), [String::new(), format!("{image} {secret}")]);
        let hosts = ["acme", "globex"].map(|name| format!("{image} ingress.host={name}.ironflow.example.com"));
        assert_eq!(settings("tenants"), hosts);
    }

    #[test]
    fn images_split_at_the_tag() {
        let values = |image: &str| {
            let images = [("ironflow".to_owned(), image.to_owned())].into();
            StackOptions { images, ..in_layout("bundled") }.image_values("ironflow")
        };
        assert_eq!(values("localhost:5000/a/b:1.2"), ["image.repository=localhost:5000/a/b", "image.tag=1.2"]);
        assert_eq!(values("localhost:5000/a/b"), ["image.repository=localhost:5000/a/b"]);
    }

    #[test]
    fn a_release_may_have_a_chart_of_its_own() {
        let options = in_layout("bundled");
        let own = Release { chart: Some("other".to_owned()), ..options.releases()[0].clone() };
        assert_eq!(options.chart_of(&own), std::path::Path::new("s/other"));
        assert_eq!(options.values_files(&own)[0], std::path::Path::new("s/other/values-medium.yaml"));
    }
}
