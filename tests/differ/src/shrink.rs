//! Shortens a failing list of steps with Zeller's ddmin, then step by step until no step can be removed.

/// Returns the shortest list found for which `fails` is true; it must be true for `steps`. Stops after `attempts` calls of
/// `fails`.
pub async fn shrink<S: Clone>(
    steps: Vec<S>,
    attempts: usize,
    mut fails: impl AsyncFnMut(&[S]) -> bool,
) -> Vec<S> {
    let mut best = steps;
    let mut left = attempts;
    let mut pieces = 2;
    while best.len() > 1 && left > 0 {
        let size = best.len().div_ceil(pieces);
        let mut at = 0;
        let mut shorter = false;
        while at < best.len() && best.len() > 1 && left > 0 {
            let mut without = best[..at].to_vec();
            without.extend_from_slice(&best[(at + size).min(best.len())..]);
            left -= 1;
            if !without.is_empty() && fails(&without).await {
                best = without;
                shorter = true;
            } else {
                at += size;
            }
        }
        if size == 1 && !shorter {
            break;
        }
        if !shorter {
            pieces *= 2;
        }
        pieces = pieces.clamp(2, best.len().max(2));
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_what_is_needed_is_left() {
        let steps: Vec<u32> = (0..1000).collect();
        let mut tried = 0;
        let left = shrink(steps, 10_000, async |some: &[u32]| {
            tried += 1;
            [17, 18, 612].iter().all(|needed| some.contains(needed))
        })
        .await;
        assert_eq!(left, [17, 18, 612]);
        assert!(tried < 300, "{tried} attempts");
    }

    #[tokio::test]
    async fn it_stops_when_it_has_tried_enough() {
        let steps: Vec<u32> = (0..64).collect();
        let left = shrink(steps, 1, async |some: &[u32]| some.contains(&63)).await;
        assert_eq!(left.len(), 32);
    }
}
