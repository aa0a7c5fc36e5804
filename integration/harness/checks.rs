//! Tests of the harness's own pure parts: what the demo and the live tests believe must be believable.

mod relay;

use super::addresses::{self, Subnet};
use super::api::{Kind, List, Problem, Proxy};
use super::load::Tally;
use super::manifests::{Folder, reweighted};
use super::metrics::Metrics;
use super::spawner;
use super::split;
use super::timing::{Spread, readable};
use super::{Failure, Outcome, tools};
use std::path::Path;
use std::time::Duration;

fn tally(answers: &[(&str, u64)]) -> Tally {
    let versions = answers.iter().map(|(version, count)| ((*version).to_owned(), *count)).collect();
    let count = answers.iter().map(|(_, count)| count).sum();
    Tally { versions, statuses: [(200, count)].into(), ..Tally::default() }
}

#[test]
fn a_split_is_judged_by_binomial_bounds() {
    assert_eq!(split::bounds(1000, 0.9), (860, 936));
    assert_eq!(split::bounds(1000, 1.0), (1000, 1000));
    assert_eq!(split::bounds(10, 0.0), (0, 0));
    assert_eq!(split::bounds(12, 0.9), (5, 12), "four standard deviations would say 7");
    let shares = [("v1", 0.9), ("v2", 0.1)];
    assert!(split::check(&tally(&[("v1", 910), ("v2", 90)]), &shares).is_ok());
    assert!(split::check(&tally(&[("v1", 800), ("v2", 200)]), &shares).is_err());
    assert!(split::check(&tally(&[("v1", 900), ("v2", 90), ("nobody", 10)]), &shares).is_err(), "a stranger answered");
}

#[test]
fn a_split_is_shown_as_a_table() {
    let table = split::table(&tally(&[("v1", 910), ("v2", 90)]), &[("v1", 0.9), ("v2", 0.1)]);
    let expected = "  version   weight       expected  observed\n  \
                    v1           90%       860..936       910\n  \
                    v2           10%        64..140        90";
    assert_eq!(table, expected);
}

#[test]
fn an_answer_other_than_200_is_not_clean() {
    assert!(tally(&[("v1", 3)]).clean().is_ok());
    assert!(tally(&[]).clean().is_err(), "silence proves nothing");
    let failing = Tally { statuses: [(200, 9), (503, 1)].into(), ..Tally::default() };
    assert!(failing.clean().is_err());
    let unanswered = Tally { failed: 1, ..tally(&[("v1", 3)]) };
    assert!(unanswered.clean().is_err());
}

#[test]
fn durations_are_summed_up() {
    let millis = |list: &[u64]| Spread::of(list.iter().map(|one| Duration::from_millis(*one)).collect());
    let spread = millis(&[9, 1, 5]).expect("three durations");
    assert_eq!([spread.least, spread.median, spread.greatest].map(|one| one.as_millis()), [1, 5, 9]);
    assert_eq!(millis(&[]), None);
    assert_eq!(readable(Duration::from_micros(3210)), "3.2 ms");
    assert_eq!(readable(Duration::from_millis(42)), "42 ms");
    assert_eq!(readable(Duration::from_millis(1500)), "1.5 s");
}

#[test]
fn metrics_are_parsed() {
    let metrics = Metrics::parse(
        "# HELP a_total Things.\n# TYPE a_total counter\na_total{type=\"cds\",note=\"say \\\"a,b\\\"\"} 3\na_total{type=\"rds\"} 4\nb 1.5\n",
    );
    assert_eq!(metrics.sum("a_total", &[]), 7.0);
    assert_eq!(metrics.sum("a_total", &[("type", "cds")]), 3.0);
    assert_eq!(metrics.sum("b", &[]), 1.5);
    assert_eq!(metrics.sum("none", &[]).to_string(), "0", "an empty sum is not minus zero");
    assert_eq!(metrics.0[0].labels["note"], "say \"a,b\"");
}

/// The JSON example under a heading of a page.
fn example<'a>(page: &'a str, heading: &str) -> Outcome<&'a str> {
    let section = page.split("\n## ").find_map(|section| section.strip_prefix(heading)?.strip_prefix('\n'));
    let example = section.and_then(|section| section.split("```json\n").nth(1)?.split("```").next());
    example.ok_or_else(|| Failure::new(format!("there is no example of {heading}")))
}

#[test]
fn the_reference_shows_what_the_harness_reads() -> Outcome<()> {
    let page = std::fs::read_to_string(tools::root().join("docs/reference/admin-api.md"))?;
    let proxies = serde_json::from_str::<List<Proxy>>(example(&page, "/api/v1/proxies")?)?.items;
    assert!(proxies[0].settled("rds") && !proxies[0].settled("cds"), "{proxies:?}");
    let behind = page.replacen("e063d50e", "77ab41c0", 1);
    let proxies = serde_json::from_str::<List<Proxy>>(example(&behind, "/api/v1/proxies")?)?.items;
    assert!(!proxies[0].settled("rds"), "what is desired isn't what was accepted");
    let problems = serde_json::from_str::<List<Problem>>(example(&page, "/api/v1/problems")?)?.items;
    assert!(problems[0].file.as_ref().is_some_and(|file| file.ends_with("traffic.yaml")));
    let kinds = serde_json::from_str::<List<Kind>>(example(&page, "/api/v1/kinds")?)?.items;
    assert!(kinds[0].state == "denied" && kinds[0].reason.contains("is forbidden"), "{kinds:?}");
    Ok(())
}

#[test]
fn weights_are_edited_in_the_example_itself() -> Outcome<()> {
    let path = tools::root().join("manifests/examples/first-light/traffic.yaml");
    let text = std::fs::read_to_string(path)?;
    let edited = reweighted(&text, &[("v1", 30), ("v2", 70)]);
    let weights: Vec<&str> = edited.lines().filter(|line| line.trim().starts_with("weight:")).map(str::trim).collect();
    assert_eq!(weights, ["weight: 30", "weight: 70"]);
    assert_eq!(reweighted(&edited, &[("v1", 90), ("v2", 10)]), text, "nothing else is touched");
    Ok(())
}

#[test]
fn a_folder_is_copied_to_other_addresses() -> Outcome<()> {
    let files = tempfile::tempdir()?;
    let example = tools::root().join("manifests/examples/first-light");
    let swaps = [("127.0.0.1:18081".to_owned(), "127.0.0.1:5".to_owned())];
    let folder = Folder::copy(&example, files.path().join("copy"), "127.130.7.", &swaps)?;
    let sidecars = folder.read("sidecars.yaml")?;
    assert!(sidecars.contains("bind: 127.130.7.2") && sidecars.contains("defaultEndpoint: 127.0.0.1:5"), "{sidecars}");
    assert!(!folder.read("workloads.yaml")?.contains("127.77.0."));
    assert!(folder.edit("sidecars.yaml", "no such text", "").is_err());
    Ok(())
}

#[test]
fn networks_are_held_by_one_at_a_time() -> Outcome<()> {
    let (one, other) = (Subnet::take()?, Subnet::take()?);
    assert_ne!(one.prefix(), other.prefix());
    assert_eq!(one.free(7)?.ip(), one.ip(7));
    let [first, second] = addresses::ports(one.ip(7))?;
    assert!(first != 0 && first != second);
    Ok(())
}

#[tokio::test]
async fn a_child_outlives_the_thread_that_asked_for_it_and_not_its_value() -> Outcome<()> {
    let files = tempfile::tempdir()?;
    let log = files.path().join("log");
    let sleeper = std::thread::spawn(move || spawner::start("sleeper", Path::new("/bin/sleep"), &["60"], &log));
    let mut process = sleeper.join().expect("the thread doesn't panic")?;
    let stat = format!("/proc/{}/stat", process.id());
    assert!(process.status().is_none() && Path::new(&stat).exists());
    process.terminate()?;
    assert!(!process.ended(Duration::from_secs(5)).await?.success());
    Ok(())
}
