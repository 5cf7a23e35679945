//! Recorded answers, played against the face.
