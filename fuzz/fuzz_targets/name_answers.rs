//! See `stemedb_edge::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| stemedb_edge::fuzz::run("name_answers", input));
