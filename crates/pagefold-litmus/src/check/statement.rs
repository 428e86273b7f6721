//! Statements: whether they may stand where they do, and what they mean.

use super::{Checker, suggest};
use crate::actors::Role;
use crate::ast::{Statement, StatementKind};
use crate::calls::{CALLS, Call, CallSpec, Form, LOAD, Returns, STORE, UFFD};
use crate::diagnostic::Diagnostic;
use crate::ids::{MappingId, RegisterId};
use crate::limits::REPEAT;
use crate::span::Span;
use crate::syntax::{self, Number, Page, Word};
use crate::token::excerpt;

impl<'a> Checker<'a, '_> {
    pub(super) fn statements(&mut self, body: &[syntax::Statement<'a>]) -> Vec<Statement> {
        let mut checked = Vec::with_capacity(body.len());
        for statement in body {
            if self.enough() {
                break;
            }
            let kind = self.statement(statement);
            checked.extend(kind.map(|kind| Statement {
                kind,
                span: statement.span,
            }));
        }
        checked
    }

    fn statement(&mut self, statement: &syntax::Statement<'a>) -> Option<StatementKind> {
        match &statement.kind {
            syntax::StatementKind::Store { page, value } => {
                if !self.allowed(&STORE, page.span) {
                    return None;
                }
                let page = self.mapping_page(page)?;
                let value = *value;
                Some(StatementKind::Store { page, value })
            }
            syntax::StatementKind::Load { result, page } => self.load(*result, page),
            syntax::StatementKind::Call { result, call } => self.call(*result, call),
            syntax::StatementKind::Map { name, .. } => self.map(*name).map(StatementKind::Map),
            syntax::StatementKind::Repeat { times, body } => self.repeat(*times, body),
        }
    }

    fn load(&mut self, result: Option<Word<'a>>, page: &Page<'a>) -> Option<StatementKind> {
        if !self.allowed(&LOAD, page.span) {
            self.lose(result);
            return None;
        }
        let page = self.mapping_page(page);
        let result = self.result(result);
        Some(StatementKind::Load {
            result: result?,
            page: page?,
        })
    }

    /// The mapping created here was declared before any statement was checked, or reported then.
    fn map(&mut self, name: Word<'a>) -> Option<MappingId> {
        let id = *self.mappings.get(&(self.here.mm?, name.text))?;
        if self.scenario[id].span != name.span {
            return None;
        }
        self.created.insert(id);
        Some(id)
    }

    fn repeat(&mut self, times: Number, body: &[syntax::Statement<'a>]) -> Option<StatementKind> {
        let bounded = (1..=REPEAT).contains(&times.value);
        if !bounded {
            self.report(Diagnostic::new(
                times.span,
                format!("a loop cannot run {} times", times.value),
                format!("expected 1 to {REPEAT}"),
            ));
        }
        let body = self.statements(body);
        let times = u32::try_from(times.value).ok().filter(|_| bounded)?;
        Some(StatementKind::Repeat { times, body })
    }

    fn call(&mut self, result: Option<Word<'a>>, call: &syntax::Call<'a>) -> Option<StatementKind> {
        let read = self.read_call(result, call);
        if read.is_none() {
            self.lose(result);
        }
        let call = read?;
        let result = self.result(result)?;
        Some(StatementKind::Call { result, call })
    }

    fn read_call(&mut self, result: Option<Word<'a>>, call: &syntax::Call<'a>) -> Option<Call> {
        let name = call.name;
        let Some(spec) = CallSpec::find(name.text) else {
            self.unknown_call(name);
            return None;
        };
        if !self.allowed(spec, name.span) {
            return None;
        }
        if spec.form == Form::Map {
            self.unnamed_mapping(call);
            return None;
        }
        if let (Some(result), Returns::Nothing) = (result, spec.returns) {
            self.report(Diagnostic::new(
                result.span,
                format!("`{}` returns nothing", spec.name),
                "expected no register",
            ));
            return None;
        }
        if spec.name == "exit" && self.here.thread.is_none() {
            self.report(Diagnostic::new(
                name.span,
                "the set-up cannot end a thread: none runs yet",
                "expected in a thread of a process",
            ));
            return None;
        }
        if !self.arity(spec, call) {
            return None;
        }
        Call::read(spec.name, &call.arguments, self)
    }

    fn unknown_call(&mut self, name: Word<'a>) {
        let role = self.here.role;
        let usable = CALLS
            .iter()
            .filter(move |spec| spec.form == Form::Call && spec.roles.contains(&role))
            .map(|spec| spec.name);
        let text = excerpt(name.text);
        let help = suggest(name, usable);
        self.report(
            Diagnostic::new(
                name.span,
                format!("unknown call `{text}`"),
                format!("expected a call for {}", role.name()),
            )
            .maybe_help(help),
        );
    }

    /// Whether `spec` may be used here; reports it, at `at`, if not.
    pub(super) fn allowed(&mut self, spec: &CallSpec, at: Span) -> bool {
        let role = self.here.role;
        if spec.roles.contains(&role) {
            return true;
        }
        let what = match spec.form {
            Form::Load => "read a page".to_owned(),
            Form::Store => "write a page".to_owned(),
            Form::Map | Form::Call => format!("use `{}`", spec.name),
        };
        let help = (spec.name == UFFD.name && role == Role::Cpu)
            .then(|| "a thread calls `uffd_register`".to_owned());
        self.report(
            Diagnostic::new(
                at,
                format!("{} cannot {what}", role.name()),
                format!("expected in {}", alternatives(spec.roles)),
            )
            .maybe_help(help),
        );
        false
    }

    /// The register for a result. The outer `None` means that it was reported.
    fn result(&mut self, word: Option<Word<'a>>) -> Option<Option<RegisterId>> {
        match word {
            None => Some(None),
            Some(word) => self.written(word).map(Some),
        }
    }

    fn lose(&mut self, result: Option<Word<'a>>) {
        self.lost.extend(result.map(|word| word.text));
    }
}

/// `a`, `a or b`, `a, b or c`
fn alternatives(roles: &[Role]) -> String {
    let names: Vec<&str> = roles.iter().map(|role| role.name()).collect();
    match names.as_slice() {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        names => names.concat(),
    }
}
