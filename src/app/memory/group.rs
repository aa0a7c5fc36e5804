//! The limit of memory that the process's control groups set, in either version of their interface: the least of its own
//! group's and of those around it.
//!
//! In a container without a namespace of its own for groups the path is that of the machine and leads nowhere; what is mounted is the
//! container's own group then, at the end of the way up.

/// Numbers from here on stand for no limit: version 1 writes about as many bytes as fit into a number.
const NONE: u64 = 1 << 60;

/// Where a hierarchy of groups is found, and how the limit's file is called there.
const UNIFIED: &[(&str, &str)] = &[("/sys/fs/cgroup", "memory.max"), ("/sys/fs/cgroup/unified", "memory.max")];
const MEMORY: &[(&str, &str)] = &[("/sys/fs/cgroup/memory", "memory.limit_in_bytes")];

/// The limit in bytes, if there is one. `read` gives what is in a file.
pub fn limit(read: &dyn Fn(&str) -> Option<String>) -> Option<u64> {
    let groups = read("/proc/self/cgroup")?;
    let found = groups.lines().filter_map(place).flat_map(|(hierarchies, path)| {
        hierarchies.iter().flat_map(move |(root, file)| {
            upwards(path).filter_map(move |group| bytes(&read(&format!("{root}{group}/{file}"))?))
        })
    });
    found.min()
}

/// The hierarchies that a line of the process's groups is about, and the group's path in them: `0::/a` in version 2, `4:memory:/a`
/// in version 1.
fn place(line: &str) -> Option<(&'static [(&'static str, &'static str)], &str)> {
    let mut parts = line.splitn(3, ':');
    let (number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    // A group outside of what this process sees is none that it can ask.
    let path = if path.split('/').any(|part| part == "..") { "" } else { path };
    match (number, controllers) {
        ("0", "") => Some((UNIFIED, path)),
        (_, all) if all.split(',').any(|one| one == "memory") => Some((MEMORY, path)),
        _ => None,
    }
}

/// A path and all those around it, without a slash at the end.
fn upwards(path: &str) -> impl Iterator<Item = &str> {
    let path = path.trim_end_matches('/');
    std::iter::successors(Some(path), |path| Some(&path[..path.rfind('/')?]))
}

fn bytes(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|bytes| *bytes < NONE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn of(files: &[(&str, &str)]) -> Option<u64> {
        let files: BTreeMap<&str, &str> = files.iter().copied().collect();
        limit(&|path| files.get(path).map(|text| format!("{text}\n")))
    }

    #[test]
    fn the_least_of_the_groups_around_is_the_limit() {
        let own = ("/proc/self/cgroup", "0::/kubepods/pod1/container");
        let limits = |container, pod| {
            let [container, pod]: [&str; 2] = [container, pod];
            of(&[
                own,
                ("/sys/fs/cgroup/kubepods/pod1/container/memory.max", container),
                ("/sys/fs/cgroup/kubepods/pod1/memory.max", pod),
                ("/sys/fs/cgroup/kubepods/memory.max", "max"),
            ])
        };
        assert_eq!(limits("1000", "2000"), Some(1000));
        assert_eq!(limits("2000", "1000"), Some(1000));
        assert_eq!(limits("max", "1000"), Some(1000));
        assert_eq!(limits("max", "max"), None);
    }

    #[test]
    fn a_container_sees_its_own_group_at_the_root() {
        assert_eq!(of(&[("/proc/self/cgroup", "0::/"), ("/sys/fs/cgroup/memory.max", "1000")]), Some(1000));
        let machine = ("/proc/self/cgroup", "9:name=systemd:/x\n4:hugetlb,memory:/kubepods/pod1\n0::/../../x");
        let v1 = "/sys/fs/cgroup/memory/memory.limit_in_bytes";
        assert_eq!(of(&[machine, (v1, "1000")]), Some(1000));
        assert_eq!(of(&[machine, (v1, "9223372036854771712")]), None);
    }

    #[test]
    fn what_is_not_there_or_not_understood_is_no_limit() {
        assert_eq!(of(&[]), None);
        for groups in ["", "0", "0:", "0::", "memory", "4:cpu:/a", "::::"] {
            assert_eq!(
                of(&[("/proc/self/cgroup", groups), ("/sys/fs/cgroup/memory/memory.max", "1")]),
                None,
                "{groups}"
            );
        }
        assert_eq!(of(&[("/proc/self/cgroup", "0::/a"), ("/sys/fs/cgroup/a/memory.max", "much")]), None);
    }
}
