//! What the tests share: a vocabulary, a good scenario, and the AST without its spans.

use pagefold_litmus::{Diagnostics, Scenario, Span, Statement, StatementKind, Vocabulary, parse};

/// Names as the engine would know them.
pub(crate) const VOCABULARY: Vocabulary<'static> = Vocabulary {
    protocols: &["posted-v1", "linux-6.4", "linux-6.6", "pagefold"],
    safeguards: &["recheck_anon_vma", "retract_notifier", "rcu_defer"],
    violations: &["table-not-empty", "stale-tlb", "lost-marker"],
};

/// The scenario that the language was made for.
pub(crate) const UFFD: &str = include_str!("uffd-copy-vs-retract.litmus");

/// Parses with the vocabulary of the tests.
pub(crate) fn check(source: &str) -> Result<Scenario, Diagnostics> {
    parse(source, "test.litmus", &VOCABULARY)
}

/// The same scenario with every span at the start.
pub(crate) fn without_spans(mut scenario: Scenario) -> Scenario {
    fn clear(body: &mut [Statement]) {
        for statement in body {
            statement.span = Span::START;
            if let StatementKind::Repeat { body, .. } = &mut statement.kind {
                clear(body);
            }
        }
    }
    let s = &mut scenario;
    s.objects.iter_mut().for_each(|o| o.span = Span::START);
    s.mms.iter_mut().for_each(|m| m.span = Span::START);
    s.mappings.iter_mut().for_each(|m| m.span = Span::START);
    s.registers.iter_mut().for_each(|r| r.span = Span::START);
    s.expectations.iter_mut().for_each(|e| e.span = Span::START);
    s.condition.iter_mut().for_each(|c| c.span = Span::START);
    for phase in s.setup.iter_mut().chain(&mut s.finals) {
        phase.span = Span::START;
        clear(&mut phase.body);
    }
    for thread in &mut s.threads {
        thread.span = Span::START;
        clear(&mut thread.body);
    }
    scenario
}

/// The rendered diagnostics of a source that has some.
pub(crate) fn errors(source: &str) -> String {
    match check(source) {
        Ok(scenario) => panic!("no diagnostics for\n{scenario}"),
        Err(diagnostics) => diagnostics.render(source, false),
    }
}

/// A scenario with this text as its header.
pub(crate) fn in_header(text: &str) -> String {
    format!("MM t\n{{\n{text}\n}}\nP0 (khugepaged) {{ }}\n")
}

/// A scenario with two mappings of an object of two pages, and with these items.
pub(crate) fn in_items(text: &str) -> String {
    format!(
        "MM t\n{{\n    shmem f[2];\n    mm A {{ x: mmap(f, MAP_SHARED); }}\n    \
         mm B {{ y: mmap(f, MAP_PRIVATE); }}\n}}\n{text}\n"
    )
}

/// A scenario with these statements in its one thread.
pub(crate) fn in_thread(text: &str) -> String {
    in_items(&format!("P0 (A) {{\n{text}\n}}"))
}

/// A scenario that writes the register `r`, and with this condition and these expectations.
pub(crate) fn with_claim(text: &str) -> String {
    in_items(&format!("P0 (A) {{ r = x[0]; }}\n{text}"))
}

/// So many lines.
pub(crate) fn numbered(count: usize, line: impl Fn(usize) -> String) -> String {
    let lines: Vec<String> = (0..count).map(line).collect();
    lines.join("\n")
}
