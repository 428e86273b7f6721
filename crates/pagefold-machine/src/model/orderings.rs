//! Which places that ask for an order need it.
//!
//! The order of one [place](Site) at a time is taken away, and every run that passes the place is searched. If something breaks that
//! does not break with the order, the order is needed. If nothing does, that proves nothing: the runs may not show it, the
//! bounds may have been too narrow, or the model gives the order by other means.
//!
//! Places are those passed within the bounds under release and acquire. All are weakened under that model; a full barrier
//! also under total store order, where nothing else is weaker than what hardware gives anyway.

use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use pagefold_litmus::{Memory, Scenario};

use super::check::{Outcome, RunConfig, ScenarioLimit, check, sites};
use super::site::{Asked, Site};

/// What came out for one place under one memory model.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The place.
    pub site: Site,
    /// The model.
    pub memory: Memory,
    /// The number of the first run that breaks without the order, and the name of what breaks.
    pub breaks: Option<(usize, String)>,
    /// Runs that were searched.
    pub runs: usize,
    /// Those of them that were not exhausted.
    pub open: usize,
}

/// Looks for what each order is needed for, in runs of scenarios. The memory model of the runs is of no concern.
///
/// # Errors
/// If a scenario needs a larger machine than the model has.
pub fn orderings(
    runs: &[(&Scenario, RunConfig)],
    jobs: NonZeroUsize,
) -> Result<Vec<Finding>, ScenarioLimit> {
    let under = |run: usize, memory, weakened| {
        let (scenario, config) = &runs[run];
        let config = RunConfig {
            memory,
            weakened,
            workers: NonZeroUsize::MIN,
            // That it breaks is enough.
            bounds: config.bounds.clone().minimize_executions(0),
            ..config.clone()
        };
        (*scenario, config)
    };
    let passed = in_parallel(jobs, runs.len(), |run| {
        let (scenario, config) = under(run, Memory::Ra, None);
        sites(scenario, &config)
    });
    let passed = passed.into_iter().collect::<Result<Vec<_>, _>>()?;
    // What breaks as it is says nothing of orders.
    let stands = |memory| {
        in_parallel(jobs, runs.len(), |run| {
            let (scenario, config) = under(run, memory, None);
            Ok(!matches!(
                check(scenario, &config)?.outcome,
                Outcome::Broken(_)
            ))
        })
        .into_iter()
        .collect::<Result<Vec<bool>, ScenarioLimit>>()
    };
    let (stands_ra, stands_tso) = (stands(Memory::Ra)?, stands(Memory::Tso)?);

    let mut all: Vec<Site> = passed.iter().flatten().copied().collect();
    all.sort();
    all.dedup();
    let subjects: Vec<(Site, Memory)> = all
        .into_iter()
        .flat_map(|site| {
            let tso = (site.asked == Asked::FullBarrier).then_some((site, Memory::Tso));
            [(site, Memory::Ra)].into_iter().chain(tso)
        })
        .collect();
    let findings = in_parallel(jobs, subjects.len(), |subject| {
        let (site, memory) = subjects[subject];
        let stands = if memory == Memory::Tso {
            &stands_tso
        } else {
            &stands_ra
        };
        let mut finding = Finding {
            site,
            memory,
            breaks: None,
            runs: 0,
            open: 0,
        };
        for run in 0..runs.len() {
            if !stands[run] || !passed[run].contains(&site) {
                continue;
            }
            let (scenario, config) = under(run, memory, Some(site));
            finding.runs += 1;
            match check(scenario, &config)?.outcome {
                Outcome::Broken(violation) => {
                    finding.breaks = Some((run, violation.kind.into_owned()));
                    break;
                }
                Outcome::NotExhausted(_) => finding.open += 1,
                Outcome::Holds
                | Outcome::Exception(_)
                | Outcome::Allowed(_)
                | Outcome::Forbidden => {}
            }
        }
        Ok(finding)
    });
    findings.into_iter().collect()
}

/// What `f` returns for each number below `count`, in their order.
fn in_parallel<R: Send>(jobs: NonZeroUsize, count: usize, f: impl Fn(usize) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..jobs.get().min(count) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Relaxed);
                    if number >= count {
                        return;
                    }
                    let result = f(number);
                    let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                    results.push((number, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}
