//! The lab: a simulated site inside the binary.
//!
//! One world, several faces. [`pve`] is Proxmox's HTTPS API over its own state,
//! [`fleet`] the machines that its VMs boot, [`talos`] and [`kube`] what those
//! machines answer, [`factory`] the Image Factory. Faces translate; the states
//! decide. Nothing here may look at the product's profile, plan or journal: the
//! lab obeys only what arrives on the wire.

pub mod clock;
pub mod factory;
pub mod faults;
pub mod fleet;
pub mod hardware;
pub mod http;
pub mod image;
pub mod kube;
pub mod pve;
pub mod site;
pub mod talos;
pub mod tls;
pub mod world;
