//! Random scenarios: nothing that processes, devices, monitors and kernel threads do to each other breaks the merged protocols.
//!
//! No condition is needed: the oracles know what each page holds. Whatever this finds is a bug of the engine or of an oracle.
//! `PAGEFOLD_SEED` and `PAGEFOLD_CASES` choose others and more; a failure prints the scenario.

use std::env;
use std::fmt::Write;

use pagefold::protocol::Protocol;
use pagefold_litmus::Vocabulary;
use pagefold_machine::model::{Outcome, RunConfig, check};

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

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.next(from.len())]
    }
}

/// What a thread of a process, or the set-up, may do to mapping `x` or `y`.
const COMMON: &[&str] = &[
    "M[P] = V;",
    "M[P];",
    "M[P];",
    "madvise(M, MADV_COLLAPSE);",
    "madvise(M, MADV_DONTNEED);",
    "madvise(M[P], MADV_DONTNEED);",
    "gup_fast(M[P]);",
    "gup_fast_write(M[P], V);",
    "mincore(M[P]);",
];
const RACING: &[&str] = &["munmap(M);", "prefetch(M[P]);"];
const REGISTERED: &[&str] = &[
    "uffdio_copy(M[P], V);",
    "uffdio_zeropage(M[P]);",
    "uffdio_poison(M[P]);",
    "uffd_unregister(M);",
];
const PROTECTED: &[&str] = &[
    "uffdio_writeprotect(M[P]);",
    "uffdio_writeprotect(M[P], 0);",
];
const UNREGISTERED: &[&str] = &[
    "uffd_register(M, WP|SIGBUS_ON_FAULT);",
    "uffd_register(M, MISSING|SIGBUS_ON_FAULT);",
];

struct Generator {
    random: Random,
    modes: &'static str,
}

impl Generator {
    fn statement(&mut self, mapping: &str, racing: bool) -> String {
        let mut templates = COMMON.to_vec();
        if racing {
            templates.extend(RACING);
        }
        if mapping == "y" && self.modes.is_empty() {
            templates.extend(UNREGISTERED);
        } else if mapping == "y" {
            templates.extend(REGISTERED);
            if self.modes.contains("WP") {
                templates.extend(PROTECTED);
            }
        }
        let template = self.random.pick(&templates);
        let page = self.random.next(2).to_string();
        let value = (3 + self.random.next(6)).to_string();
        template
            .replace('M', mapping)
            .replace(&format!("{mapping}ADV_"), "MADV_")
            .replace(&format!("{mapping}ISSING"), "MISSING")
            .replace("[P]", &format!("[{page}]"))
            .replace("V)", &format!("{value})"))
            .replace("= V", &format!("= {value}"))
    }

    fn thread(&mut self) -> String {
        match self.random.next(20) {
            0..13 => {
                let (mm, mapping) = if self.random.next(3) == 0 {
                    ("A", "x")
                } else {
                    ("B", "y")
                };
                let mut body = String::new();
                for _ in 0..=self.random.next(2) {
                    body.push_str(&self.statement(mapping, true));
                    body.push(' ');
                }
                if self.random.next(6) == 0 {
                    body.push_str("exit();");
                }
                format!("({mm}) {{ {body} }}")
            }
            13..15 => self
                .random
                .pick(&[
                    "(device B) { y[0]; y[1] = 5; }",
                    "(device B) { y[1]; y[0]; }",
                ])
                .into(),
            15..17 => self
                .random
                .pick(&["(vcpu B) { y[0] = 5; }", "(vcpu B) { y[1]; }"])
                .into(),
            _ => self
                .random
                .pick(&[
                    "(kernel) { rmap_walk(f[0]); }",
                    "(kernel) { rmap_walk(f[1]); }",
                    "(kernel) { collapse(f); }",
                    "(reclaim) { rmap_walk(f[1]); }",
                    "(monitor B) { uffdio_copy(y[1], 6); }",
                    "(monitor B) { uffdio_zeropage(y[0]); }",
                ])
                .into(),
        }
    }

    fn scenario(&mut self) -> String {
        let hole = self.random.pick(&["2", "2", "hole"]);
        let backing = self.random.pick(&[
            "f, MAP_SHARED",
            "f, MAP_SHARED",
            "f, MAP_PRIVATE",
            "f, MAP_PRIVATE",
            "ANON[2], MAP_PRIVATE",
        ]);
        self.modes = self.random.pick(&["", "", "MISSING", "WP", "MISSING|WP"]);
        let uffd = if self.modes.is_empty() {
            String::new()
        } else {
            format!("uffd(y, {}|SIGBUS_ON_FAULT);", self.modes)
        };
        let mut text = format!(
            "MM random\n{{\n    shmem f[2] = {{ 1, {hole} }};\n    mm A {{ x: mmap(f, MAP_SHARED); }}\n    mm B {{ y: mmap({backing}); {uffd} }}\n"
        );
        for _ in 0..self.random.next(6) {
            let (mm, mapping) = if self.random.next(2) == 0 {
                ("A", "x")
            } else {
                ("B", "y")
            };
            let statement = self.statement(mapping, false);
            writeln!(text, "    {mm}: {statement}").expect("writing to a string");
        }
        text.push_str("}\n");
        let first = self.random.pick(&[
            "(A) { madvise(x, MADV_COLLAPSE); }",
            "(A) { madvise(x, MADV_COLLAPSE); }",
            "(A) { madvise(x, MADV_COLLAPSE); }",
            "(khugepaged) { scan(A); scan(B); }",
        ]);
        writeln!(text, "P0 {first}").expect("writing to a string");
        let others = 1 + usize::from(self.random.next(4) == 0);
        for number in 1..=others {
            let thread = self.thread();
            writeln!(text, "P{number} {thread}").expect("writing to a string");
        }
        text
    }
}

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |value| {
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name} is a number"))
    })
}

#[test]
fn nothing_breaks_the_merged_protocols() {
    let seed = number("PAGEFOLD_SEED", 1);
    let cases = number("PAGEFOLD_CASES", 80);
    println!("seed {seed}");
    let mut generator = Generator {
        random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
        modes: "",
    };
    let vocabulary = Vocabulary {
        protocols: &[],
        safeguards: &[],
        violations: &[],
    };
    let mut exhausted = 0;
    for case in 0..cases {
        let source = generator.scenario();
        let scenario = pagefold_litmus::parse(&source, "random", &vocabulary)
            .unwrap_or_else(|diagnostics| panic!("{}", diagnostics.render(&source, false)));
        for (protocol, unsplit) in [
            (Protocol::LINUX_6_6, false),
            (Protocol::LINUX_6_6, true),
            (Protocol::LINUX_6_4, false),
        ] {
            let mut config = RunConfig::new(protocol);
            config.unsplit = unsplit;
            config.bounds = config.bounds.max_executions(2_000);
            let checked = check(&scenario, &config).expect("it is small enough");
            match checked.outcome {
                Outcome::Broken(violation) => panic!(
                    "seed {seed}, case {case}, {protocol}, unsplit {unsplit}:\n{source}\n{violation}"
                ),
                Outcome::Holds | Outcome::Exception(_) => exhausted += 1,
                Outcome::NotExhausted(_) | Outcome::Allowed(_) | Outcome::Forbidden => {}
            }
        }
    }
    assert!(exhausted > cases, "most of them are explored to the end");
}
