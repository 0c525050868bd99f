//! The OpenAPI document against the program: every route, parameter and field of a body is in it,
//! and nothing else is. A name that the code knows and the document does not fails here, and so
//! does the other way.
//!
//! Reads `src/wire` and `src/model` as text for the names that they take.

use std::collections::{BTreeMap, BTreeSet};

use http::{Method, Uri};
use stemedb_edge::wire::http::route;
use stemedb_edge::wire::openapi::document;
use stemedb_edge::wire::rejection::Rejection;

/// A value of JSON; numbers and words stay text.
#[derive(Clone, Debug)]
enum Value {
    Object(BTreeMap<String, Value>),
    Array(Vec<Value>),
    Text(String),
}

impl Value {
    fn get(&self, name: &str) -> Option<&Value> {
        match self {
            Value::Object(fields) => fields.get(name),
            _ => None,
        }
    }

    /// What is at a path of names, as in `components/schemas/Claim`.
    fn at(&self, path: &str) -> &Value {
        path.split('/').fold(self, |found, name| {
            found.get(name).unwrap_or_else(|| panic!("no {name} of {path}"))
        })
    }

    fn names(&self) -> Vec<&str> {
        match self {
            Value::Object(fields) => fields.keys().map(String::as_str).collect(),
            _ => panic!("an object, not {self:?}"),
        }
    }

    fn text(&self) -> &str {
        match self {
            Value::Text(text) => text,
            _ => panic!("a text, not {self:?}"),
        }
    }
}

/// Reads a document that is known to be JSON.
fn read(rest: &mut &str) -> Value {
    let next = |rest: &mut &str| {
        let letter = rest.chars().next().expect("a value");
        *rest = &rest[letter.len_utf8()..];
        letter
    };
    match next(rest) {
        '{' => {
            let mut fields = BTreeMap::new();
            while !rest.starts_with('}') {
                let name = read(rest).text().to_owned();
                assert_eq!(next(rest), ':');
                assert!(fields.insert(name.clone(), read(rest)).is_none(), "{name} twice");
                *rest = rest.strip_prefix(',').unwrap_or(rest);
            }
            next(rest);
            Value::Object(fields)
        }
        '[' => {
            let mut all = Vec::new();
            while !rest.starts_with(']') {
                all.push(read(rest));
                *rest = rest.strip_prefix(',').unwrap_or(rest);
            }
            next(rest);
            Value::Array(all)
        }
        '"' => {
            let mut text = String::new();
            loop {
                match next(rest) {
                    '"' => return Value::Text(text),
                    '\\' => text.extend(['\\', next(rest)]),
                    letter => text.push(letter),
                }
            }
        }
        first => {
            let end = rest.find([',', '}', ']']).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            *rest = after;
            Value::Text(format!("{first}{word}"))
        }
    }
}

/// One operation of the document.
struct Operation {
    method: Method,
    path: String,
    /// Name, place and an example of each parameter.
    parameters: Vec<(String, String, Option<String>)>,
}

fn operations(document: &Value) -> Vec<Operation> {
    let mut all = Vec::new();
    for path in document.at("paths").names() {
        let item = document.at("paths").get(path).expect("it is there");
        for method in item.names() {
            let operation = item.get(method).expect("it is there");
            let listed = match operation.get("parameters") {
                Some(Value::Array(listed)) => listed.clone(),
                _ => Vec::new(),
            };
            let parameters = listed.iter().map(|parameter| {
                let parameter = match parameter.get("$ref") {
                    Some(name) => document.at(name.text().trim_start_matches("#/")),
                    None => parameter,
                };
                let text = |name: &str| parameter.get(name).map(|it| it.text().to_owned());
                let [name, place] = ["name", "in"].map(|it| text(it).expect("named"));
                (name, place, text("example"))
            });
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).expect("a method");
            all.push(Operation { method, path: path.to_owned(), parameters: parameters.collect() });
        }
    }
    all
}

/// A path with something for what is in braces.
fn sample(path: &str) -> String {
    path.replace("{hash}", &"ab".repeat(32)).replace("{id}", "7")
}

fn ask(method: &Method, target: &str) -> Result<(), Rejection> {
    let uri: Uri = target.parse().expect("a target");
    route(method, &uri).map(drop)
}

/// The text of an item of a file, from the line that has `start` to the first with `end` alone.
fn item(file: &str, start: &str, end: &str) -> String {
    let path = format!("{}/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect("a source");
    let from = text.find(start).unwrap_or_else(|| panic!("{file} has no {start}"));
    let rest = &text[from..];
    rest[..rest.find(end).expect("its end")].to_owned()
}

/// The literals of a text that stand before `mark`.
fn literals<'a>(text: &'a str, mark: &'a str) -> impl Iterator<Item = &'a str> {
    text.split('"')
        .collect::<Vec<_>>()
        .into_iter()
        .skip(1)
        .step_by(2)
        .filter(move |literal| text.contains(&format!("\"{literal}\"{mark}")))
}

#[test]
fn every_route_is_in_the_document_and_every_path_is_a_route() {
    let document = read(&mut document());
    let all = operations(&document);
    let code = item("src/wire/http.rs", "pub fn route(", "\n}\n");
    let paths: BTreeSet<&str> = literals(&code, "").filter(|it| it.starts_with('/')).collect();
    assert!(paths.len() > 10, "{paths:?}");
    for literal in paths {
        let is_it = |path: &str| match literal.ends_with('/') {
            true => path.strip_prefix(literal).is_some_and(|rest| rest.starts_with('{')),
            false => path == literal,
        };
        let is_there = all.iter().any(|operation| is_it(&operation.path));
        assert!(is_there, "src/wire/openapi.json has no path {literal}");
    }
    for Operation { method, path, .. } in &all {
        for other in [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
            let is_listed = all.iter().any(|it| it.path == *path && it.method == other);
            let answer = ask(&other, &sample(path));
            assert_ne!(answer, Err(Rejection::Route), "{path} is no route");
            let is_taken = !matches!(answer, Err(Rejection::Method(_)));
            assert_eq!(is_taken, is_listed, "{other} {path}, which has {method}");
        }
    }
}

#[test]
fn every_parameter_is_in_the_document_and_is_taken_where_it_says() {
    let document = read(&mut document());
    let all = operations(&document);
    let code = item("src/model/query.rs", "pub fn set(", "\n    }\n");
    let mut examples: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, place, example) in all.iter().flat_map(|it| &it.parameters) {
        if place == "query" {
            let example = example.as_ref().unwrap_or_else(|| panic!("no example of {name}"));
            examples.insert(name, example);
        }
    }
    for name in literals(&code, " =>") {
        let what = "is no parameter in src/wire/openapi.json";
        assert!(examples.contains_key(name), "{name} of src/model/query.rs {what}");
    }
    for operation in all.iter().filter(|it| it.method == Method::GET) {
        let own: Vec<_> = operation.parameters.iter().filter(|it| it.1 == "query").collect();
        let pair = |name: &str| format!("{name}={}", examples[name].replace(' ', "+"));
        // What others need stands beside each.
        let needed = own.iter().map(|it| it.0.as_str());
        let needed: Vec<&str> =
            needed.filter(|name| ["subject", "predicate"].contains(name)).collect();
        for name in examples.keys() {
            let beside = needed.iter().filter(|it| *it != name).map(|it| pair(it));
            // A cursor looks otherwise from route to route.
            let listed = own.iter().find(|it| it.0 == *name).and_then(|it| it.2.as_ref());
            let tried = listed.map_or_else(|| pair(name), |example| format!("{name}={example}"));
            let query: Vec<String> = beside.chain([tried]).collect();
            let target = format!("{}?{}", sample(&operation.path), query.join("&"));
            let is_listed = listed.is_some();
            let answer = ask(&Method::GET, &target);
            assert_eq!(answer.is_ok(), is_listed, "{target}: {answer:?}");
        }
    }
}

#[test]
fn every_field_of_a_claim_is_in_the_document() {
    let document = read(&mut document());
    let code = item("src/wire/json/draft.rs", "const FIELDS:", "];");
    let taken: BTreeSet<&str> = literals(&code, ",").collect();
    let schemas = ["Claim", "OpaqueClaim"];
    let properties =
        schemas.map(|name| document.at(&format!("components/schemas/{name}/properties")));
    let listed: BTreeSet<&str> = properties.iter().flat_map(|it| it.names()).collect();
    assert_eq!(listed, taken);
}

#[test]
fn the_document_names_this_version_and_what_it_refers_to_is_there() {
    let text = document();
    let parsed = read(&mut &*text);
    assert_eq!(parsed.at("openapi").text(), "3.1.0");
    assert_eq!(parsed.at("info/version").text(), env!("CARGO_PKG_VERSION"));
    let references = text.split("\"$ref\":\"#/").skip(1);
    let named: BTreeSet<&str> = references.filter_map(|rest| rest.split('"').next()).collect();
    assert!(named.len() > 20, "{named:?}");
    named.iter().for_each(|path| _ = parsed.at(path));
    for group in ["schemas", "parameters", "responses"] {
        for name in parsed.at(&format!("components/{group}")).names() {
            let path = format!("components/{group}/{name}");
            assert!(named.contains(path.as_str()), "nothing refers to {path}");
        }
    }
}
