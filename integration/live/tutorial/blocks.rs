//! The command blocks of the tutorial, by name, in the order of the page.

use super::desk::Desk;
use super::{PAGE, pages};
use crate::harness::{Failure, Outcome};

/// The blocks of the page, each under a name.
pub struct Blocks {
    /// Copies the example.
    pub copy: String,
    /// Asks what is wrong.
    pub analyze: String,
    /// Prints the client's routes.
    pub translate: String,
    /// Starts two HTTP servers.
    pub applications: String,
    /// Starts chancery and stays.
    pub serve: String,
    /// Asks whether it is ready.
    pub ready: String,
    /// Starts three Envoys.
    pub envoys: String,
    /// Sends a request.
    pub request: String,
    /// Sends a hundred and counts the answers.
    pub count: String,
    /// Sends one as a tester.
    pub tester: String,
    /// Asks what each proxy holds.
    pub proxies: String,
    /// Asks what is wrong.
    pub problems: String,
    /// Asks what is wrong without a server.
    pub analyze_again: String,
    /// Ends what a terminal has started.
    pub end: String,
    /// Removes what was written.
    pub remove: String,
}

impl Blocks {
    /// Fails if there is another number of blocks: then somebody has to say here what they are.
    pub fn of(page: &str, desk: &Desk) -> Outcome<Self> {
        let blocks: Vec<String> = pages::blocks(page, "sh").iter().map(|block| desk.here(block)).collect();
        let found = <[String; 15]>::try_from(blocks);
        let [copy, analyze, translate, applications, serve, ready, envoys, request, count, tester, rest @ ..] =
            found.map_err(|blocks| Failure::new(format!("{PAGE} has {} blocks, not fifteen", blocks.len())))?;
        let [proxies, problems, analyze_again, end, remove] = rest;
        Ok(Self {
            copy,
            analyze,
            translate,
            applications,
            serve,
            ready,
            envoys,
            request,
            count,
            tester,
            proxies,
            problems,
            analyze_again,
            end,
            remove,
        })
    }
}
