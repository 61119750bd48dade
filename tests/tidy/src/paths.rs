//! The paths that a file names outside of code for tests: `use` trees, and paths in expressions, types, patterns,
//! attributes and macros. Which of them it may name is *not* known here.

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Attribute, Item, ItemMod, ItemUse, Macro, Meta, UseTree,
    spanned::Spanned as _,
    visit::{self, Visit},
};

/// A path that a file names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedPath {
    /// In which line.
    pub line: usize,
    /// Its segments; one that begins with `super` or `self` begins with `crate` here.
    pub path: Vec<String>,
}

/// Returns what the file names that has this place below the `src` of its crate.
///
/// # Panics
/// If the text is no Rust.
pub fn named_paths(place: &str, text: &str) -> Vec<NamedPath> {
    let parsed = syn::parse_file(text).unwrap_or_else(|error| panic!("{place}: {error}"));
    let module = place.trim_end_matches(".rs").split('/').map(str::to_owned);
    let mut module: Vec<String> = module.collect();
    module.pop_if(|last| ["mod", "lib", "main"].contains(&last.as_str()));
    let mut reader = Reader { found: Vec::new(), module };
    reader.visit_file(&parsed);
    reader.found
}

struct Reader {
    found: Vec<NamedPath>,
    module: Vec<String>,
}

impl Reader {
    fn note(&mut self, path: Vec<String>, line: usize) {
        let own = path
            .iter()
            .take_while(|segment| ["super", "self"].contains(&segment.as_str()));
        let (own, up) = (
            own.clone().count(),
            own.filter(|segment| *segment == "super").count(),
        );
        let path = if own == 0 {
            path
        } else {
            let above = self.module.len().saturating_sub(up);
            let above =
                std::iter::once("crate").chain(self.module[..above].iter().map(String::as_str));
            above
                .map(str::to_owned)
                .chain(path[own..].iter().cloned())
                .collect()
        };
        self.found.push(NamedPath { line, path });
    }

    fn import(&mut self, tree: &UseTree, mut path: Vec<String>) {
        let line = tree.span().start().line;
        match tree {
            UseTree::Path(tree) => {
                path.push(tree.ident.to_string());
                return self.import(&tree.tree, path);
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.import(tree, path.clone());
                }
                return;
            }
            UseTree::Name(syn::UseName { ident })
            | UseTree::Rename(syn::UseRename { ident, .. })
                if ident != "self" =>
            {
                path.push(ident.to_string());
            }
            UseTree::Glob(_) | UseTree::Name(_) | UseTree::Rename(_) => {}
        }
        self.note(path, line);
    }

    /// Paths in tokens that have no syntax yet.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let (mut colons, mut line) = (0, 0);
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.path_of_tokens(&mut path, line);
                    }
                    if path.is_empty() {
                        line = ident.span().start().line;
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    self.path_of_tokens(&mut path, line);
                    self.tokens(group.stream());
                    colons = 0;
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {
                    self.path_of_tokens(&mut path, line);
                    colons = 0;
                }
            }
        }
        self.path_of_tokens(&mut path, line);
    }

    fn path_of_tokens(&mut self, path: &mut Vec<String>, line: usize) {
        let path = std::mem::take(path);
        if path.len() > 1 {
            self.note(path, line);
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is non-exhaustive")]
fn attributes_of(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Whether an attribute means that only a build for tests has the item.
fn is_test(attribute: &Attribute) -> bool {
    let Meta::List(list) = &attribute.meta else {
        return attribute.path().is_ident("test");
    };
    let words = list.tokens.to_string();
    let mut words = words.split(|c: char| !c.is_alphanumeric() && c != '_');
    list.path.is_ident("cfg")
        && !words.clone().any(|word| word == "not")
        && words.any(|word| word == "test")
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast Item) {
        if !attributes_of(item).iter().any(is_test) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.import(&item.tree, Vec::new());
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            let segments = path
                .segments
                .iter()
                .map(|segment| segment.ident.to_string());
            self.note(segments.collect(), path.span().start().line);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.visit_path(&call.path);
        self.tokens(call.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let Meta::List(list) = &attribute.meta {
            self.visit_path(&list.path);
            self.tokens(list.tokens.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::named_paths;

    #[test]
    fn every_way_to_name_something_is_found() {
        let text = "use std::{fs, io::{self, Read as R}};\n#[cfg(test)]\nuse raft::A;\nfn f() { super::c::d(); m!(a::b [x::y]); }\nmod t { use super::e; }";
        let found = named_paths("a/b.rs", text);
        let found: Vec<String> = found.iter().map(|named| named.path.join("::")).collect();
        let expected = [
            "std::fs",
            "std::io",
            "std::io::Read",
            "crate::a::c::d",
            "a::b",
            "x::y",
            "crate::a::b::e",
        ];
        assert_eq!(found, expected);
    }
}
