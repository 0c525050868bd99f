//! The layers of ARCHITECTURE.md: no module imports from its own layer or above, no file from one
//! that needs it, and nothing below the shell touches the world.
//!
//! Reads the sources as text. Never: runs anything of the node.

mod source;

use std::collections::{BTreeMap, BTreeSet};

use source::{Module, Source, complain, file_of, modules, named_paths, use_tree};

/// Modules by layer, low to high; neighbours in a layer do not know each other.
const LAYERS: [&[&str]; 9] = [
    &["base"],
    &["dns", "model"],
    &["journal", "lens", "sketch", "swim"],
    &["cluster", "store"],
    &["scan", "sync"],
    &["replica", "wire"],
    &["config"],
    &["shell"],
    &["commands", "fuzz"],
];

/// Parts of the shell by layer, low to high; neighbours in a layer do not know each other.
const SHELL: [&[&str]; 7] = [
    &["runtime"],
    &["disk", "grpc", "http"],
    &["driver"],
    &["peers"],
    &["repair", "services"],
    &["api"],
    &["node"],
];

/// Words of the world: sockets, files, clocks, threads, chance, log lines, the process.
const WORLD: [&str; 27] = [
    "Instant::now",
    "SystemTime",
    "std::fs",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "ToSocketAddrs",
    "std::thread",
    "std::env",
    "process::exit",
    "process::abort",
    "RandomState",
    "DefaultHasher",
    "fastrand::",
    "rustix::",
    "libc::",
    "nix::",
    "getrandom::",
    "polling::",
    "tokio::",
    "hyper::",
    "log::error!",
    "log::warn!",
    "log::info!",
    "log::debug!",
    "println!",
    "async fn",
];

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

/// Whether files may touch the world: the shell, what stands above it, and the program.
fn is_outside(module: &[String]) -> bool {
    const OUTSIDE: [&str; 4] = ["shell", "commands", "fuzz", "main"];
    module.first().is_none_or(|first| OUTSIDE.contains(&first.as_str()))
}

/// Which modules a file names, by line.
fn imports(
    module: &[String],
    source: &Source,
    modules: &BTreeMap<Module, Source>,
) -> Vec<(usize, Module)> {
    let below = modules.keys().filter(|it| it.len() == module.len() + 1 && it.starts_with(module));
    let children: Vec<&str> = below.filter_map(|it| it.last()).map(String::as_str).collect();
    named_paths(module, &source.code, &children)
}

/// The code without what it passes on: a module's list of its public names needs nothing.
fn without_exports(code: &str) -> String {
    let mut parts = code.split("pub use ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |kept, part| kept + part.split_once(';').map_or("", |(_, rest)| rest))
}

#[test]
fn modules_import_only_from_layers_below() {
    let modules = modules();
    let mut wrong = Vec::new();
    for (module, source) in modules.iter().filter(|(module, _)| !module.is_empty()) {
        let own = &module[0];
        if own == "main" {
            continue;
        }
        let Some(own_layer) = layer(own) else {
            wrong.push(format!("{}: the module `{own}` has no layer", source.path.display()));
            continue;
        };
        for (line, path) in imports(module, source, &modules) {
            let Some(named) = path.first() else { continue };
            if named != own && layer(named).is_none_or(|below| below >= own_layer) {
                wrong.push(format!("{}:{line}: {own} imports {named}", source.path.display()));
            }
        }
    }
    complain(wrong);
}

#[test]
fn parts_of_the_shell_import_only_from_parts_below() {
    let modules = modules();
    let part_layer = |part: &str| SHELL.iter().position(|parts| parts.contains(&part));
    let (mut wrong, mut between) = (Vec::new(), BTreeSet::new());
    for (module, source) in &modules {
        let [shell, own, ..] = module.as_slice() else { continue };
        if shell != "shell" {
            continue;
        }
        let Some(own_layer) = part_layer(own) else {
            wrong.push(format!("{}: `{own}` has no layer in the shell", source.path.display()));
            continue;
        };
        for (line, path) in imports(module, source, &modules) {
            let [first, named, ..] = path.as_slice() else { continue };
            if first != "shell" || named == own {
                continue;
            }
            between.insert((own.clone(), named.clone()));
            if part_layer(named).is_none_or(|below| below >= own_layer) {
                wrong.push(format!("{}:{line}: {own} imports {named}", source.path.display()));
            }
        }
    }
    println!("{} imports between parts of the shell: {between:?}", between.len());
    complain(wrong);
}

#[test]
fn nothing_below_the_shell_touches_the_world() {
    let mut wrong = Vec::new();
    for (_, source) in modules().iter().filter(|(module, _)| !is_outside(module)) {
        wrong.extend(words_of_the_world(source));
    }
    complain(wrong);
}

#[test]
fn nothing_but_recovery_says_that_a_record_was_in_the_log() {
    let word = "Committed::recovered(";
    let names_it = |source: &Source| source.code.contains(word) && !source.is_test();
    let named = modules().into_iter().filter(|(_, source)| names_it(source));
    let named = named.map(|(module, _)| module.join("::"));
    let in_the_node: Vec<String> = named.filter(|module| !module.starts_with("fuzz")).collect();
    assert_eq!(in_the_node, ["shell::disk::recovery"]);
}

fn words_of_the_world(source: &Source) -> Vec<String> {
    let mut wrong = Vec::new();
    for (number, line) in source.code_lines() {
        for word in WORLD.iter().filter(|word| line.contains(**word)) {
            wrong.push(format!("{}:{number}: `{word}` below the shell", source.path.display()));
        }
    }
    // `use std::{fs, thread}` has no such word in it.
    for (at, _) in source.code.match_indices("use std::{") {
        let paths = use_tree(&source.code[at + "use ".len()..]).0;
        for path in paths.iter().map(|path| path.join("::")) {
            if WORLD.iter().any(|word| path.starts_with(word)) {
                let number = source.code[..at].lines().count();
                wrong.push(format!("{}:{number}: `{path}` below the shell", source.path.display()));
            }
        }
    }
    wrong
}

#[test]
fn the_world_is_seen_in_lists_of_imports_too() {
    let planted =
        |code: &str| words_of_the_world(&Source::new("planted.rs".into(), code.to_owned())).len();
    assert_eq!(planted("use std::{fmt, io};\n"), 0);
    assert_eq!(planted("use std::{fs, io};\n"), 1);
    assert_eq!(planted("use std::{\n    fmt,\n    thread::{self, JoinHandle},\n};\n"), 2);
}

#[test]
fn messages_of_protobuf_are_built_and_read_in_wire_alone() {
    let mut wrong = Vec::new();
    let outside = |module: &[String]| matches!(module[0].as_str(), "shell" | "commands");
    for (module, source) in modules().iter().filter(|(it, _)| !it.is_empty() && outside(it)) {
        for (number, line) in source.code_lines() {
            if !source.is_test() && (line.contains("wire::pb") || line.contains("prost::")) {
                let path = source.path.display();
                wrong.push(format!("{path}:{number}: {} knows a message", module.join("::")));
            }
        }
    }
    complain(wrong);
}

#[test]
fn no_file_needs_one_that_needs_it() {
    let modules = modules();
    let mut needs: BTreeMap<&Module, BTreeSet<Module>> = BTreeMap::new();
    for (module, source) in &modules {
        let code = without_exports(&source.code);
        let source = Source { path: source.path.clone(), text: String::new(), code };
        let named = imports(module, &source, &modules).into_iter();
        let files = named.filter_map(|(_, path)| file_of(&path, &modules));
        needs.insert(module, files.filter(|file| file != module).collect());
    }
    let reached = |from: &Module| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from.clone()]);
        while let Some(module) = next.pop() {
            let more = needs.get(&module).into_iter().flatten();
            next.extend(more.filter(|it| seen.insert((*it).clone())).cloned());
        }
        seen
    };
    let circles = modules.keys().filter(|module| reached(module).contains(*module));
    let wrong = circles.map(|module| format!("{} needs itself", module.join("::")));
    complain(wrong.collect());
}

#[test]
fn a_clock_that_is_read_behind_a_test_item_is_seen() {
    let mut replica = modules().remove(&vec!["replica".to_owned()]).expect("a replica");
    assert!(words_of_the_world(&replica).is_empty());
    let planted = "\nfn now() -> std::time::Instant {\n    std::time::Instant::now()\n}\n";
    replica = Source::new(replica.path, replica.text + planted);
    assert_eq!(words_of_the_world(&replica).len(), 1);
    let words = "#[cfg(test)]\nuse a::{b, c};\nlet x = \"std::fs\"; // std::env\nstd::thread;";
    let found = words_of_the_world(&Source::new("src/store/mod.rs".into(), words.into()));
    assert_eq!(found, ["src/store/mod.rs:4: `std::thread` below the shell"]);
}

#[test]
fn imports_are_seen_however_they_are_written() {
    let module = ["store".to_owned(), "run".to_owned()];
    let code = "use crate::{\n    base::{Digest, limits as bounds},\n    shell,\n};\n\
                use super::section;\nlet x = crate::sync::new(self::inner::Y);\nchild::f()";
    let named = named_paths(&module, code, &["child"]);
    let named: Vec<(usize, String)> =
        named.into_iter().map(|(line, path)| (line, path.join("::"))).collect();
    let expected = [
        (1, "base::Digest"),
        (1, "base::limits"),
        (1, "shell"),
        (5, "store::section"),
        (6, "sync::new"),
        (6, "store::run::inner::Y"),
        (7, "store::run::child::f"),
    ];
    assert_eq!(named, expected.map(|(line, path)| (line, path.to_owned())));
    assert!(layer("store") < layer("sync"));
}
