//! A folder of manifests of one's own: a copy of an example with other addresses, and the ways to edit it.

use super::{Failure, Outcome};
use std::fs;
use std::path::{Path, PathBuf};

/// What the examples' addresses begin with.
const EXAMPLE_PREFIX: &str = "127.77.0.";

/// A copy of an example.
pub struct Folder {
    path: PathBuf,
    scratch: PathBuf,
}

impl Folder {
    /// Copies `example` to `path`, with `prefix` in place of the example's addresses and each pair's second text in
    /// place of its first.
    pub fn copy(example: &Path, path: PathBuf, prefix: &str, swaps: &[(String, String)]) -> Outcome<Self> {
        fs::create_dir_all(&path)?;
        // Beside the folder, not in it: a file that is being written must not be seen.
        let scratch = path.with_extension("scratch");
        let folder = Self { path, scratch };
        for entry in fs::read_dir(example)? {
            let entry = entry?;
            let mut text = fs::read_to_string(entry.path())?.replace(EXAMPLE_PREFIX, prefix);
            for (from, to) in swaps {
                text = text.replace(from, to);
            }
            fs::write(folder.path.join(entry.file_name()), text)?;
        }
        Ok(folder)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of its files.
    pub fn names(&self) -> Outcome<Vec<String>> {
        let entries = std::fs::read_dir(&self.path)?;
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    /// Where a file of it is.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The text of a file.
    pub fn read(&self, name: &str) -> Outcome<String> {
        Ok(fs::read_to_string(self.file(name))?)
    }

    /// Replaces a file, or adds it, in one step, as editors and configuration tools do.
    pub fn replace(&self, name: &str, text: &str) -> Outcome<()> {
        fs::write(&self.scratch, text)?;
        Ok(fs::rename(&self.scratch, self.file(name))?)
    }

    /// Writes a file in place, as `echo > file` does.
    pub fn overwrite(&self, name: &str, bytes: impl AsRef<[u8]>) -> Outcome<()> {
        Ok(fs::write(self.file(name), bytes)?)
    }

    /// Removes a file.
    pub fn remove(&self, name: &str) -> Outcome<()> {
        Ok(fs::remove_file(self.file(name))?)
    }

    /// Replaces `from`, which must be there, by `to` in a file.
    pub fn edit(&self, name: &str, from: &str, to: &str) -> Outcome<()> {
        let text = self.read(name)?;
        if !text.contains(from) {
            return Err(Failure::new(format!("{name} doesn't contain {from:?}")));
        }
        self.replace(name, &text.replace(from, to))
    }
}

/// The text of a VirtualService with other weights: each `weight:` line gets that of the subset named just above it.
pub fn reweighted(text: &str, weights: &[(&str, u32)]) -> String {
    let mut weight = None;
    let mut lines = Vec::new();
    for line in text.lines() {
        if let Some((_, found)) = weights.iter().find(|(subset, _)| line.contains(&format!("subset: {subset}}}"))) {
            weight = Some(found);
        }
        match (line.split_once("weight:"), weight) {
            (Some((indent, _)), Some(weight)) if indent.trim().is_empty() => {
                lines.push(format!("{indent}weight: {weight}"))
            }
            _ => lines.push(line.to_owned()),
        }
    }
    lines.join("\n") + "\n"
}
