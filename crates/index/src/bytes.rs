//! Bytes that many may look at, wherever they are kept.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// A part of some bytes that do not change: a mapped file or a buffer, kept as long as anybody
/// looks at a part of it. A clone costs a counter.
#[derive(Clone)]
pub struct Bytes {
    owner: Arc<dyn AsRef<[u8]> + Send + Sync>,
    range: Range<usize>,
}

impl Bytes {
    /// All bytes of a buffer.
    pub fn from_vec(bytes: Vec<u8>) -> Self {
        Self::from_owner(bytes)
    }

    /// All bytes of whatever holds some, as a mapped file; it must always give the same ones.
    pub fn from_owner(owner: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        let range = 0..owner.as_ref().len();
        Self { owner: Arc::new(owner), range }
    }

    /// A part of these bytes, counted from their beginning; `None` where it ends behind them.
    pub fn slice(&self, range: Range<usize>) -> Option<Self> {
        self.get(range.clone())?;
        let (start, end) = (self.range.start + range.start, self.range.start + range.end);
        Some(Self { owner: Arc::clone(&self.owner), range: start..end })
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &(*self.owner).as_ref()[self.range.clone()]
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_parts_are_counted_from_their_own_beginning() {
        let bytes = Bytes::from_vec((0..10).collect());
        let part = bytes.slice(2..8).unwrap();
        assert_eq!(*part, [2, 3, 4, 5, 6, 7]);
        assert_eq!(*part.slice(1..3).unwrap(), [3, 4]);
        assert!(part.slice(1..7).is_none());
        let turned = Range { start: 3, end: 2 };
        assert!(part.slice(turned).is_none());
        drop(bytes);
        assert_eq!(part.len(), 6);
    }
}
