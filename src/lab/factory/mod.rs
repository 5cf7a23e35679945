//! The Image Factory's face.

use super::site::Site;

/// Schematics that were posted, and assets that were built.
pub struct State {}

impl State {
    pub fn new(_site: &Site) -> Self {
        Self {}
    }
}
