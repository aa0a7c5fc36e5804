//! What the kernel said since it was last asked: a set that merges, so it stays small however much happens.

use crate::source::directory::is_manifest;
use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

/// How many files are named before all are looked at.
const NAMED: usize = 4_096;
/// The link a mounted ConfigMap or Secret is swapped by.
const SWAPPED: &str = "..data";

/// What is to be done.
#[derive(Default, Debug)]
pub struct Pending {
    /// Files that may have changed.
    pub files: BTreeSet<PathBuf>,
    /// Whether any file may have.
    pub rescan: bool,
    /// Whether to end.
    pub stop: bool,
    /// Whether the folder itself may have gone.
    root: bool,
    /// When the first of this was noticed.
    pub since: Option<Instant>,
}

/// Where the kernel's words wait.
#[derive(Default, Debug)]
pub struct Signals {
    pending: Mutex<Pending>,
    bell: Condvar,
}

impl Signals {
    /// Waits until something happens or `until`, and takes everything that happened.
    pub fn wait(&self, until: Instant) -> Pending {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        while pending.files.is_empty() && !pending.rescan && !pending.stop && !pending.root {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            pending = self.bell.wait_timeout(pending, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        std::mem::take(&mut pending)
    }

    /// Takes an event in; `root` is the folder watched. The events of a relative path have absolute ones.
    pub fn event(&self, root: &Path, event: notify::Result<notify::Event>) {
        let full = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
        // An error or an overflow means that events were lost.
        let Some(event) = event.ok().filter(|event| !event.need_rescan()) else {
            return self.note(|pending| pending.rescan = true);
        };
        for path in &event.paths {
            if *path == full {
                if matches!(event.kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))) {
                    self.note(|pending| pending.root = true);
                }
            } else if matters(event.kind, path) {
                self.file(root, Path::new(path.file_name().unwrap_or_default()));
            }
        }
    }

    /// Takes an event in from the folder of `file`, of which nothing else matters.
    pub fn beside(&self, file: &Path, event: notify::Result<notify::Event>) {
        let named = |path: &Path| path.file_name() == file.file_name() || path.ends_with(SWAPPED);
        // An error or an overflow means that events were lost.
        let concerns = event.map_or(true, |event| {
            event.need_rescan() || event.paths.iter().any(|path| named(path) && matters(event.kind, path))
        });
        if concerns {
            self.note(|pending| pending.rescan = true);
        }
    }

    fn file(&self, root: &Path, name: &Path) {
        if name == Path::new(SWAPPED) {
            self.note(|pending| pending.rescan = true);
        } else if is_manifest(name) {
            self.note(|pending| {
                pending.files.insert(root.join(name));
                if pending.files.len() > NAMED {
                    pending.files.clear();
                    pending.rescan = true;
                }
            });
        }
    }

    fn note(&self, change: impl FnOnce(&mut Pending)) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut pending);
        pending.since.get_or_insert_with(Instant::now);
        self.bell.notify_one();
    }
}

/// Whether a file is whole after this event.
fn matters(kind: EventKind, path: &Path) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Name(_))
        | EventKind::Remove(_) => true,
        // A file that is created is empty still and will be closed; a link is whole at once.
        EventKind::Create(_) => {
            path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink() || metadata.nlink() > 1)
        }
        _ => false,
    }
}

/// Ends the thread when dropped.
pub struct StopOnDrop(pub Arc<Signals>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.note(|pending| pending.stop = true);
    }
}
