//! From the text of a trace to what collapses did.
//!
//! Only what a thread does between the marks that it sets itself counts, and of that no flush that somebody else asked for. Of the
//! ranges of single pages those of representatives are kept; that there were others is not forgotten, since a flush may be theirs.

use serde::{Deserialize, Serialize};

use crate::geometry::Place;

/// What a thread writes before a collapse, with the number of its address space, and after it.
pub(crate) const BEGIN: &str = "pagefold begin ";
pub(crate) const END: &str = "pagefold end";

/// What a collapse did that a process asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Collapse {
    /// The number of the address space.
    pub mm: usize,
    /// What happened; the first is always [`Event::Begin`].
    pub happened: Vec<Happened>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Happened {
    /// What.
    pub event: Event,
    /// Followers were told of pages that represent nothing, before the next event.
    pub others: bool,
    /// A translation cache was flushed before the next event.
    pub flushed: bool,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Event {
    /// It begins.
    Begin,
    /// Followers are told of pages of a mapping.
    Range {
        /// The place of the mapping.
        slot: usize,
        /// The page of the scenario.
        page: usize,
        /// How many, in pages of the scenario.
        pages: usize,
    },
    /// A part has ended.
    Ended {
        /// The name of the tracepoint.
        tracepoint: String,
        /// The name of the result.
        result: String,
    },
}

/// The collapses that a trace tells of. `place` says what is at the addresses of a range.
///
/// # Errors
/// If something is missing in it.
pub(crate) fn collapses(
    trace: &str,
    place: impl Fn(usize, usize) -> Option<Place>,
) -> Result<Vec<Collapse>, String> {
    let mut done = Vec::new();
    let mut open: Option<(&str, Collapse)> = None;
    for line in trace.lines() {
        if let Some((_, counts)) = line.split_once("entries-in-buffer/entries-written:") {
            let mut counts = counts.split_whitespace().next().unwrap_or("").split('/');
            if counts.next() != counts.next() {
                return Err("the kernel's buffer was too small for all events".to_owned());
            }
        }
        if line.starts_with('#') {
            continue;
        }
        let Some(line) = Line::parse(line) else {
            continue;
        };
        if line.event == "tracing_mark_write" {
            if let Some(mm) = line.text.strip_prefix(BEGIN) {
                let mm = mm.trim().parse().map_err(|_| format!("a mark of `{mm}`"))?;
                let mut collapse = Collapse {
                    mm,
                    happened: Vec::new(),
                };
                collapse.push(Event::Begin);
                open = Some((line.task, collapse));
            } else if line.text.trim() == END {
                done.extend(open.take().map(|(_, collapse)| collapse));
            }
            continue;
        }
        if let Some((task, collapse)) = &mut open
            && *task == line.task
        {
            collapse.add(&line, &place)?;
        }
    }
    match open {
        None => Ok(done),
        Some(_) => Err("a collapse has no end in the trace".to_owned()),
    }
}

impl Collapse {
    fn push(&mut self, event: Event) {
        self.happened.push(Happened {
            event,
            others: false,
            flushed: false,
        });
    }

    fn last(&mut self) -> Option<&mut Happened> {
        self.happened.last_mut()
    }

    fn add(
        &mut self,
        line: &Line<'_>,
        place: &impl Fn(usize, usize) -> Option<Place>,
    ) -> Result<(), String> {
        match line.event {
            "kvm_unmap_hva_range" => {
                let (start, end) = line.range()?;
                match place(start, end) {
                    Some(Place { slot, page, pages }) => {
                        self.push(Event::Range { slot, page, pages });
                    }
                    None => {
                        if let Some(last) = self.last() {
                            last.others = true;
                        }
                    }
                }
            }
            "tlb_flush" => {
                if let Some(last) = self.last()
                    && line.is_of_its_own()
                {
                    last.flushed = true;
                }
            }
            tracepoint => {
                let result = line.field("result").or_else(|| line.field("status"));
                let result = result.ok_or_else(|| format!("no result in `{}`", line.text))?;
                self.push(Event::Ended {
                    tracepoint: tracepoint.to_owned(),
                    result: result.to_owned(),
                });
            }
        }
        Ok(())
    }
}

/// A line: `  name-123   [001] ..... 45336.726056: event: text`.
struct Line<'a> {
    /// The number of the thread.
    task: &'a str,
    event: &'a str,
    text: &'a str,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (who, rest) = line.split_once(" [")?;
        let (_, task) = who.trim().rsplit_once('-')?;
        let (_, rest) = rest.split_once(": ")?;
        let (event, text) = rest.split_once(": ")?;
        Some(Self { task, event, text })
    }

    /// What follows `name=`, up to a comma.
    fn field(&self, name: &str) -> Option<&'a str> {
        let mut fields = self.text.split(", ");
        let value = fields.find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
        value.map(str::trim)
    }

    /// `mmu notifier unmap range: 0x... -- 0x...`.
    fn range(&self) -> Result<(usize, usize), String> {
        let numbers = self
            .text
            .rsplit_once(": ")
            .map_or(self.text, |(_, numbers)| numbers);
        let hex = |text: &str| {
            let text = text.trim();
            usize::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16)
                .map_err(|_| format!("no range in `{}`", self.text))
        };
        let (start, end) = numbers.split_once("--").unwrap_or((numbers, ""));
        Ok((hex(start)?, hex(end)?))
    }

    /// A flush that the thread does or asks other CPUs for; not one that comes with a switch to another task, or that another CPU asks for.
    fn is_of_its_own(&self) -> bool {
        self.text.contains("reason:local") || self.text.contains("reason:remote IPI send")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of Linux 6.18, without most of the pages: a process collapses what another one maps as well.
    const TRACE: &str = include_str!("recorded.txt");

    const START: usize = 0x20_0000_0000;
    const STRIDE: usize = 0x100_0000;

    /// Pages 0 and 31 represent two.
    fn place(start: usize, end: usize) -> Option<Place> {
        let (slot, within) = ((start - START) / STRIDE, start % STRIDE);
        let (page, pages) = match (within, end - start) {
            (0, 0x1000) => (0, 1),
            (0x1f000, 0x1000) => (1, 1),
            (0, 0x20_0000) => (0, 2),
            _ => return None,
        };
        Some(Place { slot, page, pages })
    }

    fn range(slot: usize, page: usize, pages: usize, others: bool, flushed: bool) -> Happened {
        let event = Event::Range { slot, page, pages };
        Happened {
            event,
            others,
            flushed,
        }
    }

    fn ended(tracepoint: &str) -> Happened {
        Happened {
            event: Event::Ended {
                tracepoint: tracepoint.to_owned(),
                result: "pte_mapped_hugepage".to_owned(),
            },
            others: false,
            flushed: false,
        }
    }

    #[test]
    fn a_recorded_collapse_is_understood() {
        let collapses = collapses(TRACE, place).unwrap();
        let [Collapse { mm: 0, happened }] = collapses.as_slice() else {
            panic!("one collapse of the first process: {collapses:?}");
        };
        assert_eq!(happened[0].event, Event::Begin);
        assert!(!happened[0].flushed, "those are flushes of switches");
        let expected = [
            range(1, 0, 1, false, false),
            range(0, 0, 1, true, false),
            range(1, 1, 1, false, false),
            range(0, 1, 1, false, true),
            range(1, 0, 2, false, true),
            range(0, 0, 2, false, true),
            ended("mm_khugepaged_collapse_file"),
            ended("mm_khugepaged_scan_file"),
        ];
        assert_eq!(happened[1..], expected);
    }

    #[test]
    fn a_trace_with_a_gap_is_none() {
        let lossy = TRACE.replace("1673/1673", "1673/1700");
        assert!(collapses(&lossy, place).is_err());
        let (cut, _) = TRACE.rsplit_once("tracing_mark_write").unwrap();
        assert!(collapses(cut, place).is_err());
    }

    #[test]
    fn what_others_do_does_not_count() {
        let other = TRACE.replace("-23625   [001]", "-23626   [001]");
        let collapses = collapses(&other, place);
        // The end is not its own either, and somebody's all the same.
        assert_eq!(collapses.unwrap()[0].happened.len(), 1);
    }
}
