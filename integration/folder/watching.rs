//! The real watcher on a real folder: each way a file changes, seen as an application sees it. Nothing sleeps; every wait has a
//! deadline, and ends as soon as what it waits for is there.

use crate::{names, rule};
use chancery::model::world::Batch;
use chancery::source::directory::Directory;
use chancery::source::directory::DirectoryError;
use chancery::source::directory::watch::run;
use chancery::source::report::Report;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

const DEADLINE: Duration = Duration::from_secs(10);

struct Folder {
    _temporary: tempfile::TempDir,
    root: PathBuf,
    batches: mpsc::Receiver<Batch>,
    reports: watch::Receiver<Arc<Report>>,
    task: JoinHandle<Result<(), DirectoryError>>,
}

impl Folder {
    /// Watches a folder with these files; the names of the first batch.
    async fn with(files: &[(&str, String)]) -> (Self, Vec<String>) {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let root = temporary.path().join("config");
        fs::create_dir(&root).expect("a folder");
        files.iter().for_each(|(name, text)| fs::write(root.join(name), text).expect("a file"));
        Self::watch(temporary, root).await
    }

    async fn watch(temporary: tempfile::TempDir, root: PathBuf) -> (Self, Vec<String>) {
        let (sender, batches) = mpsc::channel(16);
        let (report, reports) = watch::channel(Arc::default());
        let task = tokio::spawn(run(Directory::new(root.clone()), sender, report));
        let mut folder = Self { _temporary: temporary, root, batches, reports, task };
        let first = folder.next().await;
        (folder, first)
    }

    /// The names of the next batch.
    async fn next(&mut self) -> Vec<String> {
        names(&self.batch().await.changes)
    }

    async fn batch(&mut self) -> Batch {
        tokio::time::timeout(DEADLINE, self.batches.recv()).await.expect("a batch in time").expect("a source")
    }

    /// Waits until a finding with these words is there, or none is.
    async fn says(&mut self, words: &str) {
        let fits = |report: &Arc<Report>| {
            let findings = report.findings();
            if words.is_empty() { findings.is_empty() } else { findings.iter().any(|f| f.to_string().contains(words)) }
        };
        tokio::time::timeout(DEADLINE, self.reports.wait_for(fits))
            .await
            .expect("the report in time")
            .expect("a source");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file");
    }

    /// A change that is surely noticed: whatever was noticed before it has been handled when it arrives, so the next batch
    /// being this one shows that nothing else happened.
    async fn nothing_but(&mut self, marker: &str) {
        self.write(&format!("{marker}.yaml"), &rule(marker, "marker"));
        assert_eq!(self.next().await, [marker]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_batch_is_the_whole_folder() {
    let files = [
        ("a.yaml", rule("a", "one")),
        ("b.yml", rule("b", "one")),
        ("c.json", r#"{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "c"}}"#.to_owned()),
        (".hidden.yaml", rule("h", "one")),
        ("notes.txt", "a: [".to_owned()),
    ];
    let (mut folder, mut first) = Folder::with(&files).await;
    first.sort();
    assert_eq!(first, ["a", "b", "c"]);
    folder.write("mesh.yaml", "a: 1");
    folder.says("MeshConfig mesh: a: unknown field; the settings without an error are in effect").await;
    assert_eq!(folder.next().await, ["mesh"]);
    folder.write("mesh.yaml", "b: 1");
    folder.says("MeshConfig mesh: b: unknown field").await;
    folder.nothing_but("marker").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_folder_is_a_batch_too() {
    assert_eq!(Folder::with(&[]).await.1, [""; 0]);
}

/// Started while a file is being written: what is not read yet must not be taken for gone.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_batch_waits_for_a_file_that_is_being_written() {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let root = temporary.path().join("config");
    fs::create_dir(&root).expect("a folder");
    let whole = format!("{}---\n{}", rule("a", "one"), rule("b", "one"));
    let cut = whole.len() - 5;
    fs::write(root.join("x.yaml"), format!("{}\n  x: [", &whole[..cut])).expect("a file");
    let finish = {
        let (path, whole) = (root.join("x.yaml"), whole.clone());
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            fs::write(path, whole).expect("a file");
        })
    };
    let (_folder, mut first) = Folder::watch(temporary, root).await;
    first.sort();
    assert_eq!(first, ["a", "b"]);
    finish.await.expect("written");
}

/// The control: a file that stays broken delays the first batch, but doesn't prevent it.
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_does_not_hold_the_first_batch_for_ever() {
    let started = Instant::now();
    let files = [("a.yaml", rule("a", "one")), ("x.yaml", "kind: [".to_owned())];
    assert_eq!(Folder::with(&files).await.1, ["a"]);
    assert!(started.elapsed() > Duration::from_secs(1), "it was not waited for");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_not_there_is_an_error_with_its_path() {
    let (sender, _batches) = mpsc::channel(1);
    let error =
        run(Directory::new("/nowhere/at/all"), sender, watch::channel(Arc::default()).0).await.expect_err("an error");
    assert_eq!(error.to_string(), "the directory /nowhere/at/all can't be read");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_is_read_once_it_is_closed() {
    let (mut folder, _) = Folder::with(&[("a.yaml", rule("a", "one")), ("b.yaml", rule("b", "one"))]).await;
    let mut file = fs::File::create(folder.path("a.yaml")).expect("a file");
    file.write_all(rule("a", "two").as_bytes()).expect("written");
    file.flush().expect("flushed");
    folder.nothing_but("marker").await;
    let before = Instant::now();
    drop(file);
    let batch = folder.batch().await;
    assert_eq!(names(&batch.changes), ["a"]);
    assert!(batch.at >= before, "it is the closing that counts");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rename_over_a_file_is_a_change() {
    let (mut folder, _) = Folder::with(&[("a.yaml", rule("a", "one"))]).await;
    folder.write(".a.yaml.tmp", &rule("a", "two"));
    fs::rename(folder.path(".a.yaml.tmp"), folder.path("a.yaml")).expect("renamed");
    assert_eq!(folder.next().await, ["a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_moves_takes_its_objects_along() {
    let (mut folder, _) = Folder::with(&[("a.yaml", rule("a", "one"))]).await;
    fs::rename(folder.path("a.yaml"), folder.path("z.yaml")).expect("renamed");
    folder.nothing_but("marker").await;
    folder.write("z.yaml", &rule("a", "two"));
    assert_eq!(folder.next().await, ["a"], "the new file has the say; nothing was deleted in between");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_file_takes_its_objects_away() {
    let (mut folder, _) = Folder::with(&[("a.yaml", rule("a", "one")), ("b.yaml", rule("b", "one"))]).await;
    fs::remove_file(folder.path("a.yaml")).expect("removed");
    assert_eq!(folder.next().await, ["-a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_deleted_and_written_anew_is_a_change_only() {
    let (mut folder, _) = Folder::with(&[("a.yaml", rule("a", "one"))]).await;
    fs::remove_file(folder.path("a.yaml")).expect("removed");
    folder.nothing_but("marker").await;
    folder.write("a.yaml", &rule("a", "two"));
    assert_eq!(folder.next().await, ["a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_edit_changes_nothing_and_is_reported() {
    let (mut folder, _) = Folder::with(&[("a.yaml", rule("a", "one"))]).await;
    folder.write("a.yaml", &rule("a", "A B"));
    folder.says("a.yaml:7: error: DestinationRule shop/a: spec.host: \"A B\" is not a host").await;
    folder.nothing_but("marker").await;
    folder.write("a.yaml", &rule("a", "two"));
    assert_eq!(folder.next().await, ["a"]);
    folder.says("").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_nobody_may_read_and_a_folder_with_its_name() {
    let (mut folder, _) = Folder::with(&[("a.yaml", rule("a", "one"))]).await;
    fs::create_dir(folder.path("d.yaml")).expect("a folder");
    folder.write("b.yaml", &rule("b", "one"));
    assert_eq!(folder.next().await, ["b"]);
    fs::remove_file(folder.path("a.yaml")).expect("removed");
    symlink("d.yaml", folder.path("a.yaml")).expect("a link");
    folder.says("a.yaml: error: can't be read: it is a directory").await;
    folder.nothing_but("marker").await;
    fs::remove_file(folder.path("a.yaml")).expect("removed");
    folder.write("a.yaml", &rule("a", "two"));
    assert_eq!(folder.next().await, ["a"], "what it held before was in effect all the time");
}

/// Writes a version the way a mounted ConfigMap has it.
fn mount(root: &Path, version: &str, files: &[(&str, String)]) {
    let data = root.join(version);
    fs::create_dir(&data).expect("a folder");
    files.iter().for_each(|(name, text)| fs::write(data.join(name), text).expect("a file"));
    symlink(version, root.join("..data_tmp")).expect("a link");
    fs::rename(root.join("..data_tmp"), root.join("..data")).expect("swapped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mounted_config_map_is_swapped_as_a_whole() {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let root = temporary.path().join("config");
    fs::create_dir(&root).expect("a folder");
    mount(&root, "..1", &[("a.yaml", rule("a", "one")), ("b.yaml", rule("b", "one")), ("c.yaml", rule("c", "one"))]);
    for name in ["a.yaml", "b.yaml", "c.yaml"] {
        symlink(format!("..data/{name}"), root.join(name)).expect("a link");
    }
    let (mut folder, first) = Folder::watch(temporary, root).await;
    assert_eq!(first, ["a", "b", "c"]);
    mount(&folder.root, "..2", &[("a.yaml", rule("a", "two")), ("b.yaml", rule("b", "two"))]);
    assert_eq!(folder.next().await, ["a", "b"], "in one batch");
    assert_eq!(folder.next().await, ["-c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_a_file_is_a_file() {
    let (mut folder, _) = Folder::with(&[(".real.yaml", rule("a", "one"))]).await;
    symlink(".real.yaml", folder.path("a.yaml")).expect("a link");
    assert_eq!(folder.next().await, ["a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_goes_away_deletes_nothing_and_is_picked_up_again() {
    let (mut folder, _) = Folder::with(&[("a.yaml", rule("a", "one"))]).await;
    let aside = folder.root.with_file_name("aside");
    fs::rename(&folder.root, &aside).expect("moved");
    folder.says("what it held stays in effect").await;
    fs::write(aside.join("a.yaml"), rule("a", "two")).expect("a file");
    assert!(folder.batches.is_empty());
    fs::rename(&aside, &folder.root).expect("moved back");
    assert_eq!(folder.next().await, ["a"]);
    folder.says("").await;
    folder.write("a.yaml", &rule("a", "three"));
    assert_eq!(folder.next().await, ["a"], "and it is watched");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_deleted_whole_deletes_nothing() {
    let (mut folder, _) = Folder::with(&[("a.yaml", rule("a", "one")), ("b.yaml", rule("b", "one"))]).await;
    fs::remove_dir_all(&folder.root).expect("removed");
    folder.says("what it held stays in effect").await;
    assert!(folder.batches.is_empty());
    fs::create_dir(&folder.root).expect("a folder");
    folder.write("a.yaml", &rule("a", "two"));
    assert_eq!(folder.next().await, ["a"]);
    assert_eq!(folder.next().await, ["-b"], "in the end it is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relative_path_is_as_good_as_any() {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let here = std::env::current_dir().expect("a current folder");
    let up: PathBuf = here.components().skip(1).map(|_| "..").collect();
    let full = temporary.path().canonicalize().expect("a path");
    let root = up.join(full.strip_prefix("/").expect("an absolute path"));
    assert!(root.is_relative());
    let (mut folder, _) = Folder::watch(temporary, root).await;
    folder.write("a.yaml", &rule("a", "A B"));
    folder.says(&format!("{}:7: error", folder.path("a.yaml").display())).await;
    folder.write("a.yaml", &rule("a", "one"));
    assert_eq!(folder.next().await, ["a"]);
    folder.says("").await;
    let moved = folder.root.with_file_name("moved-aside");
    fs::rename(&folder.root, &moved).expect("moved");
    folder.says("what it held stays in effect").await;
    fs::rename(&moved, &folder.root).expect("moved back");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_files_at_once_all_arrive() {
    let (mut folder, _) = Folder::with(&[]).await;
    for number in 0..300 {
        folder.write(&format!("{number}.yaml"), &rule(&format!("r{number}"), "one"));
    }
    let mut arrived = std::collections::BTreeSet::new();
    while arrived.len() < 300 {
        arrived.extend(folder.next().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_when_nobody_listens() {
    let (folder, _) = Folder::with(&[]).await;
    let Folder { batches, task, _temporary, .. } = folder;
    drop(batches);
    let ended = tokio::time::timeout(DEADLINE, task).await.expect("an end in time");
    assert!(ended.expect("no panic").is_ok());
}
