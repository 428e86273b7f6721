//! Scenarios by chance, from the tables of the language: a call or an actor that is added there is drawn here as well.
//!
//! What is not drawn: `mmap` in threads, and who waits for ever by its nature (events of a userfaultfd that nobody reads, faults that
//! no monitor answers), as nothing but a deadlock could come of it.

use std::fmt::Write;

use pagefold_litmus::{
    ACTORS, Advice, CALLS, CallSpec, Form, ParameterSpec, Role, Scenario, Shape, Vocabulary,
};

/// xorshift64*
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let value = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        value as usize % below
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.next(from.len())]
    }

    fn one_in(&mut self, cases: usize) -> bool {
        self.next(cases) == 0
    }
}

/// Pages of every object and every mapping: a huge page.
const PAGES: usize = 2;

/// Modes of a registration; nobody waits for a monitor.
const MODES: &[&str] = &["MISSING", "WP", "MISSING|WP", "WP|WP_ASYNC"];

/// The mappings of an address space, by name.
fn mappings(mm: &str) -> &'static [&'static str] {
    match mm {
        "A" => &["x", "x", "a"],
        _ => &["y"],
    }
}

pub(crate) struct Generator {
    random: Random,
    /// The address space whose thread is being written.
    mm: &'static str,
    /// Whether it is a virtual machine's.
    guest: bool,
    /// Whether the object is a file on a disk.
    on_disk: bool,
    /// Whether `B` has a userfaultfd from the start.
    registered: bool,
    /// Whether `C` is declared as forked from `B`.
    forks: bool,
}

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            mm: "A",
            guest: false,
            on_disk: false,
            registered: false,
            forks: false,
        }
    }

    /// The next scenario, and its text. Some that are drawn make no sense to the language; others are drawn then.
    pub(crate) fn scenario(&mut self) -> (String, Scenario) {
        let vocabulary = Vocabulary {
            protocols: &[],
            safeguards: &[],
            violations: &[],
        };
        let mut complaint = String::new();
        for _ in 0..1000 {
            let source = self.text();
            match pagefold_litmus::parse(&source, "random", &vocabulary) {
                Ok(scenario) => return (source, scenario),
                Err(diagnostics) => complaint = diagnostics.render(&source, false),
            }
        }
        panic!("most of what is drawn is a scenario; the last one is not:\n{complaint}");
    }

    fn mapping(&mut self) -> &'static str {
        // A guest has the first one as its memory.
        if self.guest {
            return mappings(self.mm)[0];
        }
        self.random.pick(mappings(self.mm))
    }

    fn argument(&mut self, call: &CallSpec, parameter: &ParameterSpec) -> String {
        let page = self.random.next(PAGES);
        match parameter.shape {
            Shape::Mapping => self.mapping().into(),
            Shape::MappingPage => format!("{}[{page}]", self.mapping()),
            Shape::MappingRange if self.random.one_in(2) => self.mapping().into(),
            Shape::MappingRange => format!("{}[{page}]", self.mapping()),
            Shape::Object => "f".into(),
            Shape::ObjectPage => format!("f[{page}]"),
            Shape::Mm if call.name == "fork" => "C".into(),
            Shape::Mm => self.random.pick(&["A", "B"]).into(),
            // A size, or a limit, or what is written.
            Shape::Number if parameter.name != "value" => self.random.next(PAGES + 1).to_string(),
            Shape::Number => (3 + self.random.next(6)).to_string(),
            Shape::Zero => "0".into(),
            Shape::OneOf(names) => self.random.pick(names).into(),
            Shape::AnyOf(_) => format!("{}|SIGBUS_ON_FAULT", self.modes()),
            Shape::Backing => unreachable!("only `mmap` takes it"),
        }
    }

    fn modes(&mut self) -> &'static str {
        self.random.pick(MODES)
    }

    /// Whether there is hardly anything that the call could do.
    fn is_idle(&self, call: &str) -> bool {
        call.starts_with("uffd") && !(self.registered && self.mm == "B")
            || call == "fork" && self.mm != "B"
            || ["open_write", "close_write", "write", "fsync"].contains(&call) && !self.on_disk
    }

    fn statement(&mut self, role: Role) -> String {
        let mine: Vec<&CallSpec> = CALLS
            .iter()
            .filter(|call| call.roles.contains(&role) && call.form != Form::Map)
            .filter(|call| self.forks || call.name != "fork")
            // Who copies such a page is not told, but for collapse.
            .filter(|call| call.name != "hwpoison")
            .collect();
        let accesses: Vec<&CallSpec> = mine
            .iter()
            .filter(|call| matches!(call.form, Form::Load | Form::Store))
            .copied()
            .collect();
        // What a program does most.
        let often = !accesses.is_empty() && self.random.one_in(3);
        let from = if often { &accesses } else { &mine };
        let mut call = self.random.pick(from);
        if self.is_idle(call.name) {
            call = self.random.pick(from);
        }
        let mut arguments = Vec::new();
        for parameter in call.parameters {
            if parameter.optional && self.random.one_in(2) {
                break;
            }
            arguments.push(self.argument(call, parameter));
        }
        match call.form {
            Form::Load => format!("{};", arguments[0]),
            Form::Store => format!("{} = {};", arguments[0], arguments[1]),
            Form::Call | Form::Map => format!("{}({});", call.name, arguments.join(", ")),
        }
    }

    fn thread(&mut self) -> String {
        // Half of the threads are of processes.
        let actor = if self.random.one_in(2) {
            &ACTORS[0]
        } else {
            &ACTORS[self.random.next(ACTORS.len())]
        };
        self.mm = match actor.role {
            Role::Monitor => "B",
            Role::Cpu if self.forks => self.random.pick(&["A", "B", "C"]),
            _ => self.random.pick(&["A", "B", "B"]),
        };
        self.guest = actor.role == Role::Vcpu;
        let mut body = String::new();
        for _ in 0..=self.random.next(2) {
            body.push_str(&self.statement(actor.role));
            body.push(' ');
        }
        let signature = actor.signature();
        let who = match actor.of_mm {
            true => signature.replace('A', self.mm),
            false => signature,
        };
        format!("({who}) {{ {body}}}")
    }

    /// Somebody who collapses, moves pages to other frames, or changes an address space.
    fn first(&mut self) -> String {
        if self.forks && self.random.one_in(2) {
            self.mm = "B";
            return format!("(B) {{ fork(C); {}}}", self.statement(Role::Cpu));
        }
        let (collapse, pageout) = (Advice::Collapse.name(), Advice::PageOut.name());
        match self.random.next(9) {
            0..3 => format!(
                "(A) {{ madvise({}, {collapse}); }}",
                self.random.pick(&["x", "x", "a"])
            ),
            3..5 => format!("(B) {{ madvise(y, {collapse}); }}"),
            5 => "(khugepaged) { scan(A); scan(B); }".into(),
            6 => "(kernel) { collapse(f); }".into(),
            7 => format!(
                "(kernel) {{ migrate({}[0]); }}",
                self.random.pick(&["a", "y"])
            ),
            _ => format!("(B) {{ madvise(y, {pageout}); }}"),
        }
    }

    fn text(&mut self) -> String {
        self.guest = false;
        let kind = self.random.pick(&["shmem", "shmem", "file"]);
        let hole = self.random.pick(&["2", "2", "hole"]);
        self.on_disk = kind == "file";
        let hole = if self.on_disk { "2" } else { hole };
        let x = self
            .random
            .pick(&["MAP_SHARED", "MAP_SHARED", "MAP_PRIVATE"]);
        let y = self.random.pick(&[
            "f, MAP_SHARED",
            "f, MAP_PRIVATE",
            "f, MAP_PRIVATE",
            "ANON[2], MAP_PRIVATE",
            "ANON[2], MAP_PRIVATE",
        ]);
        // Files cannot be.
        self.registered = self.random.one_in(3) && !(self.on_disk && y.starts_with('f'));
        let uffd = if self.registered {
            format!(" uffd(y, {}|SIGBUS_ON_FAULT);", self.modes())
        } else {
            String::new()
        };
        self.forks = self.random.one_in(3);
        let mut text = format!(
            "MM random\n{{\n    {kind} f[{PAGES}] = {{ 1, {hole} }};\n    mm A {{ x: mmap(f, {x}); a: mmap(ANON[{PAGES}], MAP_PRIVATE); }}\n    mm B {{ y: mmap({y});{uffd} }}\n"
        );
        if self.forks {
            text.push_str("    mm C = fork(B);\n");
        }
        for _ in 0..self.random.next(7) {
            self.mm = self.random.pick(&["A", "B", "B"]);
            let statement = self.statement(Role::Cpu);
            writeln!(text, "    {}: {statement}", self.mm).expect("writing to a string");
        }
        text.push_str("}\n");
        writeln!(text, "P0 {}", self.first()).expect("writing to a string");
        for number in 1..=1 + usize::from(self.random.one_in(3)) {
            writeln!(text, "P{number} {}", self.thread()).expect("writing to a string");
        }
        text
    }
}
