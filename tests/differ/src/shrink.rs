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
