//! How long the questions of the thread take: all of `litmus/thread` under all its protocols, on two workers.
//!
//! The command is timed as a user runs it, several times; for each scenario and for the whole the median and the spread are
//! printed, next to the load of the machine. `cargo bench -p pagefold-cli`

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

const ROUNDS: usize = 5;

fn main() {
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../litmus/thread");
    let mut scenarios: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let mut whole = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let output = Command::new(env!("CARGO_BIN_EXE_pagefold"))
            .args(["check", "--jobs", "2", "--format", "json"])
            .arg(&library)
            .output()
            .expect("the command can be run");
        whole.push(start.elapsed().as_secs_f64());
        assert!(output.status.success(), "every run is as expected");
        let report: serde_json::Value =
            serde_json::from_slice(&output.stdout).expect("the report is JSON");
        let mut round: BTreeMap<String, f64> = BTreeMap::new();
        for run in report["runs"].as_array().expect("it has runs") {
            let scenario = run["scenario"].as_str().expect("a run has a scenario");
            *round.entry(scenario.to_owned()).or_default() +=
                run["seconds"].as_f64().expect("a run has a time");
        }
        for (scenario, seconds) in round {
            scenarios.entry(scenario).or_default().push(seconds);
        }
    }
    if let Ok(load) = fs::read_to_string("/proc/loadavg") {
        println!("load average {}", load.trim());
    }
    println!("seconds, median (least to most) of {ROUNDS} rounds");
    for (scenario, mut seconds) in scenarios {
        println!("{scenario:32} {}", spread(&mut seconds));
    }
    println!(
        "{:32} {}",
        "all of them, on two workers",
        spread(&mut whole)
    );
}

fn spread(seconds: &mut [f64]) -> String {
    seconds.sort_by(f64::total_cmp);
    let middle = seconds[seconds.len() / 2];
    let (least, most) = (seconds[0], seconds[seconds.len() - 1]);
    format!("{middle:8.3} ({least:.3} to {most:.3})")
}
