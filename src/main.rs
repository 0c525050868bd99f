//! The `stemedb-edge` program: arguments in, exit code out.

fn main() {}
