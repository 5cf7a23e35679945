//! The program as its users meet it: the real binary as a process of its own, in a home of its own, against a lab of
//! its own.
//!
//! Nothing here looks into the library. What a command is held to is what the README promises: its exit code, what
//! goes to which stream, and what is on the site afterwards.

mod boundaries;
mod contexts;
mod desk;
mod destroy;
mod diff;
mod fixture;
mod journey;
mod killed;
mod output;
mod refused;
mod secrets;
mod signals;
mod site;
mod terminal;
