//! Turns our own subset of the Talos protocol into Rust: `src/talos/proto` → `talos::wire`.
//!
//! Generated at build time, not checked in, so that it cannot drift from the
//! `.proto` files; protox compiles them in Rust, so nobody needs `protoc`.
//! Both sides are generated: the client is the product's, the server the lab's.

use std::error::Error;

const DIR: &str = "src/talos/proto";
const FILES: [&str; 9] = [
    "common.proto",
    "inside.proto",
    "lifecycle.proto",
    "machine.proto",
    "storage.proto",
    "cluster.proto",
    "cosi.proto",
    "resources.proto",
    "time.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={DIR}");
    let descriptors = protox::compile(FILES, [DIR])?;
    // `connect()` of the generated clients is left out: we dial through our own TLS.
    tonic_prost_build::configure()
        .build_client(true)
        .build_server(true)
        .build_transport(false)
        // A server implements what it serves; the rest answers UNIMPLEMENTED, as grpc-go's generated servers do.
        .generate_default_stubs(true)
        .compile_fds(descriptors)?;
    Ok(())
}
