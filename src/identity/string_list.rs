//! A compact list of short strings.

use std::collections::BTreeSet;

/// A list of strings, stored in one allocation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StringList {
    text: String,
    /// Length of each string in bytes.
    lengths: Vec<usize>,
}

impl StringList {
    /// An empty list with room for `strings` strings of `bytes` bytes in total.
    #[must_use]
    pub(super) fn with_capacity(strings: usize, bytes: usize) -> Self {
        Self { text: String::with_capacity(bytes), lengths: Vec::with_capacity(strings) }
    }

    /// Collects the items in order.
    #[must_use]
    pub(super) fn new<'a>(items: impl Iterator<Item = &'a str>) -> Self {
        let mut strings = Self::default();
        for item in items {
            strings.push(item);
        }
        strings.shrunk()
    }

    /// Collects the items in order, without duplicates.
    #[must_use]
    pub(super) fn union<'a>(items: impl Iterator<Item = &'a str>) -> Self {
        /// Up to this number, comparing is faster than a set.
        const FEW: usize = 16;
        let mut union = Self::default();
        // A token may carry thousands of items, so the rest needs a set.
        let mut behind_few = BTreeSet::new();
        for item in items {
            let is_new = union.iter().take(FEW).all(|known| known != item)
                && (union.len() < FEW || behind_few.insert(item));
            if is_new {
                union.push(item);
            }
        }
        union.shrunk()
    }

    /// The same list without spare capacity, since it may be cached.
    pub(super) fn shrunk(mut self) -> Self {
        self.text.shrink_to_fit();
        self.lengths.shrink_to_fit();
        self
    }

    /// Appends a string.
    pub(super) fn push(&mut self, text: &str) {
        self.push_with(|end| end.push_str(text));
    }

    /// Appends what `write` adds to the string it is given.
    pub(super) fn push_with(&mut self, write: impl FnOnce(&mut String)) {
        let start = self.text.len();
        write(&mut self.text);
        self.lengths.push(self.text.len().saturating_sub(start));
    }

    /// Number of strings.
    #[must_use]
    pub(super) fn len(&self) -> usize {
        self.lengths.len()
    }

    /// True when the list has no strings.
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// The strings in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> + Clone {
        let mut rest = self.text.as_str();
        self.lengths.iter().map_while(move |length| {
            let (text, behind) = rest.split_at_checked(*length)?;
            rest = behind;
            Some(text)
        })
    }

    /// Whether the list has this string.
    #[must_use]
    pub(crate) fn contains(&self, text: &str) -> bool {
        self.iter().any(|item| item == text)
    }

    /// Heap size in bytes.
    #[must_use]
    pub(super) fn heap_size(&self) -> usize {
        self.text.capacity() + self.lengths.capacity() * size_of::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(strings: &StringList) -> Vec<&str> {
        strings.iter().collect()
    }

    #[test]
    fn strings_are_returned_unchanged() {
        let strings = StringList::new(["Zoë", "", "b c", "Zoë"].into_iter());
        assert_eq!(all(&strings), ["Zoë", "", "b c", "Zoë"]);
        assert!(strings.contains("") && strings.contains("b c") && !strings.contains("Zoëb"));
        assert_eq!((strings.len(), strings.is_empty()), (4, false));
        assert_eq!(all(&StringList::default()), [""; 0]);
        assert!(!StringList::default().contains(""));
    }

    #[test]
    fn strings_use_no_more_memory_than_they_need() {
        let strings = StringList::new(["Zoë", "", "b c"].into_iter());
        assert_eq!(strings.heap_size(), 7 + 3 * size_of::<usize>());
        assert_eq!(StringList::new([].into_iter()).heap_size(), 0);
    }

    #[test]
    fn a_union_has_each_item_once() {
        let items: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        let items: Vec<&str> = items.iter().map(String::as_str).collect();
        for count in [0, 1, 2, 15, 16, 17, 18, 100] {
            let once: Vec<&str> = items.iter().copied().take(count).collect();
            let with_others_between = once.iter().flat_map(|item| [*item, once[0], *item]);
            let twice = with_others_between.chain(once.iter().rev().copied());
            assert_eq!(all(&StringList::union(twice)), once);
        }
    }
}
