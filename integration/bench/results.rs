//! What is left of a run: `bench.json`, and pictures of it.

use super::figures::{Figures, Row, Verdict};
use super::plot::Plot;
use serde_json::json;
use std::path::PathBuf;

/// The push of an endpoint should cost the same however many services there are.
pub fn compare_sizes(rows: &mut [Row]) {
    let cpu = |case: &str, rows: &[Row]| {
        let row = rows.iter().find(|row| row.workload == "endpoint push" && row.case == case)?;
        row.ours.as_ref().map(|ours| ours.cpu_us)
    };
    for proxies in [100, 1000] {
        let (small, large) = (format!("S=100 N={proxies}"), format!("S=1000 N={proxies}"));
        let Some((few, many)) = cpu(&small, rows).zip(cpu(&large, rows)) else { continue };
        let row = rows.iter_mut().find(|row| row.workload == "endpoint push" && row.case == large);
        let verdict = Verdict::at_most("CPU per proxy against S=100", many / few * 100.0, 115.0, "%");
        row.into_iter().for_each(|row| row.verdicts.push(verdict.clone()));
    }
}

/// Each target that there is: the workload, what its case begins with, and what the verdict is about.
const TARGETS: [(&str, &str, &str); 20] = [
    ("endpoint push", "S=100 N=1000", "CPU per proxy"),
    ("endpoint push", "S=100 N=1000", "change to last ACK, p99"),
    ("endpoint push", "S=1000 N=1000", "CPU per proxy"),
    ("endpoint push", "S=1000 N=1000", "change to last ACK, p99"),
    ("endpoint push", "S=1000 N=1000", "CPU per proxy against S=100"),
    ("first answer", "S=1000 N=100 just after start", "CPU per proxy"),
    ("first answer", "S=1000 N=100 warm", "CPU per proxy"),
    ("connect storm", "S=100 N=4000", "all configured, in the worst of all turns"),
    ("connect storm", "S=100 N=4000", "refused"),
    ("idle", "S=1000 N=1000", "RSS per idle proxy"),
    ("reconnect storm", "S=1000 N=1000", "bytes of a first connect"),
    ("reconnect storm", "S=1000 N=1000", "CPU per proxy"),
    ("route edit", "S=1000 N=1000", "CPU per proxy"),
    ("no-op rewrites", "S=1000 N=1000", "bytes sent"),
    ("bad neighbours", "S=1000 N=1000", "p99 of the others"),
    ("engine alone", "S=50000", "CPU per change over all sizes"),
    ("large world", "S=10000 x 5", "RSS before any proxy"),
    ("large world", "S=10000 x 5", "RSS with one proxy in each namespace"),
    ("cluster", "", "ready, to the bare lister"),
    ("cluster", "", "memory of a large cluster"),
];

/// The targets that nothing was measured for; a whole run has none.
pub fn without_verdict(rows: &[Row]) -> String {
    let judged = |(workload, case, target): &(&str, &str, &str)| {
        let mut rows = rows.iter().filter(|row| row.workload == *workload && row.case.starts_with(case));
        rows.any(|row| row.verdicts.iter().any(|verdict| verdict.target == *target))
    };
    let left = TARGETS.iter().filter(|target| !judged(target));
    left.map(|(workload, case, target)| format!("NONE   {workload:<18} {case:<26} {target}\n")).collect()
}

/// Processor time in hundredths of a second: that of the whole machine, whether used or not, what of it was used, and
/// what of that by this process and its children that have ended.
pub struct Clock([f64; 3]);

impl Clock {
    pub fn now() -> Self {
        let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        // user, nice, system, idle, iowait, irq, softirq, steal
        let all: Vec<f64> = numbers(stat.lines().next().unwrap_or_default(), 8);
        let total: f64 = all.iter().sum();
        let idle: f64 = all.iter().skip(3).take(2).sum();
        let own = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let own: f64 = numbers(own.rsplit(") ").next().unwrap_or_default(), 14).iter().skip(10).sum();
        Self([total, total - idle, own])
    }

    /// The share of the machine that others have used since then, in percent.
    pub fn others(&self) -> f64 {
        let [total, used, own] = Self::now().0;
        let [total, used, own] = [total - self.0[0], used - self.0[1], own - self.0[2]];
        ((used - own) / total.max(1.0) * 100.0).max(0.0)
    }
}

/// The first numbers of a line.
fn numbers(line: &str, count: usize) -> Vec<f64> {
    line.split_whitespace().filter_map(|word| word.parse().ok()).take(count).collect()
}

/// Writes to that folder, or to one among what was built.
pub fn write(rows: &[Row], folder: Option<String>) {
    let root = super::harness::tools::root();
    let folder = root.join(folder.map_or_else(|| PathBuf::from("target/bench"), PathBuf::from));
    let (processor, release) = (line("/proc/cpuinfo", "model name"), read("/proc/sys/kernel/osrelease"));
    // What follows says who built it.
    let kernel = release.split('-').next().unwrap_or_default();
    let (processors, load) = (std::thread::available_parallelism().map_or(0, usize::from), read("/proc/loadavg"));
    let machine = json!({ "processor": processor, "processors": processors, "kernel": kernel, "load": load });
    let others = rows.iter().map(|row| row.others).fold(0.0, f64::max);
    let about = format!(
        "Measured with\n{processors} processors ({processor}), Linux {kernel}; others used at most {others:.0} % of them."
    );
    let text = serde_json::to_string_pretty(&json!({ "machine": machine, "rows": rows })).expect("figures are JSON");
    let files = [
        ("bench.json".to_owned(), text + "\n"),
        ("results.md".into(), super::figures::page(&about, rows)),
        ("push-cpu.svg".into(), pushes(rows, "CPU of one endpoint's push per proxy", "us", |side| side.cpu_us)),
        ("push-p99.svg".into(), pushes(rows, "Endpoint's change to ACK, 99th percentile", "ms", |side| side.p99_ms)),
        ("large-answers.svg".into(), answers(rows)),
    ];
    let written = std::fs::create_dir_all(&folder)
        .and_then(|()| files.iter().try_for_each(|(name, text)| std::fs::write(folder.join(name), text)));
    match written {
        Ok(()) => println!("\nfigures and pictures are in {}", folder.display()),
        Err(error) => println!("\nnothing written to {}: {error}", folder.display()),
    }
}

fn read(file: &str) -> String {
    std::fs::read_to_string(file).unwrap_or_default().trim().to_owned()
}

fn line(file: &str, name: &str) -> String {
    let text = read(file);
    let line = text.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.split_once(": ")).map(|(_, value)| value.to_owned()).unwrap_or_default()
}

fn picture(title: &str, unit: &str, rows: &[&Row], value: impl Fn(&Figures) -> f64) -> String {
    let groups = rows.iter().map(|row| {
        let values = [&row.ours, &row.floor].map(|side| side.as_ref().map(&value));
        (row.case.replacen(' ', "\n", 1), values.to_vec())
    });
    Plot { title, unit, series: &["chancery", "floor"], groups: groups.collect() }.svg()
}

fn pushes(rows: &[Row], title: &str, unit: &str, value: impl Fn(&Figures) -> f64) -> String {
    let rows: Vec<&Row> = rows.iter().filter(|row| row.workload == "endpoint push").collect();
    picture(title, unit, &rows, value)
}

fn answers(rows: &[Row]) -> String {
    let large = ["first answer", "connect storm", "route edit"];
    let rows: Vec<Row> = rows.iter().filter(|row| large.contains(&row.workload)).cloned().collect();
    let named =
        rows.into_iter().map(|row| Row { case: format!("{} {}", row.workload.replace(' ', "-"), row.case), ..row });
    let named: Vec<Row> = named.collect();
    picture("CPU of large answers per proxy", "ms", &named.iter().collect::<Vec<_>>(), |side| side.cpu_us / 1e3)
}
