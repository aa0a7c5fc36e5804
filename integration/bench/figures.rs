//! What was measured, as a table with a verdict for each target, and as JSON.

use super::parts::rig::Taken;
use serde::Serialize;
use std::fmt::Write;

/// From which share of the processors, in percent, others disturb.
const DISTURBED: f64 = 5.0;

/// What one side took, per proxy and, if anything changed, per change.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// CPU time of the process in microseconds.
    pub cpu_us: f64,
    /// From the change, or the beginning, to ACKs or first configurations, in milliseconds.
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
    /// Bytes of messages.
    pub bytes: f64,
}

impl Figures {
    /// Of something that `count` proxies, or proxies times changes, have taken part in.
    pub fn of(taken: &Taken, count: usize) -> Self {
        let count = count as f64;
        let bytes: u64 = taken.counts.iter().map(|[.., bytes]| bytes).sum();
        Self {
            cpu_us: taken.cpu as f64 / 1e3 / count,
            p50_ms: at(&taken.times, 0.5),
            p99_ms: at(&taken.times, 0.99),
            max_ms: at(&taken.times, 1.0),
            bytes: bytes as f64 / count,
        }
    }
}

/// A quantile of ascending nanoseconds, in milliseconds.
pub fn at(times: &[u64], share: f64) -> f64 {
    let index = (times.len() as f64 * share) as usize;
    times.get(index.min(times.len().saturating_sub(1))).map_or(0.0, |time| *time as f64 / 1e6)
}

/// A target and what became of it.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    pub target: String,
    pub figure: f64,
    pub limit: f64,
    pub unit: &'static str,
    pub met: bool,
}

impl Verdict {
    /// Something that should not be larger than a limit.
    pub fn at_most(target: impl Into<String>, figure: f64, limit: f64, unit: &'static str) -> Self {
        Self { target: target.into(), figure, limit, unit, met: figure <= limit }
    }
}

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub workload: &'static str,
    pub case: String,
    pub ours: Option<Figures>,
    pub floor: Option<Figures>,
    /// Whatever else was measured: what, how much, in which unit.
    pub also: Vec<(String, f64, &'static str)>,
    pub verdicts: Vec<Verdict>,
    /// The share of the processors that was used by others meanwhile, in percent.
    pub others: f64,
}

impl Row {
    pub fn new(workload: &'static str, case: impl Into<String>) -> Self {
        let (also, verdicts) = (Vec::new(), Vec::new());
        Self { workload, case: case.into(), ours: None, floor: None, also, verdicts, others: 0.0 }
    }

    /// With what the two sides took.
    pub fn sides(mut self, ours: Figures, floor: Option<Figures>) -> Self {
        (self.ours, self.floor) = (Some(ours), floor);
        self
    }

    pub fn also(mut self, what: impl Into<String>, value: f64, unit: &'static str) -> Self {
        self.also.push((what.into(), value, unit));
        self
    }

    pub fn verdict(mut self, verdict: Verdict) -> Self {
        self.verdicts.push(verdict);
        self
    }

    /// How many times the floor's the CPU time and the 99th percentile are.
    pub fn ratios(&self) -> Option<(f64, f64)> {
        let (ours, floor) = (self.ours.as_ref()?, self.floor.as_ref()?);
        Some((ours.cpu_us / floor.cpu_us, ours.p99_ms / floor.p99_ms))
    }

    /// The line for the terminal.
    pub fn line(&self) -> String {
        let mut line = format!("{:<18} {:<26}", self.workload, self.case);
        for (name, side) in [("", &self.ours), ("floor ", &self.floor)] {
            if let Some(Figures { cpu_us, p50_ms, p99_ms, max_ms, bytes }) = side {
                _ = write!(line, " {name}{cpu_us:.1} us, {p50_ms:.1}/{p99_ms:.1}/{max_ms:.1} ms, {bytes:.0} B;");
            }
        }
        if let Some((cpu, p99)) = self.ratios() {
            _ = write!(line, " {cpu:.1}x CPU, {p99:.1}x p99;");
        }
        for (what, value, unit) in &self.also {
            _ = write!(line, " {what} {value:.1} {unit};");
        }
        if self.others > DISTURBED {
            _ = write!(line, " disturbed: others used {:.0} % of the processors", self.others);
        }
        line.trim_end_matches(';').to_owned()
    }
}

/// The verdicts, one a line.
pub fn verdicts(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        for Verdict { target, figure, limit, unit, met } in &row.verdicts {
            let met = if *met { "met   " } else { "MISSED" };
            _ = writeln!(
                text,
                "{met} {:<18} {:<26} {target}: {figure:.1} {unit}, at most {limit}",
                row.workload, row.case
            );
        }
    }
    text
}

/// The figures as a page of the documents.
pub fn page(machine: &str, rows: &[Row]) -> String {
    let mut page = format!(
        "# Figures of the bench\n\nWritten by `make bench OUT=docs/performance`; what they mean is on the page about\n\
         [performance](../explanation/performance.md). {machine}\n\nCPU is that of the server's or the floor's process, for \
         each proxy and change; times run from the\nchange, or from when the first proxy connects, to the ACK; bytes are those \
         of messages to one proxy. Others: the share of the processors that was used by nobody of the bench meanwhile; where it\n\
         is in bold, times say nothing.\n\n\
         | workload | case | CPU us | floor | ratio | p50 / p99 / max ms | floor p99 | bytes | others | also |\n\
         |---|---|---|---|---|---|---|---|---|---|\n"
    );
    for row in rows {
        let ours = row.ours.as_ref().map(|Figures { cpu_us, p50_ms, p99_ms, max_ms, bytes }| {
            (format!("{cpu_us:.1}"), format!("{p50_ms:.1} / {p99_ms:.1} / {max_ms:.1}"), format!("{bytes:.0}"))
        });
        let (cpu, times, bytes) = ours.unwrap_or_default();
        let floor = row.floor.as_ref().map(|floor| (format!("{:.1}", floor.cpu_us), format!("{:.1}", floor.p99_ms)));
        let (least, floor_p99) = floor.unwrap_or_default();
        let ratio = row.ratios().map(|(cpu, _)| format!("{cpu:.1}")).unwrap_or_default();
        let also: Vec<String> =
            row.also.iter().map(|(what, value, unit)| format!("{what} {value:.1} {unit}")).collect();
        let (workload, case, also) = (row.workload, &row.case, also.join("; "));
        let emphasis = if row.others > DISTURBED { "**" } else { "" };
        let others = format!("{emphasis}{:.0} %{emphasis}", row.others);
        _ = writeln!(
            page,
            "| {workload} | {case} | {cpu} | {least} | {ratio} | {times} | {floor_p99} | {bytes} | {others} | {} |",
            also.trim_end()
        );
    }
    page += "\n| | workload | case | target | measured | at most |\n|---|---|---|---|---|---|\n";
    for row in rows {
        for Verdict { target, figure, limit, unit, met } in &row.verdicts {
            let met = if *met { "met" } else { "**missed**" };
            _ = writeln!(page, "| {met} | {} | {} | {target} | {figure:.1} {unit} | {limit} |", row.workload, row.case);
        }
    }
    page
}
