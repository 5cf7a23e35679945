//! The Kubernetes API that a bootstrapped cluster shows.
