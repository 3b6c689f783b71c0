//! The stack format: what is read, and that the schema says the same.

use firedrill_core::scenario::{self, Layout, Mistake};
use firedrill_core::stack::{Ready, Stack, parse, schema};
use std::fs;
use std::path::Path;

const STACK: &str = include_str!("../../../fixtures/stack/ironflow/stack.toml");

fn read(text: &str) -> Result<Stack, Vec<Mistake>> {
    parse("ironflow", ("stack.toml", text))
}

fn messages(text: &str) -> Vec<String> {
    read(text).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn the_shipped_stack_is_read() {
    let stack = read(STACK).unwrap();
    assert_eq!(stack.name, "ironflow");
    assert_eq!(stack.layout_names().collect::<Vec<_>>(), ["bundled", "separate", "tenants"]);
    assert_eq!(stack.default_layout(), Layout::default(), "that of journals that name none");
    assert_eq!(stack.usual_template(&Layout::default()), Some("medium"));
    let namespaces = ["ironflow", "ironflow-system", "tenant-acme", "tenant-globex"];
    assert_eq!(stack.namespaces().into_iter().collect::<Vec<_>>(), namespaces);
    assert_eq!(stack.defaults["port"], "9123");
    assert_eq!(stack.templates["medium"].nats_servers, Some(3));
    assert_eq!(stack.watch.work_queue.as_deref(), Some("STEPS"));
    assert!(stack.runbooks.not_asked["ironflow"].because.contains("not public"));
    let webhook = stack.operators[0].webhook.as_ref().unwrap();
    assert_eq!(webhook.object["spec"]["instances"], 1);

    let separate = stack.releases(&Layout::named("separate"));
    let names: Vec<_> = separate.iter().map(|release| release.name.as_str()).collect();
    assert_eq!(names, ["ironflow-system", "ironflow"]);
    assert_eq!(separate[1].after, ["ironflow-system"]);
    assert!(separate[1].is_of_template() && !separate[0].is_of_template());
    assert_eq!(separate[0].ready, [Ready::CnpgHealthy]);
    let from = &separate[1].secrets[0].from;
    assert_eq!((from.namespace.as_str(), from.name.as_str()), ("ironflow-system", "ironflow-db-app"));
}

#[test]
fn all_mistakes_are_named_at_once() {
    let text = STACK
        .replace("templates = [\"large\"]", "templates = [\"larg\"]")
        .replace("after = [\"ironflow-system\"]", "after = [\"ironflow\"]")
        .replace("images = [\"ironflow\"]", "images = [\"ironflo\"]")
        .replace("values = [\"separate-system.yaml\"]", "values = [\"{template}.yaml\"]")
        .replace("ironflow:{value}@", "ironflow@")
        .replace("name = \"globex\"", "name = \"acme\"")
        .replace("from = \"ironflow-system/ironflow-db-app\"", "from = \"ironflow-db-app\"")
        .replace("chart = \"deploy/helm", "chart = \"../helm")
        .replace("[watch]", "[wach]");
    let found = messages(&text);
    for wanted in [
        "unknown template `larg` (did you mean `large`?)",
        "no release before this one is named `ironflow`",
        "unknown image `ironflo` (did you mean `ironflow`?)",
        "`{template}` is for names in `chart-values`",
        "`{value}` is missing",
        "a second release named `acme`",
        "`ironflow-db-app` names no namespace",
        "`../helm/ironflow` leads out of the folder where commands run",
        "unknown key `wach` (did you mean `watch`?)",
    ] {
        assert!(found.iter().any(|message| message.contains(wanted)), "{wanted}: {found:#?}");
    }
}

#[test]
fn of_another_format_nothing_else_is_read() {
    let text = STACK.replace("format = 1", "format = 2").replace("[watch]", "[wach]");
    let wanted = "stack.toml: format 2 is not known \
                  (this firedrill reads format 1; use the firedrill that the file was written for)";
    assert_eq!(messages(&text), [wanted]);
    let wanted = "stack.toml: `format` is missing (the version of this file's format: 1)";
    assert_eq!(messages(&STACK.replace("format = 1\n", "")), [wanted]);
    assert_eq!(messages(&STACK.replace("format = 1", "format = \"1\"")).len(), 1);
}

#[test]
fn cutting_a_file_anywhere_never_panics() {
    for end in (0..STACK.len()).step_by(7).filter(|end| STACK.is_char_boundary(*end)) {
        let text = &STACK[..end];
        if let Err(mistakes) = read(text) {
            assert!(mistakes.iter().all(|mistake| text.get(mistake.span.clone()).is_some()));
            assert!(!mistakes.iter().any(|mistake| mistake.message.contains("please report it")), "{mistakes:?}");
        }
    }
}

#[test]
fn the_schema_has_every_key() {
    insta::assert_json_snapshot!(schema());
}

/// Every stack that is shipped, with the scenarios in its folder: a stack that has no Ironflow needs no Rust.
#[test]
fn the_scenarios_of_every_stack_are_read() {
    let stacks = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/stack");
    let mut found = Vec::new();
    for entry in fs::read_dir(&stacks).unwrap() {
        let folder = entry.unwrap().path();
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(folder.join("stack.toml")).unwrap();
        let stack = parse(&name, ("stack.toml", &text)).unwrap_or_else(|mistakes| panic!("{name}: {mistakes:#?}"));
        let Ok(scenarios) = fs::read_dir(folder.join("scenarios")) else { continue };
        for scenario in scenarios {
            let folder = scenario.unwrap().path();
            let of = folder.file_name().unwrap().to_str().unwrap().to_owned();
            let text = fs::read_to_string(folder.join("scenario.toml")).unwrap();
            let read = |file: &str| fs::read_to_string(folder.join(file));
            let scenario = scenario::parse(&of, ("scenario.toml", &text), read, &stack)
                .unwrap_or_else(|mistakes| panic!("{name}/{of}: {mistakes:#?}"));
            found.extend(scenario.variants.keys().map(|variant| format!("{name}: {of}/{variant}")));
        }
    }
    found.sort();
    assert_eq!(found, ["nats: quorum-loss/hung", "nats: quorum-loss/killed"]);
}
