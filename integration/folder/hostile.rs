//! What no committed file can be: too large, a directory, a loop of links, replaced while it is being read. Each yields
//! its finding, and the good file beside it is in effect.

use crate::{names, parsed, put, rule};
use chancery::model::world::Change;
use chancery::source::directory::Directory;
use chancery::source::directory::catalog::Catalog;
use chancery::source::parse::{Parsed, object};
use chancery::source::yaml::{MAX_FILE, MAX_STRING};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What is in effect of a folder that has a good file and whatever `make` adds, and what is said of it.
fn folder(make: impl FnOnce(&Path)) -> (Vec<String>, Vec<String>) {
    let temporary = tempfile::tempdir().expect("a folder");
    let root = temporary.path();
    fs::write(root.join("good.yaml"), rule("good", "one")).expect("a file");
    make(root);
    let (changes, findings) = read(&mut Directory::new(root));
    let prefix = format!("{}/", root.display());
    (names(&changes), findings.into_iter().map(|finding| finding.replace(&prefix, "")).collect())
}

fn read(directory: &mut Directory) -> (Vec<Change>, Vec<String>) {
    let files = directory.files().expect("a folder that can be listed");
    let (changes, _) = directory.read(files);
    (changes, directory.report().findings().iter().map(ToString::to_string).collect())
}

#[test]
fn what_is_no_file_is_a_finding() {
    let (found, said) = folder(|root| fs::create_dir(root.join("bad.yaml")).expect("a directory"));
    assert_eq!(
        (found, said),
        (vec!["good".to_owned()], vec!["bad.yaml: error: can't be read: it is a directory".into()])
    );
    let (found, said) = folder(|root| {
        symlink("b.yaml", root.join("a.yaml")).expect("a link");
        symlink("a.yaml", root.join("b.yaml")).expect("a link");
    });
    assert_eq!(found, ["good"]);
    let looped = |name| format!("{name}.yaml: error: can't be read: Too many levels of symbolic links (os error 40)");
    assert_eq!(said, [looped("a"), looped("b")]);
    let (found, said) = folder(|root| symlink("/dev/zero", root.join("bad.yaml")).expect("a link"));
    let no_file = "bad.yaml: error: can't be read: it is not a regular file".to_owned();
    assert_eq!((found, said), (vec!["good".to_owned()], vec![no_file]));
    let (found, said) = folder(|root| symlink("nowhere", root.join("bad.yaml")).expect("a link"));
    assert_eq!((found, said), (vec!["good".to_owned()], vec![]), "what isn't there isn't wrong");
}

#[test]
fn what_is_too_large_is_a_finding() {
    let string = |size: usize| rule("large", "one").replace("spec:", &format!("  uid: {}\nspec:", "x".repeat(size)));
    let (found, said) = folder(|root| fs::write(root.join("bad.yaml"), string(MAX_STRING + 1)).expect("a file"));
    assert_eq!(found, ["good"]);
    assert_eq!(said.len(), 1);
    assert!(said[0].starts_with("bad.yaml:6: error: ") && said[0].len() < 200, "{said:?}");
    let (found, said) = folder(|root| fs::write(root.join("bad.yaml"), string(MAX_STRING)).expect("a file"));
    assert_eq!((found.len(), said), (2, vec![]), "the control: one byte less");
    let file = |size: usize| format!("{}#{}", rule("large", "one"), "x".repeat(size));
    let (found, said) = folder(|root| fs::write(root.join("bad.yaml"), file(MAX_FILE)).expect("a file"));
    assert_eq!((found, said.len()), (vec!["good".to_owned()], 1), "{said:?}");
}

#[test]
fn ten_thousand_objects_are_read_and_one_fault_among_them_is_found() {
    let mut text: String = (0..10_000).map(|index| rule(&format!("r{index}"), "one") + "---\n").collect();
    let good = "name: r7000\n  namespace: shop\nspec:\n  host: one";
    text = text.replacen(good, &good.replace("one", "A B"), 1);
    let began = Instant::now();
    let (found, said) = folder(|root| fs::write(root.join("many.yaml"), text).expect("a file"));
    assert_eq!(found.len(), 10_000, "all but one, and the good one");
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].starts_with("many.yaml:56007: error: DestinationRule shop/r7000: spec.host: "), "{said:?}");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

/// No character makes a name that is accepted and no name at the same time, and none gets out of its line.
#[test]
fn no_character_gets_out_of_its_place() {
    let odd = (0..0x300).chain([0x2028, 0x202e, 0x2066, 0xfeff, 0xfffd, 0x1f4a5]).filter_map(char::from_u32);
    for c in odd {
        let fine = c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
        let name = serde_json::to_string(&format!("a{c}b")).expect("a string");
        for (field, text) in [
            ("name", rule("NAME", "one").replace("NAME", &name)),
            ("namespace", rule("odd", "one").replace("namespace: shop", &format!("namespace: {name}"))),
            ("host", rule("odd", "NAME").replace("NAME", &name)),
        ] {
            let mut catalog = Catalog::default();
            let changes = put(&mut catalog, "odd.yaml", &text);
            let fine = fine && (c != '.' || field != "namespace");
            // A host is no matter of case, as in DNS.
            let fine = fine || (field == "host" && c.is_ascii_uppercase());
            let said: Vec<_> = catalog.report().findings().iter().map(ToString::to_string).collect();
            assert_eq!((changes.len(), said.len()), if fine { (1, 0) } else { (0, 1) }, "{field} {c:?}: {said:?}");
            let unprintable = |c: char| c.is_control() || ('\u{2028}'..='\u{206f}').contains(&c) || c == '\u{feff}';
            assert!(!said.iter().any(|line| line.contains(unprintable)), "{field} {c:?}: {said:?}");
        }
    }
}

/// A file that is replaced again and again is always read as it was at one moment: both its objects are there, and of one
/// age.
#[test]
fn a_file_replaced_while_it_is_read_is_read_whole() {
    let temporary = tempfile::tempdir().expect("a folder");
    let root = temporary.path().join("config");
    fs::create_dir(&root).expect("a folder");
    let (path, scratch) = (root.join("both.yaml"), temporary.path().join("scratch"));
    let both = |age: usize| format!("{}---\n{}", rule("a", &format!("host{age}")), rule("b", &format!("host{age}")));
    fs::write(&path, both(0)).expect("a file");
    let mut directory = Directory::new(&root);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for age in (1..1_000_000).take_while(|_| !done.load(Ordering::Relaxed)) {
                fs::write(&scratch, both(age)).expect("a file");
                fs::rename(&scratch, &path).expect("a move");
            }
        });
        let mut seen = 0;
        let deadline = Instant::now() + Duration::from_secs(10);
        while seen < 50 && Instant::now() < deadline {
            let (changes, said) = read(&mut directory);
            assert_eq!(said, [""; 0]);
            assert!(changes.is_empty() || names(&changes) == ["a", "b"], "{changes:?}");
            let ages: Vec<_> = changes.iter().map(|change| format!("{change:?}")).collect();
            let host = |text: &String| text.split("host").nth(1).map(|rest| rest.split('.').next().map(str::to_owned));
            assert!(ages.windows(2).all(|pair| host(&pair[0]) == host(&pair[1])), "{ages:?}");
            seen += usize::from(!changes.is_empty());
        }
        done.store(true, Ordering::Relaxed);
        assert!(seen >= 50, "only {seen} of its versions were seen");
    });
}

/// What one object may say of hosts: as many as that, and not one more.
#[test]
fn hosts_are_bounded() {
    for (hosts, expected) in [(1_000, None), (1_001, Some("error: spec.hosts: has 1001 hosts; 1000 are allowed"))] {
        let hosts: Vec<String> = (0..hosts).map(|host| format!("host-{host}")).collect();
        let rule = json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "a"},
            "spec": {"hosts": hosts, "http": [{"route": [{"destination": {"host": "a"}}]}]}});
        let (said, object) = parsed(&rule.to_string());
        assert_eq!((said.first().map(String::as_str), object.is_some()), (expected, expected.is_none()));
    }
}

/// The path of a field may be as long as an object, and be said a thousand times: that doesn't fill memory. The control: an object of
/// short paths is told of a thousand times.
#[test]
fn what_is_said_of_one_object_is_bounded() {
    let told = |key: &str| {
        let members: serde_json::Map<_, _> = (0..2_000).map(|member| (format!("m{member}"), json!(1))).collect();
        let rule = json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "a"},
            "spec": {"hosts": ["a"], "http": [{"match": [{"headers": {key: members}}], "route": [{"destination": {"host": "a"}}]}]}});
        let Parsed::Known { problems, object, .. } = object(&rule) else { panic!("it is a VirtualService") };
        assert!(object.is_none(), "it has an error");
        (problems.len(), problems.iter().map(|problem| problem.field.len() + problem.text.len()).sum::<usize>())
    };
    let (short, bytes) = told("x-user");
    assert!(short >= 1_000 && bytes < 1 << 19, "{short} problems of {bytes} bytes");
    let (long, bytes) = told(&"x".repeat(1_400_000));
    assert!((1..5).contains(&long) && bytes < 3_000_000, "{long} problems of {bytes} bytes");
}
