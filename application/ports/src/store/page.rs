//! Keyset pagination: a page and where the next one starts.

/// How many items a page may have: 1 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(u16);

/// A page size out of bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("limit must be 1 to {}", Limit::MAX)]
pub struct LimitOutOfBounds;

impl Limit {
    /// The largest page.
    pub const MAX: u16 = 100;

    /// Checks a page size.
    pub const fn new(items: u16) -> Result<Self, LimitOutOfBounds> {
        if items >= 1 && items <= Self::MAX { Ok(Self(items)) } else { Err(LimitOutOfBounds) }
    }

    /// The number of items.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(20)
    }
}

/// Some items, and the key after which the rest begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T, K> {
    /// The items.
    pub items: Vec<T>,
    /// The key of the last item when there are more.
    pub next: Option<K>,
}

impl<T, K> Page<T, K> {
    /// Makes a page of rows that were fetched with one more than the limit.
    pub fn of(mut rows: Vec<T>, limit: Limit, key: impl FnOnce(&T) -> K) -> Self {
        let size = usize::from(limit.get());
        let has_more = rows.len() > size;
        rows.truncate(size);
        let next = if has_more { rows.last().map(key) } else { None };
        Self { items: rows, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_one_to_a_hundred() {
        assert_eq!(Limit::new(0), Err(LimitOutOfBounds));
        assert_eq!(Limit::new(1).map(Limit::get), Ok(1));
        assert_eq!(Limit::new(100).map(Limit::get), Ok(100));
        assert_eq!(Limit::new(101), Err(LimitOutOfBounds));
    }

    #[test]
    fn the_next_page_begins_after_the_last_item_shown() {
        let limit = Limit::new(2).unwrap();
        assert_eq!(Page::of(vec![1, 2, 3], limit, |n| *n), Page { items: vec![1, 2], next: Some(2) });
        assert_eq!(Page::of(vec![1, 2], limit, |n| *n), Page { items: vec![1, 2], next: None });
        assert_eq!(Page::of(Vec::<i32>::new(), limit, |n| *n), Page { items: vec![], next: None });
    }
}
