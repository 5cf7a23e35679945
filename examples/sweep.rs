//! How long a sweep of a silent network takes: `sweep CIDR…` prints the seconds for each.
//!
//! The network is loopback behind one listener whose accept queue is full: Linux then drops every further SYN, so each
//! address of 127.0.0.0/8 is as silent as an empty one. Run in a network namespace of its own, where port 50000 is free:
//! `scripts/bench sweep` does.

use std::time::Instant;

use pvetalos::discovery::sweep;
use pvetalos::reach::Reach;
use tokio::net::{TcpSocket, TcpStream};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let socket = TcpSocket::new_v4()?;
    socket.bind("0.0.0.0:50000".parse()?)?;
    let _full = socket.listen(1)?;
    // Two connections fill a queue of one; the third is the first that hears nothing.
    let mut held = Vec::new();
    for _ in 0..3 {
        let connecting = TcpStream::connect("127.0.0.1:50000");
        match tokio::time::timeout(std::time::Duration::from_millis(300), connecting).await {
            Ok(stream) => held.push(stream?),
            Err(_) => break,
        }
    }
    for network in std::env::args().skip(1) {
        let started = Instant::now();
        let open = sweep(&Reach::Direct, network.parse()?).await?;
        if !open.is_empty() {
            return Err(format!("{network} was not silent: {} addresses answered", open.len()).into());
        }
        #[expect(clippy::print_stdout, reason = "this is what it is for")]
        {
            println!("{network} {:.2}", started.elapsed().as_secs_f64());
        }
    }
    Ok(())
}
