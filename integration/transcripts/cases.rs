//! The page of protocol cases, the transcripts and the mutants must agree: no case is missing, none is an orphan.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const PAGE: &str = "docs/reference/protocol-cases.md";
/// The transcripts, as the page sees them.
const FOLDER: &str = "../../integration/transcripts/";
const MUTANTS: &str = "integration/tools/mutants.txt";
/// The number of cases.
const CASES: usize = 67;

fn root() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into()).into()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The page with the columns that follow from elsewhere as they should be: transcripts, and lines that mutants alter.
fn rewritten(page: &str) -> String {
    let (transcripts, mutants) = (transcripts(), mutants(&read(MUTANTS)));
    let line = |line: &str| {
        let mut cells: Vec<String> =
            line.replace("\\|", "\u{0}").split('|').map(|cell| cell.trim().to_owned()).collect();
        let [_, case, _, links, _, code, _] = &mut cells[..] else { panic!("not five cells: {line}") };
        let files = transcripts.get(case).cloned().unwrap_or_default();
        let link = |(index, file): (usize, &String)| format!("[{}]({FOLDER}{file})", index + 1);
        let all: Vec<String> = files.iter().enumerate().map(link).collect();
        *links = if all.is_empty() { "-".to_owned() } else { all.join(" ") };
        if let Some(Mutant { path, before, .. }) = mutants.iter().find(|mutant| mutant.cases.contains(case)) {
            *code = format!("`{path}`: `{}`", before[0].replace('|', "\u{0}"));
        }
        cells.join(" | ").trim().replace('\u{0}', "\\|")
    };
    page.lines().map(|row| if row.starts_with("| P") { line(row) } else { row.to_owned() } + "\n").collect()
}

/// A row of the page.
struct Row {
    case: String,
    /// The files of its transcripts.
    transcripts: BTreeSet<String>,
    /// Its live tests, such as `live::warming::a_test`.
    live: Vec<String>,
    /// The file and a text in it without which it fails.
    code: Option<(String, String)>,
}

fn rows(page: &str) -> Vec<Row> {
    let rows = page.lines().filter(|line| line.starts_with("| P"));
    rows.map(|line| {
        let line = line.replace("\\|", "\u{0}");
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [case, _, transcripts, live, code] = cells[..] else { panic!("not five cells: {line}") };
        let quoted = |cell: &str| -> Vec<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
        let links = transcripts.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0));
        let files = links.filter_map(|link| link.rsplit('/').next()).map(str::to_owned).collect();
        let code = match &quoted(code)[..] {
            [path, text] => Some((path.clone(), text.replace('\u{0}', "|"))),
            _ => None,
        };
        Row { case: case.to_owned(), transcripts: files, live: quoted(live), code }
    })
    .collect()
}

/// An alteration of a file that the tests must notice.
struct Mutant {
    cases: Vec<String>,
    path: String,
    before: Vec<String>,
}

fn mutants(text: &str) -> Vec<Mutant> {
    let stanzas = text.split("\n\n").map(|stanza| stanza.lines().filter(|line| !line.starts_with('#')));
    stanzas
        .filter_map(|mut lines| {
            let mut cases: Vec<String> = lines.next()?.split_whitespace().map(str::to_owned).collect();
            let path = cases.pop().expect("a stanza names cases and a file");
            let before = lines.filter_map(|line| line.strip_prefix('-')).map(str::to_owned).collect();
            Some(Mutant { cases, path, before })
        })
        .collect()
}

/// How often the lines follow each other in a text, whatever their indentation.
fn occurrences(text: &str, before: &[String]) -> usize {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.windows(before.len()).filter(|window| window.iter().zip(before).all(|(line, wanted)| line == wanted)).count()
}

/// The transcripts of each case, by the start of their names.
fn transcripts() -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, _) in crate::cases() {
        let name = path.file_name().expect("a file").to_string_lossy().into_owned();
        let number = name.strip_prefix('p').and_then(|rest| rest.split_once('_')).map(|(number, _)| number);
        if let Some(number) = number.filter(|number| number.len() == 2 && number.parse::<u8>().is_ok()) {
            found.entry(format!("P{number}")).or_default().insert(name);
        }
    }
    found
}

/// Whether a test of that name stands where its path says.
fn is_a_test(path: &str) -> bool {
    let parts: Vec<&str> = path.split("::").collect();
    let (file, name) = match parts[..] {
        [target, name] => (format!("integration/{target}.rs"), name),
        [target, module, name] => (format!("integration/{target}/{module}.rs"), name),
        _ => return false,
    };
    Path::new(&root().join(&file)).exists() && read(&file).contains(&format!("fn {name}("))
}

#[test]
fn the_page_of_cases_is_complete() {
    let page = rewritten(&read(PAGE));
    if std::env::var_os("CHANCERY_REWRITE").is_some() {
        fs::write(root().join(PAGE), &page).expect("a writable page");
    }
    assert_eq!(page, read(PAGE), "CHANCERY_REWRITE=1 cargo test --test transcripts writes the page");
    let (rows, transcripts) = (rows(&read(PAGE)), transcripts());
    let cases: Vec<&str> = rows.iter().map(|row| row.case.as_str()).collect();
    let all: Vec<String> = (1..=CASES).map(|number| format!("P{number:02}")).collect();
    assert_eq!(cases, all, "every case has one row");
    for row in &rows {
        let files = transcripts.get(&row.case).cloned().unwrap_or_default();
        assert_eq!(row.transcripts, files, "{}: the page and the folder of transcripts differ", row.case);
        for test in &row.live {
            assert!(is_a_test(test), "{}: there is no test {test}", row.case);
        }
        if let Some((path, text)) = &row.code {
            assert!(read(path).contains(text), "{}: {path} does not say {text:?}", row.case);
        }
    }
    let known: BTreeSet<&String> = all.iter().collect();
    let orphans: Vec<_> = transcripts.keys().filter(|case| !known.contains(case)).collect();
    assert!(orphans.is_empty(), "transcripts of no case: {orphans:?}");
}

#[test]
fn every_mutant_applies_once_and_is_on_the_page() {
    let page = rows(&read(PAGE));
    let mutants = mutants(&read(MUTANTS));
    assert!(mutants.len() >= 10, "only {} mutants", mutants.len());
    for Mutant { cases, path, before } in &mutants {
        let count = occurrences(&read(path), before);
        assert_eq!(count, 1, "{MUTANTS}: the lines of {cases:?} occur {count} times in {path}: {before:?}");
    }
    for row in page {
        let mutant = mutants.iter().find(|mutant| mutant.cases.contains(&row.case));
        let Some(Mutant { path, before, .. }) = mutant else { continue };
        let expected = Some((path.clone(), before[0].clone()));
        assert_eq!(row.code, expected, "{}: the page names another line than {MUTANTS}", row.case);
    }
}

/// The control: a row that says something else than the folder and the mutants is corrected.
#[test]
fn a_row_that_disagrees_is_corrected() {
    let row = |links: &str, code: &str| format!("| P14 | text | {links} | - | {code} |\n");
    let page = rewritten(&row("-", "`src/x.rs`: `no such line`"));
    let right = rows(&read(PAGE)).into_iter().find(|row| row.case == "P14").expect("each case has a row");
    let corrected = &rows(&page)[0];
    assert_eq!((&corrected.transcripts, &corrected.code), (&right.transcripts, &right.code));
    assert_eq!(rewritten(&page), page);
}

/// The control: what disagrees is seen.
#[test]
fn rows_and_mutants_are_read_as_they_stand() {
    let page = "| case |\n|---|\n| P07 | text | [1](../x/p07_a.txt) [2](../x/p07_b.txt) | `live::x::y` | `src/a.rs`: `a \\| b` |\n| P08 | t | - | - | - |\n";
    let rows = rows(page);
    assert_eq!(rows[0].transcripts, ["p07_a.txt", "p07_b.txt"].map(str::to_owned).into());
    assert_eq!(rows[0].live, ["live::x::y"]);
    assert_eq!(rows[0].code, Some(("src/a.rs".to_owned(), "a | b".to_owned())));
    assert!(rows[1].transcripts.is_empty() && rows[1].code.is_none());
    assert!(
        !is_a_test("live::warming::no_such_test") && is_a_test("live::warming::a_changed_cluster_is_active_at_once")
    );
    let mutants = mutants("# words\n\nP01 P02 src/a.rs\n-one\n-two\n+three\n");
    assert_eq!((mutants[0].cases.len(), mutants[0].path.as_str()), (2, "src/a.rs"));
    assert_eq!(occurrences("  one\n  two\none\n", &mutants[0].before), 1);
    assert_eq!(occurrences("one\nthree\ntwo\n", &mutants[0].before), 0);
}
