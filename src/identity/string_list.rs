//! A compact list of short strings.

use std::collections::BTreeSet;
use std::iter;

/// A list of strings. It is cached with each token, so it takes as little memory as possible.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StringList {
    text: Box<str>,
    /// See [`Lengths`].
    lengths: Option<Box<[u32]>>,
}

/// A list of strings that grows.
#[derive(Debug, Default)]
pub(super) struct StringListBuilder {
    text: String,
    lengths: Vec<u32>,
    /// Where the last string starts in `text`; `None` without strings.
    last: Option<usize>,
}

/// Lengths in bytes of all strings but the last, which takes the rest of the text; `None` without
/// strings. So a list of one string, as most lists of scopes, roles and groups are, allocates none.
type Lengths<'a> = Option<&'a [u32]>;

impl StringList {
    /// Collects the items in order.
    #[must_use]
    pub(super) fn new<'a>(items: impl Iterator<Item = &'a str>) -> Self {
        let mut strings = StringListBuilder::default();
        for item in items {
            strings.push(item);
        }
        strings.build()
    }

    /// Collects the items in order, without duplicates.
    #[must_use]
    pub(super) fn union<'a>(items: impl Iterator<Item = &'a str>) -> Self {
        /// Up to this number, comparing is faster than a set.
        const FEW: usize = 16;
        let mut union = StringListBuilder::default();
        // A token may carry thousands of items, so the rest needs a set.
        let mut behind_few = BTreeSet::new();
        for item in items {
            let is_new = union.iter().take(FEW).all(|known| known != item)
                && (union.len() < FEW || behind_few.insert(item));
            if is_new {
                union.push(item);
            }
        }
        union.build()
    }

    /// True when the list has no strings.
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.lengths.is_none()
    }

    /// The strings in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> + Clone {
        strings(&self.text, self.lengths.as_deref())
    }

    /// Whether the list has this string.
    #[must_use]
    pub(crate) fn contains(&self, text: &str) -> bool {
        self.iter().any(|item| item == text)
    }

    /// Heap size in bytes.
    #[must_use]
    pub(super) fn heap_size(&self) -> usize {
        self.text.len() + self.lengths.as_deref().map_or(0, size_of_val)
    }
}

impl StringListBuilder {
    /// An empty list with room for `strings` strings of `bytes` bytes in total.
    #[must_use]
    pub(super) fn with_capacity(strings: usize, bytes: usize) -> Self {
        let lengths = Vec::with_capacity(strings.saturating_sub(1));
        Self { text: String::with_capacity(bytes), lengths, last: None }
    }

    /// Appends a string.
    pub(super) fn push(&mut self, text: &str) {
        self.push_with(|end| end.push_str(text));
    }

    /// Appends what `write` adds to the string it is given.
    pub(super) fn push_with(&mut self, write: impl FnOnce(&mut String)) {
        let start = self.text.len();
        if let Some(last) = self.last.replace(start) {
            // A string of 4 GiB, which no request or user record has, would end the list.
            self.lengths.push(u32::try_from(start.saturating_sub(last)).unwrap_or(u32::MAX));
        }
        write(&mut self.text);
    }

    /// The list, without spare capacity.
    #[must_use]
    pub(super) fn build(self) -> StringList {
        let lengths = self.last.map(|_| self.lengths.into_boxed_slice());
        StringList { text: self.text.into_boxed_str(), lengths }
    }

    fn len(&self) -> usize {
        self.last.map_or(0, |_| self.lengths.len() + 1)
    }

    fn iter(&self) -> impl Iterator<Item = &str> {
        strings(&self.text, self.last.map(|_| self.lengths.as_slice()))
    }
}

/// The strings of a text, in order.
fn strings<'a>(text: &'a str, lengths: Lengths<'a>) -> impl Iterator<Item = &'a str> + Clone {
    let mut rest = lengths.map(|lengths| (text, lengths));
    iter::from_fn(move || {
        let (text, lengths) = rest.take()?;
        let Some((length, lengths)) = lengths.split_first() else { return Some(text) };
        let (text, behind) = text.split_at_checked(usize::try_from(*length).ok()?)?;
        rest = Some((behind, lengths));
        Some(text)
    })
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
        assert!(!strings.is_empty());
        assert_eq!(all(&StringList::default()), [""; 0]);
        assert!(StringList::default().is_empty() && !StringList::default().contains(""));
        for one in ["", "Zoë"] {
            let strings = StringList::new([one].into_iter());
            assert_eq!((all(&strings), strings.is_empty()), (vec![one], false));
        }
    }

    #[test]
    fn strings_use_no_more_memory_than_they_need() {
        let strings = StringList::new(["Zoë", "", "b c"].into_iter());
        assert_eq!(strings.heap_size(), 7 + 2 * size_of::<u32>());
        assert_eq!(StringList::new(["Zoë"].into_iter()).heap_size(), 4);
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
