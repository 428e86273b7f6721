//! `pagefold linux --kernel`. Tests that boot a kernel take those in `PAGEFOLD_KERNELS`, separated by colons; `.ci/kernel` prints some.
//! Without one, or without QEMU, they are ignored, with the reason.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use serde_json::Value;

fn main() {
    let mut arguments = Arguments::from_args();
    // Each guest has as many CPUs as there may be here.
    arguments.test_threads = Some(1);
    let mut trials = vec![
        Trial::test("no_qemu", no_qemu),
        Trial::test("no_kernel", no_kernel),
        Trial::test("only_with_kernel", only_with_kernel),
        Trial::ignorable_test("nothing_stays_behind", nothing_stays_behind),
        Trial::ignorable_test("a_kernel_that_does_not_come_up", does_not_come_up),
        Trial::ignorable_test("a_kernel_that_dies", dies),
    ];
    let kernels = kernels();
    for kernel in &kernels {
        let name = kernel.file_name().unwrap_or_default().to_string_lossy();
        let kernel = kernel.clone();
        let test = move || races(&kernel);
        trials.push(Trial::ignorable_test(format!("races_on_{name}"), test));
    }
    if kernels.is_empty() {
        trials.push(Trial::ignorable_test("races", || Ok(kernel().unwrap_err())));
    }
    libtest_mimic::run(&arguments, trials).exit();
}

fn kernels() -> Vec<PathBuf> {
    let list = env::var_os("PAGEFOLD_KERNELS").unwrap_or_default();
    let all = env::split_paths(&list);
    all.filter(|path| !path.as_os_str().is_empty()).collect()
}

/// A kernel to boot, and something to boot it with; or what is missing.
fn kernel() -> Result<PathBuf, Completion> {
    let Some(kernel) = kernels().into_iter().next() else {
        return Err(Completion::ignored_with("no kernel in PAGEFOLD_KERNELS"));
    };
    match Command::new("qemu-system-x86_64").arg("-version").output() {
        Ok(_) => Ok(kernel),
        Err(_) => Err(Completion::ignored_with("no qemu-system-x86_64")),
    }
}

fn scenario(name: &str) -> PathBuf {
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../litmus/thread");
    library.join(name).with_extension("litmus")
}

fn command(kernel: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pagefold"));
    command.arg("linux").arg("--kernel").arg(kernel);
    command.args(arguments);
    command
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// What a kernel shows is allowed by the protocol of its version; what no kernel can run is skipped; all in the order given. If the
/// kernel's modules were fetched with it, KVM is one of them, and runs on QEMU's processors as well.
fn races(image: &Path) -> Result<Completion, Failed> {
    if let Err(ignored) = kernel() {
        return Ok(ignored);
    }
    let output = command(image, &["--format", "json", "--seconds", "3"])
        .arg(scenario("iommu-vs-retract"))
        .arg(scenario("read-fault-vs-collapse"))
        .arg(scenario("uffd-copy-vs-retract"))
        .arg(scenario("kvm-vs-collapse"))
        .output()?;
    let (stdout, stderr) = texts(&output);
    let report: Value =
        serde_json::from_str(&stdout).map_err(|error| format!("{error}: {stderr}"))?;
    let release = report["kernel"].as_str().ok_or("no kernel")?;
    let file = image.to_string_lossy();
    let runs = report["runs"].as_array().ok_or("no runs")?;
    let word = |run: &Value, field: &str| run[field].as_str().unwrap_or_default().to_owned();
    let names: Vec<_> = runs
        .iter()
        .map(|run| (word(run, "scenario"), word(run, "verdict")))
        .collect();
    let has_modules = image
        .parent()
        .is_some_and(|boot| boot.join("../lib/modules").is_dir());
    let by_kvm = if has_modules { "allowed" } else { "skipped" };
    let expected = [
        ("iommu-vs-retract", "skipped"),
        ("read-fault-vs-collapse", "allowed"),
        ("uffd-copy-vs-retract", "allowed"),
        ("kvm-vs-collapse", by_kvm),
    ]
    .map(|(name, verdict)| (name.to_owned(), verdict.to_owned()));
    let raced = runs
        .iter()
        .filter(|run| run["verdict"] != "skipped")
        .all(|run| run["iterations"].as_u64() > Some(0));
    let complains = report["besides"]
        .as_array()
        .is_none_or(|all| !all.is_empty());
    if names == expected
        && raced
        && !complains
        && file.ends_with(release)
        && output.status.success()
    {
        Ok(Completion::Completed)
    } else {
        Err(format!("{report:#}\n{stderr}").into())
    }
}

/// However the command ends, QEMU ends with it.
fn nothing_stays_behind() -> Result<Completion, Failed> {
    let kernel = match kernel() {
        Ok(kernel) => kernel,
        Err(ignored) => return Ok(ignored),
    };
    let mut command = command(&kernel, &["--accel", "tcg", "--seconds", "60"]);
    command.arg(scenario("read-fault-vs-collapse"));
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let qemu = wait(|| {
        children(child.id())
            .into_iter()
            .find(|&process| runs(process))
    });
    child.kill()?;
    child.wait()?;
    let qemu = qemu.ok_or("no QEMU was started")?;
    let gone = wait(|| (!runs(qemu)).then_some(()));
    match gone {
        Some(()) => Ok(Completion::Completed),
        None => Err(format!("process {qemu} is still there").into()),
    }
}

/// What `probe` finds, within a while.
fn wait<T>(probe: impl Fn() -> Option<T>) -> Option<T> {
    (0..500).find_map(|_| {
        let found = probe();
        if found.is_none() {
            thread::sleep(Duration::from_millis(20));
        }
        found
    })
}

/// The processes that any thread of a process has started.
fn children(process: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{process}/task"));
    let lists = threads
        .into_iter()
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("children")).ok());
    lists
        .flat_map(|list| {
            list.split_whitespace()
                .filter_map(|id| id.parse().ok())
                .collect::<Vec<_>>()
        })
        .collect()
}

/// Whether a process runs QEMU, and not what comes before it or is left when it is gone.
fn runs(process: u32) -> bool {
    let file = fs::read_link(format!("/proc/{process}/exe")).unwrap_or_default();
    let name = file.file_name().unwrap_or_default();
    name.to_string_lossy().starts_with("qemu-system-x86")
}

/// A kernel that dies has broken on what it ran, and is booted again for the rest.
fn dies() -> Result<Completion, Failed> {
    let kernel = match kernel() {
        Ok(kernel) => kernel,
        Err(ignored) => return Ok(ignored),
    };
    let mut child = command(
        &kernel,
        &[
            "--accel",
            "tcg",
            "--seconds",
            "5",
            "--iterations",
            "1000000",
        ],
    )
    .arg(scenario("read-fault-vs-collapse"))
    .arg(scenario("uffd-copy-vs-retract"))
    .stdout(Stdio::piped())
    .spawn()?;
    let mut stdout = BufReader::new(child.stdout.take().ok_or("no output")?);
    let mut head = String::new();
    stdout.read_line(&mut head)?;
    let qemu = children(child.id())
        .into_iter()
        .find(|&process| runs(process));
    let qemu = qemu.ok_or_else(|| format!("no QEMU after: {head}"))?;
    Command::new("kill")
        .args(["-KILL", &qemu.to_string()])
        .status()?;
    let mut rest = String::new();
    stdout.read_to_string(&mut rest)?;
    let status = child.wait()?;
    let died = rest.contains("read-fault-vs-collapse: FORBIDDEN")
        && rest.contains("the guest's kernel died");
    if status.code() == Some(1) && died && rest.contains("uffd-copy-vs-retract: allowed") {
        Ok(Completion::Completed)
    } else {
        Err(format!("{status}: {head}{rest}").into())
    }
}

/// The kernel's own words say why.
fn does_not_come_up() -> Result<Completion, Failed> {
    let kernel = match kernel() {
        Ok(kernel) => kernel,
        Err(ignored) => return Ok(ignored),
    };
    let output = command(
        &kernel,
        &[
            "--accel",
            "tcg",
            "--append",
            "rdinit=/nothing init=/nothing",
        ],
    )
    .arg(scenario("read-fault-vs-collapse"))
    .output()?;
    let (_, stderr) = texts(&output);
    let said = stderr.contains("its log ends:") && stderr.contains("Kernel panic");
    match output.status.code() {
        Some(4) if said => Ok(Completion::Completed),
        status => Err(format!("{status:?}: {stderr}").into()),
    }
}

/// Without QEMU, the message says how to get it.
fn no_qemu() -> Result<(), Failed> {
    let file = tempfile::NamedTempFile::new()?;
    let mut image = vec![0; 0x206];
    image[0x202..].copy_from_slice(b"HdrS");
    fs::write(file.path(), image)?;
    let output = command(file.path(), &[])
        .arg(scenario("read-fault-vs-collapse"))
        .env("PATH", "/nowhere")
        .output()?;
    let (_, stderr) = texts(&output);
    assert_eq!(output.status.code(), Some(4), "{stderr}");
    assert!(
        stderr.contains("apt-get install qemu-system-x86"),
        "{stderr}"
    );
    Ok(())
}

/// What cannot be booted is said to be no kernel, before anything is started.
fn no_kernel() -> Result<(), Failed> {
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), "\x7fELF")?;
    let output = command(file.path(), &[])
        .arg(scenario("read-fault-vs-collapse"))
        .output()?;
    let (_, stderr) = texts(&output);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("not a bzImage"), "{stderr}");
    Ok(())
}

/// What is about the guest needs one.
fn only_with_kernel() -> Result<(), Failed> {
    let output = Command::new(env!("CARGO_BIN_EXE_pagefold"))
        .args(["linux", "--cpus", "4"])
        .output()?;
    let (_, stderr) = texts(&output);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("--kernel"), "{stderr}");
    Ok(())
}
