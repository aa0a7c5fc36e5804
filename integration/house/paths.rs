//! Every path a file mentions, resolved as far as one file allows: use trees expanded, `self` and `super` replaced,
//! imported names followed, and the plain paths inside macros read from their tokens.

use super::source::Source;
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use syn::visit::{self, Visit};

/// A path as mentioned somewhere in a file.
#[derive(Clone, Debug)]
pub struct Mention {
    /// Resolved segments: ours begin with `crate`, others with the crate's name; a glob ends with `*`.
    pub path: Vec<String>,
    /// The line, from 1.
    pub line: usize,
    /// Whether it is a `pub use`.
    pub exported: bool,
}

impl Mention {
    /// The path as written in Rust.
    pub fn text(&self) -> String {
        self.path.join("::")
    }

    /// Whether the path is `prefix`, lies below it, or is a glob that contains it.
    pub fn reaches(&self, prefix: &str) -> bool {
        let prefix: Vec<&str> = prefix.split("::").collect();
        let own: Vec<&str> = self.path.iter().map(String::as_str).collect();
        match own.split_last() {
            Some((&"*", above)) => prefix.starts_with(above) || above.starts_with(&prefix),
            _ => own.starts_with(&prefix),
        }
    }
}

/// All mentions of a file, in the order of the text.
pub fn mentions(source: &Source) -> Vec<Mention> {
    let mut reader =
        Reader { module: source.module(), children: BTreeSet::new(), imports: BTreeMap::new(), raw: vec![] };
    reader.collect_imports(&source.syntax.items);
    reader.visit_file(&source.syntax);
    let found = std::mem::take(&mut reader.raw);
    found.into_iter().map(|mention| reader.followed(mention)).collect()
}

struct Reader {
    module: Vec<String>,
    children: BTreeSet<String>,
    imports: BTreeMap<String, Vec<String>>,
    raw: Vec<Mention>,
}

impl Reader {
    /// Names that later paths may begin with: child modules and what `use` brings in, at any depth of the file.
    fn collect_imports(&mut self, items: &[syn::Item]) {
        for item in items {
            match item {
                syn::Item::Mod(child) => {
                    self.children.insert(child.ident.to_string());
                    if let Some((_, inner)) = &child.content {
                        self.module.push(child.ident.to_string());
                        self.collect_imports(inner);
                        self.module.pop();
                    }
                }
                syn::Item::Use(item) => self.import(item),
                _ => {}
            }
        }
    }

    fn import(&mut self, item: &syn::ItemUse) {
        let mut leaves = Vec::new();
        expand(&item.tree, &mut Vec::new(), &mut leaves);
        for leaf in leaves {
            let path = self.absolute(leaf.path);
            if leaf.name != "*" && leaf.name != "_" {
                self.imports.insert(leaf.name, path);
            }
        }
    }

    /// Replaces `self`, `super` and `crate` at the front by the module's own path.
    fn absolute(&self, path: Vec<String>) -> Vec<String> {
        let mut base: Option<Vec<String>> = None;
        let mut rest = path.into_iter().peekable();
        while let Some(segment) = rest.peek() {
            match segment.as_str() {
                "crate" => base = Some(Vec::new()),
                "self" => base = Some(base.unwrap_or_else(|| self.module.clone())),
                "super" => {
                    let mut above = base.unwrap_or_else(|| self.module.clone());
                    above.pop();
                    base = Some(above);
                }
                _ => break,
            }
            rest.next();
        }
        let rest: Vec<String> = rest.collect();
        match base {
            Some(base) => std::iter::once("crate".to_owned()).chain(base).chain(rest).collect(),
            None if rest.first().is_some_and(|first| self.children.contains(first)) => {
                std::iter::once("crate".to_owned()).chain(self.module.clone()).chain(rest).collect()
            }
            None => rest,
        }
    }

    /// Follows imported names at the front of a path; bounded, since a name may import itself.
    fn followed(&self, mut mention: Mention) -> Mention {
        for _ in 0..4 {
            let Some(target) = mention.path.first().and_then(|first| self.imports.get(first)) else { break };
            if target.first() == mention.path.first() {
                break;
            }
            let rest = mention.path.split_off(1);
            mention.path = target.iter().cloned().chain(rest).collect();
        }
        mention
    }

    fn note(&mut self, path: Vec<String>, line: usize, exported: bool) {
        let path = self.absolute(path);
        self.raw.push(Mention { path, line, exported });
    }

    /// Reads the plain paths out of a macro's tokens.
    fn tokens(&mut self, stream: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut line = 0;
        let mut colons = 0;
        for tree in stream {
            match tree {
                TokenTree::Ident(ident) if path.is_empty() || colons == 2 => {
                    line = if path.is_empty() { ident.span().start().line } else { line };
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' && !path.is_empty() => colons += 1,
                TokenTree::Ident(ident) => {
                    self.flush(&mut path, line);
                    line = ident.span().start().line;
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Group(group) => {
                    let prefix =
                        if colons == 2 && group.delimiter() == Delimiter::Brace { path.clone() } else { vec![] };
                    self.flush(&mut path, line);
                    colons = 0;
                    self.group(group.stream(), prefix);
                }
                _ => {
                    self.flush(&mut path, line);
                    colons = 0;
                }
            }
        }
        self.flush(&mut path, line);
    }

    /// A group in a macro; after a path it is a use tree, whose leaves get the path in front.
    fn group(&mut self, stream: TokenStream, prefix: Vec<String>) {
        let before = self.raw.len();
        self.tokens(stream.clone());
        if prefix.is_empty() {
            return;
        }
        self.raw.truncate(before);
        for tree in stream {
            if let TokenTree::Ident(ident) = tree {
                let path = prefix.iter().cloned().chain([ident.to_string()]).collect();
                self.note(path, ident.span().start().line, false);
            }
        }
    }

    fn flush(&mut self, path: &mut Vec<String>, line: usize) {
        if path.len() > 1 {
            self.note(std::mem::take(path), line, false);
        }
        path.clear();
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let mut leaves = Vec::new();
        expand(&item.tree, &mut Vec::new(), &mut leaves);
        // A `use` inside a function is not seen by `collect_imports`; its names count for the whole file.
        self.import(item);
        let exported = !matches!(item.vis, syn::Visibility::Inherited);
        for leaf in leaves {
            self.note(leaf.path, leaf.line, exported);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_extern_crate(&mut self, item: &'ast syn::ItemExternCrate) {
        let name = item.ident.to_string();
        if let Some((_, alias)) = &item.rename {
            self.imports.insert(alias.to_string(), vec![name.clone()]);
        }
        self.note(vec![name], item.ident.span().start().line, false);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        let line = path.segments.first().map_or(0, |segment| segment.ident.span().start().line);
        self.note(segments, line, false);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        self.tokens(item.tokens.clone());
        visit::visit_macro(self, item);
    }

    fn visit_meta_list(&mut self, list: &'ast syn::MetaList) {
        self.tokens(list.tokens.clone());
        visit::visit_meta_list(self, list);
    }
}

struct Leaf {
    path: Vec<String>,
    name: String,
    line: usize,
}

fn expand(tree: &syn::UseTree, above: &mut Vec<String>, leaves: &mut Vec<Leaf>) {
    match tree {
        syn::UseTree::Path(path) => {
            above.push(path.ident.to_string());
            expand(&path.tree, above, leaves);
            above.pop();
        }
        syn::UseTree::Group(group) => group.items.iter().for_each(|tree| expand(tree, above, leaves)),
        syn::UseTree::Name(name) => leaves.push(leaf(above, &name.ident, &name.ident)),
        syn::UseTree::Rename(rename) => leaves.push(leaf(above, &rename.ident, &rename.rename)),
        syn::UseTree::Glob(glob) => {
            let path = above.iter().cloned().chain(["*".to_owned()]).collect();
            leaves.push(Leaf { path, name: "*".into(), line: glob.star_token.spans[0].start().line });
        }
    }
}

fn leaf(above: &[String], ident: &syn::Ident, name: &syn::Ident) -> Leaf {
    let line = ident.span().start().line;
    if ident == "self" && !above.is_empty() {
        let shown = if name == "self" { above[above.len() - 1].clone() } else { name.to_string() };
        return Leaf { path: above.to_vec(), name: shown, line };
    }
    Leaf { path: above.iter().cloned().chain([ident.to_string()]).collect(), name: name.to_string(), line }
}
