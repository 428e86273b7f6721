//! From a trace to the places where a thread has to stop, so that others come in between.
//!
//! A thread that others run in between of, at a step where it could have gone on, stops there. That is what a real kernel seldom does, and
//! a delay makes it do. The delay need not stand just there: it may stand wherever the thread's steps and those that come in
//! between are of no concern to each other. So a place is between the last step before it and the first after it that are.

use std::collections::HashSet;

use pagefold_explore::{Trace, TraceStep};
use pagefold_linux::{Meeting, Point};
use pagefold_litmus::Scenario;
use serde::Serialize;

use super::threads::{Other, Step, Thread, threads};

/// What a step begins with that has to wait for somebody.
const WAITS: &str = "wait for ";
/// What a step is called that lets others have a lock.
const RELEASES: [&str; 3] = ["unlock", "end_read", "downgrade"];

/// A place where a thread has to stop.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Place {
    /// The thread.
    pub(crate) thread: String,
    /// What it does meanwhile.
    pub(crate) statement: String,
    /// The last step before it stops.
    pub(crate) after: Step,
    /// The first one when it goes on.
    pub(crate) before: Step,
    /// The last step that the others must not come before, if that is not `after`.
    pub(crate) opens: Option<Step>,
    /// The first step that the others must not come behind, if that is not `before`.
    pub(crate) closes: Option<Step>,
    /// Who comes in between.
    pub(crate) others: Vec<Other>,
    /// How many steps it has taken by then, and the others; threads by their numbers.
    #[serde(skip)]
    taken: Vec<(usize, usize)>,
}

impl Place {
    /// Whether a delay in the kernel can make the thread stop here.
    pub(crate) fn is_in_kernel(&self) -> bool {
        self.after.function.is_some() || self.before.function.is_some()
    }
}

/// All places of a trace, in its order.
pub(crate) fn places(trace: &Trace, scenario: &Scenario) -> Vec<Place> {
    let threads = threads(trace, scenario);
    let mut places: Vec<(usize, Place)> = threads
        .iter()
        .flat_map(|thread| {
            let pauses = thread.own.windows(2);
            pauses.filter_map(|pause| Some((pause[0], thread.place(pause, trace, &threads)?)))
        })
        .collect();
    places.sort_by_key(|(step, _)| *step);
    places.into_iter().map(|(_, place)| place).collect()
}

/// Where threads should meet, so that what is in the trace happens. `lengths` are those of [`lengths`].
///
/// If nobody has to stop, then each thread begins when the one before it has ended.
pub(crate) fn meetings(
    places: &[Place],
    lengths: &[usize],
    trace: &Trace,
    scenario: &Scenario,
) -> Vec<Meeting> {
    let meeting = |mut points: std::vec::IntoIter<Point>| {
        Some(Meeting {
            first: points.next()?,
            others: points.collect(),
        })
    };
    if places.is_empty() {
        let mut order = threads(trace, scenario);
        order.sort_by_key(|thread| thread.own.first().copied());
        let points = order.iter().enumerate().map(|(place, thread)| Point {
            thread: thread.number,
            gone: if place == 0 { 1.0 } else { 0.0 },
        });
        let points: Vec<Point> = points.collect();
        return meeting(points.into_iter()).into_iter().collect();
    }
    let point = |(thread, steps): &(usize, usize)| Point {
        thread: *thread,
        gone: *steps as f64 / lengths[*thread].max(*steps) as f64,
    };
    let points = places.iter().map(|place| place.taken.iter().map(point));
    points
        .filter_map(|points| meeting(points.collect::<Vec<_>>().into_iter()))
        .collect()
}

/// How many steps each thread takes in a trace.
pub(crate) fn lengths(trace: &Trace, scenario: &Scenario) -> Vec<usize> {
    let mut lengths = vec![0; scenario.threads.len()];
    for thread in threads(trace, scenario) {
        lengths[thread.number] = thread.own.len();
    }
    lengths
}

impl Thread<'_> {
    /// What is between two of its steps that follow each other, if it has to stop there.
    fn place(&self, pause: &[usize], trace: &Trace, threads: &[Thread<'_>]) -> Option<Place> {
        let [last, next] = *pause else { return None };
        let between = last + 1..next;
        let others: Vec<(&Thread<'_>, Vec<usize>)> = threads
            .iter()
            .filter(|other| other.number != self.number)
            .map(|other| (other, other.within(&between)))
            .filter(|(_, steps)| !steps.is_empty())
            .collect();
        let steps: Vec<usize> = others
            .iter()
            .flat_map(|(_, steps)| steps)
            .copied()
            .collect();
        if others.is_empty() || must_wait(&trace.steps[next], &steps, trace) {
            return None;
        }
        let theirs = objects(&steps, trace);
        let concerns = |step: &&usize| {
            let step = &trace.steps[**step];
            step.shared
                && step
                    .object
                    .as_ref()
                    .is_some_and(|o| theirs.contains(o.as_str()))
        };
        let (before, after) = self
            .own
            .split_at(self.own.partition_point(|step| *step <= last));
        let opens = before.iter().rev().find(concerns).copied();
        let closes = after.iter().find(concerns).copied();
        // That the others came in between made no difference.
        if opens.is_none() && closes.is_none() {
            return None;
        }
        let at = self.position(last);
        // Where nothing is begun there is nothing to be interrupted.
        let statement = self.statements[at].clone()?;
        let after = self.named_before(last, trace)?;
        let before = self.named_after(next, trace)?;
        // Of what has no name, the nearest within.
        let opens = opens.and_then(|step| self.named_after(step, trace));
        let closes = closes.and_then(|step| self.named_before(step, trace));
        let mine = objects(&self.own, trace);
        // From the first step on that is of concern here.
        let matters = |step: &&usize| {
            let step = &trace.steps[**step];
            step.shared
                && step
                    .object
                    .as_ref()
                    .is_some_and(|o| mine.contains(o.as_str()))
        };
        let theirs = others.iter().map(|(other, steps)| {
            let first = steps.iter().find(matters).unwrap_or(&steps[0]);
            (other.number, other.position(*first))
        });
        let taken = [(self.number, at + 1)].into_iter().chain(theirs).collect();
        Some(Place {
            thread: self.name.to_owned(),
            statement,
            opens: opens.filter(|opens| opens.step < after.step),
            closes: closes.filter(|closes| closes.step > before.step),
            after,
            before,
            others: others
                .iter()
                .map(|(other, steps)| other.told(steps))
                .collect(),
            taken,
        })
    }
}

/// Whether a thread could not have done its next step before somebody did one of these: it waits, or others had its lock.
fn must_wait(next: &TraceStep, steps: &[usize], trace: &Trace) -> bool {
    if next.label.starts_with(WAITS) {
        return true;
    }
    let mut steps = steps.iter().map(|step| &trace.steps[*step]);
    next.object.is_some()
        && steps
            .find(|step| step.object == next.object)
            .is_some_and(|step| RELEASES.iter().any(|word| step.label.contains(word)))
}

/// What these steps do something to that the order with other threads' steps matters of.
fn objects<'a>(steps: &[usize], trace: &'a Trace) -> HashSet<&'a str> {
    let steps = steps.iter().map(|step| &trace.steps[*step]);
    steps
        .filter(|step| step.shared)
        .filter_map(|step| step.object.as_deref())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use pagefold::protocol::Protocol;
    use pagefold_machine::model::{self, RunConfig};

    use super::*;

    /// The trace that a scenario of the library breaks with.
    fn broken(name: &str, protocol: &str, without: &[&str]) -> (Trace, Scenario) {
        let path = format!("../../litmus/{name}.litmus");
        let source = crate::load::read(Path::new(&path)).unwrap();
        let scenario = crate::load::scenario(&source, &path).unwrap();
        let mut config = RunConfig::new(Protocol::by_name(protocol).unwrap());
        let names: Vec<String> = without.iter().map(ToString::to_string).collect();
        config.without = crate::plan::safeguards(&names).unwrap();
        let checked = model::check(&scenario, &config).unwrap();
        let model::Outcome::Broken(violation) = checked.outcome else {
            panic!("{name} does not break under {protocol} without {without:?}");
        };
        (violation.trace, scenario)
    }

    /// Who stops where, and for whom.
    fn told(name: &str, protocol: &str, without: &[&str]) -> String {
        let (trace, scenario) = broken(name, protocol, without);
        let step = |step: &Step| {
            let function = step.function.unwrap_or("user space");
            format!("{} ({function})", step.label)
        };
        let lines = places(&trace, &scenario).into_iter().map(|place| {
            let others: Vec<String> = place
                .others
                .iter()
                .map(|other| format!("{}: {}", other.thread, other.statements.join("; ")))
                .collect();
            format!(
                "{}: {}\n  after  {}\n  before {}\n  opens  {}\n  closes {}\n  others {}\n",
                place.thread,
                place.statement,
                step(&place.after),
                step(&place.before),
                place.opens.as_ref().map_or("there".to_owned(), step),
                place.closes.as_ref().map_or("there".to_owned(), step),
                others.join(", ")
            )
        });
        lines.collect()
    }

    #[test]
    fn the_first_question_of_the_mail() {
        insta::assert_snapshot!(told("thread/uffd-copy-vs-retract", "posted-v1", &[]));
    }

    #[test]
    fn a_marker_comes_in_between() {
        insta::assert_snapshot!(told(
            "thread/uffd-wp-vs-retract",
            "linux-6.6",
            &["recheck_uffd_wp"]
        ));
    }

    #[test]
    fn two_places_one_after_the_other() {
        insta::assert_snapshot!(told(
            "thread/read-fault-vs-collapse",
            "linux-6.6",
            &["lock_new_folio"]
        ));
    }

    #[test]
    fn a_fault_stops_too() {
        insta::assert_snapshot!(told(
            "thread/cow-fault-vs-collapse",
            "linux-6.6",
            &["recheck_cow_entry"]
        ));
    }

    #[test]
    fn a_page_table_of_the_caller() {
        insta::assert_snapshot!(told(
            "thread/collapse-install-vs-uffd-copy",
            "linux-6.6",
            &["early_pmd_lock"]
        ));
    }

    #[test]
    fn who_waits_for_a_lock_does_not_stop_by_itself() {
        // P1 waits for the lock that P0 has when it stops.
        insta::assert_snapshot!(told(
            "thread/uffd-copy-vs-retract",
            "linux-6.6",
            &["recheck_pmd"]
        ));
    }

    #[test]
    fn nobody_has_to_stop() {
        let (trace, scenario) = broken(
            "safeguards/dontneed-two-cpus",
            "linux-6.6",
            &["flush_on_zap"],
        );
        let places = places(&trace, &scenario);
        assert_eq!(places, []);
        let meetings = meetings(&places, &lengths(&trace, &scenario), &trace, &scenario);
        let [Meeting { first, others }] = &meetings[..] else {
            panic!("one after the other is one meeting: {meetings:?}");
        };
        assert!((first.gone, others.len()) == (1.0, 1), "{meetings:?}");
    }

    #[test]
    fn the_others_meet_the_thread_where_it_stops() {
        let (trace, scenario) = broken("thread/uffd-copy-vs-retract", "posted-v1", &[]);
        let places = places(&trace, &scenario);
        let lengths = lengths(&trace, &scenario);
        let [Meeting { first, others }] = &meetings(&places, &lengths, &trace, &scenario)[..]
        else {
            panic!("P0 stops once");
        };
        // Near the end of what is there of the collapse, and where UFFDIO_COPY first does something to what retraction looks at.
        assert_eq!((first.thread, others[0].thread), (0, 1));
        assert!((0.9..1.0).contains(&first.gone), "{first:?}");
        assert!((0.0..0.5).contains(&others[0].gone), "{others:?}");
    }
}
