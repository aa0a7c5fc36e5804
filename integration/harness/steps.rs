//! A page's commands, done as it says: its blocks in order, in one shell, each with the output that it promises.

use super::{Failure, Outcome};

/// A block of commands and, where the page says it, what it prints.
pub struct Step {
    /// The commands.
    pub commands: String,
    prints: Option<String>,
}

/// The steps of a page: blocks of commands, each with the block of text that follows at once, if one does.
pub fn steps(page: &str) -> Vec<Step> {
    let blocks = page.split("```sh\n").skip(1);
    let split = |block: &str| {
        let (commands, rest) = block.split_once("```\n").unwrap_or((block, ""));
        let prints = rest.strip_prefix("```text\n").and_then(|text| text.split("```").next());
        Step { commands: commands.into(), prints: prints.map(Into::into) }
    };
    blocks.map(split).collect()
}

fn mark(step: usize) -> String {
    format!("--- after step {step}\n")
}

/// All steps as one script that says where it is, between what comes before the first and what tells what the last left.
pub fn script(before: &str, steps: &[Step], after: &str) -> String {
    let step = |(index, step): (usize, &Step)| format!("{}echo '{}'\n", step.commands, mark(index).trim_end());
    let all: String = steps.iter().enumerate().map(step).collect();
    format!("{before}{all}{after}")
}

/// Fails unless every step printed what it should, and nothing was left.
pub fn judge(page: &str, steps: &[Step], mut output: &str) -> Outcome<()> {
    for (index, step) in steps.iter().enumerate() {
        let broken = || Failure::new(format!("{page}: these commands failed:\n{}{output}", step.commands));
        let (printed, rest) = output.split_once(&mark(index)).ok_or_else(broken)?;
        let expected = step.prints.as_deref().unwrap_or_default();
        if printed != expected {
            let said = format!("printed\n{printed}instead of\n{expected}");
            return Err(Failure::new(format!("{page}: {}{said}", step.commands)));
        }
        output = rest;
    }
    if output.is_empty() { Ok(()) } else { Err(Failure::new(format!("{page}: this was left behind:\n{output}"))) }
}
