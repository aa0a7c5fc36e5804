//! Replays protocol sessions written as text (`integration/transcripts/*.txt`) against the session, without I/O.
//!
//! The whole session is compared, line by line; the grammar is in `integration/transcripts/README.md`.

#[path = "transcripts/cases.rs"]
mod cases;
#[path = "transcripts/doctored.rs"]
mod doctored;
#[path = "transcripts/replay.rs"]
mod replay;
mod trace;

use chancery::xds::gate::Options;
use replay::Stage;
use std::fs;
use std::path::{Path, PathBuf};
use trace::Trace;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/transcripts")
}

fn cases() -> Vec<(PathBuf, String)> {
    let entries = fs::read_dir(folder()).expect("the folder of transcripts");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(path).expect("a transcript"))).collect()
}

/// Whether a line says what the server does.
fn is_output(line: &str) -> bool {
    let word = line.split_whitespace().next().unwrap_or_default();
    let outputs = ["server", "refused", "counters", "latency", "lint", "cds", "eds", "sds", "lds", "rds", "door"];
    outputs.contains(&word)
}

/// What happens when the input lines of `text` do, in the form of a transcript; and the trace of it.
fn replay(text: &str) -> Result<(String, Trace), String> {
    let mut stage = Stage::new(Options::default());
    let mut out = String::new();
    for line in text.lines() {
        if is_output(line) {
            continue;
        }
        out += line;
        out += "\n";
        for said in stage.play(line).map_err(|error| format!("{line:?}: {error}"))? {
            out += &said;
            out += "\n";
        }
    }
    Ok((out, stage.trace))
}

/// Compares a transcript with what happens now.
fn compare(text: &str) -> Result<(), String> {
    let (actual, _) = replay(text)?;
    if actual == text { Ok(()) } else { Err(difference(text, &actual)) }
}

/// Shows both texts from the first line that differs, with what leads there.
fn difference(expected: &str, actual: &str) -> String {
    let (expected, actual): (Vec<_>, Vec<_>) = (expected.lines().collect(), actual.lines().collect());
    let same = expected.iter().zip(&actual).take_while(|(a, b)| a == b).count();
    let from = same.saturating_sub(4);
    let mut out = format!("they differ from line {} on\n", same + 1);
    out.extend(expected[from..same].iter().map(|line| format!("    {line}\n")));
    out.extend(expected.iter().skip(same).take(6).map(|line| format!("  - {line}\n")));
    out.extend(actual.iter().skip(same).take(6).map(|line| format!("  + {line}\n")));
    out
}

#[test]
fn every_transcript_is_what_happens() {
    let cases = cases();
    assert!(cases.len() >= 30, "only {} transcripts found", cases.len());
    let mut failures = String::new();
    for (path, text) in cases {
        if std::env::var_os("CHANCERY_REWRITE").is_some() {
            fs::write(&path, replay(&text).expect("a transcript that can be read").0).expect("a writable folder");
        } else if let Err(difference) = compare(&text) {
            failures += &format!("{}: {difference}\n", path.display());
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

/// What holds of every trace holds of these, however strange the client.
#[test]
fn every_transcript_passes_the_oracles() {
    let mut wrong = String::new();
    for (path, text) in cases() {
        let (_, trace) = replay(&text).expect("a transcript that can be read");
        trace.violations().iter().for_each(|violation| wrong += &format!("{}: {violation}\n", path.display()));
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// The control: no line of what the server does can be lost or changed unnoticed.
#[test]
fn an_altered_transcript_fails() {
    // Those with thousands of names take too long to be played again for every line.
    for (path, text) in cases().into_iter().filter(|(_, text)| !text.contains('{')) {
        let lines: Vec<&str> = text.lines().collect();
        for (index, line) in lines.iter().enumerate().filter(|(_, line)| is_output(line)) {
            let without: Vec<&str> = [&lines[..index], &lines[index + 1..]].concat();
            let changed = format!("{line} more");
            let with = [&lines[..index], &[&changed], &lines[index + 1..]].concat();
            for altered in [without, with] {
                let text = altered.join("\n") + "\n";
                assert!(compare(&text).is_err(), "{}: line {} may be altered unnoticed", path.display(), index + 1);
            }
        }
    }
}

#[test]
fn a_wrong_answer_is_shown() {
    let text = "world cds a=1\nstream delta\nclient cds\nserver cds 1 v1: a=2\n";
    let difference = compare(text).expect_err("the content is 1");
    assert!(difference.contains("- server cds 1 v1: a=2"), "{difference}");
    assert!(difference.contains("+ server cds 1 v1: a=1"), "{difference}");
}

#[test]
fn a_line_that_is_none_is_an_error() {
    let error = compare("wolrd cds a=1\n").expect_err("not a line of the grammar");
    assert!(error.contains("wolrd"), "{error}");
}
