//! What layouts, and variants that are like others, must be to the rest.

use super::layout::{Layout, Names};
use super::mistake::{Mistakes, listed};
use super::parse::Parts;
use super::parts;

pub(super) fn layouts(parts: &Parts<'_>, mistakes: &mut Mistakes) {
    template(parts, mistakes);
    unknown(parts, mistakes);
    for part in &parts.variants {
        like(parts, part, mistakes);
        if part.layout.value != parts.layout && !parts.names.contains_key(&part.layout.value) {
            mistakes.add_hint(
                part.layout.span.clone(),
                format!("nothing says what is named otherwise in the {} layout", part.layout.value),
                format!("`[layout.{}]` with a line for each name that differs", part.layout.value),
            );
        }
        // Everything that has a name in this variant is looked up here, so that what nobody asks for can be told.
        part.faults().for_each(drop);
        part.tab.choice("detect").map(|chosen| parts::detector(&chosen.value));
        part.tab.choices("redundancy").iter().for_each(|chosen| drop(parts::condition(&chosen.value)));
    }
    for names in parts.names.values() {
        of_layout(parts, names, mistakes);
    }
}

fn template(parts: &Parts<'_>, mistakes: &mut Mistakes) {
    let (Some(needs), Some(tab)) = (&parts.needs, parts.root.table("needs")) else { return };
    let known = parts.stack.templates.keys().map(String::as_str);
    if !parts.stack.templates.contains_key(&needs.template) {
        mistakes.add_unknown(tab.place("template"), "template", &needs.template, known);
        return;
    }
    let Some(layout) = parts.stack.layout(&needs.layout) else { return };
    if !layout.templates.contains(&needs.template) {
        let templates: Vec<_> = layout.templates.iter().map(String::as_str).collect();
        mistakes.add_hint(
            tab.place("template"),
            format!("the {} layout is not made from template `{}`", needs.layout, needs.template),
            format!("one of {}, or another `layout`", listed(&templates)),
        );
    }
}

/// Notes every name of a layout that the stack does not have.
fn unknown(parts: &Parts<'_>, mistakes: &mut Mistakes) {
    let needed = parts.root.table("needs").and_then(|tab| tab.text("layout"));
    let of_variants = parts.root.named("variant").into_iter().filter_map(|(_, tab)| tab.text("layout"));
    let of_names = parts.root.maps("layout").into_iter().map(|(layout, _)| layout);
    for layout in needed.into_iter().chain(of_variants).chain(of_names) {
        if parts.stack.layout(&Layout::named(&layout.value)).is_none() {
            mistakes.add_unknown(layout.span, "layout", &layout.value, parts.stack.layout_names());
        }
    }
}

fn like(parts: &Parts<'_>, part: &super::parse::VariantPart<'_>, mistakes: &mut Mistakes) {
    let Some(like) = part.tab.text("like") else { return };
    let others: Vec<&str> = parts.variant_names().into_iter().filter(|name| *name != part.name.value).collect();
    let Some(base) = parts.variants.iter().find(|other| other.name.value == like.value) else {
        mistakes.add_unknown(like.span, "variant", &like.value, others);
        return;
    };
    if base.name.value == part.name.value {
        mistakes.add(like.span, "a variant like itself");
    } else if let Some(further) = base.tab.text("like") {
        mistakes.add_hint(
            like.span,
            format!("`{}` is itself like another", like.value),
            format!("say `like = \"{}\"`, and here what differs from that", further.value),
        );
    }
}

fn of_layout(parts: &Parts<'_>, names: &Names, mistakes: &mut Mistakes) {
    let layout = &names.layout.value;
    if *layout == parts.layout {
        mistakes.add_hint(
            names.layout.span.clone(),
            format!("the scenario is written for the {layout} layout"),
            "its names stand where they are used; here stand those of other layouts",
        );
        return;
    }
    if !parts.variants.iter().any(|variant| variant.layout.value == *layout) {
        mistakes.add_hint(
            names.layout.span.clone(),
            format!("no variant is in the {layout} layout"),
            format!("`layout = \"{layout}\"` in the variant that is"),
        );
        return;
    }
    let asked = names.asked();
    for (is, to) in &names.moved {
        let (was_label, is_label) = (is.value.contains('='), to.value.contains('='));
        if was_label != is_label {
            let kind = |label| if label { "a label" } else { "a name" };
            mistakes.add(to.span.clone(), format!("{} in the place of {}", kind(is_label), kind(was_label)));
        } else if !asked.contains(&is.value) {
            let known = asked.iter().map(String::as_str).filter(|name| name.contains('=') == was_label);
            mistakes.add_unknown(is.span.clone(), if was_label { "label" } else { "name" }, &is.value, known);
        }
    }
    if let Some(selector) = names.torn() {
        mistakes.add(names.layout.span.clone(), format!("`{selector}` would be in several namespaces"));
    }
}

/// The layouts that variants are in.
pub(super) fn used(parts: &Parts<'_>) -> Vec<Layout> {
    parts.variants.iter().map(|variant| variant.layout.value.clone()).collect()
}
