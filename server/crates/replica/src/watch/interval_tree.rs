//! An interval tree, which finds the key ranges that contain a key. It is a treap ordered by first key, in which each node
//! stores how far its subtree reaches. A lookup takes O(log n) time, plus at most O(log n) for each result.

use std::cmp::Ordering;

use super::range::{RangeEnd, WatchRange};
use crate::jitter::splitmix64;

/// A map from distinct ranges to values.
#[derive(Debug)]
pub(super) struct IntervalTree<V> {
    root: TreapLink<V>,
    made: u64,
}

type TreapLink<V> = Option<Box<TreapNode<V>>>;

#[derive(Debug)]
struct TreapNode<V> {
    span: WatchRange,
    value: V,
    /// The highest end of a range in this subtree.
    reach: RangeEnd,
    priority: u64,
    left: TreapLink<V>,
    right: TreapLink<V>,
}

impl<V> Default for IntervalTree<V> {
    fn default() -> Self {
        Self { root: None, made: 0 }
    }
}

impl<V: Default> IntervalTree<V> {
    /// Calls `change` with the value of a range. First inserts an unknown range with the default value.
    pub(super) fn entry(&mut self, span: &WatchRange, change: impl FnOnce(&mut V)) {
        let mut at = self.root.as_deref_mut();
        while let Some(node) = at {
            at = match span.cmp(&node.span) {
                Ordering::Equal => return change(&mut node.value),
                Ordering::Less => node.left.as_deref_mut(),
                Ordering::Greater => node.right.as_deref_mut(),
            };
        }
        self.made += 1;
        let mut value = V::default();
        change(&mut value);
        let node = Box::new(TreapNode {
            span: span.clone(),
            value,
            reach: span.end.clone(),
            priority: splitmix64(self.made),
            left: None,
            right: None,
        });
        self.root = Some(insert(self.root.take(), node));
    }

    /// Calls `change` with the value of a range and removes the range if `change` returns true. Ignores an unknown range.
    pub(super) fn change(&mut self, span: &WatchRange, change: impl FnOnce(&mut V) -> bool) {
        self.root = change_or_remove(self.root.take(), span, change);
    }

    /// Calls `found` with the value of each range that contains `key`.
    pub(super) fn visit_containing(&self, key: &[u8], found: &mut impl FnMut(&V)) {
        visit_containing(self.root.as_deref(), key, found);
    }
}

/// Calls `found` with the value of each range in a subtree that contains `key`. Skips subtrees that end before `key`.
fn visit_containing<V>(node: Option<&TreapNode<V>>, key: &[u8], found: &mut impl FnMut(&V)) {
    let Some(node) = node.filter(|node| node.reach.is_above(key)) else {
        return;
    };
    visit_containing(node.left.as_deref(), key, found);
    if *node.span.key <= *key {
        if node.span.end.is_above(key) {
            found(&node.value);
        }
        visit_containing(node.right.as_deref(), key, found);
    }
}

impl<V> TreapNode<V> {
    /// Recomputes `reach` from the node's own end and its children.
    fn updated(mut self: Box<Self>) -> Box<Self> {
        let children = [&self.left, &self.right].into_iter().flatten();
        let reach = children.map(|child| &child.reach).max();
        let furthest = reach.map_or(&self.span.end, |reach| reach.max(&self.span.end));
        self.reach = furthest.clone();
        self
    }
}

/// Inserts a node whose range is not in the treap yet and returns the root.
fn insert<V>(tree: TreapLink<V>, mut new: Box<TreapNode<V>>) -> Box<TreapNode<V>> {
    let Some(mut node) = tree else {
        return new;
    };
    if new.priority > node.priority {
        (new.left, new.right) = split(Some(node), &new.span);
        return new.updated();
    }
    let side = if new.span < node.span {
        &mut node.left
    } else {
        &mut node.right
    };
    *side = Some(insert(side.take(), new));
    node.updated()
}

/// Splits a treap into the ranges that sort before `at` and the remaining ranges.
fn split<V>(tree: TreapLink<V>, at: &WatchRange) -> (TreapLink<V>, TreapLink<V>) {
    let Some(mut node) = tree else {
        return (None, None);
    };
    if node.span < *at {
        let (before, after) = split(node.right.take(), at);
        node.right = before;
        (Some(node.updated()), after)
    } else {
        let (before, after) = split(node.left.take(), at);
        node.left = after;
        (before, Some(node.updated()))
    }
}

/// Merges two treaps. Every range of `before` must sort before every range of `after`.
fn join<V>(before: TreapLink<V>, after: TreapLink<V>) -> TreapLink<V> {
    let (mut before, mut after) = match (before, after) {
        (Some(before), Some(after)) => (before, after),
        (one, other) => return one.or(other),
    };
    Some(if before.priority > after.priority {
        before.right = join(before.right.take(), Some(after));
        before.updated()
    } else {
        after.left = join(Some(before), after.left.take());
        after.updated()
    })
}

/// Calls `change` with the value of a range and removes the range if `change` returns true. Returns the root.
fn change_or_remove<V>(
    tree: TreapLink<V>,
    span: &WatchRange,
    change: impl FnOnce(&mut V) -> bool,
) -> TreapLink<V> {
    let mut node = tree?;
    match span.cmp(&node.span) {
        Ordering::Equal => {
            if change(&mut node.value) {
                return join(node.left.take(), node.right.take());
            }
            return Some(node);
        }
        Ordering::Less => node.left = change_or_remove(node.left.take(), span, change),
        Ordering::Greater => node.right = change_or_remove(node.right.take(), span, change),
    }
    Some(node.updated())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn depth<V>(node: &TreapLink<V>) -> usize {
        node.as_ref()
            .map_or(0, |node| 1 + depth(&node.left).max(depth(&node.right)))
    }

    #[test]
    fn the_tree_stays_flat_for_ascending_ranges() {
        let mut ranges = IntervalTree::<u32>::default();
        let span = |n: u32| WatchRange::new(&n.to_be_bytes(), &(n + 1).to_be_bytes());
        for n in 0..100_000 {
            ranges.entry(&span(n), |value| *value = n);
        }
        assert!(depth(&ranges.root) < 60, "{}", depth(&ranges.root));
        for n in (0..100_000).filter(|n| n % 7 != 0) {
            ranges.change(&span(n), |_| true);
        }
        assert!(depth(&ranges.root) < 60, "{}", depth(&ranges.root));
        let mut found = Vec::new();
        ranges.visit_containing(&77_u32.to_be_bytes(), &mut |value| found.push(*value));
        assert_eq!(found, [77]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn lookups_equal_those_of_a_list(
            steps in prop::collection::vec((any::<bool>(), 0..30_u8, 0..32_u8), 1..200),
        ) {
            let mut ranges = IntervalTree::<u32>::default();
            let mut list = std::collections::BTreeMap::<WatchRange, u32>::new();
            for (add, key, end) in steps {
                let end = if end == 31 { vec![0] } else { vec![end + 1] };
                let span = WatchRange::new(&[key + 1], &end);
                if add {
                    ranges.entry(&span, |value| *value += 1);
                    *list.entry(span).or_default() += 1;
                } else {
                    ranges.change(&span, |value| { *value -= 1; *value == 0 });
                    if let Some(value) = list.get_mut(&span) {
                        *value -= 1;
                        if *value == 0 {
                            list.remove(&span);
                        }
                    }
                }
                for key in 0..33_u8 {
                    let mut sum = 0;
                    ranges.visit_containing(&[key], &mut |value| sum += value);
                    let expect: u32 = list.iter().filter(|(s, _)| s.contains(&[key])).map(|(_, v)| v).sum();
                    prop_assert_eq!(sum, expect);
                }
            }
        }
    }
}
