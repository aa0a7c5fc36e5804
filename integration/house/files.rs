//! Files among each other: modules that nobody declares, golden cases without their other half, links in documents that
//! lead nowhere.

use super::source::{Source, Violation};
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// The violations of the tree: `sources` are all Rust files, `golden` all paths in the golden folder.
pub fn check(sources: &[Source], golden: &[String]) -> Vec<Violation> {
    let mut found = undeclared(sources);
    found.extend(orphans(golden));
    found
}

/// Product files that no `mod` reaches: they are never compiled.
fn undeclared(sources: &[Source]) -> Vec<Violation> {
    let product = || sources.iter().filter(|source| source.is_product());
    let declared: BTreeSet<Vec<String>> =
        product().flat_map(|source| children(source.module(), &source.syntax.items)).collect();
    product()
        .filter(|source| !source.module().is_empty() && !declared.contains(&source.module()))
        .map(|source| source.at(1, "dead-file", "no `mod` declares this file"))
        .collect()
}

fn children(module: Vec<String>, items: &[syn::Item]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for item in items {
        if let syn::Item::Mod(child) = item {
            let path: Vec<String> = module.iter().cloned().chain([child.ident.to_string()]).collect();
            if let Some((_, inner)) = &child.content {
                found.extend(children(path.clone(), inner));
            }
            found.push(path);
        }
    }
    found
}

/// Golden inputs without output, and the reverse.
fn orphans(golden: &[String]) -> Vec<Violation> {
    let all: BTreeSet<&String> = golden.iter().collect();
    let missing = |path: &String, own: &str, other: &str| {
        let partner = format!("{}{other}", path.strip_suffix(own)?);
        (!all.contains(&partner)).then(|| Violation {
            path: path.clone(),
            line: 1,
            rule: "orphan",
            text: format!("{partner} is missing"),
            size: None,
        })
    };
    let (input, output) = (".in.yaml", ".out.yaml");
    golden.iter().filter_map(|path| missing(path, input, output).or_else(|| missing(path, output, input))).collect()
}

/// Relative links of a document that lead to no file; `exists` is asked with paths relative to the repository.
pub fn dead_links(path: &str, text: &str, exists: impl Fn(&Path) -> bool) -> Vec<Violation> {
    let mut found = Vec::new();
    let folder = Path::new(path).parent().unwrap_or(Path::new(""));
    for (index, line) in text.lines().enumerate() {
        for target in line.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            if target.is_empty() || target.contains("://") || exists(&plain(&folder.join(target))) {
                continue;
            }
            let text = format!("the link to {target} leads nowhere");
            found.push(Violation { path: path.into(), line: index + 1, rule: "dead-link", text, size: None });
        }
    }
    found
}

/// A path without `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
}
