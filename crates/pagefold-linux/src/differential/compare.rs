//! What the two sides showed, held against each other.

use std::ops::Range;

use pagefold_litmus::{MmId, Scenario};

use super::areas::{self, Area};
use super::explained::{Known, explain};
use super::observe::{Cache, Content, Observed, Run, Space, State, describe};
use super::sequence::Sequence;
use super::situation::Situation;
use crate::kernel::Version;
use crate::report::Seen;

/// Something that is not the same on both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// The step does not end.
    Hang(String),
    /// What the step gave.
    Given(String),
    /// What the entries of a stretch of pages of an address space say.
    Entries {
        mm: MmId,
        pages: Range<usize>,
        kernel: State,
        engine: State,
        text: String,
    },
    /// What is mapped somewhere, or how.
    Mapped(String),
    /// How many pages are there.
    Counted(String),
    /// Which pages an object has.
    Pages(String),
    /// How large an object is, or what a page holds.
    Content(String),
}

impl What {
    /// In words.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Hang(text)
            | Self::Given(text)
            | Self::Mapped(text)
            | Self::Counted(text)
            | Self::Pages(text)
            | Self::Content(text)
            | Self::Entries { text, .. } => text,
        }
    }
}

/// Where two sides are not the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// After which step.
    pub(super) step: usize,
    /// What differs: the kernel's first.
    pub(super) what: Vec<What>,
}

/// How two sides compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Compared {
    /// They are the same.
    Same,
    /// Up to a difference that is in the table.
    Explained(Known),
    /// They are not.
    Different(Difference),
}

/// Up to the first difference.
pub(super) fn compare(
    sequence: &Sequence,
    version: Version,
    kernel: &[Observed],
    engine: &[Observed],
) -> Compared {
    for (step, (seen, expected)) in kernel.iter().zip(engine).enumerate() {
        let what = differences(&sequence.scenario, seen, expected);
        if !what.is_empty() {
            return judge(
                sequence,
                version,
                &engine[..=step],
                Difference { step, what },
            );
        }
    }
    Compared::Same
}

/// A step that does not end on the real kernel.
pub(super) fn hang(sequence: &Sequence, version: Version, step: usize, why: &str) -> Compared {
    let what = vec![What::Hang(why.to_owned())];
    judge(sequence, version, &[], Difference { step, what })
}

/// Whether a difference is in the table. The engine's side is that of the steps up to it.
fn judge(
    sequence: &Sequence,
    version: Version,
    engine: &[Observed],
    difference: Difference,
) -> Compared {
    let steps: Vec<_> = sequence.steps().take(difference.step + 1).collect();
    let situation = Situation {
        version,
        steps: &steps,
        engine,
        what: &difference.what,
    };
    match explain(&situation) {
        Some(known) => Compared::Explained(known),
        None => Compared::Different(difference),
    }
}

fn differences(scenario: &Scenario, kernel: &Observed, engine: &Observed) -> Vec<What> {
    let mut what = Vec::new();
    if kernel.given != engine.given {
        let say = |given: &Option<Seen>| given.as_ref().map_or("nothing".into(), Seen::to_string);
        what.push(What::Given(format!(
            "it gives {} on Linux, {} on pagefold",
            say(&kernel.given),
            say(&engine.given)
        )));
    }
    for (id, (kernel, engine)) in kernel.spaces.iter().zip(&engine.spaces).enumerate() {
        let mm = MmId::new(id);
        match (kernel, engine) {
            (Some(kernel), Some(engine)) => {
                space(scenario, mm, kernel, engine, &mut what);
            }
            (None, None) => {}
            _ => what.push(What::Given(format!(
                "{} is there on one side only",
                scenario[mm].name
            ))),
        }
    }
    for (id, (kernel, engine)) in kernel.objects.iter().zip(&engine.objects).enumerate() {
        object(&scenario.objects[id].name, kernel, engine, &mut what);
    }
    what
}

fn space(scenario: &Scenario, mm: MmId, kernel: &Space, engine: &Space, what: &mut Vec<What>) {
    let name = &scenario[mm].name;
    if kernel.runs == engine.runs {
        counts(name, kernel, engine, what);
    } else {
        // As many pages are there as the entries say, which are not the same.
        runs(mm, name, &kernel.runs, &engine.runs, what);
    }
    mapped(scenario, name, &kernel.areas, &engine.areas, what);
    contents(
        |content| {
            let mapping = &scenario.mappings[content.of].name;
            format!("{name}: {mapping}[{}]", content.page)
        },
        &kernel.contents,
        &engine.contents,
        what,
    );
}

/// What is mapped on one side only, or not alike.
fn mapped(scenario: &Scenario, name: &str, kernel: &[Area], engine: &[Area], what: &mut Vec<What>) {
    let only = |these: &[Area], others: &[Area]| -> String {
        let these = these
            .iter()
            .filter(|area| !others.iter().any(|other| other.is_like(area)));
        let object = |id: usize| scenario.objects[id].name.clone();
        let these: Vec<String> = these.map(|area| areas::describe(area, object)).collect();
        match these.is_empty() {
            true => "nothing more".to_owned(),
            false => these.join(", "),
        }
    };
    let alike = kernel.len() == engine.len()
        && kernel
            .iter()
            .zip(engine)
            .all(|(kernel, engine)| kernel.is_like(engine));
    if !alike {
        what.push(What::Mapped(format!(
            "{name} maps {} on Linux, {} on pagefold",
            only(kernel, engine),
            only(engine, kernel)
        )));
    }
}

/// How much of what is mapped alike is there, and the books of the whole.
fn counts(name: &str, kernel: &Space, engine: &Space, what: &mut Vec<What>) {
    let areas = kernel.areas.iter().zip(&engine.areas);
    for (kernel, engine) in areas.filter(|(kernel, engine)| kernel.is_like(engine)) {
        if kernel.counts != engine.counts {
            what.push(What::Counted(format!(
                "{name}: of pages {} to {} there are {} on Linux, {} on pagefold",
                kernel.first,
                kernel.first + kernel.pages - 1,
                kernel.counts,
                engine.counts
            )));
        }
    }
    if kernel.books != engine.books {
        what.push(What::Counted(format!(
            "{name} has {} on Linux, {} in the books of pagefold",
            kernel.books, engine.books
        )));
    }
}

fn object(name: &str, kernel: &Cache, engine: &Cache, what: &mut Vec<What>) {
    if kernel.size != engine.size {
        what.push(What::Content(format!(
            "{name} has {} pages on Linux, {} on pagefold",
            kernel.size, engine.size
        )));
    }
    if kernel.runs != engine.runs {
        let say = |runs: &[Run]| -> String {
            let runs = runs
                .iter()
                .map(|run| format!("{} to {}", run.first, run.first + run.pages - 1));
            let runs: Vec<String> = runs.collect();
            runs.join(", ")
        };
        what.push(What::Pages(format!(
            "{name} has pages {} on Linux, {} on pagefold",
            say(&kernel.runs),
            say(&engine.runs)
        )));
    }
    contents(
        |content| format!("{name}[{}]", content.page),
        &kernel.contents,
        &engine.contents,
        what,
    );
}

/// Says for each stretch of pages where the two differ what they are.
fn runs(mm: MmId, name: &str, kernel: &[Run], engine: &[Run], what: &mut Vec<What>) {
    let mut borders: Vec<usize> = kernel
        .iter()
        .chain(engine)
        .flat_map(|run| [run.first, run.first + run.pages])
        .collect();
    borders.sort_unstable();
    borders.dedup();
    for border in borders.windows(2) {
        let (first, end) = (border[0], border[1]);
        let state = |runs: &[Run]| -> State {
            let run = runs
                .iter()
                .find(|run| (run.first..run.first + run.pages).contains(&first));
            run.map_or(0, |run| run.state)
        };
        let (kernel, engine) = (state(kernel), state(engine));
        if kernel != engine {
            let text = format!(
                "{name}: page {first} to {}: {} on Linux, {} on pagefold",
                end - 1,
                describe(kernel),
                describe(engine)
            );
            what.push(What::Entries {
                mm,
                pages: first..end,
                kernel,
                engine,
                text,
            });
        }
    }
}

fn contents(
    name: impl Fn(&Content) -> String,
    kernel: &[Content],
    engine: &[Content],
    what: &mut Vec<What>,
) {
    for content in kernel {
        let other = engine
            .iter()
            .find(|other| (other.of, other.page) == (content.of, content.page));
        if let Some(other) = other
            && other.value != content.value
        {
            what.push(What::Content(format!(
                "{} is {} on Linux, {} on pagefold",
                name(content),
                content.value,
                other.value
            )));
        }
    }
}
