//! A value that knows whether somebody had it in hand to change it.
//!
//! The lab looks at every machine whenever something may have changed. Most calls change no machine, and with a
//! thousand of them those looks would be nearly all that the lab does. Noticing it here, where every change must
//! pass, cannot be forgotten as a flag that each change sets by itself could.

use std::ops::{Deref, DerefMut};

#[derive(Debug)]
pub struct Watched<T> {
    value: T,
    touched: bool,
}

impl<T> Watched<T> {
    /// A new value counts as touched.
    pub fn new(value: T) -> Self {
        Self { value, touched: true }
    }

    /// Whether it was borrowed for a change since the last [`Watched::settle`].
    pub fn is_touched(&self) -> bool {
        self.touched
    }

    /// Everything that follows from the changes so far has been done.
    pub fn settle(&mut self) {
        self.touched = false;
    }
}

impl<T> Deref for Watched<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Watched<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.touched = true;
        &mut self.value
    }
}
