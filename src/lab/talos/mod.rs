//! What a machine answers on port 50000.
