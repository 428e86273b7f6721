//! What `pagefold linux --from` says of the trace.

use std::io::{self, Write};

use super::{Place, Step, Target};
use crate::terminal::{Ink, Terminal};

/// What is to be reproduced, and where a delay in the kernel would help.
pub(crate) fn target(target: &Target, terminal: Terminal, out: &mut dyn Write) -> io::Result<()> {
    let Target {
        loaded,
        rules,
        kind,
        message,
        places,
        ..
    } = target;
    let name = terminal.paint(Ink::Title, &loaded.scenario.name);
    writeln!(
        out,
        "\n{name} {rules} breaks in the model: {kind}: {message}"
    )?;
    if places.is_empty() {
        writeln!(
            out,
            "  No thread has to stop for that: one begins when the other has ended."
        )?;
    }
    for place in places {
        let Place {
            thread,
            statement,
            after,
            before,
            ..
        } = place;
        writeln!(out, "  {thread}, in `{statement}`, stops between")?;
        for step in [after, before] {
            let function = function(step);
            writeln!(
                out,
                "    {}, in {function}",
                terminal.paint(Ink::Landmark, format_args!("`{}`", step.label))
            )?;
        }
        for other in &place.others {
            let statements = other.statements.iter().map(|text| format!("`{text}`"));
            let statements: Vec<String> = statements.collect();
            writeln!(
                out,
                "  while {} goes through {}.",
                other.thread,
                statements.join(", ")
            )?;
        }
        if place.opens.is_some() || place.closes.is_some() {
            let opens = place.opens.as_ref().unwrap_or(after);
            let closes = place.closes.as_ref().unwrap_or(before);
            writeln!(
                out,
                "  Anywhere between `{}` ({}) and `{}` ({}) is as good.",
                opens.label,
                function(opens),
                closes.label,
                function(closes)
            )?;
        }
        if place.is_in_kernel() {
            writeln!(
                out,
                "  A kernel with mdelay(5) there shows it soon; say so with --delay 5."
            )?;
        } else {
            writeln!(
                out,
                "  That is in user space: no delay in the kernel makes it stop there."
            )?;
        }
    }
    Ok(())
}

fn function(step: &Step) -> &'static str {
    step.function.unwrap_or("user space")
}
