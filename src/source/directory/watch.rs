//! Watches a folder and reads what changed.
//!
//! Reached by the kernel's events; what leaves are batches, the first of them the whole folder. Acts when a file is closed
//! after writing, renamed, linked or deleted, never on each write; a lone change is read at once. Owns a thread, so that
//! reading never holds up the runtime.

mod signals;

use super::{Directory, DirectoryError};
use crate::model::world::{Batch, Change};
use crate::source::report::Report;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use signals::{Pending, Signals};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};

/// How long a file must be away before its objects go. Editors and tools replace a file by deleting and writing it, and a
/// deleted folder loses its files one by one.
const GRACE: Duration = Duration::from_millis(200);
/// The same for files that are missing when a folder comes back: it may still be filling.
const FILLING: Duration = Duration::from_secs(3);
/// How often the folder itself is looked at: a symlink on the way to it may point elsewhere, which no event says.
const IDLE: Duration = Duration::from_secs(2);
/// How long the first batch waits while a file may hold more than was understood of it: whatever is left out of the first
/// batch is taken for gone by everybody who knew it from an earlier process.
const FIRST_LOAD: Duration = Duration::from_secs(3);
/// How soon a folder that went away is looked for again, at first.
const FIRST_RETRY: Duration = Duration::from_millis(50);

/// Watches a folder, and the file of settings it was given, until the receiver of batches is gone. Each change of the report, even without changed objects, goes to
/// `reports` before the batch goes to `batches`.
///
/// # Errors
/// If the folder or that file is not there, or can't be watched, at the start. What happens to it later is a finding.
pub async fn run(
    directory: Directory,
    batches: mpsc::Sender<Batch>,
    reports: watch::Sender<Arc<Report>>,
) -> Result<(), DirectoryError> {
    let signals = Arc::new(Signals::default());
    let _stop = signals::StopOnDrop(signals.clone());
    let (done, ended) = oneshot::channel();
    let worker = Worker::new(directory, signals, batches.clone(), reports);
    let thread = std::thread::Builder::new().name("directory".to_owned());
    thread.spawn(move || done.send(worker.run())).expect("the system has room for one thread more at the start");
    tokio::select! {
        result = ended => result.expect("the directory's thread doesn't panic"),
        () = batches.closed() => Ok(()),
    }
}

/// Which directory a path leads to.
type Identity = (u64, u64);

fn identity(root: &Path) -> std::io::Result<Identity> {
    let metadata = std::fs::metadata(root)?;
    if !metadata.is_dir() {
        return Err(std::io::Error::new(std::io::ErrorKind::NotADirectory, "it is not a directory"));
    }
    Ok((metadata.dev(), metadata.ino()))
}

/// The thread's state.
struct Worker {
    directory: Directory,
    signals: Arc<Signals>,
    batches: mpsc::Sender<Batch>,
    reports: watch::Sender<Arc<Report>>,
    /// The running watch and the directory it is on; none while that is away.
    watch: Option<(RecommendedWatcher, Identity)>,
    /// The watch on the folder of a file of settings; none without such a file.
    beside: Option<RecommendedWatcher>,
    /// Files that are away, and when that counts as deleted.
    away: BTreeMap<Arc<Path>, Instant>,
    retry: Duration,
    /// Until when a folder that came back may still be filling.
    settled: Instant,
    /// The report sent last, and its revision.
    report: (Arc<Report>, u64),
    /// Until the first batch is sent: what it will hold, and when it is sent at the latest.
    first: Option<(Vec<Change>, Instant)>,
}

/// The receiver is gone: nobody needs us any more.
struct Abandoned;

impl Worker {
    fn new(
        directory: Directory,
        signals: Arc<Signals>,
        batches: mpsc::Sender<Batch>,
        reports: watch::Sender<Arc<Report>>,
    ) -> Self {
        let (away, report) = (BTreeMap::new(), (Arc::default(), 0));
        let settled = Instant::now();
        let first = Some((Vec::new(), settled + FIRST_LOAD));
        Self {
            directory,
            signals,
            batches,
            reports,
            watch: None,
            beside: None,
            away,
            retry: FIRST_RETRY,
            settled,
            report,
            first,
        }
    }

    fn run(mut self) -> Result<(), DirectoryError> {
        let at = Instant::now();
        // The watch begins before the reading, so that no change falls between.
        self.rewatch()?;
        self.watch_settings()?;
        let files = self.directory.files()?;
        let (changes, _) = self.directory.read(files);
        let mut sent = self.send(changes, at);
        while sent.is_ok() {
            let pending = self.signals.wait(self.deadline());
            if pending.stop {
                break;
            }
            sent = self.turn(pending);
        }
        Ok(())
    }

    fn deadline(&self) -> Instant {
        let now = Instant::now();
        let idle = now + if self.watch.is_some() { IDLE } else { self.retry };
        let first = self.first.iter().map(|(_, latest)| latest);
        self.away.values().chain(first).min().map_or(idle, |next| idle.min(*next))
    }

    fn turn(&mut self, pending: Pending) -> Result<(), Abandoned> {
        let at = pending.since.unwrap_or_else(Instant::now);
        let rescan = match self.attend() {
            Some(moved) => moved || pending.rescan,
            None => return self.send(Vec::new(), at),
        };
        let mut files: BTreeSet<Arc<Path>> = pending.files.into_iter().map(Arc::from).collect();
        if rescan {
            // A folder that can't be listed just now is looked at again in a moment.
            files.extend(self.directory.files().unwrap_or_default());
        }
        let due = |since: &Instant| *since <= Instant::now();
        files.extend(self.away.iter().filter(|(_, since)| due(since)).map(|(path, _)| path.clone()));
        if files.is_empty() {
            files.extend(self.directory.unreadable().iter().cloned());
        }
        let (mut changes, gone) = self.directory.read(files.iter().cloned());
        self.away.retain(|path, _| gone.contains(path) || !files.contains(path));
        changes.extend(self.bury(gone));
        self.send(changes, at)
    }

    /// Notes files that are away, and forgets those that were away long enough, unless the folder is going as a whole.
    fn bury(&mut self, gone: BTreeSet<Arc<Path>>) -> Vec<Change> {
        let now = Instant::now();
        let known: BTreeSet<_> = self.directory.known(gone).collect();
        let (dead, away): (Vec<_>, Vec<_>) =
            known.into_iter().partition(|path| self.away.get(path).is_some_and(|since| *since <= now));
        for path in away {
            self.away.entry(path).or_insert(self.settled.max(now + GRACE));
        }
        let here = identity(self.directory.root()).ok();
        if here.is_none() || here != self.watch.as_ref().map(|(_, identity)| *identity) {
            return Vec::new();
        }
        self.away.retain(|path, _| !dead.contains(path));
        self.directory.forget(dead)
    }

    /// Looks after the watch: none if the folder is away, else whether it is another one than before.
    fn attend(&mut self) -> Option<bool> {
        let here = identity(self.directory.root());
        if let (Ok(here), Some((_, watched))) = (&here, &self.watch)
            && here == watched
        {
            return Some(false);
        }
        self.watch = None;
        self.away.clear();
        match here.map_err(|error| error.to_string()).and_then(|_| self.rewatch().map_err(|error| chain(&error))) {
            Ok(()) => {
                self.directory.set_missing(None);
                self.retry = FIRST_RETRY;
                self.settled = Instant::now() + FILLING;
                Some(true)
            }
            Err(reason) => {
                self.directory.set_missing(Some(format!("{reason}; what it held stays in effect")));
                self.retry = (self.retry * 2).min(IDLE);
                None
            }
        }
    }

    fn rewatch(&mut self) -> Result<(), DirectoryError> {
        let root = self.directory.root().to_owned();
        let unwatched = |source| DirectoryError::Unwatched { path: root.clone(), source };
        let here = identity(&root).map_err(|source| DirectoryError::Unreadable { path: root.clone(), source })?;
        let signals = self.signals.clone();
        let place = root.clone();
        let mut watcher = notify::recommended_watcher(move |event| signals.event(&place, event)).map_err(unwatched)?;
        watcher.watch(&root, RecursiveMode::NonRecursive).map_err(unwatched)?;
        self.watch = Some((watcher, here));
        Ok(())
    }

    /// Watches the folder of the file of settings. What happens to the file makes everything be looked at again, which
    /// costs little where nothing changed.
    fn watch_settings(&mut self) -> Result<(), DirectoryError> {
        let Some(path) = self.directory.settings().cloned() else { return Ok(()) };
        let missing = |source| DirectoryError::Settings { path: path.to_path_buf(), source };
        std::fs::metadata(&path).map_err(missing)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let unwatched = |source| DirectoryError::Unwatched { path: folder.to_path_buf(), source };
        let (signals, file) = (self.signals.clone(), path.clone());
        let mut watcher = notify::recommended_watcher(move |event| signals.beside(&file, event)).map_err(unwatched)?;
        watcher.watch(folder, RecursiveMode::NonRecursive).map_err(unwatched)?;
        self.beside = Some(watcher);
        Ok(())
    }

    fn send(&mut self, mut changes: Vec<Change>, at: Instant) -> Result<(), Abandoned> {
        let revision = self.directory.revision();
        if revision != self.report.1 {
            self.report = (Arc::new(self.directory.report().clone()), revision);
            self.reports.send_replace(self.report.0.clone());
        }
        if let Some((mut first, latest)) = self.first.take() {
            first.append(&mut changes);
            if self.directory.is_partial() && Instant::now() < latest {
                self.first = Some((first, latest));
                return Ok(());
            }
            changes = first;
        } else if changes.is_empty() {
            return Ok(());
        }
        self.batches.blocking_send(Batch { changes, at }).map_err(|_| Abandoned)
    }
}

/// An error with what caused it.
fn chain(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {}", chain(source)))
}
