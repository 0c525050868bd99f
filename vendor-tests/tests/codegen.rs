//! The committed Rust of `proto/` is what prost makes of it today, byte for byte.
//!
//! After a change in `proto/`: `STEMEDB_REWRITE=1 cargo test -p vendor-tests --test codegen`.

use std::fs;
use std::path::Path;

use prost::Message;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// Files the node serves by reflection, as they are named in import lines.
const FILES: [&str; 5] =
    ["sync.proto", "edge.proto", "health.proto", "reflection.proto", "reflection_v1alpha.proto"];
/// Packages whose messages the node handles in Rust. Those of reflection v1alpha are v1's, name by
/// name and number by number.
const MODULES: [(&str, &str); 4] = [
    ("stemedb.sync.v1.rs", "sync.rs"),
    ("stemedb.edge.v1.rs", "edge.rs"),
    ("grpc.health.v1.rs", "health.rs"),
    ("grpc.reflection.v1.rs", "reflection.rs"),
];

fn generate() -> Vec<(&'static str, Vec<u8>)> {
    let root = Path::new(ROOT);
    let files = protox::compile(FILES, [root.join("proto")]).expect("proto/ compiles");
    let out = std::env::temp_dir().join(format!("stemedb-codegen-{}", std::process::id()));
    fs::create_dir_all(&out).expect("a directory for the generated files");
    prost_build::Config::new()
        .bytes(["."])
        .out_dir(&out)
        .compile_fds(files.clone())
        .expect("prost generates Rust");
    let mut made: Vec<_> = MODULES
        .iter()
        .map(|(generated, committed)| {
            (*committed, fs::read(out.join(generated)).expect("one file a package"))
        })
        .collect();
    fs::remove_dir_all(&out).expect("the directory was ours");
    made.push(("descriptors.bin", without_comments(files).encode_to_vec()));
    made
}

/// What reflection serves: `protoc --descriptor_set_out` leaves the comments out as well.
fn without_comments(mut files: prost_types::FileDescriptorSet) -> prost_types::FileDescriptorSet {
    files.file.iter_mut().for_each(|file| file.source_code_info = None);
    files
}

#[test]
fn the_committed_code_is_what_the_protos_say() {
    let committed = Path::new(ROOT).join("src/wire/pb");
    let rewrite = std::env::var_os("STEMEDB_REWRITE").is_some();
    for (name, made) in generate() {
        let path = committed.join(name);
        if rewrite {
            fs::write(&path, &made).expect("src/wire/pb is writable");
        }
        let found = fs::read(&path).unwrap_or_default();
        assert!(
            found == made,
            "{} differs from what proto/ gives, write it anew by \
             STEMEDB_REWRITE=1 cargo test -p vendor-tests --test codegen",
            path.display()
        );
    }
}

#[test]
fn both_reflection_versions_have_the_same_messages() {
    let root = Path::new(ROOT).join("proto");
    let read = |name| fs::read_to_string(root.join(name)).expect("a file of proto/");
    let v1 = read("reflection.proto");
    let v1alpha = read("reflection_v1alpha.proto");
    assert_eq!(v1alpha.replace("v1alpha", "v1"), v1);
}
