//! Printing a scenario and parsing what was printed gives the same scenario.

use std::fmt::Write;

use proptest::prelude::*;

use crate::common::{UFFD, VOCABULARY, check, without_spans};

fn round_trip(source: &str) {
    let scenario =
        check(source).unwrap_or_else(|errors| panic!("{}", errors.render(source, false)));
    let printed = scenario.to_string();
    let again =
        check(&printed).unwrap_or_else(|errors| panic!("{}", errors.render(&printed, false)));
    assert_eq!(again.to_string(), printed, "printing is not canonical");
    assert_eq!(without_spans(again), without_spans(scenario));
}

#[test]
fn of_the_example() {
    round_trip(UFFD);
}

/// Writes good scenarios: every choice is the next number of a tape, and 0 at its end.
struct Author {
    tape: std::vec::IntoIter<u16>,
    text: String,
    registers: usize,
}

const PAGES: usize = 3;
const VALUES: [&str; 5] = ["0", "7", "0xff", "18446744073709551615", "42"];
const SPACES: [&str; 6] = [" ", "\n", "  ", " (* (* x *) *) ", " // y\n", "\t"];

impl Author {
    fn pick<'p, T: ?Sized>(&mut self, choices: &[&'p T]) -> &'p T {
        choices[self.below(choices.len())]
    }

    fn below(&mut self, count: usize) -> usize {
        usize::from(self.tape.next().unwrap_or(0)) % count
    }

    /// Writes words with some white space between.
    fn write(&mut self, words: &str) {
        for word in words.split(' ') {
            let space = self.pick(&SPACES);
            self.text.push_str(word);
            self.text.push_str(space);
        }
    }

    fn page(&mut self, mapping: &str) -> String {
        format!("{mapping}[{}]", self.below(PAGES))
    }

    /// A register that is written here for the first time, or none.
    fn result(&mut self) -> String {
        if self.below(3) == 0 {
            return String::new();
        }
        self.registers += 1;
        format!("r{} = ", self.registers - 1)
    }

    /// What the mm `mm` can do, with the calls of `role`.
    fn statements(&mut self, mm: usize, role: &str, depth: usize) {
        for _ in 0..self.below(4) {
            if depth < 3 && self.below(6) == 0 {
                let times = self.below(16) + 1;
                self.write(&format!("repeat {times} {{"));
                self.statements(mm, role, depth + 1);
                self.write("}");
                continue;
            }
            let mapping = format!("x{}", self.below(2) + 2 * mm);
            let page = self.page(&mapping);
            let value = self.pick(&VALUES);
            let result = self.result();
            let statement = match (role, self.below(6)) {
                ("cpu", 1) => format!("{page} = {value}"),
                ("cpu", 2) => {
                    let range = self.pick(&["", "[ 0 .. 2 ]", "[1..3]", "[2]"]);
                    format!("{result}madvise ( {mapping}{range} , MADV_DONTNEED )")
                }
                ("cpu", 3) => format!("{result}uffdio_copy({page}, {value} )"),
                ("cpu", 4) => format!("uffdio_writeprotect({page} , 0)"),
                ("cpu", 5) => format!("{result}uffd_register({mapping}, WP | MISSING)"),
                ("device", 1) => format!("prefetch({page})"),
                ("khugepaged", _) => format!("{result}scan(A{mm})"),
                ("kernel", 1) => format!("{result}collapse(f{})", self.below(2)),
                ("monitor", _) => format!("{result}uffdio_poison({page})"),
                ("reclaim" | "kernel", _) => format!("{result}rmap_walk(f{}[0])", self.below(2)),
                ("final", 1) => format!("{result}page_table( {mapping} )"),
                ("final", 2) => format!("{result}rss()"),
                ("final", 3) => format!("{result}uffd_wp({page})"),
                _ => format!("{result}{page}"),
            };
            if !statement.starts_with(&result) {
                self.registers -= 1;
            }
            self.write(&statement);
            self.write(";");
        }
    }

    fn header(&mut self) {
        self.write("{");
        let mut on_disk = [false; 2];
        for (object, on_disk) in on_disk.iter_mut().enumerate() {
            let contents: String = (0..self.below(PAGES + 1))
                .map(|_| format!("{} , ", self.pick(&["hole", "1", "0"])))
                .collect();
            let kind = self.pick(&["shmem", "file"]);
            *on_disk = kind == "file";
            if contents.is_empty() {
                self.write(&format!("{kind} f{object}[{PAGES}] ;"));
            } else {
                self.write(&format!("{kind} f{object}[{PAGES}] = {{ {contents}}} ;"));
            }
        }
        for mm in 0..2 {
            self.write(&format!("mm A{mm} {{"));
            for mapping in 2 * mm..2 * mm + 2 {
                let sharing = self.pick(&["MAP_SHARED", "MAP_PRIVATE"]);
                let (backing, can_be_registered) = match (sharing, self.below(3)) {
                    ("MAP_PRIVATE", 2) => (format!("ANON [ {PAGES} ]"), true),
                    (_, object) => (format!("f{}", object % 2), !on_disk[object % 2]),
                };
                self.write(&format!("x{mapping} : mmap({backing}, {sharing} ) ;"));
                let uffd = self.pick(&["", "WP", "MISSING", "MISSING|WP", "WP | MISSING"]);
                if !uffd.is_empty() && can_be_registered {
                    self.write(&format!("uffd(x{mapping}, {uffd} ) ;"));
                }
            }
            self.write("}");
        }
        if self.below(3) == 0 {
            self.write("mm B = fork ( A1 ) ;");
        }
        if self.below(3) == 0 {
            self.write("reuse frames ;");
        }
        if self.below(3) == 0 {
            self.write("shmem_enabled deny ;");
        }
        let format = self.pick(&["", "", "x86-64", "aarch64", "risc-v"]);
        if !format.is_empty() {
            self.write(&format!("format {format} ;"));
        }
        for _ in 0..self.below(3) {
            let mm = self.below(2);
            self.write(&format!("A{mm} :"));
            self.statements(mm, "cpu", 0);
        }
        self.write("}");
    }

    fn threads(&mut self) {
        for thread in 0..=self.below(4) {
            let mm = self.below(2);
            let role = self.pick(&[
                "cpu",
                "device",
                "vcpu",
                "monitor",
                "khugepaged",
                "reclaim",
                "kernel",
            ]);
            let actor = match role {
                "cpu" => format!("A{mm}"),
                "device" | "vcpu" | "monitor" => format!("{role} A{mm}"),
                _ => role.to_owned(),
            };
            self.write(&format!("P{thread} ( {actor} ) {{"));
            self.statements(mm, role, 0);
            if role == "cpu" && self.below(3) == 0 {
                self.write(&format!(
                    "z{thread} : mmap(f0, MAP_SHARED) ; z{thread}[0] = 1 ;"
                ));
            }
            self.write("}");
        }
        for _ in 0..self.below(3) {
            let mm = self.below(2);
            self.write(&format!("final(A{mm}) {{"));
            self.statements(mm, "final", 0);
            self.write("}");
        }
    }

    fn expression(&mut self, depth: usize) {
        match self.below(if depth < 5 { 7 } else { 3 }) {
            0 => self.write("true"),
            1 | 2 if self.registers > 0 => {
                let register = format!("r{}", self.below(self.registers));
                let relation = self.pick(&["=", "!="]);
                let other = format!("r{}", self.below(self.registers));
                let value = self.pick(&[other.as_str(), "0", "7", "EAGAIN", "SIGBUS"]);
                self.write(&format!("{register} {relation} {value}"));
            }
            3 => {
                self.write("~");
                self.expression(depth + 1);
            }
            4 => {
                self.write("(");
                self.expression(depth + 1);
                self.write(")");
            }
            connective @ (5 | 6) => {
                self.expression(depth + 1);
                for _ in 0..=self.below(2) {
                    self.write(if connective == 5 { r"/\" } else { r"\/" });
                    self.expression(depth + 1);
                }
            }
            _ => self.write("true"),
        }
    }

    fn claims(&mut self) {
        let quantifier = self.pick(&["", "forall", "exists", "~ exists"]);
        if !quantifier.is_empty() {
            self.write(quantifier);
            self.expression(0);
        }
        self.write("expect {");
        for protocol in VOCABULARY.protocols {
            let options = self.pick(&[
                "",
                "unsplit ",
                "strict unsplit ",
                "without rcu_defer ",
                "strict without retract_notifier , rcu_defer ",
            ]);
            let fits = match quantifier {
                "exists" => ["allowed", "forbidden", "broken", "exception lost-marker"],
                _ => ["holds", "broken stale-tlb", "broken", "exception"],
            };
            let verdict = self.pick(&fits);
            self.write(&format!("{protocol} {options}: {verdict} ;"));
        }
        self.write("}");
    }
}

/// Good scenarios of any sort.
pub(crate) fn scenario() -> impl Strategy<Value = String> {
    let comment = prop::option::of(any::<String>());
    (prop::collection::vec(any::<u16>(), 0..600), comment).prop_map(|(tape, comment)| {
        let mut author = Author {
            tape: tape.into_iter(),
            text: "MM name-1.0 ".to_owned(),
            registers: 0,
        };
        if let Some(comment) = comment {
            for line in comment.lines() {
                writeln!(author.text, "// {line}").expect("writing to a string");
            }
        }
        author.header();
        author.threads();
        author.claims();
        author.text
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn of_any_scenario(source in scenario()) {
        round_trip(&source);
    }
}
