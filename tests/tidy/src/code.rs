//! A file as the compiler's tokens see it: without comments and texts, line by line as before.

use proc_macro2::{Delimiter, LineColumn, TokenStream, TokenTree};
use syn::{
    ImplItemFn, ItemFn, TraitItemFn,
    spanned::Spanned as _,
    visit::{self, Visit},
};

/// The code of a file: each token where it stands, literals without their insides.
///
/// # Panics
/// If the text is no Rust.
pub fn code_only(text: &str) -> String {
    let tokens: TokenStream = text
        .parse()
        .unwrap_or_else(|error| panic!("{error}: {text}"));
    let source: Vec<Vec<char>> = text.lines().map(|line| line.chars().collect()).collect();
    let mut page = Page { lines: vec![String::new(); source.len()], source };
    page.tokens(tokens);
    page.lines.join("\n")
}

struct Page {
    source: Vec<Vec<char>>,
    lines: Vec<String>,
}

impl Page {
    fn tokens(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Group(group) => {
                    let (open, close) = match group.delimiter() {
                        Delimiter::Parenthesis => ("(", ")"),
                        Delimiter::Brace => ("{", "}"),
                        Delimiter::Bracket => ("[", "]"),
                        Delimiter::None => ("", ""),
                    };
                    self.put(group.span_open().start(), open);
                    self.tokens(group.stream());
                    self.put(group.span_close().start(), close);
                }
                TokenTree::Literal(literal) => {
                    let shown = literal.to_string();
                    let is_number = shown.starts_with(|c: char| c.is_ascii_digit());
                    let shown = if is_number { &shown } else { "\"\"" };
                    self.put(literal.span().start(), shown);
                }
                TokenTree::Ident(_) | TokenTree::Punct(_) => {
                    self.put(token.span().start(), &token.to_string());
                }
            }
        }
    }

    /// Appends a token, unless it comes from a comment for documentation, which is no code.
    fn put(&mut self, at: LineColumn, shown: &str) {
        let source = self.source.get(at.line - 1).map(|line| &line[at.column..]);
        if matches!(source, Some(['/', '/' | '*', ..])) {
            return;
        }
        let line = &mut self.lines[at.line - 1];
        let gap = at.column.saturating_sub(line.chars().count());
        line.extend(std::iter::repeat_n(' ', gap));
        line.push_str(shown);
    }
}

/// Name, line number (from 1) and lines of code of every function with a body.
///
/// # Panics
/// If the text is no Rust.
pub fn functions(text: &str) -> Vec<(String, usize, usize)> {
    let code = code_only(text);
    let mut functions = Functions { code: code.lines().collect(), found: Vec::new() };
    functions.visit_file(&syn::parse_file(text).unwrap_or_else(|error| panic!("{error}")));
    functions.found
}

struct Functions<'a> {
    code: Vec<&'a str>,
    found: Vec<(String, usize, usize)>,
}

impl Functions<'_> {
    fn add(&mut self, signature: &syn::Signature, body: &syn::Block) {
        let first = signature.span().start().line;
        let last = body.span().end().line;
        let lines = &self.code[first - 1..last];
        let count = lines.iter().filter(|line| !line.trim().is_empty()).count();
        self.found.push((signature.ident.to_string(), first, count));
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        self.add(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        self.add(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast TraitItemFn) {
        if let Some(body) = &item.default {
            self.add(&item.sig, body);
        }
        visit::visit_trait_item_fn(self, item);
    }
}

#[cfg(test)]
mod tests {
    use super::{code_only, functions};

    #[test]
    fn comments_and_literals_are_no_code() {
        let text = "/// a doc {\nfn f<'a>() {\n    let a = \"// no { \\\" \"; // sleep(\n/* b /* c */\n */ let d = 'x'; g(r#\"a \"sleep(\"#, br\"{\"); }";
        let code = code_only(text);
        assert_eq!(code.lines().count(), text.lines().count());
        for gone in ["sleep", "no", "doc", "/*", "'x'"] {
            assert!(!code.contains(gone), "{gone}: {code}");
        }
        assert_eq!(code.matches('{').count(), 1, "{code}");
        assert!(
            code.contains("let d") && code.contains("fn f<'a>"),
            "{code}"
        );
    }

    #[test]
    fn functions_are_measured_without_blank_lines() {
        let text = "trait T {\n  fn none(&self) -> [u8; 4];\n}\nfn two() {\n\n // none\n}\nasync fn four(\n) {\n  {}\n}\n";
        assert_eq!(
            functions(text),
            [("two".into(), 4, 2), ("four".into(), 8, 4)]
        );
    }
}
