//! Registers: whoever writes one first introduces it, and no two threads write the same.

use super::Checker;
use super::names::names;
use crate::ast::Register;
use crate::diagnostic::Diagnostic;
use crate::ids::RegisterId;
use crate::limits::REGISTERS;
use crate::syntax::Word;

impl<'a> Checker<'a, '_> {
    /// The register written here; a new one if nobody wrote it before.
    pub(super) fn written(&mut self, word: Word<'a>) -> Option<RegisterId> {
        if let Some(id) = self.registers.get(word.text).copied() {
            return self.written_again(word, id);
        }
        if !self.declarable(word, "a register", None) {
            self.lost.insert(word.text);
            return None;
        }
        if self.scenario.registers.len() == REGISTERS {
            self.too_many(word.span, "registers", REGISTERS);
            self.lost.insert(word.text);
            return None;
        }
        let id = RegisterId::new(self.scenario.registers.len());
        self.scenario.registers.push(Register {
            name: word.text.to_owned(),
            span: word.span,
        });
        self.writers.push(self.here.thread);
        self.registers.insert(word.text, id);
        Some(id)
    }

    /// Registers are global, so two threads that write one would race for it.
    fn written_again(&mut self, word: Word<'a>, id: RegisterId) -> Option<RegisterId> {
        let earlier = &mut self.writers[id.index()];
        match (*earlier, self.here.thread) {
            (Some(first), Some(second)) if first != second => {
                let first = &self.scenario[first].name;
                let diagnostic = Diagnostic::new(
                    word.span,
                    format!("register `{}` is written by `{first}` too", word.text),
                    "expected another register",
                )
                .related(self.scenario[id].span, format!("`{first}` writes it here"))
                .help("registers are global names");
                self.report(diagnostic);
                None
            }
            (_, here) => {
                *earlier = here.or(*earlier);
                Some(id)
            }
        }
    }

    /// The register read here.
    pub(super) fn read(&mut self, word: Word<'a>) -> Option<RegisterId> {
        let found = self.registers.get(word.text).copied();
        if found.is_none() {
            let known = names(&self.scenario.registers, |register| &register.name);
            self.unknown(word, "a register that something writes", &known);
        }
        found
    }
}
