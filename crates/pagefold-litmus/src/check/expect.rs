//! The expectations: names the engine knows, verdicts that fit the quantifier.

use std::collections::HashMap;

use super::{Checker, suggest};
use crate::Vocabulary;
use crate::ast::{Expectation, Memory, Verdict};
use crate::condition::Quantifier;
use crate::diagnostic::Diagnostic;
use crate::span::Span;
use crate::syntax::{self, Word};
use crate::token::excerpt;

const VERDICTS: [&str; 5] = ["holds", "broken", "exception", "allowed", "forbidden"];

impl<'a> Checker<'a, '_> {
    pub(super) fn expectations(
        &mut self,
        expectations: &[syntax::Expectation<'a>],
        quantifier: Option<Quantifier>,
        vocabulary: &Vocabulary<'_>,
    ) {
        // The machine that a line is about, with the place of the line.
        let mut seen: HashMap<(String, bool, bool, Memory, Vec<String>), Span> = HashMap::new();
        for syntax in expectations {
            if self.enough() {
                return;
            }
            let Some(checked) = self.expectation(syntax, quantifier, vocabulary) else {
                continue;
            };
            let mut without = checked.without.clone();
            without.sort();
            let subject = (
                checked.protocol.clone(),
                checked.unsplit,
                checked.strict,
                checked.memory,
                without,
            );
            if let Some(earlier) = seen.insert(subject, checked.span) {
                self.report(
                    Diagnostic::new(
                        checked.span,
                        "a second expectation for the same protocol and options",
                        "expected one",
                    )
                    .related(earlier, "the first is here"),
                );
            }
            self.scenario.expectations.push(checked);
        }
    }

    fn expectation(
        &mut self,
        syntax: &syntax::Expectation<'a>,
        quantifier: Option<Quantifier>,
        vocabulary: &Vocabulary<'_>,
    ) -> Option<Expectation> {
        let protocol = self.known(syntax.protocol, "protocol", vocabulary.protocols);
        let mut options = [("unsplit", false), ("strict", false)];
        for word in &syntax.options {
            for (_, set) in options.iter_mut().filter(|(name, _)| *name == word.text) {
                if std::mem::replace(set, true) {
                    self.repeated(*word);
                }
            }
        }
        let [(_, unsplit), (_, strict)] = options;
        let memory = self.memory(syntax);
        let mut without: Vec<String> = Vec::new();
        for word in &syntax.without {
            let name = self.known(*word, "safeguard", vocabulary.safeguards);
            match name {
                Some(name) if without.contains(&name) => self.repeated(*word),
                name => without.extend(name),
            }
        }
        let verdict = self.verdict(syntax, quantifier, vocabulary);
        Some(Expectation {
            protocol: protocol?,
            unsplit,
            strict,
            memory,
            without,
            verdict: verdict?,
            span: syntax.span,
        })
    }

    /// The memory model among the options; reports a second one.
    fn memory(&mut self, syntax: &syntax::Expectation<'a>) -> Memory {
        let mut named = None;
        for word in &syntax.options {
            let Some(memory) = Memory::by_name(word.text) else {
                continue;
            };
            if named.is_none() {
                named = Some(memory);
            } else if named == Some(memory) {
                self.repeated(*word);
            } else {
                self.report(Diagnostic::new(
                    word.span,
                    "a second memory model",
                    "expected one",
                ));
            }
        }
        named.unwrap_or_default()
    }

    /// A name that the engine knows; reports it if it does not.
    pub(super) fn known(&mut self, word: Word<'a>, what: &str, names: &[&str]) -> Option<String> {
        if names.contains(&word.text) {
            return Some(word.text.to_owned());
        }
        let help = suggest(word, names.iter().copied());
        self.report(
            Diagnostic::new(
                word.span,
                format!("unknown {what} `{}`", excerpt(word.text)),
                format!("expected a {what}"),
            )
            .maybe_help(help),
        );
        None
    }

    fn verdict(
        &mut self,
        syntax: &syntax::Expectation<'a>,
        quantifier: Option<Quantifier>,
        vocabulary: &Vocabulary<'_>,
    ) -> Option<Verdict> {
        let violation = match syntax.violation {
            Some(word) => Some(self.known(word, "violation", vocabulary.violations)?),
            None => None,
        };
        let verdict = match syntax.verdict.text {
            "holds" => Verdict::Holds,
            "broken" => return self.fitting(syntax, Verdict::Broken(violation), quantifier),
            "exception" => return self.fitting(syntax, Verdict::Exception(violation), quantifier),
            "allowed" => Verdict::Allowed,
            "forbidden" => Verdict::Forbidden,
            _ => {
                self.known(syntax.verdict, "verdict", &VERDICTS);
                return None;
            }
        };
        if let Some(word) = syntax.violation {
            self.report(Diagnostic::new(
                word.span,
                format!("`{}` names no violation", verdict.word()),
                "expected `;`",
            ));
            return None;
        }
        self.fitting(syntax, verdict, quantifier)
    }

    /// `allowed` and `forbidden` speak of an `exists`, `holds` of everything else.
    fn fitting(
        &mut self,
        syntax: &syntax::Expectation<'a>,
        verdict: Verdict,
        quantifier: Option<Quantifier>,
    ) -> Option<Verdict> {
        let exists = quantifier == Some(Quantifier::Exists);
        let fits = match verdict {
            Verdict::Allowed | Verdict::Forbidden => exists,
            Verdict::Holds => !exists,
            Verdict::Broken(_) | Verdict::Exception(_) => true,
        };
        if fits {
            return Some(verdict);
        }
        let (message, label) = if exists {
            (
                "`holds` is no verdict on `exists`".to_owned(),
                "expected `allowed`, `forbidden`, `broken` or `exception`",
            )
        } else {
            let subject = match quantifier {
                Some(quantifier) => format!("on `{}`", quantifier.name()),
                None => "without `exists`".to_owned(),
            };
            (
                format!("`{}` is no verdict {subject}", verdict.word()),
                "expected `holds`, `broken` or `exception`",
            )
        };
        self.report(Diagnostic::new(syntax.verdict.span, message, label));
        None
    }
}
