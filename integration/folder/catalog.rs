//! Files change, break, overlap and go: what is in effect, and what is said of it.

use crate::{names, put, rule};
use chancery::source::directory::catalog::{Catalog, Update};
use std::path::Path;

fn said(catalog: &Catalog) -> Vec<String> {
    catalog.report().findings().iter().map(ToString::to_string).collect()
}

fn both() -> String {
    format!("{}---\n{}", rule("a", "one"), rule("b", "two"))
}

#[test]
fn only_real_differences_are_emitted() {
    let mut catalog = Catalog::default();
    assert_eq!(names(&put(&mut catalog, "x.yaml", &both())), ["a", "b"]);
    assert_eq!(names(&put(&mut catalog, "x.yaml", &format!("# moved\n{}", both()))), [""; 0]);
    assert_eq!(names(&put(&mut catalog, "x.yaml", &both().replace("host: two", "host: three"))), ["b"]);
    assert_eq!(names(&put(&mut catalog, "x.yaml", &rule("a", "one"))), ["-b"]);
    assert_eq!(said(&catalog), [""; 0]);
}

#[test]
fn positions_follow_edits() {
    let mut catalog = Catalog::default();
    let key = put(&mut catalog, "x.yaml", &rule("a", "one"))[0].0.clone();
    let at = |catalog: &Catalog, field| catalog.report().locate(&key, field).map(|position| position.to_string());
    assert_eq!(at(&catalog, "spec.host").as_deref(), Some("x.yaml:7"));
    put(&mut catalog, "x.yaml", &format!("# moved\n{}", rule("a", "one")));
    assert_eq!(at(&catalog, "spec.host").as_deref(), Some("x.yaml:8"));
    catalog.apply([(Path::new("x.yaml").into(), Update::Gone)]);
    assert_eq!(at(&catalog, "spec.host"), None);
}

#[test]
fn the_last_good_version_stays_and_is_named() {
    let mut catalog = Catalog::default();
    put(&mut catalog, "x.yaml", &both());
    let broken = both().replace("host: one", "hots: one");
    assert_eq!(names(&put(&mut catalog, "x.yaml", &broken)), [""; 0]);
    let expected = [
        "x.yaml:6: error: DestinationRule shop/a: spec.host: must not be empty; the version read before stays in effect until a restart",
        "x.yaml:7: error: DestinationRule shop/a: spec.hots: unknown field; the version read before stays in effect until a restart",
    ];
    assert_eq!(said(&catalog), expected);
    assert_eq!(
        names(&put(&mut catalog, "x.yaml", &both().replace("host: one", "host: four"))),
        ["a"],
        "and a good one replaces it"
    );
    assert_eq!(said(&catalog), [""; 0]);
}

#[test]
fn a_broken_object_that_was_never_good_is_not_there() {
    let mut catalog = Catalog::default();
    assert_eq!(names(&put(&mut catalog, "x.yaml", &format!("{}---\n{}", rule("a", "A B"), rule("b", "two")))), ["b"]);
    assert_eq!(said(&catalog).len(), 1);
}

#[test]
fn a_file_that_may_be_incomplete_deletes_nothing() {
    let whole = format!("{}---\n{}", both(), rule("c", "three"));
    for cut in [
        String::new(),
        "# nothing\n".to_owned(),
        rule("a", "one") + "---\napiVersion: networking.istio.io/v1\nkind: Destin",
        rule("a", "one")
            + "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata:\n  name: b\n  namespace: shop\n",
        rule("a", "one") + "---\n- [",
        "kind: Service\n---\n".to_owned() + &rule("a", "one"),
        "a: 1\na: 1\n---\n".to_owned() + &rule("a", "one"),
    ] {
        let mut catalog = Catalog::default();
        put(&mut catalog, "x.yaml", &whole);
        assert_eq!(names(&put(&mut catalog, "x.yaml", &cut)), [""; 0], "{cut}");
        let stays = said(&catalog);
        assert!(
            stays.iter().any(|line| line.contains("stays in effect") && line.contains("DestinationRule shop/c")),
            "{cut}: {stays:#?}"
        );
        assert_eq!(names(&put(&mut catalog, "x.yaml", &rule("b", "two"))), ["-a", "-c"], "a whole file does delete");
        assert_eq!(said(&catalog), [""; 0]);
    }
}

#[test]
fn a_slip_in_the_group_deletes_nothing() {
    let mut catalog = Catalog::default();
    put(&mut catalog, "x.yaml", &both());
    assert_eq!(names(&put(&mut catalog, "x.yaml", &both().replace("istio.io", "istio.oi"))), [""; 0]);
    assert!(
        said(&catalog).iter().any(
            |line| line.contains("stays in effect until a restart: DestinationRule shop/a, DestinationRule shop/b")
        )
    );
    let other = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a, namespace: shop}\n";
    assert_eq!(names(&put(&mut catalog, "x.yaml", other)), ["-a", "-b"], "another kind is no slip");
}

#[test]
fn every_prefix_of_a_file_deletes_only_what_a_whole_document_ends_before() {
    let whole = both();
    let first = rule("a", "one");
    for cut in 0..whole.len() {
        let mut catalog = Catalog::default();
        put(&mut catalog, "x.yaml", &whole);
        let gone: Vec<_> = names(&put(&mut catalog, "x.yaml", &whole[..cut]));
        let gone: Vec<_> = gone.iter().filter(|name| name.starts_with('-')).collect();
        // From the first letter of the host to the next `---`, it is one whole document that can't be told from a file that
        // was meant so.
        let whole_document = first.len() - "ne\n".len()..=first.len() + "---\n".len();
        assert!(gone.is_empty() || whole_document.contains(&cut), "{cut}: {gone:?}");
    }
}

#[test]
fn an_unreadable_file_deletes_nothing_and_a_deleted_one_does() {
    let mut catalog = Catalog::default();
    put(&mut catalog, "x.yaml", &both());
    let update = |update| [(Path::new("x.yaml").into(), update)];
    assert_eq!(names(&catalog.apply(update(Update::Unreadable("no permission".to_owned())))), [""; 0]);
    let findings = said(&catalog);
    let stays = "what the file held before stays in effect until a restart";
    let expected =
        format!("x.yaml: error: can't be read: no permission; {stays}: DestinationRule shop/a, DestinationRule shop/b");
    assert_eq!(findings, [expected]);
    let before = catalog.revision();
    catalog.apply(update(Update::Unreadable("no permission".to_owned())));
    assert_eq!(catalog.revision(), before, "the same again is no news");
    put(&mut catalog, "x.yaml", &both());
    assert_eq!(said(&catalog), [""; 0]);
    assert_eq!(names(&catalog.apply(update(Update::Gone))), ["-a", "-b"]);
}

#[test]
fn the_first_path_wins_and_the_other_takes_over() {
    let mut catalog = Catalog::default();
    assert_eq!(names(&put(&mut catalog, "b.yaml", &rule("a", "second"))), ["a"]);
    let changes = put(&mut catalog, "a.yaml", &rule("a", "first"));
    assert_eq!(names(&changes), ["a"]);
    assert_eq!(
        said(&catalog),
        [
            "b.yaml:1: error: DestinationRule shop/a: the same object is in a.yaml:1, which is in effect; this one is not"
        ]
    );
    assert_eq!(names(&put(&mut catalog, "b.yaml", &rule("a", "third"))), [""; 0], "the other has no say");
    let changes = catalog.apply([(Path::new("a.yaml").into(), Update::Gone)]);
    assert_eq!(names(&changes), ["a"], "it takes over, nothing is deleted");
    let host = |catalog: &Catalog| format!("{:?}", catalog.objects().next());
    assert!(host(&catalog).contains("third"), "{}", host(&catalog));
    assert_eq!(said(&catalog), [""; 0]);
}

#[test]
fn an_object_that_moves_and_breaks_on_the_way_stays() {
    let mut catalog = Catalog::default();
    put(&mut catalog, "a.yaml", &rule("a", "one"));
    assert_eq!(names(&put(&mut catalog, "b.yaml", &rule("a", "A B"))), [""; 0]);
    assert_eq!(names(&catalog.apply([(Path::new("a.yaml").into(), Update::Gone)])), [""; 0]);
    assert!(said(&catalog).iter().any(|line| line.contains("the version read before stays in effect")));
    assert_eq!(names(&catalog.apply([(Path::new("b.yaml").into(), Update::Gone)])), ["-a"]);
}

#[test]
fn what_means_nothing_to_us_replaces_what_did() {
    let routes = |gateways: &str| {
        format!(
            "{{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: s}}, spec: {{hosts: [a.b], {gateways}
              http: [{{route: [{{destination: {{host: a.b}}}}]}}]}}}}"
        )
    };
    let mut catalog = Catalog::default();
    assert_eq!(names(&put(&mut catalog, "x.yaml", &routes(""))), ["s"]);
    assert_eq!(names(&put(&mut catalog, "x.yaml", &routes("gateways: [edge],"))), ["-s"]);
}

#[test]
fn lists_are_expanded_with_their_lines() {
    let text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Namespace\n  metadata:\n    name: a\n- apiVersion: v1\n  kind: Namespace\n  metadata:\n    nam: b\n";
    let mut catalog = Catalog::default();
    let changes = put(&mut catalog, "x.yaml", text);
    assert_eq!(names(&changes), ["a"]);
    let place = catalog.report().locate(&changes[0].0, "metadata.name").map(|place| place.to_string());
    assert_eq!(place.as_deref(), Some("x.yaml:7"));
    assert_eq!(said(&catalog), ["x.yaml:10: error: Namespace: metadata.name: is missing"]);
}
