//! Settings of the mesh in a file that `--mesh-config` names: they stand in place of those in the folder.

use chancery::cli::translate::TranslateArgs;
use chancery::model::object::Object;
use chancery::model::world::Change;
use chancery::source::directory::Directory;
use clap::{Args, Command, FromArgMatches};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// A folder, and what is in it.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        fs::write(folder.path().join(name), text).expect("a file");
    }
    folder
}

/// The only change, which is one of settings.
fn timeout(changes: &[Change]) -> Duration {
    match changes {
        [(_, Some(Object::MeshConfig(mesh)))] => mesh.connect_timeout,
        other => panic!("{other:?}"),
    }
}

fn first(folder: &Path, settings: Option<&Path>) -> (Directory, Vec<Change>) {
    let mut directory = Directory::new(folder).with_settings(settings);
    let files = directory.files().expect("the folder is there");
    let (changes, gone) = directory.read(files);
    assert!(gone.is_empty(), "{gone:?}");
    (directory, changes)
}

#[test]
fn a_file_of_settings_may_be_anywhere() {
    let (empty, other) = (folder(&[]), folder(&[("settings.txt", "connectTimeout: 4s")]));
    let (_, changes) = first(empty.path(), Some(&other.path().join("settings.txt")));
    assert_eq!(timeout(&changes), Duration::from_secs(4));
    let own = folder(&[("own.yaml", "connectTimeout: 5s")]);
    let inside: Arc<Path> = own.path().join("own.yaml").into();
    let around = own.path().join("../").join(own.path().file_name().expect("a name")).join("own.yaml");
    let (directory, changes) = first(own.path(), Some(&around));
    let files = directory.files().expect("the folder is there");
    assert_eq!(files.iter().collect::<Vec<_>>(), [&inside], "one file, however it is named");
    assert_eq!(timeout(&changes), Duration::from_secs(5));
}

/// Whichever path comes first, also when the other file changes later. The control: without the flag the folder's counts.
#[test]
fn settings_elsewhere_stand_in_place_of_the_folders() {
    let own = folder(&[("mesh.yaml", "connectTimeout: 5s")]);
    let inside: Arc<Path> = own.path().join("mesh.yaml").into();
    let other = folder(&[("mesh.yaml", "connectTimeout: 4s")]);
    for name in ["a.yaml", "z.yaml"] {
        let at = own.path().join(name);
        fs::write(&at, "connectTimeout: 3s").expect("a file");
        let (mut directory, changes) = first(own.path(), Some(&at));
        assert_eq!(timeout(&changes), Duration::from_secs(3), "{at:?}");
        assert_eq!(directory.read([inside.clone()]).0, [], "{at:?}");
        assert_eq!(directory.report().findings(), [], "{at:?}");
        fs::remove_file(&at).expect("it is there");
    }
    assert_eq!(timeout(&first(own.path(), Some(&other.path().join("mesh.yaml"))).1), Duration::from_secs(4));
    assert_eq!(timeout(&first(own.path(), Some(&inside)).1), Duration::from_secs(5));
    assert_eq!(timeout(&first(own.path(), None).1), Duration::from_secs(5));
}

const OBJECTS: &str = "{apiVersion: v1, kind: Pod, metadata: {name: client, namespace: shop}}
---
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {clusterIP: None, ports: [{name: http, port: 80}]}}
";

/// The lines of `chancery translate` that say how long connecting may take.
fn translated(folder: &Path, settings: Option<PathBuf>) -> Vec<String> {
    let folder = folder.display().to_string();
    let mut flags = vec!["--file", &folder, "--proxy", "client.shop", "--type", "cds"];
    let settings = settings.map(|path| path.display().to_string());
    flags.extend(settings.iter().flat_map(|path| ["--mesh-config", path.as_str()]));
    let cli = TranslateArgs::augment_args(Command::new("translate").no_binary_name(true));
    let matches = cli.try_get_matches_from(flags).expect("good flags");
    let done = TranslateArgs::from_arg_matches(&matches).expect("good flags").run().expect("an answer");
    assert_eq!(done.code, 0);
    let of_web = done.text.split("\n- ").filter(|cluster| cluster.contains("name: outbound|80||web"));
    let lines = of_web.flat_map(|cluster| cluster.lines().filter(|line| line.contains("connect_timeout")));
    lines.map(|line| line.trim().to_owned()).collect()
}

/// The controls: other settings, and none, are seen as well.
#[test]
fn translate_takes_settings_from_elsewhere() {
    let (plain, other) = (folder(&[("objects.yaml", OBJECTS)]), folder(&[("settings.txt", "connectTimeout: 4s")]));
    let both = folder(&[("objects.yaml", OBJECTS), ("mesh.yaml", "connectTimeout: 5s")]);
    let named = || Some(other.path().join("settings.txt"));
    assert_eq!(translated(plain.path(), None), ["connect_timeout: 10s"]);
    assert_eq!(translated(plain.path(), named()), ["connect_timeout: 4s"]);
    assert_eq!(translated(both.path(), None), ["connect_timeout: 5s"]);
    assert_eq!(translated(both.path(), named()), ["connect_timeout: 4s"]);
}
