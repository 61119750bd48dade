//! The modules of a crate and what each of them names: `use` trees, and paths in expressions, types,
//! patterns, attributes and macros. What a module may name is *not* known here.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Attribute, Ident, Item, ItemMod, ItemUse, Macro, Meta, UseTree,
    spanned::Spanned as _,
    visit::{self, Visit},
};

use crate::root;

/// Where a module is in its crate; the root is empty.
pub type ModulePath = Vec<String>;

/// A path that the source names.
#[derive(Clone, Debug)]
pub struct Reference {
    /// The file that names it, below the root of the repository.
    pub file: String,
    /// In which line.
    pub line: usize,
    /// As it is written, but without braces.
    pub path: Vec<String>,
    /// The module that names it.
    pub from: ModulePath,
    /// Whether only a build for tests has it.
    pub test: bool,
}

/// What a reference leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The module of this crate that defines it.
    Own(ModulePath),
    /// Another crate, by its path with re-exports and aliases resolved.
    Other(Vec<String>),
    /// A name of the function or of a macro.
    Local,
}

#[derive(Debug, Default)]
struct Module {
    /// By the name under which the module knows it; `*` is not among them.
    imports: BTreeMap<String, Vec<String>>,
    globs: Vec<Vec<String>>,
    items: BTreeSet<String>,
}

/// The modules that one root file declares.
#[derive(Debug, Default)]
pub struct Graph {
    modules: BTreeMap<ModulePath, Module>,
    /// Everything that they name.
    pub references: Vec<Reference>,
}

impl Graph {
    /// Reads all files that a root file (`src/lib.rs`) declares.
    ///
    /// # Panics
    /// If one of them does not parse.
    pub fn read(file: &str) -> Self {
        let mut graph = Self::default();
        let folder = Path::new(file).parent().expect("a file has a folder");
        graph.load(file, folder, Vec::new(), false);
        graph
    }

    /// The modules directly below the root.
    pub fn rooms(&self) -> impl Iterator<Item = &str> {
        let top = self.modules.keys().filter(|path| path.len() == 1);
        top.map(|path| path[0].as_str())
    }

    fn load(&mut self, file: &str, folder: &Path, module: ModulePath, test: bool) {
        let text = crate::file(file).text;
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
        let mut reader = Reader {
            graph: self,
            file,
            folder: folder.to_path_buf(),
            module,
            test,
            depth: 0,
        };
        reader.items(&parsed.items);
        reader.visit_file(&parsed);
    }

    /// What a reference leads to.
    pub fn target(&self, reference: &Reference) -> Target {
        self.resolve(&reference.from, &reference.path, 0)
    }

    fn resolve(&self, from: &[String], path: &[String], depth: usize) -> Target {
        /// Imports that lead to each other: nothing that compiles.
        const DEPTH_MAX: usize = 16;
        let Some(first) = path.first().filter(|_| depth < DEPTH_MAX) else {
            return Target::Local;
        };
        let mut module = from.to_vec();
        let mut rest = path;
        match first.as_str() {
            "crate" | "$crate" => (module, rest) = (Vec::new(), &path[1..]),
            "self" => rest = &path[1..],
            "super" => {
                while rest.first().is_some_and(|segment| segment == "super") {
                    module.pop();
                    rest = &rest[1..];
                }
            }
            name => {
                let known = self.modules.get(from);
                let import = known.and_then(|module| module.imports.get(name));
                let child = [from, std::slice::from_ref(first)].concat();
                if self.modules.contains_key(&child) {
                } else if let Some(import) = import.filter(|import| import[..] != path[..1]) {
                    return self.resolve(from, &[import, &path[1..]].concat(), depth + 1);
                } else if known.is_some_and(|module| module.items.contains(name)) {
                    return Target::Own(module);
                } else if path.len() == 1 && import.is_none() {
                    return Target::Local;
                } else {
                    return Target::Other(path.to_vec());
                }
            }
        }
        self.descend(module, rest, depth)
    }

    fn descend(&self, mut module: ModulePath, mut rest: &[String], depth: usize) -> Target {
        while let Some(segment) = rest.first() {
            let child = [&module[..], std::slice::from_ref(segment)].concat();
            if self.modules.contains_key(&child) {
                module = child;
                rest = &rest[1..];
                continue;
            }
            let Some(known) = self.modules.get(&module) else {
                break;
            };
            if known.items.contains(segment) {
                break;
            }
            if let Some(import) = known.imports.get(segment) {
                let path = [import, &rest[1..]].concat();
                let found = self.resolve(&module, &path, depth + 1);
                // what a module passes on is its own to others
                let passed_on = matches!(found, Target::Other(_));
                return if passed_on {
                    Target::Own(module)
                } else {
                    found
                };
            }
            let globbed = known.globs.iter().find_map(|glob| {
                let Target::Own(of) = self.resolve(&module, glob, depth + 1) else {
                    return None;
                };
                let has = self.modules.get(&of)?.items.contains(segment);
                has.then_some(of)
            });
            return Target::Own(globbed.unwrap_or(module));
        }
        Target::Own(module)
    }

    /// Sibling modules that lead to each other, with what ties them.
    pub fn circles(&self) -> Vec<String> {
        let mut ties: BTreeMap<(ModulePath, String, String), &Reference> = BTreeMap::new();
        for reference in self.references.iter().filter(|reference| !reference.test) {
            let Target::Own(to) = self.target(reference) else {
                continue;
            };
            let shared = reference.from.iter().zip(&to);
            let shared = shared.take_while(|(a, b)| a == b).count();
            if let (Some(from), Some(to)) = (reference.from.get(shared), to.get(shared)) {
                let key = (reference.from[..shared].to_vec(), from.clone(), to.clone());
                ties.entry(key).or_insert(reference);
            }
        }
        let leads = |parent: &ModulePath, from: &String, to: &String| {
            let mut seen = BTreeSet::from([from.clone()]);
            let mut open = vec![from.clone()];
            while let Some(at) = open.pop() {
                for (of, a, b) in ties.keys() {
                    if of == parent && *a == at && seen.insert(b.clone()) {
                        open.push(b.clone());
                    }
                }
            }
            seen.contains(to)
        };
        let mut found = Vec::new();
        for ((parent, from, to), reference) in &ties {
            if leads(parent, to, from) {
                found.push(format!(
                    "{}:{}: `{}` closes a circle: the module {from} uses {to}, and {to} leads back to \
                     {from}. Move what both need into a module of its own",
                    reference.file,
                    reference.line,
                    reference.path.join("::")
                ));
            }
        }
        found
    }
}

struct Reader<'a> {
    graph: &'a mut Graph,
    file: &'a str,
    /// Where files of child modules are.
    folder: std::path::PathBuf,
    module: ModulePath,
    test: bool,
    /// Functions and blocks around: what they import is no name of the module.
    depth: usize,
}

impl Reader<'_> {
    fn own(&mut self) -> &mut Module {
        self.graph.modules.entry(self.module.clone()).or_default()
    }

    /// The names that the items of a module define.
    fn items(&mut self, items: &[Item]) {
        self.own();
        for item in items {
            if let Some(name) = name_of(item) {
                self.own().items.insert(name.to_string());
            }
        }
    }

    fn note(&mut self, path: Vec<String>, line: usize) {
        self.graph.references.push(Reference {
            file: self.file.to_owned(),
            line,
            path,
            from: self.module.clone(),
            test: self.test,
        });
    }

    fn import(&mut self, tree: &UseTree, mut path: Vec<String>) {
        let line = tree.span().start().line;
        let alias = match tree {
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
            UseTree::Glob(_) => {
                if self.depth == 0 {
                    self.own().globs.push(path.clone());
                }
                return self.note(path, line);
            }
            UseTree::Name(name) if name.ident == "self" => path.last().cloned(),
            UseTree::Name(name) => {
                path.push(name.ident.to_string());
                path.last().cloned()
            }
            UseTree::Rename(name) => {
                if name.ident != "self" {
                    path.push(name.ident.to_string());
                }
                Some(name.rename.to_string())
            }
        };
        if self.depth == 0
            && let Some(alias) = alias
        {
            self.own().imports.insert(alias, path.clone());
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

    /// Does something that only builds for tests have, if the attributes say so.
    fn within(&mut self, attributes: &[Attribute], work: impl FnOnce(&mut Self)) {
        let before = self.test;
        self.test |= attributes.iter().any(is_test);
        work(self);
        self.test = before;
    }

    fn declared(&self, item: &ItemMod) -> std::path::PathBuf {
        let named = item.attrs.iter().find_map(|attribute| {
            let Meta::NameValue(pair) = &attribute.meta else {
                return None;
            };
            let syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) = &pair.value else {
                return None;
            };
            attribute.path().is_ident("path").then(|| text.value())
        });
        let own = Path::new(self.file).parent().expect("a file has a folder");
        named.map_or_else(
            || {
                let file = self.folder.join(format!("{}.rs", item.ident));
                if root().join(&file).exists() {
                    file
                } else {
                    self.folder.join(format!("{}/mod.rs", item.ident))
                }
            },
            |name| own.join(name),
        )
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is non-exhaustive")]
fn name_of(item: &Item) -> Option<&Ident> {
    Some(match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => return item.ident.as_ref(),
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        _ => return None,
    })
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

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        self.within(attributes_of(item), |reader| {
            visit::visit_item(reader, item)
        });
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        let mut module = self.module.clone();
        module.push(item.ident.to_string());
        let Some((_, items)) = &item.content else {
            let file = self.declared(item);
            let is_root = file.file_name().is_some_and(|name| name == "mod.rs");
            let folder = if is_root {
                file.parent().expect("a file has a folder").to_path_buf()
            } else {
                file.with_extension("")
            };
            let file = file.to_string_lossy().replace('\\', "/");
            let is_generated = file.contains("/generated/");
            if !is_generated {
                self.graph.load(&file, &folder, module, self.test);
            }
            return;
        };
        let folder = self.folder.join(item.ident.to_string());
        let before = (
            std::mem::replace(&mut self.module, module),
            std::mem::replace(&mut self.folder, folder),
        );
        self.items(items);
        visit::visit_item_mod(self, item);
        (self.module, self.folder) = before;
    }

    fn visit_block(&mut self, block: &'ast syn::Block) {
        self.depth += 1;
        visit::visit_block(self, block);
        self.depth -= 1;
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
