//! Generates tonic's client and server from the one definition that every implementation shares.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=../proto/sync.proto");
    let descriptors = protox::compile(["sync.proto"], ["../proto"])?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
