//! How many requests are under way at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A node has three workers, each busy for the whole of a slow request, and queues the fourth
/// (pve-manager 9.2: pveproxy and pvedaemon). Eight in all keep one client from filling a cluster.
pub(super) struct Gates {
    all: Arc<Semaphore>,
    nodes: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl Gates {
    pub(super) fn new() -> Self {
        Self { all: Arc::new(Semaphore::new(8)), nodes: Mutex::new(HashMap::new()) }
    }

    /// Waits for the turn of a request to `path`; what names no node counts for the one that is asked.
    pub(super) async fn pass(&self, path: &str) -> (OwnedSemaphorePermit, OwnedSemaphorePermit) {
        let node = path.strip_prefix("/nodes/").and_then(|rest| rest.split('/').next()).unwrap_or("");
        let gate = {
            let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(nodes.entry(node.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(3))))
        };
        let open = "these semaphores are never closed";
        // The node's first: a request that waits for a busy node must not hold a place that another node could use.
        let of_node = gate.acquire_owned().await.expect(open);
        let of_all = Arc::clone(&self.all).acquire_owned().await.expect(open);
        (of_node, of_all)
    }
}
