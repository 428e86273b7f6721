//! Sequences by chance, small enough for the model.

use std::fmt::Write;

use crate::random::Random;

/// A mapping that statements can name.
#[derive(Clone, Debug)]
struct Mapping {
    mm: usize,
    name: &'static str,
    pages: usize,
    /// The object; none is anonymous memory.
    object: Option<usize>,
    /// It has a userfaultfd from the start.
    registered: bool,
}

/// The names of the address spaces; the last is forked from the first.
const MMS: [&str; 3] = ["A", "B", "C"];
const CHILD: usize = 2;

/// Names of mappings, by address space and number.
const NAMES: [[&str; 3]; 2] = [["x", "z", "a"], ["y", "w", "b"]];

const OBJECTS: [&str; 2] = ["f", "g"];

const MODES: [&str; 7] = [
    "MISSING",
    "WP",
    "WP",
    "MINOR",
    "MISSING|WP",
    "MINOR|WP",
    "WP|WP_ASYNC",
];

pub(super) struct Generator<'r> {
    random: &'r mut Random,
    /// Pages of each object.
    objects: Vec<usize>,
    mappings: Vec<Mapping>,
    /// Most of the memory is of no object, as what UFFDIO_MOVE moves.
    mostly_anonymous: bool,
    forks: bool,
    forked: bool,
    results: usize,
}

/// The text of a sequence.
pub(super) fn generate(random: &mut Random) -> String {
    let generator = Generator {
        random,
        objects: Vec::new(),
        mappings: Vec::new(),
        mostly_anonymous: false,
        forks: false,
        forked: false,
        results: 0,
    };
    generator.text()
}

impl Generator<'_> {
    fn one_in(&mut self, cases: usize) -> bool {
        self.random.below(cases) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.random.below(from.len())]
    }

    /// The size of an object or of anonymous memory; mostly one huge page.
    fn size(&mut self) -> usize {
        self.pick(&[2, 2, 2, 2, 2, 4, 4, 1, 3])
    }

    fn text(mut self) -> String {
        let mut text = String::from("MM random\n{\n");
        let objects = 1 + usize::from(self.one_in(4));
        for name in &OBJECTS[..objects] {
            let pages = self.size();
            self.objects.push(pages);
            let contents: Vec<String> = (0..pages)
                .map(|page| match self.one_in(4) {
                    true => "hole".to_owned(),
                    false => (page + 1).to_string(),
                })
                .collect();
            let contents = contents.join(", ");
            writeln!(text, "    shmem {name}[{pages}] = {{ {contents} }};").expect("a string");
        }
        let mms = 1 + usize::from(self.one_in(2));
        self.mostly_anonymous = self.one_in(4);
        for mm in 0..mms {
            self.declare(mm, &mut text);
        }
        self.forks = self.one_in(3);
        if self.forks {
            writeln!(text, "    mm {} = fork({});", MMS[CHILD], MMS[0]).expect("a string");
        }
        let steps = 3 + self.random.below(10);
        for _ in 0..steps {
            let mapping = self.mapping();
            let statement = self.statement(&mapping);
            writeln!(text, "    {}: {statement}", MMS[mapping.mm]).expect("a string");
        }
        text.push_str("}\n");
        let mapping = self.mapping();
        let statement = self.statement(&mapping);
        writeln!(text, "P0 ({}) {{ {statement} }}", MMS[mapping.mm]).expect("a string");
        self.looks(mms, &mut text);
        text
    }

    fn declare(&mut self, mm: usize, text: &mut String) {
        let mut body = String::new();
        // Two pages each are what the model has room for.
        let mut room = 8;
        for name in &NAMES[mm][..1 + self.random.below(3)] {
            let name = *name;
            let anonymous = self.one_in(3) != self.mostly_anonymous;
            let object = (!anonymous).then(|| self.random.below(self.objects.len()));
            let pages = match object {
                Some(object) => self.objects[object],
                None => self.size(),
            };
            let takes = pages.next_multiple_of(2);
            if takes > room {
                continue;
            }
            room -= takes;
            let backing = match object {
                Some(object) => OBJECTS[object].to_owned(),
                None => format!("ANON[{pages}]"),
            };
            let sharing = match object.is_some() && self.one_in(2) {
                true => "MAP_SHARED",
                false => "MAP_PRIVATE",
            };
            write!(body, " {name}: mmap({backing}, {sharing});").expect("a string");
            let registered = self.one_in(if self.mostly_anonymous { 2 } else { 4 });
            if registered {
                let modes = self.modes(object);
                write!(body, " uffd({name}, {modes}|SIGBUS_ON_FAULT);").expect("a string");
            }
            self.mappings.push(Mapping {
                mm,
                name,
                pages,
                object,
                registered,
            });
        }
        writeln!(text, "    mm {} {{{body} }}", MMS[mm]).expect("a string");
    }

    fn modes(&mut self, object: Option<usize>) -> &'static str {
        let modes = self.pick(&MODES);
        match object {
            None if modes.contains("MINOR") => "WP",
            _ => modes,
        }
    }

    /// A mapping of an address space that is there.
    fn mapping(&mut self) -> Mapping {
        let number = self.random.below(self.mappings.len());
        let mut mapping = self.mappings[number].clone();
        if self.forked && mapping.mm == 0 && self.one_in(2) {
            mapping.mm = CHILD;
        }
        mapping
    }

    fn page(&mut self, mapping: &Mapping) -> String {
        format!("{}[{}]", mapping.name, self.random.below(mapping.pages))
    }

    fn range(&mut self, mapping: &Mapping) -> String {
        if self.one_in(2) {
            return mapping.name.to_owned();
        }
        let first = self.random.below(mapping.pages);
        let pages = 1 + self.random.below(mapping.pages - first);
        format!("{}[{first}..{}]", mapping.name, first + pages)
    }

    fn value(&mut self) -> usize {
        10 + self.random.below(90)
    }

    fn statement(&mut self, mapping: &Mapping) -> String {
        let name = mapping.name;
        match self.random.below(if mapping.registered { 52 } else { 38 }) {
            0..3 => {
                let page = self.page(mapping);
                self.result(&page)
            }
            3..7 => format!("{} = {};", self.page(mapping), self.value()),
            7..12 => {
                let range = self.range(mapping);
                self.result(&format!("madvise({range}, MADV_COLLAPSE)"))
            }
            12..15 => self.advise(mapping, "MADV_DONTNEED"),
            15..17 => {
                let advice = self.pick(&["MADV_POPULATE_READ", "MADV_POPULATE_WRITE"]);
                self.advise(mapping, advice)
            }
            17..19 => {
                let advice = self.pick(&["MADV_GUARD_INSTALL", "MADV_GUARD_REMOVE"]);
                self.advise(mapping, advice)
            }
            19 => self.advise(mapping, "MADV_COLD"),
            20..22 => {
                let range = self.range(mapping);
                let permission = self.pick(&["PROT_NONE", "PROT_READ", "PROT_READ|PROT_WRITE"]);
                self.result(&format!("mprotect({range}, {permission})"))
            }
            22 => {
                let range = self.range(mapping);
                self.result(&format!("munmap({range})"))
            }
            23..25 => self.remap(mapping),
            25..27 if self.forks && !self.forked && mapping.mm == 0 => {
                self.forked = true;
                self.result(&format!("fork({})", MMS[CHILD]))
            }
            25..27 => {
                let page = self.page(mapping);
                self.result(&format!("gup({page})"))
            }
            27..29 => {
                let (page, value) = (self.page(mapping), self.value());
                self.result(&format!("gup_write({page}, {value})"))
            }
            29 => {
                let page = self.page(mapping);
                self.result(&format!("mincore({page})"))
            }
            30..32 => {
                let object = self.object(mapping);
                let pages = self.random.below(self.objects[object] + 1);
                self.result(&format!("truncate({}, {pages})", OBJECTS[object]))
            }
            32..34 => {
                let object = self.object(mapping);
                let page = self.random.below(self.objects[object]);
                self.result(&format!("fallocate_punch({}[{page}])", OBJECTS[object]))
            }
            34 => {
                let modes = self.modes(mapping.object);
                self.result(&format!("uffd_register({name}, {modes}|SIGBUS_ON_FAULT)"))
            }
            35 => {
                let end = self.pick(&["uffd_unregister", "uffd_unregister", "uffd_close"]);
                self.result(&format!("{end}({name})"))
            }
            36 => {
                let page = self.page(mapping);
                self.result(&format!("proc_mem_read({page})"))
            }
            37 => {
                let (page, value) = (self.page(mapping), self.value());
                self.result(&format!("proc_mem_write({page}, {value})"))
            }
            38..40 => {
                let (page, value) = (self.page(mapping), self.value());
                let mode = self.pick(&["", "", ", MODE_WP"]);
                self.result(&format!("uffdio_copy({page}, {value}{mode})"))
            }
            40..43 => {
                let page = self.page(mapping);
                let off = self.pick(&["", "", ", 0"]);
                self.result(&format!("uffdio_writeprotect({page}{off})"))
            }
            43 => {
                let page = self.page(mapping);
                self.result(&format!("uffdio_zeropage({page})"))
            }
            44 => {
                let page = self.page(mapping);
                let mode = self.pick(&["", "", ", MODE_WP"]);
                self.result(&format!("uffdio_continue({page}{mode})"))
            }
            45 => {
                let page = self.page(mapping);
                self.result(&format!("uffdio_poison({page})"))
            }
            _ => self.move_pages(mapping),
        }
    }

    fn object(&mut self, mapping: &Mapping) -> usize {
        mapping
            .object
            .unwrap_or_else(|| self.random.below(self.objects.len()))
    }

    fn advise(&mut self, mapping: &Mapping, advice: &str) -> String {
        let range = self.range(mapping);
        self.result(&format!("madvise({range}, {advice})"))
    }

    /// To another mapping of the same address space, or within this one.
    fn remap(&mut self, mapping: &Mapping) -> String {
        let to = self.neighbour(mapping);
        let places = if self.one_in(6) && to.name != mapping.name {
            Some(self.places_of_two_sizes(mapping, &to))
        } else {
            self.places(mapping, &to)
        };
        match places {
            Some((from, to)) => self.result(&format!("mremap({from}, {to})")),
            None => self.result(&format!("{}[0]", mapping.name)),
        }
    }

    /// From another mapping of the same address space, or within this one.
    fn move_pages(&mut self, mapping: &Mapping) -> String {
        // Nothing else can be moved, nor anywhere else.
        let to = match mapping.object.is_some() && !self.one_in(4) {
            true => self.anonymous_neighbour(mapping),
            false => mapping.clone(),
        };
        let from = match self.one_in(8) {
            true => self.neighbour(mapping),
            false => self.anonymous_neighbour(mapping),
        };
        let single = self.one_in(3);
        let places = (!single).then(|| self.places(&to, &from)).flatten();
        let (to, from) = places.unwrap_or_else(|| (self.page(&to), self.page(&from)));
        let holes = self.pick(&["", "", ", ALLOW_SRC_HOLES"]);
        self.result(&format!("uffdio_move({to}, {from}{holes})"))
    }

    /// A mapping of the same address space.
    fn neighbour(&mut self, mapping: &Mapping) -> Mapping {
        let all = self.neighbours(mapping);
        all[self.random.below(all.len())].clone()
    }

    /// One without an object, if there is one.
    fn anonymous_neighbour(&mut self, mapping: &Mapping) -> Mapping {
        let mut all = self.neighbours(mapping);
        all.retain(|other| other.object.is_none());
        match all.len() {
            0 => mapping.clone(),
            count => all[self.random.below(count)].clone(),
        }
    }

    /// The mappings of the same address space.
    fn neighbours(&self, mapping: &Mapping) -> Vec<Mapping> {
        // What a child maps has the names of its parent.
        let mm = if mapping.mm == CHILD { 0 } else { mapping.mm };
        let all = self.mappings.iter().filter(|other| other.mm == mm);
        all.cloned().collect()
    }

    /// As many pages of the one as of the other: whole huge pages, or those of the same numbers. Nothing, if there are none.
    fn places(&mut self, one: &Mapping, other: &Mapping) -> Option<(String, String)> {
        let least = one.pages.min(other.pages);
        if one.name == other.name || self.one_in(3) && least >= 2 {
            let huge = |pages: usize| pages / 2;
            if huge(least) == 0 {
                return None;
            }
            let first = 2 * self.random.below(huge(one.pages));
            let second = 2 * self.random.below(huge(other.pages));
            return Some((
                format!("{}[{first}..{}]", one.name, first + 2),
                format!("{}[{second}..{}]", other.name, second + 2),
            ));
        }
        let first = self.random.below(least);
        let end = first + 1 + self.random.below(least - first);
        Some((
            format!("{}[{first}..{end}]", one.name),
            format!("{}[{first}..{end}]", other.name),
        ))
    }

    /// Pages of the one and of the other from the same number on, often not as many.
    fn places_of_two_sizes(&mut self, one: &Mapping, other: &Mapping) -> (String, String) {
        let first = self.random.below(one.pages.min(other.pages));
        let mut place = |mapping: &Mapping| {
            let end = first + 1 + self.random.below(mapping.pages - first);
            format!("{}[{first}..{end}]", mapping.name)
        };
        (place(one), place(other))
    }

    /// A statement that keeps what it gives.
    fn result(&mut self, statement: &str) -> String {
        let number = self.results;
        self.results += 1;
        format!("r{number} = {statement};")
    }

    /// Reads a page of each mapping at the end.
    fn looks(&mut self, mms: usize, text: &mut String) {
        let mut there: Vec<usize> = (0..mms).collect();
        there.extend(self.forked.then_some(CHILD));
        for mm in there {
            let of = if mm == CHILD { 0 } else { mm };
            let mappings = self.mappings.clone();
            let mut body = String::new();
            for mapping in mappings.iter().filter(|mapping| mapping.mm == of) {
                let load = self.page(mapping);
                write!(body, " {}", self.result(&load)).expect("a string");
            }
            writeln!(text, "final({}) {{{body} }}", MMS[mm]).expect("a string");
        }
    }
}
