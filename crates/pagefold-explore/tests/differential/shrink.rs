//! Making a program smaller that shows a difference: statements are left out, or replaced by what
//! they consist of, as long as it goes on showing one.

use crate::generate::{Size, generate};
use crate::program::{Body, Program};

/// What to do with a statement.
#[derive(Clone, Copy)]
enum Edit {
    Remove,
    /// Put what it consists of in its place.
    Unwrap,
}

/// The smallest program found, of those for which `differs` holds as it does for `program`.
pub(crate) fn shrink(program: &Program, differs: impl Fn(&Program) -> bool) -> Program {
    let mut smallest = program.clone();
    loop {
        let smaller = candidates(&smallest).find(&differs);
        match smaller {
            Some(smaller) => smallest = smaller,
            None => return smallest,
        }
    }
}

/// Programs that are smaller in one place.
fn candidates(program: &Program) -> impl Iterator<Item = Program> {
    let threads = (0..program.threads.len()).map(|thread| {
        let mut smaller = program.clone();
        // The numbers of the others must stay: they are those of their logs.
        smaller.threads[thread].clear();
        (smaller, !program.threads[thread].is_empty())
    });
    let statements = [Edit::Remove, Edit::Unwrap]
        .into_iter()
        .flat_map(move |edit| {
            (0..).map_while(move |number| {
                let mut smaller = program.clone();
                let mut number = number;
                let changed = smaller
                    .threads
                    .iter_mut()
                    .find_map(|body| apply(body, &mut number, edit))?;
                Some((smaller, changed))
            })
        });
    threads
        .chain(statements)
        .filter_map(|(smaller, changed)| changed.then_some(smaller))
}

/// Edits statement `number` of those in `body`, counted depth first. `None` if it is not among them
/// (`number` is then lower by how many there are), otherwise whether anything changed.
fn apply(body: &mut Body, number: &mut usize, edit: Edit) -> Option<bool> {
    for at in 0..body.len() {
        if *number == 0 {
            let parts: Vec<_> = body[at].bodies().into_iter().map(std::mem::take).collect();
            let changed = matches!(edit, Edit::Remove) || !parts.is_empty();
            let parts = match edit {
                Edit::Remove => Vec::new(),
                Edit::Unwrap if changed => parts.concat(),
                Edit::Unwrap => return Some(false),
            };
            body.splice(at..=at, parts);
            return Some(changed);
        }
        *number -= 1;
        for inner in body[at].bodies() {
            if let Some(changed) = apply(inner, number, edit) {
                return Some(changed);
            }
        }
    }
    None
}

#[test]
fn programs_get_smaller() {
    let program = generate(7, Size::Small);
    let text = program.to_string();
    let lines = |program: &Program| program.to_string().lines().count();
    assert!(candidates(&program).all(|smaller| lines(&smaller) <= lines(&program)));
    let smallest = shrink(&program, |_| true);
    assert!(smallest.threads.iter().all(Vec::is_empty), "{text}");
}
