//! The limits of khugepaged: of the two pages that a huge page of the model has, and of 512 real ones.
//!
//! So many pages of the model are within the real limit, and one more never is, as tightly as may be: where none may be missing, the
//! smallest group has one page too many.

use pagefold_litmus::{Call, Limit, MappingId, Scenario};

use crate::geometry::{HALVES, SMALL, Spread};
use crate::plan;

/// What the model's khugepaged accepts where a scenario does not say: pages that are missing, shared, in swap.
const USUAL: [u64; 3] = [1, 1, 0];

/// What khugepaged is told to accept: pages that are missing, shared, in swap.
pub(crate) fn real(scenario: &Scenario, spread: &Spread, limits: [Limit; 3]) -> [usize; 3] {
    let mappings = (0..scenario.mappings.len()).map(MappingId::new);
    let pages = mappings.map(|id| scenario.pages(id)).max().unwrap_or(0);
    let groups = (0..pages.next_multiple_of(HALVES))
        .map(|page| spread.group_start(page + 1) - spread.group_start(page));
    let smallest = groups.clone().min().unwrap_or(1);
    let largest = groups.max().unwrap_or(0);
    std::array::from_fn(|sort| match limits[sort].0.unwrap_or(USUAL[sort]) {
        0 => smallest - 1,
        1 => largest,
        _ => SMALL,
    })
}

/// Whether khugepaged may bring pages back from swap. It does so if half of the pages are in use, so that it matters how many of 512 they are.
pub(crate) fn asks_for_half(scenario: &Scenario) -> bool {
    plan::calls(scenario).any(|call| match call {
        Call::Scan(_, _, _, swap) => swap.0.unwrap_or(USUAL[2]) > 0,
        _ => false,
    })
}
