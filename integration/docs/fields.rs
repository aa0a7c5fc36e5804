//! The page of fields, written from the tables that check manifests. `CHANCERY_REWRITE=1` writes it anew.

use crate::pages;
use chancery::model::provenance::ObjectKind;
use chancery::source::parse::fields::{Row, State, rows};
use std::fs;

const PAGE: &str = "docs/reference/fields.md";

const OPENING: &str = "\
# Fields

Generated from the tables that check manifests; `make golden` writes it anew.

- **in effect**: done as described.
- **no effect**: a warning says so, and the rest of the object applies.
- **refused**: an error says so, and the object is not applied.
- **nothing to do**: no effect and no warning. The field is for others, such as kube-proxy, or the field that asks for it
  is reported.

For all but the first the text says why, or what it means that the field isn't there; what they contain shares their fate
and isn't listed. Values named as fine ask for nothing that isn't done, `{}` among them only where it is named: `retries: {}`
is another wish than no `retries`. In paths `[]` stands for each element of a list, `{}` for each key of a map. A field that
isn't listed and isn't inside one that is, is unknown: an error in a policy and in the settings of the mesh.
";

/// What a page says of a kind before its table.
fn remark(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Namespace | ObjectKind::Node | ObjectKind::Pod | ObjectKind::Secret => {
            "\nThese fields are read; everything else has no effect.\n"
        }
        ObjectKind::Service | ObjectKind::EndpointSlice => {
            "\nEvery field of Kubernetes 1.36; of the metadata those that are read, everything else there has no effect.\n"
        }
        _ => "",
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::Done => "in effect",
        State::Silent => "nothing to do",
        State::NoEffect => "**no effect**",
        State::Refused => "**refused**",
    }
}

/// Whether a row says more than the row of what it is in.
fn is_news(row: &Row, rows: &[Row]) -> bool {
    let holds = |other: &&Row| row.path.strip_prefix(&other.path).is_some_and(|rest| rest.starts_with(['.', '[', '{']));
    let around = rows.iter().rev().find(holds);
    around.is_none_or(|around| around.state == State::Done || around.state != row.state)
}

fn line(row: &Row) -> String {
    let fine = match row.field.fine {
        [] => String::new(),
        values => format!("; fine: `{}`", values.join("`, `")),
    };
    format!("| `{}` | {} | {}{fine} |\n", row.path, word(row.state), row.field.text.replace('|', "\\|"))
}

fn table(kind: ObjectKind, rows: &[Row]) -> String {
    let lines: String = rows.iter().filter(|row| is_news(row, rows)).map(line).collect();
    format!(
        "\n## {}\n{}\n| field | state | what it does, or what its absence means |\n|---|---|---|\n{lines}",
        kind.as_str(),
        remark(kind)
    )
}

fn written() -> String {
    let tables = ObjectKind::ALL.into_iter().map(|kind| (kind, rows(kind)));
    OPENING.to_owned() + &tables.map(|(kind, rows)| table(kind, &rows)).collect::<String>()
}

#[test]
fn the_page_of_fields_is_current() {
    let written = written();
    if std::env::var_os("CHANCERY_REWRITE").is_some() {
        fs::write(pages::root().join(PAGE), &written).expect("the page can be written");
    }
    assert!(pages::page(PAGE) == written, "{PAGE} is not what the tables say; `make golden` writes it anew");
}

/// The control: a changed state is a changed page, and what is inside a refused field is left out unless it is worse.
#[test]
fn a_field_that_changes_changes_the_page() {
    let kind = ObjectKind::VirtualService;
    let rows = rows(kind);
    let mut changed = rows.clone();
    let row = changed.iter_mut().find(|row| row.path == "spec.hosts").expect("there are hosts");
    row.state = State::Refused;
    assert_ne!(table(kind, &rows), table(kind, &changed));
    let page = written();
    assert!(page.contains("| `spec.http[].route[].weight` | in effect |"), "{page}");
    assert!(page.contains("| `spec.tcp` | **refused** |") && !page.contains("| `spec.tcp[]."), "{page}");
    let inner = "| `spec.ingress[].tls` | **refused** |";
    assert!(page.contains(inner), "worse than what it is in:\n{page}");
}
