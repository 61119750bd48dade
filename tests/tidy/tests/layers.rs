//! The dependency law: which crate and which module may use what. The tables are those of
//! `docs/internals/layers.md`, so that the law is written once.

use std::{collections::BTreeSet, process::Command, sync::LazyLock};

use witan_tidy::{
    files,
    manifest::dependencies,
    modules::{Graph, Reference, Target},
    none, rust_files, table,
};

const DOCUMENT: &str = "docs/internals/layers.md";
const CRATES: &str = "| Crate | Depends on |";
const MODULES: &str = "| Module | May use | Never |";
const PLACES: &str = "| What | Below | Only in |";

/// Root files of all crates that ship.
const ROOTS: [&str; 10] = [
    "server/src/lib.rs",
    "server/src/main.rs",
    "server/src/bin/planted.rs",
    "server/crates/api/src/lib.rs",
    "server/crates/bolt/src/lib.rs",
    "server/crates/gocompat/src/lib.rs",
    "server/crates/http2/src/lib.rs",
    "server/crates/replica/src/lib.rs",
    "operator/src/lib.rs",
    "operator/src/main.rs",
];

/// Libraries that could serve other programs.
const INDEPENDENT: [&str; 3] = [
    "server/crates/bolt",
    "server/crates/gocompat",
    "server/crates/http2",
];

/// Rows that the tables have at least, so that one that was not read is noticed.
const ROWS_MIN: usize = 5;

/// One row: a module, what it may use of its siblings and of our crates, and what it never names.
struct Row {
    module: String,
    may: Vec<String>,
    never: Vec<String>,
}

fn rows() -> Vec<Row> {
    let rows = table(DOCUMENT, MODULES).into_iter().map(|row| {
        let [module, may, never] = <[Vec<String>; 3]>::try_from(row).expect("three cells");
        let [file] = <[String; 1]>::try_from(module).expect("one module");
        let exists = witan_tidy::root().join(&file).exists();
        assert!(exists, "{file}, which has a row, exists");
        let module = file.trim_end_matches(".rs").to_owned();
        let [may, never] = [may, never].map(named);
        Row { module, may, never }
    });
    let rows: Vec<Row> = rows.collect();
    assert!(rows.len() > ROWS_MIN, "the table of modules was read");
    rows
}

/// Our crates as sources name them.
fn named(names: Vec<String>) -> Vec<String> {
    let names = names.into_iter();
    names.map(|name| name.replace("witan-", "witan_")).collect()
}

/// The folder of a crate's sources, and its modules.
static GRAPHS: LazyLock<Vec<(&str, Graph)>> = LazyLock::new(|| {
    let folder = |root: &'static str| root.rsplit_once('/').map_or(root, |(folder, _)| folder);
    let read = |root| (folder(root), Graph::read(root));
    ROOTS.into_iter().map(read).collect()
});

/// `server/src` and `[api, v2]` as `server/src/api/v2`.
fn place(folder: &str, module: &[String]) -> String {
    [&[folder.to_owned()], module].concat().join("/")
}

/// What lies below `above`, up to the next slash; nothing for `above` itself.
fn below<'a>(place: &'a str, above: &str) -> Option<&'a str> {
    place
        .strip_prefix(above)?
        .strip_prefix('/')?
        .split('/')
        .next()
}

fn is_within(place: &str, module: &str) -> bool {
    place == module
        || place
            .strip_prefix(module)
            .is_some_and(|rest| rest.starts_with('/'))
}

/// Whether a path of another crate begins with this one.
fn begins(path: &[String], with: &str) -> bool {
    let mut segments = with.split("::");
    let mut path = path.iter();
    segments.all(|segment| path.next().is_some_and(|own| own == segment))
}

fn sentence(reference: &Reference, rule: &str) -> String {
    format!(
        "{}:{}: `{}`: {rule}",
        reference.file,
        reference.line,
        reference.path.join("::")
    )
}

/// What is wrong with a reference from within the module of a row.
fn violation(row: &Row, folder: &str, target: &Target) -> Option<String> {
    let (parent, _) = row.module.rsplit_once('/').expect("a module has a folder");
    let used = match target {
        Target::Own(module) => {
            let place = place(folder, module);
            let sibling = below(&place, parent)?.to_owned();
            (!is_within(&place, &row.module)).then_some(sibling)?
        }
        Target::Other(path) => {
            if let Some(banned) = row.never.iter().find(|banned| begins(path, banned)) {
                return Some(format!("`{}` never uses `{banned}`", row.module));
            }
            path.first()
                .filter(|name| name.starts_with("witan"))?
                .clone()
        }
        Target::Local => return None,
    };
    if row.never.contains(&format!("super::{used}")) {
        return Some(format!("`{}` never uses `{used}`", row.module));
    }
    let allowed = row.may.is_empty() || row.may.contains(&used);
    let may = row.may.join("`, `");
    (!allowed).then(|| format!("`{}` may use `{may}`, and not `{used}`", row.module))
}

#[test]
fn modules_use_only_what_they_may() {
    let rows = rows();
    let mut found = Vec::new();
    for (folder, graph) in &*GRAPHS {
        for reference in graph.references.iter().filter(|reference| !reference.test) {
            let from = place(folder, &reference.from);
            let target = graph.target(reference);
            for row in rows.iter().filter(|row| is_within(&from, &row.module)) {
                if let Some(rule) = violation(row, folder, &target) {
                    found.push(sentence(reference, &rule));
                }
            }
        }
    }
    none("a module uses only what the dependency law allows", &found);
}

#[test]
fn what_has_one_place_is_named_nowhere_else() {
    let rows = table(DOCUMENT, PLACES);
    assert!(rows.len() > ROWS_MIN, "the table of places was read");
    let mut found = Vec::new();
    for (folder, graph) in &*GRAPHS {
        for reference in graph.references.iter().filter(|reference| !reference.test) {
            let path = match graph.target(reference) {
                Target::Own(module) => vec![place(folder, &module)],
                Target::Other(path) => path,
                Target::Local => continue,
            };
            for row in &rows {
                let [what, within, only] = &row[..] else {
                    panic!("three cells: {row:?}")
                };
                let own = |what: &String| path.len() == 1 && is_within(&path[0], what);
                let named = what.iter().find(|what| own(what) || begins(&path, what));
                let bound = within
                    .iter()
                    .any(|within| is_within(&reference.file, within));
                let listed = only.iter().any(|only| is_within(&reference.file, only));
                if let (Some(what), true, false) = (named, bound, listed) {
                    let only = only.join("`, `");
                    let rule = format!("`{what}` is named in `{only}` alone");
                    found.push(sentence(reference, &rule));
                }
            }
        }
    }
    none("one place names it, so that it can be replaced", &found);
}

#[test]
fn siblings_do_not_use_each_other_in_circles() {
    let circles: Vec<String> = GRAPHS
        .iter()
        .flat_map(|(_, graph)| graph.circles())
        .collect();
    none(
        "modules that use each other are one module or three",
        &circles,
    );
}

#[test]
fn every_module_of_the_server_has_its_law() {
    let (_, graph) = &GRAPHS[0];
    let rows = rows();
    let mut wrong = Vec::new();
    for module in graph.rooms().map(|room| format!("server/src/{room}")) {
        if !rows.iter().any(|row| row.module == module) {
            wrong.push(format!("{module} has no row"));
        }
    }
    none("the table of modules is whole", &wrong);
}

/// For libraries all dependencies, for what proves them those on crates of ours.
#[test]
fn crates_depend_on_what_their_rows_say() {
    let rows = table(DOCUMENT, CRATES);
    assert!(rows.len() > ROWS_MIN, "the table of crates was read");
    let mut wrong = Vec::new();
    let mut ruled = BTreeSet::new();
    for row in &rows {
        let [krate, allowed] = &row[..] else {
            panic!("two cells: {row:?}")
        };
        let [krate] = &krate[..] else {
            panic!("one crate: {row:?}")
        };
        ruled.insert(krate.clone());
        let library = krate.starts_with("server/crates/");
        let mut names = dependencies(krate, "dependencies");
        names.extend(dependencies(krate, "build-dependencies"));
        if !library {
            names.extend(dependencies(krate, "dev-dependencies"));
            names.retain(|name| name.starts_with("witan"));
        }
        assert!(
            !library || !names.is_empty(),
            "{krate}: the manifest was read"
        );
        names.retain(|name| !allowed.contains(name));
        wrong.extend(
            names
                .iter()
                .map(|name| format!("{krate} depends on {name}")),
        );
    }
    for file in files() {
        let crate_of = |folder: &str| {
            let name = below(&file.path, folder)?;
            file.path
                .ends_with("/Cargo.toml")
                .then(|| format!("{folder}/{name}"))
        };
        for name in crate_of("server/crates")
            .into_iter()
            .chain(crate_of("tests"))
        {
            if !ruled.contains(&name) && name != "tests/tidy" {
                wrong.push(format!("{name} has no row"));
            }
        }
    }
    none("a crate depends on what its row allows", &wrong);
}

/// Neither in code nor in comments: what a library tells of a user, it may have taken from it.
#[test]
fn independent_libraries_do_not_know_that_the_server_exists() {
    let mut found = Vec::new();
    for file in files() {
        let Some(folder) = INDEPENDENT
            .into_iter()
            .find(|folder| is_within(&file.path, folder))
        else {
            continue;
        };
        let name = folder.rsplit('/').next().unwrap_or_default();
        let own = [format!("witan-{name}"), format!("witan_{name}")];
        for (number, line) in file.text.to_lowercase().lines().enumerate() {
            let line = own
                .iter()
                .fold(line.to_owned(), |line, own| line.replace(own, ""));
            if line.contains("etcd") || line.contains("witan") {
                found.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
            }
        }
    }
    none("a library knows nothing of the server above it", &found);
}

/// What `cargo build -p witan` compiles. A build of the whole workspace has the features that its
/// tests turn on.
#[test]
fn the_program_that_ships_has_no_feature_of_tests() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--package", "witan"])
        .args(["--edges", "normal,features", "--prefix", "none"])
        .current_dir(witan_tidy::root())
        .output()
        .expect("cargo runs this test");
    assert!(
        tree.status.success(),
        "{}",
        String::from_utf8_lossy(&tree.stderr)
    );
    let tree = String::from_utf8_lossy(&tree.stdout);
    assert!(tree.contains("witan-replica"), "cargo shows the tree");
    let found = ["fuzz", "planted-panics"].into_iter();
    let found = found.filter(|feature| tree.contains(&format!("feature \"{feature}\"")));
    let found: Vec<String> = found.map(str::to_owned).collect();
    none("no door for tests is in the program", &found);
}

#[test]
fn the_core_is_synchronous() {
    let mut found = Vec::new();
    for source in rust_files() {
        if source.path.starts_with("server/crates/replica/src/")
            && has_word(&source.code(), "async")
        {
            found.push(source.path);
        }
    }
    none("the core waits for nothing (I1)", &found);
}

#[test]
fn every_crate_takes_the_workspaces_lints() {
    let lax: Vec<String> = files()
        .iter()
        .filter(|file| file.path.ends_with("/Cargo.toml"))
        .filter(|file| !file.text.contains("[lints]\nworkspace = true"))
        .map(|file| file.path.clone())
        .collect();
    none("a crate takes the workspace's lints", &lax);
}

/// Whether `word` stands in `text` by itself.
fn has_word(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.split(|c| !part(c)).any(|own| own == word)
}
