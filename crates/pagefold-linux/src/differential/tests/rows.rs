//! Rows of the table: of each that looks at more than the step, what is of it, and what is near and is not.

use std::ops::Range;

use pagefold_litmus::MmId;

use super::super::compare::What;
use super::super::explained::explain;
use super::super::observe::{Cache, HUGE, OF_OBJECT, Observed, PRESENT, Space, State};
use super::super::sequence::Sequence;
use super::super::situation::Situation;
use crate::kernel::Version;
use crate::report::Seen;

const SMALL: State = PRESENT | OF_OBJECT;
const HUGE_OF_OBJECT: State = SMALL | HUGE;

/// The last step of a sequence of two address spaces, and what differs after it.
#[derive(Clone)]
struct Case {
    version: Version,
    sequence: Sequence,
    /// After each step.
    engine: Vec<Observed>,
    what: Vec<What>,
}

impl Case {
    /// These steps of A, after which there is nothing.
    fn new(steps: &str) -> Self {
        let text = format!(
            "MM rows
{{ shmem f[4] = {{ 1, 2, 3, 4 }}; mm A {{ x: mmap(f, MAP_SHARED); }} mm B {{ y: mmap(f, MAP_SHARED); }} mm C = fork(A);
  A: {steps} }}
P0 (B) {{ }}
"
        );
        let sequence = Sequence::parse(&text).unwrap();
        let spaces = vec![Some(Space::default()); 3];
        let seen = Observed {
            spaces,
            objects: vec![Cache::default()],
            ..Observed::default()
        };
        Self {
            version: Version(6, 18),
            engine: vec![seen; sequence.steps().count()],
            sequence,
            what: Vec::new(),
        }
    }

    fn on(mut self, version: Version) -> Self {
        self.version = version;
        self
    }

    /// What a step accesses.
    fn accessed(mut self, step: usize, pages: Range<usize>) -> Self {
        self.engine[step].accessed = Some(pages);
        self
    }

    /// What A has behind the end of the object after a step.
    fn behind_end(mut self, step: usize, pages: Range<usize>) -> Self {
        self.engine[step].spaces[0].as_mut().unwrap().behind_end = vec![pages];
        self
    }

    /// The object has a huge page after a step.
    fn huge(mut self, step: usize) -> Self {
        self.engine[step].objects[0].huge = vec![0];
        self
    }

    /// What the last step gives on pagefold, which is not what it gives on Linux.
    fn given(mut self, word: &str) -> Self {
        let last = self.engine.last_mut().unwrap();
        last.given = Some(Seen::Word(word.to_owned()));
        self.what.push(What::Given(String::new()));
        self
    }

    fn entries(mut self, mm: usize, pages: Range<usize>, kernel: State, engine: State) -> Self {
        self.what.push(What::Entries {
            mm: MmId::new(mm),
            pages,
            kernel,
            engine,
            text: String::new(),
        });
        self
    }

    fn row(&self) -> Option<&'static str> {
        let steps: Vec<_> = self.sequence.steps().collect();
        let situation = Situation {
            version: self.version,
            steps: &steps,
            engine: &self.engine,
            what: &self.what,
        };
        explain(&situation).map(|known| known.name)
    }
}

#[test]
fn what_is_behind_the_end_is_so_where_a_huge_page_of_the_object_is() {
    let name = Some("huge-page-behind-the-end");
    let load = || {
        Case::new("r = x[1];")
            .accessed(0, 400..401)
            .behind_end(0, 390..512)
    };
    let through = load().given("SIGBUS").entries(0, 100..512, SMALL, 0);
    assert_eq!(through.row(), name);
    assert_eq!(through.clone().on(Version(6, 17)).row(), None);
    assert_eq!(through.clone().accessed(0, 300..301).row(), None);
    let nothing_behind = through.clone().behind_end(0, 0..0);
    assert_eq!(nothing_behind.row(), None);
    let content = load().given("HWPOISON").entries(0, 390..512, SMALL, 0);
    assert_eq!(content.row(), None);
    assert_eq!(through.entries(0, 600..601, 0, SMALL).row(), None);
}

/// Such a huge page is mapped to its end also by a fault before that of the object, and by no more.
#[test]
fn a_fault_before_the_end_maps_what_is_behind() {
    let load = || Case::new("x[0];").accessed(0, 5..6).behind_end(0, 390..512);
    let behind = load().entries(0, 390..512, SMALL, 0);
    assert_eq!(behind.row(), Some("huge-page-behind-the-end"));
    assert_eq!(behind.on(Version(6, 17)).row(), None);
    assert_eq!(load().entries(0, 380..512, SMALL, 0).row(), None);
    assert_eq!(load().entries(1, 390..512, SMALL, 0).row(), None);
}

#[test]
fn a_cut_huge_page_explains_that_a_fault_maps_more() {
    let cut = Case::new("fallocate_punch(f[1]); x[0];")
        .accessed(1, 5..6)
        .entries(0, 6..8, SMALL, 0);
    assert_eq!(cut.clone().huge(0).row(), Some("folios-of-all-sizes"));
    assert_eq!(cut.clone().row(), None);
    // It is there still.
    assert_eq!(cut.clone().huge(0).huge(1).row(), None);
    let huge = cut.huge(0).entries(0, 512..1024, HUGE_OF_OBJECT, 0);
    assert_eq!(huge.row(), None);
}
