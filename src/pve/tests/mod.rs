//! The client against a loopback server that speaks TLS and HTTP/1.1 by hand: what is tested is bytes.

mod connect;
mod recorded;
mod server;
mod tasks;
mod upload;
mod wire;
