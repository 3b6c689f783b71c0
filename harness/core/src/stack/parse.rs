//! From the text of a stack file to a checked [`Stack`], or to all mistakes.

use super::format::{FORMAT, STACK, TEMPLATE, VALUE};
use super::model::{
    Handover, Image, Monitoring, NotAsked, Operator, Place, Ready, Release, Runbooks, Stack, StackLayout, Template,
    Watch, Webhook,
};
use crate::scenario::form::document;
use crate::scenario::mistake::Mistakes;
use crate::scenario::read::{Chosen, Placed, Tab};
use crate::scenario::schema::of_file;
use crate::scenario::text::Rule;
use crate::scenario::{Layout, Mistake};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The JSON Schema (2020-12) of stack files, for editors.
pub fn schema() -> Value {
    of_file(&STACK, "firedrill stack")
}

/// Reads the stack `name` from `file`: its path, for mistakes, and its text.
///
/// # Errors
/// All mistakes, in the order of the file.
pub fn parse(name: &str, file: (&str, &str)) -> Result<Stack, Vec<Mistake>> {
    let (path, text) = file;
    let mut mistakes = Mistakes::of(path);
    if let Err(wrong) = Rule::Name.check(name) {
        mistakes.add_hint(0..0, format!("the stack's folder: {}", wrong.message), wrong.hint.unwrap_or_default());
    }
    let Some(document) = document(&mut mistakes, &STACK, text, None) else { return Err(mistakes.into_sorted()) };
    let root = Tab::new(document.get_ref(), &STACK, 0..0);
    check(&root, &mut mistakes);
    let stack = stack(name, &root);
    let all = mistakes.into_sorted();
    match stack {
        Some(stack) if all.is_empty() => Ok(stack),
        None if all.is_empty() => {
            let message = "this file cannot be read, and firedrill does not know why: please report it";
            Err(vec![Mistake { file: path.to_owned(), span: 0..0, message: message.to_owned(), hint: None }])
        }
        _ => Err(all),
    }
}

/// Notes what the parts must be to each other.
fn check(root: &Tab<'_>, mistakes: &mut Mistakes) {
    let names = |key: &str| root.named(key).into_iter().map(|(name, _)| name.value).collect::<Vec<_>>();
    let (templates, images) = (names("template"), names("image"));
    let mut operators = BTreeSet::new();
    for operator in root.tables("operator") {
        twice(&operator, "operator", &mut operators, mistakes);
    }
    if let Some(chart) = root.table("runbooks").and_then(|tab| tab.text("chart"))
        && (chart.value.starts_with('/') || chart.value.split('/').any(|part| part == ".."))
    {
        let hint = "a path below the folder where commands run, such as `deploy/chart`";
        mistakes.add_hint(chart.span, format!("`{}` leads out of the folder where commands run", chart.value), hint);
    }
    for (_, layout) in root.named("layout") {
        for template in layout.texts("templates") {
            if !templates.contains(&template.value.as_str()) {
                mistakes.add_unknown(template.span, "template", &template.value, templates.iter().copied());
            }
        }
        let mut before = BTreeSet::new();
        for release in layout.tables("release") {
            for after in release.texts("after") {
                if !before.contains(&after.value) {
                    let hint = "releases are installed in the order of the file";
                    mistakes.add_hint(
                        after.span,
                        format!("no release before this one is named `{}`", after.value),
                        hint,
                    );
                }
            }
            for image in release.texts("images") {
                if !images.contains(&image.value.as_str()) {
                    mistakes.add_unknown(image.span, "image", &image.value, images.iter().copied());
                }
            }
            for file in release.texts("values") {
                if file.value.contains(TEMPLATE) {
                    let hint = "`values` of `[template.NAME]` come with a template";
                    mistakes.add_hint(file.span, format!("`{TEMPLATE}` is for names in `chart-values`"), hint);
                }
            }
            for secret in release.tables("secret") {
                if let Some(text) = secret.text("text").filter(|text| !text.value.contains(VALUE)) {
                    mistakes.add(text.span, format!("`{VALUE}` is missing: the value would be nowhere in the Secret"));
                }
            }
            twice(&release, "release", &mut before, mistakes);
        }
    }
}

/// Notes a name that another table of the list has too.
fn twice(tab: &Tab<'_>, what: &str, seen: &mut BTreeSet<String>, mistakes: &mut Mistakes) {
    let Some(name) = tab.text("name") else { return };
    if !seen.insert(name.value.clone()) {
        mistakes.add(name.span, format!("a second {what} named `{}`", name.value));
    }
}

fn stack(name: &str, root: &Tab<'_>) -> Option<Stack> {
    root.whole("format").filter(|format| format.value == FORMAT)?;
    let named = |key: &str| root.named(key).into_iter();
    let images = named("image").map(|(name, tab)| Some((name.value.to_owned(), image(&tab)?)));
    let templates = named("template").map(|(name, tab)| Some((name.value.to_owned(), template(&tab)?)));
    let mut layouts: Vec<_> = named("layout").collect();
    layouts.sort_by_key(|(name, _)| name.span.start);
    let monitoring = match root.table("monitoring") {
        Some(tab) => Some(monitoring(&tab)?),
        None => None,
    };
    Some(Stack {
        name: name.to_owned(),
        title: text(root, "title")?,
        chart: text(root, "chart")?,
        defaults: root.table("defaults").map(|tab| defaults(&tab)).unwrap_or_default(),
        watch: watch(root),
        runbooks: runbooks(root)?,
        images: images.collect::<Option<_>>()?,
        operators: root.tables("operator").iter().map(operator).collect::<Option<_>>()?,
        monitoring,
        templates: templates.collect::<Option<_>>()?,
        layouts: layouts.iter().map(|(name, tab)| layout(name, tab)).collect::<Option<_>>()?,
    })
}

fn text(tab: &Tab<'_>, name: &str) -> Option<String> {
    Some(tab.text(name)?.value)
}

fn optional(tab: &Tab<'_>, name: &str) -> Option<String> {
    tab.has(name).then(|| text(tab, name)).flatten()
}

fn texts(tab: &Tab<'_>, name: &str) -> Vec<String> {
    tab.texts(name).into_iter().map(|text| text.value).collect()
}

fn defaults(tab: &Tab<'_>) -> BTreeMap<String, String> {
    let number = |name: &str| tab.whole(name).map(|whole| whole.value.to_string());
    let value = |name: &str| tab.text(name).map(|text| text.value).or_else(|| number(name));
    let keys = tab.keys().filter(|name| tab.has(name));
    keys.filter_map(|name| Some((name.to_owned(), value(name)?))).collect()
}

fn watch(root: &Tab<'_>) -> Watch {
    let tab = root.table("watch");
    let of = |name| tab.as_ref().and_then(|tab| optional(tab, name));
    Watch { nats: of("nats"), work_queue: of("work-queue") }
}

fn runbooks(root: &Tab<'_>) -> Option<Runbooks> {
    let Some(tab) = root.table("runbooks") else { return Some(Runbooks::default()) };
    let not_asked = tab.named("not-asked").into_iter().map(|(name, tab)| {
        let not_asked = NotAsked { because: text(&tab, "because")?, instead: text(&tab, "instead")? };
        Some((name.value.to_owned(), not_asked))
    });
    Some(Runbooks { chart: optional(&tab, "chart"), not_asked: not_asked.collect::<Option<_>>()? })
}

fn image(tab: &Tab<'_>) -> Option<Image> {
    Some(Image { repository: text(tab, "repository")?, tag: text(tab, "tag")? })
}

fn operator(tab: &Tab<'_>) -> Option<Operator> {
    let webhook = match tab.table("webhook") {
        Some(tab) => Some(webhook(&tab)?),
        None => None,
    };
    Some(Operator {
        name: text(tab, "name")?,
        title: text(tab, "title")?,
        namespace: text(tab, "namespace")?,
        deployment: text(tab, "deployment")?,
        webhook,
    })
}

fn webhook(tab: &Tab<'_>) -> Option<Webhook> {
    Some(Webhook {
        api_version: text(tab, "api-version")?,
        kind: text(tab, "kind")?,
        object: serde_json::from_str(&text(tab, "object")?).ok()?,
        defaulted: text(tab, "defaulted")?,
    })
}

fn monitoring(tab: &Tab<'_>) -> Option<Monitoring> {
    Some(Monitoring {
        title: text(tab, "title")?,
        folder: text(tab, "folder")?,
        namespace: text(tab, "namespace")?,
        deployments: tab.texts("deployments").iter().map(|text| place(&text.value)).collect::<Option<_>>()?,
    })
}

fn place(text: &str) -> Option<Place> {
    let (namespace, name) = text.split_once('/')?;
    Some(Place { namespace: namespace.to_owned(), name: name.to_owned() })
}

fn template(tab: &Tab<'_>) -> Option<Template> {
    let count = |name| if tab.has(name) { Some(Some(u32::try_from(tab.whole(name)?.value).ok()?)) } else { Some(None) };
    Some(Template {
        values: texts(tab, "values"),
        nats_servers: count("nats-servers")?,
        postgres_instances: count("postgres-instances")?,
    })
}

fn layout(name: &Placed<&str>, tab: &Tab<'_>) -> Option<StackLayout> {
    Some(StackLayout {
        name: Layout::named(name.value),
        templates: texts(tab, "templates"),
        releases: tab.tables("release").iter().map(release).collect::<Option<_>>()?,
    })
}

fn release(tab: &Tab<'_>) -> Option<Release> {
    Some(Release {
        name: text(tab, "name")?,
        namespace: text(tab, "namespace")?,
        after: texts(tab, "after"),
        chart: optional(tab, "chart"),
        chart_values: texts(tab, "chart-values"),
        values: texts(tab, "values"),
        images: texts(tab, "images"),
        set: texts(tab, "set"),
        secrets: tab.tables("secret").iter().map(secret).collect::<Option<_>>()?,
        ready: tab.choices("ready").iter().map(|chosen| ready(&chosen.value)).collect::<Option<_>>()?,
    })
}

fn secret(tab: &Tab<'_>) -> Option<Handover> {
    Some(Handover {
        name: text(tab, "name")?,
        key: text(tab, "key")?,
        from: place(&text(tab, "from")?)?,
        from_key: text(tab, "from-key")?,
        text: text(tab, "text")?,
    })
}

fn ready(chosen: &Chosen<'_>) -> Option<Ready> {
    match chosen {
        Chosen::Word("cnpg-healthy") => Some(Ready::CnpgHealthy),
        Chosen::Table("http", tab) => Some(Ready::Http { service: text(tab, "service")?, path: text(tab, "path")? }),
        Chosen::Word(_) | Chosen::Table(..) => None,
    }
}
