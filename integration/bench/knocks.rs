//! Connections that come to no call: who connects waits for the server's first word, and goes.
//!
//! Over TLS that word comes when both have shaken hands, and after the tickets with which the session may be resumed.

use super::group::Group;
use super::line::Line;
use super::role::now;
use serde::{Deserialize, Serialize};
use std::io::{self, ErrorKind};
use std::rc::Rc;

/// What came of so many.
#[derive(Default, Serialize, Deserialize)]
pub struct Knocks {
    /// From connecting to the server's first word, in nanoseconds, ascending.
    pub times: Vec<u64>,
    /// How many resumed a session.
    pub resumed: u64,
}

/// So many proxies of a group connect so many times each, one time after the other.
pub async fn knock(group: &Rc<Group>, port: u16, proxies: usize, times: usize) -> Knocks {
    let visit = |index| tokio::task::spawn_local(visits(group.clone(), index, port, times));
    let (begun, mut knocks): (Vec<_>, _) = ((0..proxies).map(visit).collect(), Knocks::default());
    for visits in begun {
        let Knocks { times, resumed } = visits.await.expect("it runs to its end").expect("the server says something");
        knocks.times.extend(times);
        knocks.resumed += resumed;
    }
    knocks.times.sort_unstable();
    knocks
}

async fn visits(group: Rc<Group>, index: usize, port: u16, times: usize) -> io::Result<Knocks> {
    let papers = group.papers(index);
    let mut knocks = Knocks::default();
    for _ in 0..times {
        let begun = now();
        let mut line = Line::open(port, papers.as_ref(), false).await?;
        let mut spoken = false;
        while !spoken {
            line.write(&mut Vec::new())?;
            if line.ready(false).await? {
                let mut buffer = group.buffer.borrow_mut();
                match line.read(&mut buffer, &mut |_| spoken = true) {
                    Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                    Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                    _ => {}
                }
            }
        }
        knocks.times.push(now() - begun);
        knocks.resumed += u64::from(line.resumed() == Some(true));
    }
    Ok(knocks)
}
