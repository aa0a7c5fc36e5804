//! Words of code: hash maps where order matters, encoders outside the encoder, panics, async in translation, printing.

use super::shape::is_test;
use super::source::{Source, Violation};
use super::table::{ENCODER, ORDERED};
use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// Macros that end the process or belong to a debugging session.
const PANICS: [&str; 4] = ["panic", concat!("to", "do"), "unimplemented", "dbg"];
/// Macros that write to the terminal: the command line's alone.
const PRINTS: [&str; 4] = ["print", "println", "eprint", "eprintln"];
/// Where printing is the purpose.
const PRINTERS: [&str; 2] = ["cli", "main"];

/// The violations of one file; tests and benches are free in their words.
pub fn check(source: &Source) -> Vec<Violation> {
    if !source.is_product() {
        return Vec::new();
    }
    let room = source.room();
    let mut words = Words { source, ordered: ORDERED.contains(&room.as_str()), room, found: Vec::new() };
    words.visit_file(&source.syntax);
    words.found
}

struct Words<'s> {
    source: &'s Source,
    room: String,
    ordered: bool,
    found: Vec<Violation>,
}

impl Words<'_> {
    fn report(&mut self, line: usize, rule: &'static str, text: impl Into<String>) {
        self.found.push(self.source.at(line, rule, text));
    }

    /// A name, wherever it stands.
    fn name(&mut self, name: &str, line: usize) {
        if self.ordered && matches!(name, "HashMap" | "HashSet") {
            self.report(line, "order", format!("`{name}` has a random order: use BTreeMap, BTreeSet or imbl"));
        }
        if is_encoder(name) && self.source.path != ENCODER {
            self.report(line, "encoder", format!("`{name}`: messages are encoded in {ENCODER} only"));
        }
    }

    /// A called method: as a name, and by the names that only methods have.
    fn method(&mut self, name: &str, line: usize) {
        self.name(name, line);
        if name == "unwrap" {
            self.report(line, "unwrap", "`unwrap()`: return the error, or `expect` with the reason why it can't fail");
        }
    }

    /// The tokens of a macro, which syn doesn't parse.
    fn tokens(&mut self, stream: TokenStream) {
        let mut after_dot = false;
        for tree in stream {
            match &tree {
                TokenTree::Ident(ident) if after_dot => self.method(&ident.to_string(), ident.span().start().line),
                TokenTree::Ident(ident) => self.name(&ident.to_string(), ident.span().start().line),
                TokenTree::Group(group) => self.tokens(group.stream()),
                _ => {}
            }
            after_dot = matches!(&tree, TokenTree::Punct(punct) if punct.as_char() == '.');
        }
    }

    fn asynchronous(&mut self, line: usize) {
        if self.room == "translate" {
            self.report(line, "async", "translation is a pure function: it waits for nothing");
        }
    }
}

fn is_encoder(name: &str) -> bool {
    matches!(
        name,
        "pack_any"
            | "encode_to_vec"
            | "encode_raw"
            | "encode_length_delimited"
            | "encode_length_delimited_to_vec"
            | "encoded_len"
    )
}

impl<'ast> Visit<'ast> for Words<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_ident(&mut self, ident: &'ast syn::Ident) {
        self.name(&ident.to_string(), ident.span().start().line);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        if call.method == "unwrap" {
            self.method("unwrap", call.method.span().start().line);
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        if signature.asyncness.is_some() {
            self.asynchronous(signature.span().start().line);
        }
        visit::visit_signature(self, signature);
    }

    fn visit_expr_async(&mut self, block: &'ast syn::ExprAsync) {
        self.asynchronous(block.span().start().line);
        visit::visit_expr_async(self, block);
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        let line = item.span().start().line;
        let name = item.path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default();
        if PANICS.contains(&name.as_str()) {
            self.report(line, "panic", format!("`{name}!`: return the error, or `expect` with the reason"));
        }
        if PRINTS.contains(&name.as_str()) && !PRINTERS.contains(&self.room.as_str()) {
            self.report(line, "print", format!("`{name}!`: the command line prints, everybody else logs"));
        }
        self.tokens(item.tokens.clone());
        visit::visit_macro(self, item);
    }
}
