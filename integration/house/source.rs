//! Files as the rules see them: path, text and syntax tree; and what a rule reports.

use std::fmt;
use std::fs;
use std::path::Path;

/// A Rust file, parsed.
pub struct Source {
    /// Relative to the repository, with forward slashes.
    pub path: String,
    /// As read.
    pub text: String,
    /// As parsed.
    pub syntax: syn::File,
}

/// One thing to put right. The order is that of the report.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Violation {
    /// The file.
    pub path: String,
    /// The line, from 1.
    pub line: usize,
    /// The rule's short name, as used in the list of exceptions.
    pub rule: &'static str,
    /// What is wrong.
    pub text: String,
    /// For caps: the size found.
    pub size: Option<usize>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.path, self.line, self.rule, self.text)
    }
}

impl Source {
    /// Parses `text` as the file at `path`.
    pub fn parse(path: &str, text: &str) -> Result<Self, Violation> {
        match syn::parse_file(text) {
            Ok(syntax) => Ok(Self { path: path.into(), text: text.into(), syntax }),
            Err(error) => Err(Violation {
                path: path.into(),
                line: error.span().start().line,
                rule: "syntax",
                text: error.to_string(),
                size: None,
            }),
        }
    }

    /// A violation in this file.
    pub fn at(&self, line: usize, rule: &'static str, text: impl Into<String>) -> Violation {
        Violation { path: self.path.clone(), line, rule, text: text.into(), size: None }
    }

    /// A violation of a cap in this file.
    pub fn over(&self, line: usize, rule: &'static str, size: usize, text: impl Into<String>) -> Violation {
        Violation { size: Some(size), ..self.at(line, rule, text) }
    }

    /// The path of the module this file is, as segments: `src/xds/sotw.rs` is `["xds", "sotw"]`, `src/lib.rs` is `[]`.
    pub fn module(&self) -> Vec<String> {
        let inside = self.path.split_once('/').map_or(self.path.as_str(), |(_, rest)| rest);
        let stem = inside.strip_suffix(".rs").unwrap_or(inside);
        if matches!(stem, "lib" | "main") { Vec::new() } else { stem.split('/').map(str::to_owned).collect() }
    }

    /// Whether the file is part of the product.
    pub fn is_product(&self) -> bool {
        self.path.starts_with("src/")
    }

    /// The top-level module the file belongs to: a room of the house, or `lib` or `main`.
    pub fn room(&self) -> String {
        let stem = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        stem.split('/').next().unwrap_or(stem).to_owned()
    }
}

/// Reads every Rust file of `src` and `integration`; files that don't parse are violations.
pub fn read(root: &Path) -> (Vec<Source>, Vec<Violation>) {
    let mut sources = Vec::new();
    let mut broken = Vec::new();
    for path in ["src", "integration"].into_iter().flat_map(|folder| files(root, folder)) {
        if !path.ends_with(".rs") {
            continue;
        }
        let text = fs::read_to_string(root.join(&path)).expect("a file just listed can be read");
        match Source::parse(&path, &text) {
            Ok(source) => sources.push(source),
            Err(violation) => broken.push(violation),
        }
    }
    (sources, broken)
}

/// The Markdown documents of the repository: path and text.
pub fn documents(root: &Path) -> Vec<(String, String)> {
    let top = fs::read_dir(root).into_iter().flatten().filter_map(Result::ok);
    let top = top.filter(|entry| entry.path().is_file()).map(|entry| entry.file_name().to_string_lossy().into_owned());
    let below = ["docs", "proto", "manifests", "integration"].into_iter().flat_map(|folder| files(root, folder));
    let all = top.chain(below).filter(|path| path.ends_with(".md"));
    all.filter_map(|path| fs::read_to_string(root.join(&path)).ok().map(|text| (path, text))).collect()
}

/// The files below a folder, sorted, relative to `root`; none where there is no such folder.
pub fn files(root: &Path, folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(root.join(folder)) else { return found };
    for entry in entries.filter_map(Result::ok) {
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            found.extend(files(root, &path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}
