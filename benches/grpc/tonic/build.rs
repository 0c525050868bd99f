//! Generates the service from the same proto file.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let proto = "../../../proto/sync.proto";
    println!("cargo::rerun-if-changed={proto}");
    let files = protox::compile([proto], ["../../../proto"])?;
    tonic_prost_build::configure().bytes(".").build_client(false).compile_fds(files)?;
    Ok(())
}
