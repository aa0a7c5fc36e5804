//! How much memory the process has, and how much it may have. Near its limit new streams are refused; those there are go on,
//! and nothing is taken from them.
//!
//! The kernel ends who goes beyond the limit of its control group, and every proxy would come back at once.

mod group;

use crate::telemetry::memory::MemoryMetrics;
use crate::xds::admission::Admission;
use std::fs;
use std::time::Duration;

/// How often it is looked: a fleet that comes back takes much in a second. The limit changes rarely.
const LOOK: Duration = Duration::from_millis(100);
const LIMIT_EVERY: u32 = 10;
/// From how many per cent of the limit on new streams are refused, and below how many they are taken again.
const SHUT: u128 = 85;
const OPEN: u128 = 80;
const MIB: u64 = 1 << 20;

/// Looks for as long as the process runs. `limit` is in bytes, 0 for none; without it that of the process's control group
/// counts, which may change.
pub async fn run(limit: Option<u64>, admission: Admission, metrics: MemoryMetrics) {
    let (mut known, mut looks) = (None, 0u32);
    loop {
        let again =
            looks.is_multiple_of(LIMIT_EVERY).then(|| limit.or_else(|| group::limit(&read)).unwrap_or_default());
        looks = looks.wrapping_add(1);
        if again.is_some() && known != again {
            known = again;
            tracing::info!(mib = again.map(|limit| limit / MIB), "the limit of memory; 0 stands for none");
        }
        let limit = known.unwrap_or_default();
        // A system that doesn't say shuts nobody out.
        let resident = read("/proc/self/status").as_deref().and_then(resident).unwrap_or_default();
        let before = admission.is_shut();
        let shut = is_short(before, resident, limit);
        if shut != before {
            admission.shut(shut);
            tell(shut, resident, limit);
        }
        metrics.measured(resident, limit, shut);
        tokio::time::sleep(LOOK).await;
    }
}

fn tell(shut: bool, resident: u64, limit: u64) {
    let (resident, limit) = (resident / MIB, limit / MIB);
    if shut {
        tracing::warn!(resident_mib = resident, limit_mib = limit, "too little memory: new streams are refused");
    } else {
        tracing::info!(resident_mib = resident, limit_mib = limit, "there is memory again: new streams are taken");
    }
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// Whether new streams are to be refused, given whether they are. The gap keeps it from turning all the time.
fn is_short(before: bool, resident: u64, limit: u64) -> bool {
    let share = u128::from(limit) * if before { OPEN } else { SHUT };
    limit > 0 && u128::from(resident) * 100 >= share
}

/// What of the process is in memory, in bytes.
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1 << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shut_at_85_per_cent_opens_below_80() {
        let at = |before, resident| is_short(before, resident, 1_000);
        assert_eq!(
            [at(false, 849), at(false, 850), at(true, 849), at(true, 800), at(true, 799)],
            [false, true, true, true, false]
        );
        assert!(!is_short(true, u64::MAX, 0), "without a limit");
        assert!(is_short(false, u64::MAX, u64::MAX));
    }

    #[test]
    fn what_is_in_memory_is_read() {
        assert_eq!(resident("Name:\tx\nVmRSS:\t    2048 kB\nRssAnon:\t1 kB\n"), Some(2 << 20));
        for text in ["", "VmRSS:", "VmRSS: many kB", "VmRSS: 99999999999999999999 kB", "VmRSS: 18446744073709551615 kB"]
        {
            assert_eq!(resident(text), None, "{text}");
        }
        assert!(read("/proc/self/status").as_deref().and_then(resident).is_some_and(|bytes| bytes > MIB));
    }
}
