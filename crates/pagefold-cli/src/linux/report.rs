//! The reports of `pagefold linux`: for people as it goes on, for programs at the end.

use std::io::{self, Write};
use std::time::Duration;

use pagefold::protocol::Protocol;
use pagefold_linux::kernel_log::Complaint;
use pagefold_linux::qemu::Accelerator;
use pagefold_linux::{Count, Kernel, Outcome, Seen, Unable};
use serde::Serialize;

use super::order::Order;
use super::reproduce::{Place, Target};
use super::{Compared, Done, Verdict};
use crate::exit::Status;
use crate::grid::{Cell, Grid};
use crate::report::text::seconds;
use crate::terminal::{Ink, Terminal};

/// The version of the format.
const VERSION: u32 = 1;

/// On what is run, and what it is compared with.
pub(crate) fn head(
    kernel: Result<&Kernel, &Unable>,
    guest: Option<Accelerator>,
    protocol: Protocol,
    seed: u64,
    terminal: Terminal,
    out: &mut dyn Write,
) -> io::Result<()> {
    match kernel {
        Ok(kernel) => writeln!(
            out,
            "{}{} against {}, seed {seed}",
            terminal.paint(Ink::Title, format_args!("Linux {}", kernel.release)),
            guest.map_or_else(String::new, |guest| format!(" in QEMU ({})", guest.name())),
            terminal.paint(Ink::Title, protocol.name)
        ),
        Err(why) => writeln!(out, "{}", terminal.paint(Ink::Open, why)),
    }
}

/// What came of one scenario.
pub(crate) fn scenario(done: &Done<'_>, terminal: Terminal, out: &mut dyn Write) -> io::Result<()> {
    let verdict = done.verdict();
    let ink = match verdict {
        Verdict::Allowed => Ink::Good,
        Verdict::Forbidden => Ink::Bad,
        Verdict::Open | Verdict::Skipped => Ink::Open,
    };
    let name = terminal.paint(Ink::Title, &done.loaded.scenario.name);
    let compared = match &done.result {
        Ok(compared) => compared,
        Err(why) => {
            let word = terminal.paint(ink, verdict.word());
            return writeln!(out, "\n{name}: {word}, {why}");
        }
    };
    let Compared {
        ran,
        allowed,
        open,
        order,
    } = compared;
    writeln!(
        out,
        "\n{name}: {}, {} iterations in {} ({:.0}/s)",
        terminal.paint(ink, verdict_in_words(compared, verdict)),
        ran.iterations(),
        seconds(done.time),
        ran.iterations() as f64 / done.time.as_secs_f64().max(f64::EPSILON)
    )?;
    if let Some(why) = &ran.stuck {
        writeln!(out, "  {}", terminal.paint(Ink::Bad, why))?;
    }
    complaints(&ran.complaints, terminal, out)?;
    if let Some(why) = open {
        writeln!(out, "  {}", terminal.paint(Ink::Open, why))?;
    }
    for remark in pagefold_linux::remarks(&done.loaded.scenario) {
        writeln!(out, "  {}", terminal.paint(Ink::Faint, remark))?;
    }
    if let Some(order) = order {
        write_order(order, terminal, out)?;
    }
    if done.loaded.scenario.registers.is_empty() {
        return Ok(());
    }
    let registers = done.loaded.scenario.registers.iter();
    let names = registers.map(|register| register.name.as_str());
    let mut grid = Grid::new(["     seen"].into_iter().chain(names).chain([""]));
    for (outcome, count) in &ran.counts {
        let remark = match is_allowed(compared, outcome, *count) {
            Allowed::Yes => Cell::default(),
            Allowed::No => Cell::new(Ink::Bad, "NOT ALLOWED"),
            Allowed::Open => Cell::new(Ink::Open, "not known to be allowed"),
            Allowed::Disturbed => Cell::new(
                Ink::Faint,
                "disturbed: somebody else had a page (EAGAIN), khugepaged came by, or a page was divided",
            ),
        };
        grid.row(row(format!("{:9}", count.all()), outcome, remark));
    }
    for outcome in ran.unseen(allowed) {
        grid.row(row("    never".to_owned(), outcome, Cell::default()));
    }
    grid.write(terminal, out)
}

/// What the kernel did; and what the model does, if it is something else.
fn write_order(order: &Order, terminal: Terminal, out: &mut dyn Write) -> io::Result<()> {
    for seen in &order.seen {
        let times = seen.iterations;
        match &seen.difference {
            Some(difference) => {
                let text = format!("ANOTHER ORDER: {difference}");
                writeln!(out, "  {}", terminal.paint(Ink::Bad, text))?;
                writeln!(out, "{times:9}  kernel  {}", seen.events.join(", "))?;
                writeln!(out, "           model   {}", order.expected.join(", "))?;
            }
            None => writeln!(out, "{times:9}  {}", seen.events.join(", "))?,
        }
    }
    Ok(())
}

/// Whether what was seen may be.
enum Allowed {
    Yes,
    No,
    /// That is not known.
    Open,
    /// It was seen only when somebody outside of the scenario was in the way.
    Disturbed,
}

fn is_allowed(compared: &Compared, outcome: &Outcome, count: Count) -> Allowed {
    if compared.allowed.contains(outcome) {
        Allowed::Yes
    } else if count.clean == 0 {
        Allowed::Disturbed
    } else if compared.open.is_some() {
        Allowed::Open
    } else {
        Allowed::No
    }
}

/// What the kernel said against itself.
pub(crate) fn complaints(
    complaints: &[Complaint],
    terminal: Terminal,
    out: &mut dyn Write,
) -> io::Result<()> {
    for complaint in complaints {
        writeln!(out, "  the kernel's log ({}):", complaint.kind)?;
        for line in complaint.to_string().lines() {
            writeln!(out, "    {}", terminal.paint(Ink::Bad, line))?;
        }
    }
    Ok(())
}

/// What else a kernel complained of.
pub(crate) fn besides(
    besides: &[Complaint],
    terminal: Terminal,
    out: &mut dyn Write,
) -> io::Result<()> {
    for complaint in besides {
        match &complaint.during {
            Some(name) => writeln!(out, "\nduring or after {name}:")?,
            None => writeln!(out, "\nbefore the first scenario:")?,
        }
        complaints(std::slice::from_ref(complaint), terminal, out)?;
    }
    Ok(())
}

fn verdict_in_words(compared: &Compared, verdict: Verdict) -> String {
    let Compared { ran, allowed, .. } = compared;
    let seen = ran.counts.len();
    let others = ran.forbidden(allowed).count();
    match verdict {
        Verdict::Forbidden if others > 0 => {
            format!("FORBIDDEN, {others} of {seen} outcomes seen not allowed")
        }
        Verdict::Forbidden => "FORBIDDEN".to_owned(),
        Verdict::Allowed if compared.order.is_some() => "allowed, in the model's order".to_owned(),
        Verdict::Open => "open".to_owned(),
        Verdict::Allowed | Verdict::Skipped => format!(
            "allowed, {} of {} outcomes seen",
            allowed.len() - ran.unseen(allowed).count(),
            allowed.len()
        ),
    }
}

fn row(count: String, outcome: &Outcome, remark: Cell) -> impl Iterator<Item = Cell> {
    let values = outcome.iter().map(|value| match value {
        Some(value) => Cell::from(value.to_string()),
        None => Cell::new(Ink::Faint, "-"),
    });
    [Cell::from(count)]
        .into_iter()
        .chain(values)
        .chain([remark])
}

/// The last line.
pub(crate) fn summary(
    all: &[Done<'_>],
    time: Duration,
    terminal: Terminal,
    out: &mut dyn Write,
) -> io::Result<()> {
    let count = |verdict| all.iter().filter(|done| done.verdict() == verdict).count();
    let verdicts = [
        (Verdict::Allowed, Ink::Good),
        (Verdict::Forbidden, Ink::Bad),
        (Verdict::Open, Ink::Open),
        (Verdict::Skipped, Ink::Faint),
    ];
    let scenarios = if all.len() == 1 {
        "scenario"
    } else {
        "scenarios"
    };
    write!(out, "\n{} {scenarios}", all.len())?;
    for (verdict, ink) in verdicts {
        let number = count(verdict);
        if number > 0 {
            let text = format!("{number} {}", verdict.word());
            write!(out, ", {}", terminal.paint(ink, text))?;
        }
    }
    writeln!(out, ", {}", seconds(time))
}

#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    kernel: Option<&'a str>,
    guest: Option<&'a str>,
    seed: u64,
    from: Option<From<'a>>,
    runs: Vec<Run<'a>>,
    besides: Vec<Besides<'a>>,
    summary: Summary,
}

#[derive(Serialize)]
struct From<'a> {
    scenario: &'a str,
    rules: &'a str,
    kind: &'a str,
    message: &'a str,
    delay: u128,
    places: &'a [Place],
}

#[derive(Serialize)]
struct Run<'a> {
    scenario: &'a str,
    file: String,
    protocol: &'a str,
    verdict: &'a str,
    reason: Option<String>,
    iterations: u64,
    seconds: f64,
    registers: Vec<&'a str>,
    outcomes: Vec<Row<'a>>,
    complaints: Vec<String>,
    remarks: Vec<&'static str>,
    order: Option<OrderOf<'a>>,
}

#[derive(Serialize)]
struct OrderOf<'a> {
    expected: &'a [String],
    seen: Vec<OrderSeen<'a>>,
}

#[derive(Serialize)]
struct OrderSeen<'a> {
    events: &'a [String],
    iterations: u64,
    difference: Option<&'a str>,
}

#[derive(Serialize)]
struct Besides<'a> {
    during: Option<&'a str>,
    text: String,
}

#[derive(Serialize)]
struct Row<'a> {
    values: &'a [Option<Seen>],
    seen: u64,
    disturbed: u64,
    allowed: Option<bool>,
}

#[derive(Serialize)]
struct Summary {
    runs: usize,
    allowed: usize,
    forbidden: usize,
    open: usize,
    skipped: usize,
    seconds: f64,
    status: u8,
}

/// On what was run.
pub(crate) struct On<'a> {
    /// The kernel, if it could be.
    pub(crate) kernel: Option<&'a Kernel>,
    /// Who ran the guest that had it.
    pub(crate) guest: Option<Accelerator>,
    /// What chance was drawn from.
    pub(crate) seed: u64,
    /// What was to be reproduced.
    pub(crate) target: Option<&'a Target>,
}

/// Writes the report for programs: one JSON object. The names of its fields are stable; `pagefold linux --help` lists them.
pub(crate) fn json(
    all: &[Done<'_>],
    on: &On<'_>,
    besides: &[Complaint],
    status: Status,
    time: Duration,
    out: &mut dyn Write,
) -> io::Result<()> {
    let count = |verdict| all.iter().filter(|done| done.verdict() == verdict).count();
    let report = Report {
        version: VERSION,
        kernel: on.kernel.map(|kernel| kernel.release.as_str()),
        guest: on.guest.map(Accelerator::name),
        seed: on.seed,
        from: on.target.map(|target| From {
            scenario: &target.loaded.scenario.name,
            rules: &target.rules,
            kind: &target.kind,
            message: &target.message,
            delay: target.aim.delay.as_millis(),
            places: &target.places,
        }),
        runs: all.iter().map(run).collect(),
        besides: besides
            .iter()
            .map(|complaint| Besides {
                during: complaint.during.as_deref(),
                text: complaint.to_string(),
            })
            .collect(),
        summary: Summary {
            runs: all.len(),
            allowed: count(Verdict::Allowed),
            forbidden: count(Verdict::Forbidden),
            open: count(Verdict::Open),
            skipped: count(Verdict::Skipped),
            seconds: time.as_secs_f64(),
            status: status.code(),
        },
    };
    serde_json::to_writer_pretty(&mut *out, &report)?;
    writeln!(out)
}

fn run<'a>(done: &'a Done<'_>) -> Run<'a> {
    let scenario = &done.loaded.scenario;
    let compared = done.result.as_ref();
    let reason = match compared {
        Ok(compared) => compared.ran.stuck.clone().or_else(|| compared.open.clone()),
        Err(why) => Some(why.to_string()),
    };
    Run {
        scenario: &scenario.name,
        file: done.loaded.path.display().to_string(),
        protocol: done.protocol.name,
        verdict: done.verdict().word(),
        reason,
        iterations: compared.map_or(0, |compared| compared.ran.iterations()),
        seconds: done.time.as_secs_f64(),
        registers: scenario
            .registers
            .iter()
            .map(|register| register.name.as_str())
            .collect(),
        outcomes: compared.map_or_else(|_| Vec::new(), rows),
        complaints: compared.map_or_else(
            |_| Vec::new(),
            |compared| {
                let complaints = compared.ran.complaints.iter();
                complaints.map(ToString::to_string).collect()
            },
        ),
        remarks: pagefold_linux::remarks(scenario),
        order: compared
            .ok()
            .and_then(|compared| compared.order.as_ref())
            .map(order_of),
    }
}

fn order_of(order: &Order) -> OrderOf<'_> {
    let seen = order.seen.iter();
    OrderOf {
        expected: &order.expected,
        seen: seen
            .map(|seen| OrderSeen {
                events: &seen.events,
                iterations: seen.iterations,
                difference: seen.difference.as_deref(),
            })
            .collect(),
    }
}

/// What was seen, then what is allowed and was not.
fn rows(compared: &Compared) -> Vec<Row<'_>> {
    let Compared { ran, allowed, .. } = compared;
    let seen = ran.counts.iter().map(|(values, count)| Row {
        values,
        seen: count.all(),
        disturbed: count.disturbed,
        allowed: match is_allowed(compared, values, *count) {
            Allowed::Yes => Some(true),
            Allowed::No => Some(false),
            Allowed::Open | Allowed::Disturbed => None,
        },
    });
    let unseen = ran.unseen(allowed).map(|values| Row {
        values,
        seen: 0,
        disturbed: 0,
        allowed: Some(true),
    });
    seen.chain(unseen).collect()
}
