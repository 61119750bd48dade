//! The coverage of a run: a table of actions and the codes with which each can be answered. A run fails if it misses a cell,
//! because it proves nothing about that cell.

use std::{collections::BTreeMap, fmt};

/// An action and its possible codes, separated by spaces.
pub type Row = (&'static str, &'static str);

/// The counts of the cells of a declared table.
#[derive(Clone, Debug)]
pub struct Coverage {
    table: &'static [Row],
    counts: BTreeMap<(&'static str, &'static str), u64>,
    undeclared: BTreeMap<(String, String), u64>,
}

impl Coverage {
    /// Creates empty counts for a table.
    pub fn new(table: &'static [Row]) -> Self {
        Self { table, counts: BTreeMap::new(), undeclared: BTreeMap::new() }
    }

    /// Records that `action` was answered with `code`.
    pub fn hit(&mut self, action: &str, code: &str) {
        match self.cell(action, code) {
            Some(cell) => *self.counts.entry(cell).or_default() += 1,
            None => {
                let cell = (action.to_owned(), code.to_owned());
                *self.undeclared.entry(cell).or_default() += 1;
            }
        }
    }

    fn cell(&self, action: &str, code: &str) -> Option<(&'static str, &'static str)> {
        let (action, codes) = self.table.iter().find(|(name, _)| *name == action)?;
        Some((action, codes.split(' ').find(|known| *known == code)?))
    }

    /// Adds the counts of another run with the same table.
    pub fn add(&mut self, other: &Self) {
        for (cell, count) in &other.counts {
            *self.counts.entry(*cell).or_default() += count;
        }
        for (cell, count) in &other.undeclared {
            *self.undeclared.entry(cell.clone()).or_default() += count;
        }
    }

    /// Returns the cells that were never reached, and the answers that have no cell.
    pub fn gaps(&self) -> Vec<String> {
        let mut gaps = Vec::new();
        for (action, codes) in self.table {
            for code in codes.split(' ') {
                if !self.counts.contains_key(&(*action, code)) {
                    gaps.push(format!("never reached: {action} {code}"));
                }
            }
        }
        for ((action, code), count) in &self.undeclared {
            gaps.push(format!("not in the table: {action} {code} ({count} times)"));
        }
        gaps
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (action, codes) in self.table {
            write!(f, "  {action:<18}")?;
            for code in codes.split(' ') {
                let count = self.counts.get(&(*action, code)).unwrap_or(&0);
                write!(f, " {code}:{count}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_never_reached_and_one_not_declared_are_gaps() {
        let mut coverage = Coverage::new(&[("get", "ok 100"), ("set", "ok")]);
        coverage.hit("get", "ok");
        coverage.hit("get", "104");
        let mut other = Coverage::new(&[("get", "ok 100"), ("set", "ok")]);
        other.hit("set", "ok");
        coverage.add(&other);
        assert_eq!(
            coverage.gaps(),
            [
                "never reached: get 100",
                "not in the table: get 104 (1 times)"
            ]
        );
    }
}
