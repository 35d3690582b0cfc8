//! What all workers of the process read and write.

/// A value of shared data with its compare-and-swap version; both are `None` while there is no such
/// value.
pub type SharedValue = (Option<Vec<u8>>, Option<u32>);
