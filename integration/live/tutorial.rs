//! The tutorial, done as its text says: its command blocks in order, in terminals, with a reader's own edits in between.
//!
//! Only addresses, the folder for temporary files and the binary are swapped for those of the run, so that runs side by
//! side never meet. What the text promises is asserted after each block.

#[path = "tutorial/blocks.rs"]
mod blocks;
#[path = "tutorial/controls.rs"]
mod controls;
#[path = "tutorial/desk.rs"]
mod desk;
#[path = "tutorial/terminal.rs"]
mod terminal;

use crate::harness::manifests::reweighted;
use crate::harness::{Failure, Outcome, deadline, split, tools};
use crate::pages;
use blocks::Blocks;
use desk::Desk;
use std::fs;
use std::time::Duration;
use terminal::Terminal;

const PAGE: &str = "docs/tutorials/first-light.md";
/// How long anything the text calls immediate may take on a busy machine.
const SOON: Duration = Duration::from_secs(20);

/// How many of the counted lines say `v1` and `v2`, from the output of `uniq -c`; fails if anything else was counted.
fn counted(output: &str) -> Outcome<(u64, u64)> {
    let (mut one, mut two) = (0, 0);
    for line in output.lines() {
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            [count, "v1"] => one = count.parse()?,
            [count, "v2"] => two = count.parse()?,
            _ => return Err(Failure::new(format!("somebody else answered:\n{output}"))),
        }
    }
    Ok((one, two))
}

/// Fails unless a hundred answers were counted and the share of `v1` is as expected.
fn expect_split(output: &str, share: f64) -> Outcome<()> {
    let (one, two) = counted(output)?;
    let (low, high) = split::bounds(100, share);
    if one + two == 100 && (low..=high).contains(&one) {
        return Ok(());
    }
    Err(Failure::new(format!("a hundred answers with {low} to {high} of v1 expected, not:\n{output}")))
}

fn expect(holds: bool, promise: &str, output: &str) -> Outcome<()> {
    if holds { Ok(()) } else { Err(Failure::new(format!("{PAGE}: {promise}")).with(output)) }
}

/// The reader at work.
struct Reader {
    // Dropped in order: the terminals, then what they used.
    first: Terminal,
    second: Terminal,
    third: Terminal,
    blocks: Blocks,
    desk: Desk,
    /// The bytes of everything the proxies need, as they were sent when they knew nothing.
    whole: f64,
}

impl Reader {
    async fn sits_down() -> Outcome<Self> {
        let desk = Desk::new()?;
        let blocks = Blocks::of(&pages::page(PAGE), &desk)?;
        let (first, second, third) = (desk.terminal().await?, desk.terminal().await?, desk.terminal().await?);
        Ok(Self { first, second, third, blocks, desk, whole: 0.0 })
    }

    /// Step 1.
    async fn looks_at_the_manifests(&mut self) -> Outcome<()> {
        self.first.run(&self.blocks.copy).await?;
        self.desk.move_manifests()?;
        let output = self.first.run(&self.blocks.analyze).await?;
        expect(output.contains("0 errors, 0 warnings"), "nothing is wrong with the example", &output)?;
        let output = self.first.run(&self.blocks.translate).await?;
        for part in ["weight: 90", "weight: 10", "name: x-user"] {
            expect(output.contains(part), "the routes show both weights and the route for x-user", &output)?;
        }
        Ok(())
    }

    /// Step 3.
    async fn starts_chancery(&mut self) -> Outcome<()> {
        self.first.begin(&self.blocks.serve).await?;
        let api = self.desk.api();
        deadline::until("chancery is ready", SOON, async || api.is_ready().await.then_some(())).await?;
        let output = self.second.run(&self.blocks.ready).await?;
        expect(output.trim() == "ok", "readyz says that it is ready", &output)
    }

    async fn stops_chancery(&mut self) -> Outcome<()> {
        self.first.interrupt().await?;
        let output = self.first.run("echo free\n").await?;
        expect(output.ends_with("free\n"), "Ctrl-C stops chancery", &output)?;
        expect(!self.desk.api().is_ready().await, "chancery is stopped", "")
    }

    /// Waits until the three proxies are connected and hold what they should.
    async fn waits_for_the_proxies(&self) -> Outcome<()> {
        let pods = [("client", 10), ("echo-v1", 2), ("echo-v2", 3)];
        let node = |(pod, host)| {
            format!("sidecar~{}~{pod}.first-light~first-light.svc.cluster.local", self.desk.subnet.ip(host))
        };
        let nodes = pods.map(node);
        self.desk.api().settled(&nodes.each_ref().map(String::as_str), SOON).await?;
        Ok(())
    }

    /// Steps 2 to 4.
    async fn starts_everything(&mut self) -> Outcome<()> {
        self.first.run(&self.blocks.applications).await?;
        self.starts_chancery().await?;
        self.second.run(&self.blocks.envoys).await?;
        self.waits_for_the_proxies().await?;
        self.whole = self.bytes_sent().await?;
        Ok(())
    }

    async fn counts(&mut self, share: f64) -> Outcome<()> {
        expect_split(&self.third.run(&self.blocks.count).await?, share)
    }

    /// Step 5.
    async fn sends_requests(&mut self) -> Outcome<()> {
        let output = self.third.run(&self.blocks.request).await?;
        expect(matches!(output.trim(), "v1" | "v2"), "the answer names the version", &output)?;
        self.counts(0.9).await?;
        for _ in 0..20 {
            let output = self.third.run(&self.blocks.tester).await?;
            expect(output.trim() == "v2", "a tester always gets v2", &output)?;
        }
        Ok(())
    }

    /// Step 6; returns the text that was saved.
    async fn changes_the_weights(&mut self) -> Outcome<String> {
        let api = self.desk.api();
        let before = api.accepted("rds").await?;
        let edited = reweighted(&fs::read_to_string(self.desk.traffic())?, &[("v1", 50), ("v2", 50)]);
        self.desk.save(&edited)?;
        api.moved("rds", &before, SOON).await?;
        self.counts(0.5).await?;
        let output = self.third.run(&self.blocks.proxies).await?;
        let pods = ["client.first-light", "echo-v1.first-light", "echo-v2.first-light"];
        expect(pods.iter().all(|pod| output.contains(pod)), "every proxy is listed", &output)?;
        Ok(edited)
    }

    /// Step 7, the number put back included.
    async fn makes_a_mistake(&mut self, good: &str) -> Outcome<()> {
        let broken = good.replacen("weight: 50", "weight: ninety", 1);
        let line = broken.lines().position(|line| line.contains("ninety")).map_or(0, |index| index as u64 + 1);
        self.desk.save(&broken)?;
        self.expects_problem_at(Some(line)).await?;
        let output = self.third.run(&self.blocks.problems).await?;
        let place = format!("\"line\":{line}");
        expect(output.replace(' ', "").contains(&place), "the problem has its line", &output)?;
        self.counts(0.5).await?;
        let output = self.third.run(&self.blocks.analyze_again).await?;
        expect(output.contains(&format!("traffic.yaml:{line}: error")), "analyze names the line", &output)?;
        expect(output.ends_with("exit status 3\n"), "analyze exits with 3", &output)?;
        self.desk.save(good)?;
        self.expects_problem_at(None).await
    }

    async fn expects_problem_at(&self, line: Option<u64>) -> Outcome<()> {
        let api = self.desk.api();
        let reported = deadline::until("the problem is where the mistake is", SOON, async || {
            let problems = api.problems().await.ok()?;
            let seen = problems.iter().any(|problem| problem.line == line && problem.text.contains("ninety"));
            (if line.is_some() { seen } else { problems.is_empty() }).then_some(())
        });
        match reported.await {
            Ok(()) => Ok(()),
            Err(failure) => Err(failure.with(&format!("{:#?}", api.problems().await?))),
        }
    }

    /// Step 8.
    async fn kills_it(&mut self) -> Outcome<()> {
        self.stops_chancery().await?;
        self.counts(0.5).await?;
        self.starts_chancery().await?;
        self.waits_for_the_proxies().await?;
        let bytes = self.bytes_sent().await?;
        let sizes = format!("{bytes} bytes, of {}", self.whole);
        expect(bytes < self.whole / 4.0, "proxies that come back are sent only what changed", &sizes)?;
        self.counts(0.5).await
    }

    /// The bytes of all responses since chancery was started.
    async fn bytes_sent(&self) -> Outcome<f64> {
        Ok(self.desk.api().metrics().await?.sum("chancery_xds_response_bytes_total", &[]))
    }

    async fn cleans_up(&mut self) -> Outcome<()> {
        self.stops_chancery().await?;
        self.first.run(&self.blocks.end).await?;
        self.second.run(&self.blocks.end).await?;
        self.first.run(&self.blocks.remove).await?;
        let left: Vec<_> =
            fs::read_dir(self.desk.files.path())?.filter_map(Result::ok).map(|e| e.file_name()).collect();
        expect(left.is_empty(), "nothing is left behind", &format!("{left:?}"))?;
        for terminal in [&mut self.first, &mut self.second] {
            terminal.run("wait\n").await?;
        }
        Ok(())
    }

    async fn reads_it_all(&mut self) -> Outcome<()> {
        self.looks_at_the_manifests().await?;
        self.starts_everything().await?;
        self.sends_requests().await?;
        let good = self.changes_the_weights().await?;
        self.makes_a_mistake(&good).await?;
        self.kills_it().await?;
        self.cleans_up().await
    }

    /// What the screens and logs say, for a failure's text.
    fn screens(&self) -> String {
        [&self.first, &self.second, &self.third].map(Terminal::tail).join("\n")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tutorial_does_what_it_says() -> Outcome<()> {
    tools::envoy(tools::Release::Newest)?;
    let mut reader = Reader::sits_down().await?;
    let done = tokio::time::timeout(Duration::from_secs(120), reader.reads_it_all()).await;
    let done = done.unwrap_or_else(|_| Err(Failure::new(format!("{PAGE} takes longer than two minutes"))));
    done.map_err(|failure| failure.with(&reader.screens()))
}
