//! Which lines two texts have in common.
//!
//! The one place that asks `similar`. One algorithm, for one type: asked for an algorithm by value, or for texts of
//! several types, it brings all five of its own for each, which is a large part of a megabyte.

use similar::algorithms::{Capture, Compact, Replace, myers};

pub use similar::DiffOp;

/// The lines of a text, each with the line break that ends it.
pub fn split(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').collect()
}

/// What has to be done to get from the old lines to the new ones, in order.
pub fn compare(old: &[&[u8]], new: &[&[u8]]) -> Vec<DiffOp> {
    let mut seen = Compact::new(Replace::new(Capture::new()), old, new);
    match myers::diff(&mut seen, old, 0..old.len(), new, 0..new.len()) {
        Ok(()) => seen.into_inner().into_inner().into_ops(),
        Err(never) => match never {},
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_same_is_found_around_what_is_not() {
        let (old, new) = (split(b"a\nb\nc\n"), split(b"a\nB\nc"));
        let equal: Vec<usize> = compare(&old, &new)
            .into_iter()
            .filter_map(|op| match op {
                DiffOp::Equal { old_index, len, .. } => {
                    Some((old_index..old_index + len).collect::<Vec<_>>())
                }
                DiffOp::Delete { .. } | DiffOp::Insert { .. } | DiffOp::Replace { .. } => None,
            })
            .flatten()
            .collect();
        // The last line lost its line break.
        assert_eq!(equal, [0]);
        assert_eq!(compare(&old, &old), [DiffOp::Equal { old_index: 0, new_index: 0, len: 3 }]);
        assert!(compare(&[], &[]).is_empty());
    }
}
