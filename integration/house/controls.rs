//! The proof that each rule can fail: for every rule texts that break it, and texts that come close without.

use super::source::{Source, Violation};
use super::table::{Exception, excused_by};
use super::{files, inspect};

/// What is reported of `body` as the file at `path`, under a good header.
fn rules(path: &str, body: &str) -> Vec<&'static str> {
    let source = Source::parse(path, &format!("//! Header.\n{body}")).expect("the fixture parses");
    inspect(&source).iter().map(|violation| violation.rule).collect()
}

#[track_caller]
fn breaks(rule: &str, path: &str, body: &str) {
    let found = rules(path, body);
    assert!(
        !found.is_empty() && found.iter().all(|one| *one == rule),
        "{rule} expected of {path}, got {found:?}:\n{body}"
    );
}

#[track_caller]
fn keeps(path: &str, body: &str) {
    let found = rules(path, body);
    assert!(found.is_empty(), "nothing expected of {path}, got {found:?}:\n{body}");
}

#[test]
fn layers_are_seen_however_a_path_is_spelled() {
    let file = "src/xds/session.rs";
    breaks("layers", file, "use crate::translate::cluster;");
    breaks("layers", file, "use crate::{snapshot::kind::Kind, translate::{self, cluster}};");
    breaks("layers", file, "use super::super::translate;");
    breaks("layers", file, "fn f() { super::super::translate::run() }");
    breaks("layers", file, "fn f() -> crate::translate::Answer { g() }");
    breaks("layers", file, "fn f() { let _ = vec![crate::translate::run()]; }");
    breaks("layers", file, "macro_rules! m { () => { $crate::translate::run() } }");
    breaks("layers", file, "mod inner { use super::super::super::translate::run; }");
    breaks("layers", file, "fn f() { use crate::translate as t; }");
    breaks("layers", file, "use crate as root;");
    breaks("layers", file, "use crate::*;");
    breaks("layers", file, "use crate::model;");
    breaks("layers", file, "use crate::model::{audience::Audience, world::World};");
    breaks("layers", file, "pub use crate::snapshot::kind::Kind;");
    breaks("layers", file, "#[derive(Debug)] struct S(crate::publish::P);");
    breaks("layers", file, "impl crate::publish::P for S {}");
    keeps(
        file,
        "use super::gate; use crate::xds::wire; use crate::snapshot::board::Board; use crate::model::audience::Audience;",
    );
    keeps(file, "mod inner { use super::super::gate; }");
}

#[test]
fn each_room_is_kept() {
    breaks("layers", "src/model/pod.rs", "use crate::snapshot::kind::Kind;");
    breaks("layers", "src/model/pod.rs", "use tokio::sync::watch;");
    breaks("layers", "src/model/pod.rs", "use kube::Client;");
    breaks("layers", "src/source/parse.rs", "use envoy_types::pb;");
    breaks("layers", "src/snapshot/set.rs", "use crate::model::world::World;");
    breaks("layers", "src/snapshot/set.rs", "fn f() { tokio::spawn(g()); }");
    breaks("layers", "src/snapshot/board.rs", "use tokio::time::sleep;");
    breaks("layers", "src/snapshot/post.rs", "use tokio::sync::watch;");
    keeps("src/snapshot/board/post.rs", "use tokio::sync::watch;");
    keeps("src/snapshot/board.rs", "use tokio::sync::{watch, Notify}; use dashmap::DashMap;");
    breaks("layers", "src/translate/cluster.rs", "use crate::snapshot::board::Board;");
    breaks("layers", "src/translate/cluster.rs", "use std::time; fn f() { time::Instant::now(); }");
    breaks("layers", "src/translate/cluster.rs", "use std::time::*;");
    breaks("layers", "src/translate/cluster.rs", "fn f() { tracing::info!(\"x\"); }");
    breaks("layers", "src/translate/cluster.rs", "extern crate rand as dice;");
    keeps("src/translate/cluster.rs", "use std::time::Duration; use std::net::IpAddr; use envoy_types::pb;");
    breaks("layers", "src/publish.rs", "use crate::xds::server;");
    breaks("layers", "src/publish.rs", "use crate::app;");
    breaks("layers", "src/telemetry.rs", "use crate::model::name::Name;");
    breaks("layers", "src/admin/page.rs", "fn f() { std::env::var(\"X\"); }");
    keeps("src/app.rs", "use crate::{xds::server, publish, source, translate};");
    breaks("unknown-room", "src/gossip.rs", "");
    breaks("unknown-room", "src/gossip/peer.rs", "");
}

#[test]
fn only_the_encoder_encodes() {
    breaks("layers", "src/publish/post.rs", "use prost::{Message, Name};");
    breaks("layers", "src/admin/page.rs", "use prost_reflect::prost::Message;");
    breaks("encoder", "src/xds/sotw.rs", "fn f(m: M) { m.encode_to_vec(); }");
    breaks("encoder", "src/translate/listener.rs", "fn f(m: M) { g(envoy::pack_any(&m)); }");
    breaks("encoder", "src/xds/sotw.rs", "fn f(m: M) { log!(m.encoded_len()); }");
    keeps("src/snapshot/resource.rs", "use prost::{Message, Name}; fn f(m: M) { m.encode_to_vec(); }");
    keeps("src/xds/request.rs", "use prost::Message; fn f(b: B) { M::decode(b); }");
}

#[test]
fn words_are_seen() {
    breaks("order", "src/translate/route.rs", "use std::collections::HashMap;");
    breaks("order", "src/model/world.rs", "fn f() -> std::collections::HashSet<u8> { g() }");
    breaks("order", "src/snapshot/set.rs", "fn f() { g!(HashMap::new()); }");
    keeps("src/xds/session.rs", "use std::collections::HashMap;");
    breaks("unwrap", "src/xds/session.rs", "fn f() { g().unwrap(); }");
    breaks("unwrap", "src/xds/session.rs", "fn f() { format!(\"{}\", g().unwrap()); }");
    keeps("src/xds/session.rs", "fn f() { g().unwrap_or(1); g().expect(\"why\"); }");
    keeps("src/xds/session.rs", "#[cfg(test)] mod tests { fn f() { g().unwrap(); } }");
    breaks("panic", "src/xds/session.rs", "fn f() { panic!(\"no\"); }");
    breaks("print", "src/app.rs", "fn f() { println!(\"x\"); }");
    keeps("src/cli/analyze.rs", "fn f() { println!(\"x\"); }");
    breaks("async", "src/translate/route.rs", "async fn f() {}");
    breaks("async", "src/translate/route.rs", "fn f() { g(async { 1 }); }");
}

#[test]
fn sizes_are_measured() {
    let long = |lines: usize| format!("fn f() {{\n{}}}\n", "    g();\n".repeat(lines - 2));
    breaks("function-lines", "src/app.rs", &long(71));
    breaks("function-lines", "src/app.rs", &format!("struct S;\nimpl S {{\n{}}}\n", long(71)));
    keeps("src/app.rs", &long(70));
    breaks("file-lines", "integration/live.rs", &"const A: u8 = 1;\n".repeat(500));
    keeps("integration/live.rs", &"const A: u8 = 1;\n".repeat(499));
    breaks("main-lines", "src/main.rs", &"const A: u8 = 1;\n".repeat(40));
    breaks("parameters", "src/app.rs", "fn f(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8) {}");
    keeps("src/app.rs", "impl S { fn f(&self, a: u8, b: u8, c: u8, d: u8, e: u8) {} }");
    let tests =
        |lines: usize| format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "    const A: u8 = 1;\n".repeat(lines - 3));
    breaks("test-lines", "src/app.rs", &tests(101));
    keeps("src/app.rs", &format!("{}{}", "const A: u8 = 1;\n".repeat(480), tests(100)));
}

#[test]
fn text_is_read() {
    let header = |text: &str| {
        let source = Source::parse("src/app.rs", text).expect("the fixture parses");
        inspect(&source).iter().map(|violation| violation.rule).collect::<Vec<_>>()
    };
    assert_eq!(header("fn f() {}"), ["header"]);
    assert_eq!(header(&"//! Line.\n".repeat(11)), ["header"]);
    assert!(header(&"//! Line.\n".repeat(10)).is_empty());
    breaks("note", "src/app.rs", concat!("// TO", "DO: later\n"));
    breaks("note", "integration/live.rs", concat!("fn f() {} // FIX", "ME\n"));
    breaks("banner", "src/app.rs", &format!("// {} Types {}\n", "-".repeat(8), "-".repeat(8)));
    breaks("name", "src/xds/mod.rs", "");
    breaks("name", "src/xds/util.rs", "");
    breaks("name", "src/xds/session_manager.rs", "");
}

#[test]
fn files_are_compared() {
    let parse = |path: &str, text: &str| Source::parse(path, text).expect("the fixture parses");
    let tree = [parse("src/lib.rs", "pub mod xds;"), parse("src/xds.rs", "mod gate;"), parse("src/xds/gate.rs", "")];
    assert!(files::check(&tree, &[]).is_empty());
    assert_eq!(files::check(&[parse("src/lib.rs", ""), parse("src/xds.rs", "")], &[])[0].rule, "dead-file");
    let golden = ["integration/golden/a.in.yaml".to_owned(), "integration/golden/a.out.yaml".to_owned()];
    assert!(files::check(&[], &golden).is_empty());
    assert_eq!(files::check(&[], &golden[..1])[0].rule, "orphan");
    assert_eq!(files::check(&[], &golden[1..])[0].rule, "orphan");
    assert!(Source::parse("src/app.rs", "fn {").is_err());
}

#[test]
fn links_are_followed() {
    let dead = |text: &str| {
        let exists = |path: &std::path::Path| path == std::path::Path::new("docs/style.md");
        files::dead_links("docs/tutorials/a.md", text, exists).len()
    };
    assert_eq!(dead("[a](../style.md), [b](../style.md#words), [c](https://example.com), [d](#here)"), 0);
    assert_eq!(dead("[a](../style.md) and [b](style.md)\n[c](../../docs/gone.md)"), 2);
}

#[test]
fn exceptions_may_only_shrink() {
    let found = |size| {
        let path = "src/app.rs".to_owned();
        vec![Violation { path, line: 1, rule: "file-lines", text: String::new(), size: Some(size) }]
    };
    let exceptions = [Exception { path: "src/app.rs", rule: "file-lines", size: 520, why: "a fixture" }];
    assert_eq!(excused_by(&exceptions, found(520)), (vec![], vec![]));
    let (left, stale) = excused_by(&exceptions, found(521));
    assert_eq!((left.len(), stale.len()), (1, 1), "grown");
    let (left, stale) = excused_by(&exceptions, found(510));
    assert_eq!((left.len(), stale.len()), (1, 1), "shrunk without lowering the exception");
    let (left, stale) = excused_by(&exceptions, vec![]);
    assert_eq!((left.len(), stale.len()), (0, 1), "stale");
}
