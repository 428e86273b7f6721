//! A scenario in canonical form.

use std::fmt;

use crate::actors::Actor;
use crate::ast::{
    Expectation, Format, Memory, Mm, Object, Phase, Scenario, Statement, StatementKind,
};
use crate::condition::{Condition, Expression, Operand, Relation};
use crate::constants::UffdModes;
use crate::ids::{MappingId, MmId, ObjectId, RegisterId};
use crate::parameter::Parameter;
use crate::token::fits_block_comment;

/// A block of statements stays on one line up to this width.
const WIDTH: usize = 100;
const INDENT: &str = "    ";

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_without(f, &[], &[])
    }
}

/// A scenario without some rows of its tables, which nothing in it refers to.
struct Without<'a>(&'a Scenario, &'a [ObjectId], &'a [MmId]);

impl fmt::Display for Without<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(scenario, objects, mms) = self;
        scenario.write_without(f, objects, mms)
    }
}

/// As one block if it is one, and else as the lines it must have come from.
fn write_description(f: &mut fmt::Formatter<'_>, description: &str) -> fmt::Result {
    if fits_block_comment(description) {
        return writeln!(f, "(* {description} *)");
    }
    description
        .lines()
        .try_for_each(|line| writeln!(f, "// {line}"))
}

fn print_object(object: &Object) -> String {
    let used = object
        .contents
        .iter()
        .rposition(Option::is_some)
        .map_or(0, |last| last + 1);
    let contents: Vec<String> = object.contents[..used]
        .iter()
        .map(|content| content.map_or("hole".to_owned(), |value| value.to_string()))
        .collect();
    let contents = if contents.is_empty() {
        String::new()
    } else {
        format!(" = {{ {} }}", contents.join(", "))
    };
    format!(
        "{} {}[{}]{contents};",
        object.kind.name(),
        object.name,
        object.pages()
    )
}

fn print_expectation(expectation: &Expectation) -> String {
    let mut line = expectation.protocol.clone();
    for (set, option) in [
        (expectation.unsplit, " unsplit"),
        (expectation.strict, " strict"),
    ] {
        if set {
            line.push_str(option);
        }
    }
    if expectation.memory != Memory::Sc {
        line.push(' ');
        line.push_str(expectation.memory.name());
    }
    if !expectation.without.is_empty() {
        line.push_str(" without ");
        line.push_str(&expectation.without.join(", "));
    }
    line.push_str(": ");
    line.push_str(expectation.verdict.word());
    if let Some(violation) = expectation.verdict.violation() {
        line.push(' ');
        line.push_str(violation);
    }
    line.push(';');
    line
}

impl Scenario {
    /// The scenario without these objects and address spaces, which nothing in it refers to.
    pub(crate) fn print_without(&self, objects: &[ObjectId], mms: &[MmId]) -> String {
        Without(self, objects, mms).to_string()
    }

    fn write_without(
        &self,
        f: &mut fmt::Formatter<'_>,
        objects: &[ObjectId],
        mms: &[MmId],
    ) -> fmt::Result {
        writeln!(f, "MM {}", self.name)?;
        if let Some(description) = &self.description {
            write_description(f, description)?;
        }
        writeln!(f, "{{")?;
        for (number, object) in self.objects.iter().enumerate() {
            if !objects.contains(&ObjectId::new(number)) {
                writeln!(f, "{INDENT}{}", print_object(object))?;
            }
        }
        for (number, mm) in self.mms.iter().enumerate() {
            if !mms.contains(&MmId::new(number)) {
                writeln!(f, "{INDENT}{}", self.print_mm(mm))?;
            }
        }
        if self.reuse_frames {
            writeln!(f, "{INDENT}reuse frames;")?;
        }
        if self.shmem_denied {
            writeln!(f, "{INDENT}shmem_enabled deny;")?;
        }
        if self.format != Format::default() {
            writeln!(f, "{INDENT}format {};", self.format.name())?;
        }
        for phase in &self.setup {
            self.write_setup(f, phase)?;
        }
        writeln!(f, "}}")?;
        self.write_blocks(f)?;
        if let Some(condition) = &self.condition {
            writeln!(f, "{}", self.print_condition(condition))?;
        }
        if !self.expectations.is_empty() {
            writeln!(f, "expect {{")?;
            for expectation in &self.expectations {
                writeln!(f, "{INDENT}{}", print_expectation(expectation))?;
            }
            writeln!(f, "}}")?;
        }
        Ok(())
    }

    /// A name for what the scenario does: the same as long as what runs is the same, however it is
    /// laid out, and whatever is expected or said about it. The name is `NAME-HASH`.
    pub fn fingerprint(&self) -> String {
        // FNV-1a. It is stored in files, so it must not change.
        let hash = self
            .bare()
            .to_string()
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
            });
        format!("{}-{hash:016x}", self.name)
    }

    /// A statement as it is written, without its `;`; a `repeat` on one line.
    pub fn print_statement(&self, statement: &Statement) -> String {
        match &statement.kind {
            StatementKind::Store { page, value } => {
                format!("{} = {value}", page.print(self).unwrap_or_default())
            }
            StatementKind::Load { result, page } => {
                format!(
                    "{}{}",
                    self.print_result(*result),
                    page.print(self).unwrap_or_default()
                )
            }
            StatementKind::Map(mapping) => self.print_mapping(*mapping),
            StatementKind::Call { result, call } => {
                format!("{}{}", self.print_result(*result), call.print(self))
            }
            StatementKind::Repeat { times, body } => {
                format!("repeat {times} {}", self.print_body(body))
            }
        }
    }

    /// A condition as it is written.
    pub fn print_condition(&self, condition: &Condition) -> String {
        format!(
            "{} ({})",
            condition.quantifier.name(),
            self.print_expression(&condition.expression)
        )
    }

    /// What a thread is, as it stands in the brackets behind its name.
    pub fn print_actor(&self, actor: Actor) -> String {
        let word = actor.spec().word;
        match actor.mm().map(|mm| &self[mm].name) {
            Some(mm) if word.is_empty() => mm.clone(),
            Some(mm) => format!("{word} {mm}"),
            None => word.to_owned(),
        }
    }

    fn print_result(&self, result: Option<RegisterId>) -> String {
        result.map_or(String::new(), |register| {
            format!("{} = ", self[register].name)
        })
    }

    fn print_mapping(&self, id: MappingId) -> String {
        let mapping = &self[id];
        let arguments = [
            mapping.backing.print(self),
            mapping.sharing.print(self),
            mapping.writable.print(self),
        ];
        let arguments: Vec<String> = arguments.into_iter().flatten().collect();
        format!("{}: mmap({})", mapping.name, arguments.join(", "))
    }

    fn print_mm(&self, mm: &Mm) -> String {
        if let Some(parent) = mm.parent {
            return format!("mm {} = fork({});", mm.name, self[parent].name);
        }
        let items: String = mm
            .mappings
            .iter()
            .map(|id| {
                let uffd = match self[*id].uffd {
                    Some(modes) => self.print_uffd(*id, modes),
                    None => String::new(),
                };
                format!("{};{uffd} ", self.print_mapping(*id))
            })
            .collect();
        format!("mm {} {{ {items}}}", mm.name)
    }

    fn print_uffd(&self, id: MappingId, modes: UffdModes) -> String {
        let modes = modes.print(self).unwrap_or_default();
        format!(" uffd({}, {modes});", self[id].name)
    }

    fn write_setup(&self, f: &mut fmt::Formatter<'_>, phase: &Phase) -> fmt::Result {
        let statements: String = phase
            .body
            .iter()
            .map(|statement| format!(" {}", self.terminated(statement)))
            .collect();
        writeln!(f, "{INDENT}{}:{statements}", self[phase.mm].name)
    }

    /// The threads and the finals, their bodies below each other.
    fn write_blocks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let threads = self.threads.iter().map(|thread| {
            let actor = self.print_actor(thread.actor);
            (format!("{} ({actor})", thread.name), &thread.body)
        });
        let finals = self
            .finals
            .iter()
            .map(|phase| (format!("final({})", self[phase.mm].name), &phase.body));
        let blocks: Vec<(String, &Vec<Statement>)> = threads.chain(finals).collect();
        let width = blocks.iter().map(|(head, _)| head.len()).max().unwrap_or(0);
        for (head, body) in blocks {
            let line = self.print_body(body);
            if width + line.len() < WIDTH {
                writeln!(f, "{head:width$} {line}")?;
            } else {
                writeln!(f, "{head} {{")?;
                for statement in body {
                    writeln!(f, "{INDENT}{}", self.terminated(statement))?;
                }
                writeln!(f, "}}")?;
            }
        }
        Ok(())
    }

    fn print_body(&self, body: &[Statement]) -> String {
        let statements: String = body
            .iter()
            .map(|statement| format!("{} ", self.terminated(statement)))
            .collect();
        format!("{{ {statements}}}")
    }

    fn terminated(&self, statement: &Statement) -> String {
        let end = match statement.kind {
            StatementKind::Repeat { .. } => "",
            _ => ";",
        };
        self.print_statement(statement) + end
    }

    fn print_expression(&self, expression: &Expression) -> String {
        match expression {
            Expression::True => "true".to_owned(),
            Expression::Compare {
                left,
                relation,
                right,
            } => {
                let relation = match relation {
                    Relation::Equal => "=",
                    Relation::NotEqual => "!=",
                };
                format!(
                    "{} {relation} {}",
                    self.print_operand(*left),
                    self.print_operand(*right)
                )
            }
            Expression::Not(inner) => match **inner {
                Expression::True | Expression::Not(_) => {
                    format!("~{}", self.print_expression(inner))
                }
                _ => format!("~({})", self.print_expression(inner)),
            },
            Expression::And(parts) => self.print_chain(parts, r" /\ ", |part| {
                matches!(part, Expression::And(_) | Expression::Or(_))
            }),
            Expression::Or(parts) => {
                self.print_chain(parts, r" \/ ", |part| matches!(part, Expression::Or(_)))
            }
        }
    }

    fn print_chain(
        &self,
        parts: &[Expression],
        connective: &str,
        needs_brackets: impl Fn(&Expression) -> bool,
    ) -> String {
        let parts: Vec<String> = parts
            .iter()
            .map(|part| {
                let text = self.print_expression(part);
                if needs_brackets(part) {
                    format!("({text})")
                } else {
                    text
                }
            })
            .collect();
        parts.join(connective)
    }

    fn print_operand(&self, operand: Operand) -> String {
        match operand {
            Operand::Register(register) => self[register].name.clone(),
            Operand::Value(value) => value.to_string(),
        }
    }
}
