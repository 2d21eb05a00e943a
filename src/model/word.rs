//! Words that are said again and again, such as an owner or the name of a file: those that recur soon are one in
//! memory. Ten thousand files then share their owner, and to compare it is to compare an address.

use std::cell::RefCell;
use std::sync::Arc;

use serde::{Deserialize, Deserializer};

/// How many words are remembered: a resource brings three or four.
const REMEMBERED: usize = 8;

thread_local! {
    static RECENT: RefCell<Vec<Arc<str>>> = const { RefCell::new(Vec::new()) };
}

/// The word, shared with the last use of the same one if that was not long ago.
pub fn shared(text: &str) -> Arc<str> {
    RECENT.with_borrow_mut(|recent| {
        if let Some(known) = recent.iter().find(|known| ***known == *text) {
            return Arc::clone(known);
        }
        if recent.len() == REMEMBERED {
            recent.remove(0);
        }
        let new: Arc<str> = Arc::from(text);
        recent.push(Arc::clone(&new));
        new
    })
}

/// As [`shared`], for what is read from plain data.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
    Ok(shared(&String::deserialize(deserializer)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_recur_soon_are_one_and_others_are_forgotten() {
        let root = shared("root");
        assert!(Arc::ptr_eq(&root, &shared("root")));
        assert!(!Arc::ptr_eq(&root, &shared("www-data")));
        (0..REMEMBERED).for_each(|number| drop(shared(&number.to_string())));
        let again = shared("root");
        assert!(again == root && !Arc::ptr_eq(&again, &root));
    }
}
