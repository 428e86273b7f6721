//! `pagefold linux` on the kernel that the tests run on. What this machine cannot do is ignored, with the reason.
//!
//! One test after the other, as the command wants the machine for itself.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use serde_json::Value;

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let mut trials = vec![
        Trial::test("no_counterpart", no_counterpart),
        Trial::test("not_root", not_root),
        Trial::ignorable_test("one_at_a_time", one_at_a_time),
        Trial::ignorable_test("a_difference_is_found", a_difference_is_found),
        Trial::ignorable_test("a_hang_is_found", a_hang_is_found),
        Trial::ignorable_test("poison", poison),
        Trial::ignorable_test("held_pages", held_pages),
        Trial::ignorable_test("random_sequences", random_sequences),
        Trial::ignorable_test(
            "random_sequences_of_other_rules",
            random_sequences_of_other_rules,
        ),
        Trial::ignorable_test("settings_are_put_back", settings_are_put_back),
        Trial::ignorable_test("huge_pages_are_denied", huge_pages_are_denied),
        Trial::ignorable_test("order_of_events", order_of_events),
        Trial::ignorable_test("another_order_is_found", another_order_is_found),
        Trial::ignorable_test("no_instance_is_left", no_instance_is_left),
    ];
    for folder in ["thread", "selftests"] {
        for path in scenarios(folder) {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            let name = format!("{folder}/{stem}");
            trials.push(Trial::ignorable_test(name, move || allowed(&path)));
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}

fn scenarios(folder: &str) -> Vec<PathBuf> {
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../litmus");
    let entries = fs::read_dir(library.join(folder)).expect("the library is in the repository");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "litmus")
        })
        .collect();
    paths.sort();
    paths
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pagefold"));
    command.arg("linux").args(arguments);
    command
}

/// Runs a scenario; the first run of the report, and the status.
fn run(path: &Path, arguments: &[&str]) -> Result<(Value, i32), Failed> {
    let Output { status, stdout, .. } = command(arguments)
        .args(["--format", "json"])
        .arg(path)
        .output()?;
    let mut report: Value = serde_json::from_slice(&stdout)?;
    let status = status.code().ok_or("ended by a signal")?;
    Ok((report["runs"][0].take(), status))
}

/// A scenario of its own.
fn run_text(text: &str, arguments: &[&str]) -> Result<(Value, i32), Failed> {
    let file = tempfile::Builder::new().suffix(".litmus").tempfile()?;
    fs::write(file.path(), text)?;
    run(file.path(), arguments)
}

fn skipped(run: &Value) -> Option<Completion> {
    let reason = run["reason"].as_str().unwrap_or_default();
    (run["verdict"] == "skipped").then(|| Completion::ignored_with(reason))
}

/// Whatever is seen of a scenario of the library is allowed; where khugepaged scans, it does so itself.
fn allowed(path: &Path) -> Result<Completion, Failed> {
    let bounds = ["--khugepaged", "--seconds", "1", "--iterations", "100"];
    let (run, status) = run(path, &bounds)?;
    if let Some(ignored) = skipped(&run) {
        return Ok(ignored);
    }
    if status == 0 && run["iterations"].as_u64() > Some(0) {
        Ok(Completion::Completed)
    } else {
        Err(format!("{run:#}").into())
    }
}

/// What a kernel from 6.18 on does, held against rules of before: it collapses pages that the process cannot write.
fn a_difference_is_found() -> Result<Completion, Failed> {
    let read_only = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../litmus/selftests/madvise-collapse-read-only-pages.litmus");
    let (run, status) = run(
        &read_only,
        &["--protocol", "linux-6.6", "--iterations", "5"],
    )?;
    if let Some(ignored) = skipped(&run) {
        return Ok(ignored);
    }
    if status == 0 {
        return Ok(Completion::ignored_with("Linux 6.18"));
    }
    let seen = |row: &Value| row["seen"].as_u64() > Some(0) && row["allowed"] == false;
    let rows = run["outcomes"].as_array().ok_or("no outcomes")?;
    check(
        status == 1 && run["verdict"] == "forbidden" && rows.iter().any(seen),
        &run,
    )?;
    Ok(Completion::Completed)
}

/// A fault that nobody answers ends the run, and the process that faulted.
fn a_hang_is_found() -> Result<Completion, Failed> {
    let text = "MM hang
{ shmem f[2]; mm A { x: mmap(f, MAP_SHARED); uffd(x, MISSING); } }
P0 (A) { r = x[0]; }
";
    let (run, status) = run_text(text, &["--iterations", "1"])?;
    if let Some(ignored) = skipped(&run) {
        return Ok(ignored);
    }
    let reason = run["reason"].as_str().unwrap_or_default();
    check(
        status == 1 && reason.starts_with("P0 did not come to an end"),
        &run,
    )?;
    Ok(Completion::Completed)
}

/// Not every kernel says that it was a poisoned page that an access ended at.
fn poison() -> Result<Completion, Failed> {
    let text = "MM poison
{ mm A { a: mmap(ANON[2], MAP_PRIVATE); uffd(a, MISSING|SIGBUS_ON_FAULT); } }
P0 (A) { e = uffdio_poison(a[0]); r = a[0]; s = a[1]; }
";
    let (run, status) = run_text(text, &["--iterations", "5"])?;
    if let Some(ignored) = skipped(&run) {
        return Ok(ignored);
    }
    check(status == 0, &run)?;
    Ok(Completion::Completed)
}

/// Who holds a page sees what was there, also when the process has another one, and is in the way of a collapse until it is let go.
fn held_pages() -> Result<Completion, Failed> {
    for how in ["FOLL_GET", "FOLL_LONGTERM|FOLL_WRITE"] {
        let text = format!(
            "MM held
{{ mm A {{ a: mmap(ANON[2], MAP_PRIVATE); }} A: a[0] = 1; a[1] = 2; }}
P0 (A) {{
    hold(a[0], {how}); c = madvise(a, MADV_COLLAPSE); madvise(a[0], MADV_DONTNEED); r = a[0]; s = read_held(a[0]);
    w = write_held(a[0], 5); t = read_held(a[0]); let_go(a[0]); u = read_held(a[0]); d = madvise(a, MADV_COLLAPSE);
}}
"
        );
        let (run, status) = run_text(&text, &["--iterations", "20"])?;
        if let Some(ignored) = skipped(&run) {
            return Ok(ignored);
        }
        check(status == 0 && run["iterations"] == 20, &run)?;
    }
    Ok(Completion::Completed)
}

/// What `--random` says, and the status; or why it cannot be run.
fn random(arguments: &[&str]) -> Result<Result<(String, i32), Completion>, Failed> {
    let Output { status, stdout, .. } = command(&["--random", "1"]).args(arguments).output()?;
    let stdout = String::from_utf8(stdout)?;
    Ok(match status.code() {
        Some(4) => Err(Completion::ignored_with(
            stdout.lines().last().unwrap_or_default(),
        )),
        Some(status) => Ok((stdout, status)),
        None => return Err("ended by a signal".into()),
    })
}

/// The kernel and the engine do the same, step by step.
fn random_sequences() -> Result<Completion, Failed> {
    match random(&["--cases", "300"])? {
        Err(ignored) => Ok(ignored),
        Ok((said, 0)) if said.contains("300 sequences of ") => Ok(Completion::Completed),
        Ok((said, _)) => Err(said.into()),
    }
}

/// An engine with the rules of another kernel does not, and the difference is shown as a scenario: page tables that became empty
/// are freed from 6.14 on.
fn random_sequences_of_other_rules() -> Result<Completion, Failed> {
    match random(&["--cases", "3000", "--protocol", "linux-6.6"])? {
        Err(ignored) => Ok(ignored),
        Ok((_, 0)) => Ok(Completion::ignored_with("Linux 6.14")),
        Ok((said, 1)) if said.contains("\nMM random\n") => Ok(Completion::Completed),
        Ok((said, _)) => Err(said.into()),
    }
}

/// What others see of a collapse is in the model's order.
fn order_of_events() -> Result<Completion, Failed> {
    for name in [
        "thread/uffd-copy-vs-retract",
        "system/anon-collapse-vs-fault",
    ] {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../litmus/{name}.litmus"));
        let (run, status) = run(&path, &["--events", "--iterations", "5"])?;
        if let Some(ignored) = skipped(&run) {
            return Ok(ignored);
        }
        let expected = run["order"]["expected"].as_array();
        check(
            status == 0 && expected.is_some_and(|events| events.len() > 2),
            &run,
        )?;
    }
    Ok(Completion::Completed)
}

/// A kernel from 6.6 on takes everybody's page tables, not only those of who asks, and calls the result otherwise.
fn another_order_is_found() -> Result<Completion, Failed> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../litmus/thread/kvm-vs-collapse.litmus");
    let short = ["--events", "--iterations", "3"];
    let (own, status) = run(&path, &short)?;
    if let Some(ignored) = skipped(&own) {
        return Ok(ignored);
    }
    check(status == 0, &own)?;
    if own["protocol"] == "linux-6.4" {
        return Ok(Completion::ignored_with("Linux 6.6"));
    }
    let (run, status) = run(&path, &[&short[..], &["--protocol", "linux-6.4"]].concat())?;
    check(status == 1 && run["verdict"] == "forbidden", &run)?;
    check(run["order"]["seen"][0]["difference"].is_string(), &run)?;
    Ok(Completion::Completed)
}

/// Where a killed command has traced, nothing is left: the next one, which may begin when all is taken away, finds nothing to remove.
fn no_instance_is_left() -> Result<Completion, Failed> {
    let text = READ.replace("r = x[0];", "r = madvise(x, MADV_COLLAPSE);");
    let short = ["--events", "--iterations", "1"];
    let (run, status) = run_text(&text, &short)?;
    if let Some(ignored) = skipped(&run) {
        return Ok(ignored);
    }
    check(status == 0, &run)?;
    let file = tempfile::Builder::new().suffix(".litmus").tempfile()?;
    fs::write(file.path(), &text)?;
    let mut other = command(&["--events", "--seconds", "60", "--iterations", "1000000000"])
        .arg(file.path())
        .stdout(Stdio::null())
        .spawn()?;
    let instance = format!("pagefold-{}", other.id());
    // The command's own namespace has tracefs, also where this process' has not.
    let instances = Path::new("/proc")
        .join(other.id().to_string())
        .join("root")
        .join("sys/kernel/tracing/instances");
    let began = (0..TRIES).any(|_| {
        thread::sleep(PAUSE);
        instances.join(&instance).is_dir()
    });
    let held = File::open(&instances)?;
    other.kill()?;
    other.wait()?;
    let gone = (0..TRIES).any(|_| {
        thread::sleep(PAUSE);
        let names = rustix::fs::Dir::read_from(&held)
            .into_iter()
            .flatten()
            .flatten();
        !names
            .into_iter()
            .any(|entry| entry.file_name().to_bytes() == instance.as_bytes())
    });
    if began && gone {
        Ok(Completion::Completed)
    } else {
        Err(format!("began: {began}, gone: {gone}").into())
    }
}

const READ: &str = "MM read
{ shmem f[2] = { 1, 2 }; mm A { x: mmap(f, MAP_SHARED); } }
P0 (A) { r = x[0]; }
";

/// While one command has the machine, another one is refused, unless it has nothing to run; if it is killed, its processes die and the
/// machine is free.
fn one_at_a_time() -> Result<Completion, Failed> {
    let short = ["--iterations", "1"];
    if let (run, 4) = run_text(READ, &short)? {
        return Ok(skipped(&run).unwrap_or(Completion::Completed));
    }
    let file = tempfile::Builder::new().suffix(".litmus").tempfile()?;
    fs::write(file.path(), READ)?;
    let mut other = command(&["--seconds", "60", "--iterations", "1000000000"])
        .arg(file.path())
        .stdout(Stdio::null())
        .spawn()?;
    let refused = (0..TRIES).any(|_| {
        thread::sleep(PAUSE);
        matches!(run_text(READ, &short), Ok((run, 4)) if run["reason"].as_str()
            .is_some_and(|reason| reason.contains("another `pagefold linux` has it")))
    });
    let nothing_to_run = no_counterpart();
    other.kill()?;
    other.wait()?;
    let free = (0..TRIES).any(|_| {
        thread::sleep(PAUSE);
        matches!(run_text(READ, &short), Ok((_, 0)))
    });
    nothing_to_run?;
    if refused && free {
        Ok(Completion::Completed)
    } else {
        Err(format!("refused: {refused}, free afterwards: {free}").into())
    }
}

const SCAN: &str = "MM scan
{ mm A { a: mmap(ANON[2], MAP_PRIVATE); } A: a[0] = 1; }
P0 (khugepaged) { m = scan(A, 0); }
";

/// The settings of khugepaged are what they were when the command that changed them is killed.
fn settings_are_put_back() -> Result<Completion, Failed> {
    let (run, status) = run_text(SCAN, &["--iterations", "1"])?;
    let reason = run["reason"].as_str().unwrap_or_default();
    if !reason.contains("--khugepaged") {
        return Ok(Completion::ignored_with(reason));
    }
    check(status == 4, &run)?;
    let before = settings()?;
    let (run, status) = run_text(SCAN, &["--khugepaged", "--iterations", "1"])?;
    check(status == 0, &run)?;
    let after = settings()?;
    let file = tempfile::Builder::new().suffix(".litmus").tempfile()?;
    fs::write(file.path(), SCAN)?;
    let forever = ["--khugepaged", "--seconds", "60", "--iterations", "1000000"];
    let mut other = command(&forever)
        .arg(file.path())
        .stdout(Stdio::null())
        .spawn()?;
    let look = |wanted: fn(&Settings, &Settings) -> bool| {
        (0..TRIES).any(|_| {
            thread::sleep(PAUSE);
            settings().is_ok_and(|now| wanted(&now, &before))
        })
    };
    let changed = look(|now, before| now != before);
    other.kill()?;
    other.wait()?;
    let put_back = look(|now, before| now == before);
    if after == before && changed && put_back {
        Ok(Completion::Completed)
    } else {
        let told = format!("before: {before:?}, after: {after:?}");
        Err(format!("{told}, changed: {changed}, put back: {put_back}").into())
    }
}

const DENIED: &str = "MM denied
{ shmem f[2] = { 1, 2 }; mm A { x: mmap(f, MAP_SHARED); } shmem_enabled deny; }
P0 (A) { e = madvise(x, MADV_COLLAPSE); }
";

/// Huge pages of shmem are denied for a scenario that says so, and only with leave to change settings.
fn huge_pages_are_denied() -> Result<Completion, Failed> {
    let (run, status) = run_text(DENIED, &["--iterations", "5"])?;
    let reason = run["reason"].as_str().unwrap_or_default();
    if !reason.contains("--khugepaged") {
        return Ok(Completion::ignored_with(reason));
    }
    check(status == 4, &run)?;
    let before = settings()?;
    let (run, status) = run_text(DENIED, &["--khugepaged", "--iterations", "5"])?;
    check(status == 0 && run["verdict"] == "allowed", &run)?;
    check(settings()? == before, &run)?;
    Ok(Completion::Completed)
}

type Settings = Vec<(PathBuf, String)>;

/// What khugepaged is told, and what it tells.
fn settings() -> Result<Settings, Failed> {
    let thp = Path::new("/sys/kernel/mm/transparent_hugepage");
    let mut settings = vec![(
        thp.to_owned(),
        fs::read_to_string(thp.join("shmem_enabled"))?,
    )];
    for entry in fs::read_dir(thp.join("khugepaged"))? {
        let path = entry?.path();
        let counts = ["full_scans", "pages_collapsed"];
        if !counts.iter().any(|count| path.ends_with(count)) {
            let text = fs::read_to_string(&path)?;
            settings.push((path, text));
        }
    }
    settings.sort();
    Ok(settings)
}

/// What has no counterpart is skipped everywhere, with the reason, whoever has the machine.
fn no_counterpart() -> Result<(), Failed> {
    let text = "MM device
{ shmem f[2] = { 1, 2 }; mm A { x: mmap(f, MAP_SHARED); } }
P0 (device A) { r = x[0]; }
";
    let (run, status) = run_text(text, &[])?;
    let reason = "no counterpart: a device that walks page tables";
    check(
        status == 4 && run["verdict"] == "skipped" && run["reason"] == reason,
        &run,
    )
}

/// Without root it says so.
fn not_root() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let copy = directory.path().join("pagefold");
    let scenario = directory.path().join("read.litmus");
    fs::copy(env!("CARGO_BIN_EXE_pagefold"), &copy)?;
    fs::write(&scenario, READ)?;
    for path in [directory.path(), &copy, &scenario] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    }
    let mut command = Command::new(&copy);
    command.arg("linux").arg(&scenario);
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY);
    }
    let Output { status, stdout, .. } = command.output()?;
    let stdout = String::from_utf8(stdout)?;
    let reason = "missing: not root: page maps and userfaultfd are for root\n";
    if status.code() == Some(4) && stdout.starts_with(reason) {
        Ok(())
    } else {
        Err(format!("{status}: {stdout}").into())
    }
}

/// A user who is not root.
const NOBODY: u32 = 65534;

/// How often, and after what time, is looked again.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(50);

fn check(condition: bool, run: &Value) -> Result<(), Failed> {
    if condition {
        Ok(())
    } else {
        Err(format!("{run:#}").into())
    }
}
