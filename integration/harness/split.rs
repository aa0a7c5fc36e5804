//! Whether an observed split fits its weights, and the table that shows it.

use super::load::Tally;
use super::{Failure, Outcome};

/// How probable a smaller number is that is still no chance, and a larger one: one run in 16,000 fails by bad luck.
const TAIL: f64 = 1.0 / 32_000.0;

/// The share a version is meant to have.
pub type Share<'v> = (&'v str, f64);

/// The least and the most answers that are still chance when each of `count` goes here with probability `share`: exact,
/// because the few answers of a short load are not spread evenly around their mean.
pub fn bounds(count: u64, share: f64) -> (u64, u64) {
    (least(count, share), count - least(count, 1.0 - share))
}

/// The smallest number that at most as many as [`TAIL`] of all loads stay below.
fn least(count: u64, share: f64) -> u64 {
    let mut below = 0.0;
    // The logarithm of the probability of exactly so many, from one number to the next.
    let mut log = (1.0 - share).ln() * count as f64;
    for seen in 0..count {
        below += log.exp();
        if below > TAIL {
            return seen;
        }
        log += ((count - seen) as f64 / (seen + 1) as f64 * share / (1.0 - share)).ln();
    }
    count
}

/// Fails if a version's number of answers is not within its bounds, or if anybody else answered.
pub fn check(tally: &Tally, shares: &[Share]) -> Outcome<()> {
    let count = tally.answers();
    for (version, share) in shares {
        let (low, high) = bounds(count, *share);
        let seen = tally.of(version);
        if seen < low || seen > high {
            let text = format!("{version} gave {seen} of {count} answers, {low} to {high} expected: {tally:?}");
            return Err(Failure::new(text));
        }
    }
    let known: u64 = shares.iter().map(|(version, _)| tally.of(version)).sum();
    if known == count { Ok(()) } else { Err(Failure::new(format!("somebody else answered: {tally:?}"))) }
}

/// The split as a table: version, weight, what was expected and what was seen.
pub fn table(tally: &Tally, shares: &[Share]) -> String {
    let count = tally.answers();
    let mut lines = vec![format!("  {:<9} {:>6} {:>14} {:>9}", "version", "weight", "expected", "observed")];
    for (version, share) in shares {
        let (low, high) = bounds(count, *share);
        let expected = format!("{low}..{high}");
        lines.push(format!("  {version:<9} {:>5.0}% {expected:>14} {:>9}", share * 100.0, tally.of(version)));
    }
    lines.join("\n")
}
