//! try
use pagefold::protocol::*;
use pagefold_machine::model::*;
fn main() {
    let mut args = std::env::args().skip(1);
    let file = args.next().unwrap();
    let src = std::fs::read_to_string(&file).unwrap();
    let protocols: Vec<_> = Protocol::ALL.iter().map(|p| p.name).collect();
    let safeguards: Vec<_> = Safeguard::ALL.iter().map(|p| p.name()).collect();
    let mut violations: Vec<_> = Kind::ALL.iter().map(|p| p.name()).collect();
    violations.extend(["deadlock", "livelock"]);
    let voc = pagefold_litmus::Vocabulary {
        protocols: &protocols,
        safeguards: &safeguards,
        violations: &violations,
    };
    let sc = match pagefold_litmus::parse(&src, &file, &voc) {
        Ok(s) => s,
        Err(d) => {
            println!("{}", d.render(&src, false));
            return;
        }
    };
    let protos: Vec<String> = args
        .by_ref()
        .take(1)
        .flat_map(|s| s.split(',').map(str::to_owned).collect::<Vec<_>>())
        .collect();
    for p in protos {
        let mut cfg = RunConfig::new(Protocol::by_name(&p).unwrap());
        cfg.bounds.max_executions = std::env::var("MAX")
            .ok()
            .and_then(|s| s.parse().ok())
            .unwrap_or(3_000_000);
        for w in std::env::var("WITHOUT")
            .unwrap_or_default()
            .split(',')
            .filter(|s| !s.is_empty())
        {
            cfg.without = cfg
                .without
                .with(*Safeguard::ALL.iter().find(|s| s.name() == w).unwrap());
        }
        cfg.unsplit = std::env::var("UNSPLIT").is_ok();
        cfg.strict = std::env::var("STRICT").is_ok();
        let t = std::time::Instant::now();
        let c = check(&sc, &cfg).unwrap();
        let dt = t.elapsed();
        let (name, v) = match &c.outcome {
            Outcome::Holds => ("holds", None),
            Outcome::Exception => ("exception", None),
            Outcome::Forbidden => ("forbidden", None),
            Outcome::Broken(v) => ("BROKEN", Some(v)),
            Outcome::Allowed(v) => ("allowed", Some(v)),
            Outcome::NotExhausted(b) => {
                println!("{b}");
                ("NOT EXHAUSTED", None)
            }
        };
        println!(
            "{} {p}: {name} {} execs ({} redundant) {} states longest {} {:?} {:.0}/s",
            sc.name,
            c.executions,
            c.redundant,
            c.states,
            c.longest,
            dt,
            c.executions as f64 / dt.as_secs_f64()
        );
        if let Some(v) = v {
            if std::env::var("Q").is_err() {
                println!("{v}");
            } else {
                println!("   {}: {}", v.kind, v.message);
            }
        }
    }
}
