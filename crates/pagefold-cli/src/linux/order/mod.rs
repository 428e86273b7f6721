//! `pagefold linux --events`: in which order a kernel does what others see of a collapse, and in which order the model does.
//!
//! The ranges and the results must be the same, one after the other. Flushes are not held against each other one by one, since a kernel may
//! put them off and make one of several, or make none for a process that no CPU runs. Two things are asked for instead: what was
//! taken from the process that collapses is flushed before the first thing that the model does after its flush; and nothing is flushed if
//! nothing was taken.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use pagefold::collapse::{Part, ScanResult};
use pagefold::protocol::Protocol;
use pagefold_linux::events::{self, Event};
use pagefold_linux::{Ran, Unable};
use pagefold_litmus::Scenario;
use pagefold_machine::model::{self, Alone, CollapseStep, RunConfig};

/// What a kernel calls the parts: the names of its tracepoints.
const PARTS: [(Part, &str); 5] = [
    (Part::ScanFile, "mm_khugepaged_scan_file"),
    (Part::CollapseFile, "mm_khugepaged_collapse_file"),
    (Part::ScanPmd, "mm_khugepaged_scan_pmd"),
    (Part::CollapseHugePage, "mm_collapse_huge_page"),
    (Part::Isolate, "mm_collapse_huge_page_isolate"),
];

/// What its trace events call the results.
const RESULTS: [(ScanResult, &str); 27] = [
    (ScanResult::Succeed, "succeeded"),
    (ScanResult::PmdMapped, "page_pmd_mapped"),
    (ScanResult::PteMappedHugepage, "pte_mapped_hugepage"),
    // A process of the kernel has the upper tables, where the model has none yet: never "pmd_null".
    (ScanResult::PmdNull, "pmd_none"),
    (ScanResult::PmdNone, "pmd_none"),
    (ScanResult::Fail, "failed"),
    (ScanResult::VmaCheck, "vma_check_failed"),
    (ScanResult::VmaNull, "vma_null"),
    (ScanResult::AnyProcess, "no_process_for_page"),
    (ScanResult::PteNonPresent, "pte_non_present"),
    (ScanResult::PteUffdWp, "pte_uffd_wp"),
    (ScanResult::PageRo, "no_writable_page"),
    (ScanResult::PageAnon, "page_not_anon"),
    (ScanResult::PageNull, "page_null"),
    (ScanResult::LackReferencedPage, "lack_referenced_page"),
    (ScanResult::PageCompound, "page_compound"),
    (ScanResult::PageLock, "page_locked"),
    (ScanResult::PageCount, "not_suitable_page_count"),
    (ScanResult::PageDirtyOrWriteback, "page_dirty_or_writeback"),
    (ScanResult::PageFilled, "page_filled"),
    (ScanResult::Truncated, "truncated"),
    (ScanResult::ExceedNonePte, "exceed_none_pte"),
    (ScanResult::ExceedSharedPte, "exceed_shared_pte"),
    (ScanResult::ExceedSwapPte, "exceed_swap_pte"),
    (ScanResult::StoreFailed, "store_failed"),
    (ScanResult::CopyMc, "copy_poisoned_page"),
    (ScanResult::AllocHugePageFail, "alloc_huge_page_failed"),
];

/// How the orders compare.
#[derive(Debug)]
pub(crate) struct Order {
    /// What the model does, in words.
    pub(crate) expected: Vec<String>,
    /// What the kernel did, and how often; those that differ first.
    pub(crate) seen: Vec<Seen>,
}

/// What the kernel did in some iterations.
#[derive(Debug)]
pub(crate) struct Seen {
    /// In words.
    pub(crate) events: Vec<String>,
    /// How often.
    pub(crate) iterations: u64,
    /// How it differs.
    pub(crate) difference: Option<String>,
}

impl Order {
    /// Whether a kernel did anything in another order.
    pub(crate) fn differs(&self) -> bool {
        self.seen.iter().any(|seen| seen.difference.is_some())
    }
}

/// What the model does of a scenario, one thread after the other; or why there is nothing to compare.
pub(crate) fn expected(scenario: &Scenario, protocol: Protocol) -> Result<Alone, Unable> {
    let pointless = |why: &str| Err(Unable::Pointless(why.to_owned()));
    let mut config = RunConfig::new(protocol);
    config.by_system_calls = true;
    match model::one_by_one(scenario, &config).expect("what was loaded fits the model") {
        None => pointless("its threads cannot run one after the other"),
        Some(alone) if alone.collapses.is_empty() => pointless("no process asks for a collapse"),
        Some(alone) => Ok(alone),
    }
}

/// Compares what a kernel did with what the model does.
pub(crate) fn compare(scenario: &Scenario, alone: &Alone, ran: &Ran) -> Order {
    let expected: Vec<Expected> = alone
        .collapses
        .iter()
        .map(|collapse| Expected::of(scenario, collapse, &ran.events))
        .collect();
    let mut seen: BTreeMap<_, u64> = BTreeMap::new();
    for (collapses, iterations) in &ran.collapses {
        let difference = difference(scenario, &expected, collapses);
        let happened = collapses.iter().flat_map(|collapse| &collapse.happened);
        let events: Vec<String> = happened
            .flat_map(|happened| in_words(scenario, &happened.event, happened.flushed))
            .collect();
        *seen
            .entry((difference.is_none(), events, difference))
            .or_default() += iterations;
    }
    let seen = seen.into_iter();
    let steps = expected.iter().flat_map(|collapse| &collapse.steps);
    Order {
        expected: steps
            .flat_map(|step| in_words(scenario, &step.event, step.flushes))
            .collect(),
        seen: seen
            .map(|((_, events, difference), iterations)| Seen {
                events,
                iterations,
                difference,
            })
            .collect(),
    }
}

/// A collapse of the model, in the words of a kernel, as far as that can be seen.
struct Expected {
    mm: usize,
    /// The kernel's ranges can be seen.
    ranges: bool,
    steps: Vec<Step>,
}

struct Step {
    event: Event,
    /// Something is flushed before the next one.
    flushes: bool,
    /// Something of this step or those before it, from this number on, must have been flushed before the next one.
    due_since: Option<usize>,
}

impl Expected {
    fn of(scenario: &Scenario, collapse: &model::Collapse, visible: &[String]) -> Self {
        let visible = |event: &str| visible.iter().any(|other| other == event);
        let mut this = Self {
            mm: collapse.mm.index(),
            ranges: visible(events::RANGE),
            steps: Vec::new(),
        };
        this.push(Event::Begin);
        // The step after which something that was taken from the process itself has not been flushed yet.
        let mut taken = None;
        for step in &collapse.steps {
            match *step {
                CollapseStep::Range {
                    mapping,
                    page,
                    pages,
                    takes,
                } => {
                    if this.ranges {
                        this.push(Event::Range {
                            slot: events::slot(scenario, mapping),
                            page,
                            pages,
                        });
                    }
                    if takes && scenario[mapping].mm == collapse.mm {
                        taken = Some(this.steps.len() - 1);
                    }
                }
                CollapseStep::Flush(mm) => {
                    if let Some(last) = this.steps.last_mut().filter(|_| visible(events::FLUSH)) {
                        last.flushes = true;
                        if mm == collapse.mm {
                            last.due_since = taken.take();
                        }
                    }
                }
                CollapseStep::Ended(part, result) => {
                    let tracepoint = name_of(&PARTS, part);
                    if visible(tracepoint) {
                        this.push(Event::Ended {
                            tracepoint: tracepoint.to_owned(),
                            result: name_of(&RESULTS, result).to_owned(),
                        });
                    }
                }
            }
        }
        this
    }

    fn push(&mut self, event: Event) {
        self.steps.push(Step {
            event,
            flushes: false,
            due_since: None,
        });
    }
}

fn name_of<K: PartialEq>(table: &[(K, &'static str)], key: K) -> &'static str {
    let row = table.iter().find(|(other, _)| *other == key);
    row.map_or("a result without a name", |(_, name)| name)
}

/// How a kernel's collapses differ from the model's, if they do.
fn difference(
    scenario: &Scenario,
    expected: &[Expected],
    seen: &[events::Collapse],
) -> Option<String> {
    if expected.len() != seen.len() {
        return Some(format!(
            "{} collapses instead of {}",
            seen.len(),
            expected.len()
        ));
    }
    let mut pairs = expected.iter().zip(seen);
    pairs.find_map(|(expected, seen)| {
        if expected.mm != seen.mm {
            return Some("another process collapses first".to_owned());
        }
        order_differs(scenario, expected, seen).or_else(|| flushes_differ(scenario, expected, seen))
    })
}

fn order_differs(
    scenario: &Scenario,
    expected: &Expected,
    seen: &events::Collapse,
) -> Option<String> {
    let longest = expected.steps.len().max(seen.happened.len());
    (0..longest).find_map(|index| {
        let expected = expected.steps.get(index).map(|step| &step.event);
        let seen = seen.happened.get(index).map(|happened| &happened.event);
        (expected != seen).then(|| {
            let say = |event: Option<&Event>| {
                let words = event
                    .into_iter()
                    .flat_map(|event| in_words(scenario, event, false));
                words.last().unwrap_or_else(|| "the end".to_owned())
            };
            format!("{} where the model has {}", say(seen), say(expected))
        })
    })
}

/// Of two that do the same in the same order.
fn flushes_differ(
    scenario: &Scenario,
    expected: &Expected,
    seen: &events::Collapse,
) -> Option<String> {
    let say = |index: usize| in_words(scenario, &expected.steps[index].event, false).join("");
    expected.steps.iter().enumerate().find_map(|(index, step)| {
        let here = &seen.happened[index];
        if let Some(since) = step.due_since
            && !seen.happened[since..=index]
                .iter()
                .any(|happened| happened.flushed)
        {
            return Some(format!("no flush after {}", say(index)));
        }
        let takes = step.flushes || here.others || matches!(here.event, Event::Range { .. });
        (here.flushed && !takes && expected.ranges)
            .then(|| format!("a flush after {}, of nothing", say(index)))
    })
}

/// An event in words, and the flush after it.
fn in_words(scenario: &Scenario, event: &Event, flushed: bool) -> Vec<String> {
    let words = match event {
        Event::Begin => None,
        Event::Range { slot, page, pages } => {
            let mut mappings = scenario.mappings.iter().enumerate();
            let name = mappings
                .find(|(index, _)| {
                    events::slot(scenario, pagefold_litmus::MappingId::new(*index)) == *slot
                })
                .map_or("?", |(_, mapping)| mapping.name.as_str());
            Some(match pages {
                1 => format!("{name}[{page}]"),
                _ => format!("{name}[{page}..{}]", page + pages),
            })
        }
        Event::Ended { tracepoint, result } => {
            let name = tracepoint.trim_start_matches("mm_");
            Some(format!(
                "{}: {result}",
                name.trim_start_matches("khugepaged_")
            ))
        }
    };
    words
        .into_iter()
        .chain(flushed.then(|| "flush".to_owned()))
        .collect()
}
