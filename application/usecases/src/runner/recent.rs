//! What the drives of a process have read and need again.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Values by their keys. Whoever uses one sees to it that it still holds.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    most: usize,
    known: Mutex<HashMap<K, Arc<V>>>,
}

impl<K: Eq + Hash, V> Recent<K, V> {
    /// One that forgets everything rather than hold more than so many.
    pub(super) fn holding(most: usize) -> Self {
        Self { most, known: Mutex::default() }
    }

    pub(super) fn get(&self, key: &K) -> Option<Arc<V>> {
        self.known().get(key).map(Arc::clone)
    }

    pub(super) fn note(&self, key: K, value: V) -> Arc<V> {
        let value = Arc::new(value);
        let mut known = self.known();
        if known.len() >= self.most && !known.contains_key(&key) {
            known.clear();
        }
        known.insert(key, Arc::clone(&value));
        value
    }

    pub(super) fn forget(&self, key: &K) {
        self.known().remove(key);
    }

    fn known(&self) -> MutexGuard<'_, HashMap<K, Arc<V>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_the_newest_value_of_each_key_and_never_more_than_it_may() {
        let recent = Recent::holding(2);
        for (key, value) in [(1, "old"), (1, "new"), (2, "other")] {
            assert_eq!(*recent.note(key, value), value);
        }
        assert_eq!(recent.get(&1).as_deref(), Some(&"new"));
        recent.forget(&1);
        assert_eq!(recent.get(&1), None);
        recent.note(3, "third");
        assert_eq!(recent.get(&2).as_deref(), Some(&"other"));
        recent.note(4, "fourth");
        assert_eq!((recent.get(&2), recent.get(&4).as_deref()), (None, Some(&"fourth")));
    }
}
