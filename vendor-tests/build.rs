//! Generates tonic's client and server from the one definition that every implementation shares,
//! and from that of what our nodes call beyond it.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=../proto/sync.proto");
    println!("cargo::rerun-if-changed=../proto/edge.proto");
    let edge = protox::compile(["edge.proto"], ["../proto"])?;
    let configured = tonic_prost_build::configure().extern_path(".stemedb.sync.v1", "crate::pb");
    configured.compile_fds(edge)?;
    // The standard messages last: with the first they came out as names for themselves.
    let sync = protox::compile(["sync.proto"], ["../proto"])?;
    tonic_prost_build::configure().compile_fds(sync)?;
    Ok(())
}
