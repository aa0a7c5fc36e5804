//! Field paths and the lines they stand on.
//!
//! Paths are written like `spec.http[0].route[1].weight`; a key that is not a plain word is quoted:
//! `metadata.labels["app.kubernetes.io/name"]`. [`Marks`] keeps a hash and a line for each path, never the path itself, so
//! that ten thousand objects stay small.

use std::fmt::Write;
use xxhash_rust::xxh3::xxh3_64;

/// Appends a key to a path.
pub fn push_key(path: &mut String, key: &str) {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if key.is_empty() || !key.chars().all(plain) {
        // Writing to a string can't fail.
        let _ = write!(path, "[{}]", serde_json::Value::from(key));
    } else {
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(key);
    }
}

/// Appends a position in a list to a path.
pub fn push_index(path: &mut String, index: usize) {
    let _ = write!(path, "[{index}]");
}

/// The path of a member of the value at `path`.
pub fn key(path: &str, key: &str) -> String {
    let mut path = path.to_owned();
    push_key(&mut path, key);
    path
}

/// The path of an element of the list at `path`.
pub fn index(path: &str, index: usize) -> String {
    let mut path = path.to_owned();
    push_index(&mut path, index);
    path
}

/// The path of the value that holds the one at `path`; none for the root.
fn parent(path: &str) -> Option<&str> {
    if path.is_empty() {
        return None;
    }
    let cut = match path.strip_suffix("\"]") {
        Some(inside) => inside.rfind("[\""),
        None => path.rfind(['.', '[']),
    };
    Some(&path[..cut.unwrap_or(0)])
}

/// The lines of a document's fields.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Marks {
    line: u32,
    lines: Box<[(u64, u32)]>,
    /// The path of this part within the document; set for an item of a `List`.
    inside: Box<str>,
}

impl Marks {
    pub(super) fn new(line: u32, mut lines: Vec<(u64, u32)>) -> Self {
        lines.sort_unstable();
        Self { line, lines: lines.into(), inside: "".into() }
    }

    pub(super) fn hash(path: &str) -> u64 {
        xxh3_64(path.as_bytes())
    }

    /// The line of the document's root.
    pub fn line(&self) -> u32 {
        self.line
    }

    /// The line of a field, or of the nearest field around it that is there.
    pub fn locate(&self, field: &str) -> u32 {
        let full = match field.is_empty() || field.starts_with('[') {
            true => format!("{}{field}", self.inside),
            false if self.inside.is_empty() => field.to_owned(),
            false => format!("{}.{field}", self.inside),
        };
        let mut path = full.as_str();
        loop {
            let hash = Self::hash(path);
            if let Ok(at) = self.lines.binary_search_by_key(&hash, |(hash, _)| *hash) {
                return self.lines[at].1;
            }
            match parent(path) {
                Some(outer) => path = outer,
                None => return self.line,
            }
        }
    }

    /// The marks of one item of a list, whose paths then start at the item. `paths` are those of the item's fields in the
    /// document.
    pub fn part(&self, inside: &str, value: &serde_json::Value) -> Marks {
        let mut lines = Vec::new();
        let mut rest = vec![(inside.to_owned(), value)];
        while let Some((path, value)) = rest.pop() {
            let hash = Self::hash(&path);
            if let Ok(at) = self.lines.binary_search_by_key(&hash, |(hash, _)| *hash) {
                lines.push(self.lines[at]);
            }
            match value {
                serde_json::Value::Object(members) => {
                    rest.extend(members.iter().map(|(name, value)| (key(&path, name), value)));
                }
                serde_json::Value::Array(items) => {
                    rest.extend(items.iter().enumerate().map(|(at, value)| (index(&path, at), value)));
                }
                _ => {}
            }
        }
        let line = self.locate(inside);
        Marks { inside: inside.into(), ..Marks::new(line, lines) }
    }
}
