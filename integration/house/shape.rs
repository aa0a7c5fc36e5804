//! Sizes: lines of a file, of a function, of a test module; parameters of a function.

use super::source::{Source, Violation};
use super::table::{FILE_LINES, FUNCTION_LINES, MAIN_LINES, PARAMETERS, TEST_MODULE_LINES};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// The violations of one file.
pub fn check(source: &Source) -> Vec<Violation> {
    let mut sizes = Sizes { source, tests: 0, found: Vec::new() };
    sizes.visit_file(&source.syntax);
    let Sizes { tests, mut found, .. } = sizes;
    let lines = source.text.lines().count() - tests;
    if lines > FILE_LINES {
        found.push(source.over(1, "file-lines", lines, format!("{lines} lines, the cap is {FILE_LINES}")));
    }
    if source.path == "src/main.rs" && lines > MAIN_LINES {
        found.push(source.over(1, "main-lines", lines, format!("{lines} lines, the cap is {MAIN_LINES}")));
    }
    found
}

struct Sizes<'s> {
    source: &'s Source,
    /// Lines of test modules, which are no production code.
    tests: usize,
    found: Vec<Violation>,
}

impl Sizes<'_> {
    fn function(&mut self, signature: &syn::Signature, end: usize) {
        let start = signature.span().start().line;
        let lines = end + 1 - start;
        if lines > FUNCTION_LINES {
            let text = format!("`{}` has {lines} lines, the cap is {FUNCTION_LINES}", signature.ident);
            self.found.push(self.source.over(start, "function-lines", lines, text));
        }
    }

    fn parameters(&mut self, signature: &syn::Signature) {
        let count = signature.inputs.iter().filter(|input| matches!(input, syn::FnArg::Typed(_))).count();
        if count > PARAMETERS {
            let text = format!("`{}` takes {count} parameters, the cap is {PARAMETERS}", signature.ident);
            self.found.push(self.source.over(signature.span().start().line, "parameters", count, text));
        }
    }
}

impl<'ast> Visit<'ast> for Sizes<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig, item.block.span().end().line);
        self.parameters(&item.sig);
        visit::visit_item_fn(self, item);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        for inner in &item.items {
            if let syn::ImplItem::Fn(method) = inner {
                self.function(&method.sig, method.block.span().end().line);
                // The parameters of a trait's method are the trait's decision.
                if item.trait_.is_none() {
                    self.parameters(&method.sig);
                }
            }
        }
        visit::visit_item_impl(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        self.function(&item.sig, item.span().end().line);
        self.parameters(&item.sig);
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !self.source.is_product() || !is_test(&item.attrs) {
            return visit::visit_item_mod(self, item);
        }
        let lines = item.span().end().line + 1 - item.span().start().line;
        self.tests += lines;
        if lines > TEST_MODULE_LINES {
            let text = format!("{lines} lines of tests, the cap is {TEST_MODULE_LINES}: move them to integration");
            self.found.push(self.source.over(item.span().start().line, "test-lines", lines, text));
        }
        visit::visit_item_mod(self, item);
    }
}

/// Whether attributes say `#[cfg(test)]`.
pub fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|argument| argument.is_ident("test"))
    })
}
