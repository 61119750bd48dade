//! Members that start with states of different lineages end with one lineage, and therefore with one state.

use super::{Fact, Invariant, Scene};

#[derive(Debug, Default)]
pub(super) struct OneLineage;

impl Invariant for OneLineage {
    fn observe(&mut self, fact: &Fact<'_>, _: &Scene<'_>) -> Result<(), String> {
        let Fact::Ended { views, .. } = fact else {
            return Ok(());
        };
        let Some((first, of_first)) = views.first() else {
            return Ok(());
        };
        for (member, view) in *views {
            let (own, other) = (view.position.lineage, of_first.position.lineage);
            if own != other {
                return Err(format!(
                    "m{member} has the lineage {own}, and m{first} has {other}"
                ));
            }
        }
        Ok(())
    }
}
