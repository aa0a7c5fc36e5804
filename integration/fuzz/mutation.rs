//! A loop that mutates a corpus and shows a target every mutation: bounded in time, the same for the same seed.

use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// An input that takes longer is a failure: the largest is some hundred kilobytes.
pub const SLOW: Duration = Duration::from_secs(2);
/// The largest input that is made.
const LARGEST: usize = 64 << 10;
/// How many inputs are tried unless a time is given.
const MOST: u64 = 100_000;
/// How many mutations are kept to be mutated further.
const KEPT: usize = 512;

/// What parsers stumble over.
const TOKENS: &[&[u8]] = &[
    b"\n---\n",
    b"\n...\n",
    b"&a ",
    b"*a",
    b"<<: ",
    b"!!binary ",
    b"? ",
    b"- ",
    b": ",
    b"[",
    b"]",
    b"{",
    b"}",
    b"|\n",
    b">-\n",
    b"\"",
    b"'",
    b"#",
    b"\t",
    b"\r",
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\xe2\x80\xa8",
    b"%YAML 1.2\n",
    b"-1",
    b"0",
    b"1e999",
    b".nan",
    b"18446744073709551616",
    b"null",
    b"true",
    b"(a{1000}){1000}",
    b"*.",
    b"..",
    b"~",
    b"\x08\x80",
    b"\x0a\xff\xff\xff\xff\x0f",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\x12\x00",
];

/// A generator of numbers (xorshift64*): small, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`, which is not zero.
    fn below(&mut self, end: usize) -> usize {
        (self.roll() % end as u64) as usize
    }

    /// A part of something that long: where it begins and ends.
    fn part(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        let most = (length - start).min(1 << self.below(10));
        start..start + self.below(most + 1)
    }
}

/// Where inputs are kept, in a folder for each target: what was found, and what others have stumbled over.
pub fn found() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/fuzz/found")
}

/// What is kept for a target.
fn kept(name: &str) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(found().join(name.replace(' ', "-"))).into_iter().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("a file")).collect()
}

/// Shows `target` what is kept for it, the corpus, and then mutations of all that until the time is over; fails with the first
/// input it can't take.
pub fn fuzz(name: &str, mut corpus: Vec<Vec<u8>>, target: impl Fn(&[u8])) {
    corpus.extend(kept(name));
    let number = |variable, default| std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let seed: u64 = number("CHANCERY_FUZZ_SEED", 20_261_121).max(1);
    let seconds = number("CHANCERY_FUZZ_SECONDS", 0);
    // Without it so many, that a fast machine tries no more than a slow one and finds what that finds.
    let most = if seconds == 0 { MOST } else { u64::MAX };
    let end = Instant::now() + Duration::from_secs(if seconds == 0 { 3 } else { seconds });
    let mut dice = Dice(seed);
    let mut tried = 0u64;
    let check = |input: &[u8]| {
        let kept = |told| {
            panic!("{name}, seed {seed}: {told}; keep it in integration/fuzz/found, so that it is tried each time")
        };
        survives(input, &target).unwrap_or_else(kept);
    };
    corpus.iter().for_each(|input| check(input));
    let first = corpus.len();
    while tried < most && Instant::now() < end {
        let mut input = corpus[dice.below(corpus.len())].clone();
        for _ in 0..=dice.below(4) {
            mutate(&mut input, &corpus, &mut dice);
        }
        input.truncate(LARGEST);
        check(&input);
        tried += 1;
        if tried.is_multiple_of(16) {
            // The corpus itself stays; of its mutations a few are mutated further.
            let at = first + dice.below(KEPT);
            if at < corpus.len() { corpus[at] = input } else { corpus.push(input) }
        }
    }
    println!("{name}: seed {seed}, {tried} inputs");
    assert!(tried > 100, "{name}: only {tried} inputs in that time");
}

/// Shows the target one input; what went wrong, if something did, and the input.
pub fn survives(input: &[u8], target: &impl Fn(&[u8])) -> Result<(), String> {
    let began = Instant::now();
    let told = |what: &str| Err(format!("{what}; the input is {}", literal(input)));
    match catch_unwind(AssertUnwindSafe(|| target(input))) {
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            told(text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic"))
        }
        Ok(()) if began.elapsed() > SLOW => told(&format!("it took {:?}", began.elapsed())),
        Ok(()) => Ok(()),
    }
}

/// Bytes as they are written in Rust, to be copied into a test.
fn literal(bytes: &[u8]) -> String {
    let mut text = String::from("b\"");
    for byte in bytes {
        write!(text, "{}", std::ascii::escape_default(*byte)).expect("a string takes everything");
    }
    text + "\""
}

fn mutate(input: &mut Vec<u8>, corpus: &[Vec<u8>], dice: &mut Dice) {
    let at = dice.below(input.len() + 1);
    match dice.below(7) {
        0 if at < input.len() => input[at] ^= 1 << dice.below(8),
        1 if at < input.len() => input[at] = dice.roll() as u8,
        2 => drop(input.drain(dice.part(input.len()))),
        3 => insert(input, at, TOKENS[dice.below(TOKENS.len())]),
        4 => {
            let part = dice.part(input.len());
            let copy = input[part].to_vec();
            // Again and again: what grows by nesting or repeating is found this way.
            insert(input, at, &copy.repeat(1 << dice.below(8)));
        }
        5 => {
            let other = &corpus[dice.below(corpus.len())];
            insert(input, at, &other[dice.part(other.len())]);
        }
        _ => input.truncate(at),
    }
}

fn insert(input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if input.len() + bytes.len() <= LARGEST {
        drop(input.splice(at..at, bytes.iter().copied()));
    }
}
