//! What memory the system lets the process have.
//!
//! In: the control groups of the process (cgroups(7)), as containers and systemd
//! set them up. Out: the lowest limit of them. Not here: what is done about it
//! (`load`).

use std::path::{Path, PathBuf};

/// Where the first version of control groups, which knows no `max`, says that there is no limit: pages of all of an i64.
const ENDLESS: u64 = 1 << 60;

/// The limit of the process in bytes; none where nobody set one, or the system does not tell.
pub(super) fn of_process() -> Option<u64> {
    lowest(&std::fs::read_to_string("/proc/self/cgroup").ok()?, Path::new("/sys/fs/cgroup"))
}

/// The lowest limit of these groups, and of those that they are in, below `root`.
fn lowest(groups: &str, root: &Path) -> Option<u64> {
    groups.lines().filter_map(|line| of_group(line, root)).min()
}

/// The lowest limit on the way from a group to the root. Within a container the group itself may not be there, but the root is
/// the container's.
fn of_group(line: &str, root: &Path) -> Option<u64> {
    let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
    let (root, file) = match controllers {
        "" => (root.to_owned(), "memory.max"),
        _ if controllers.split(',').any(|controller| controller == "memory") => {
            (root.join("memory"), "memory.limit_in_bytes")
        }
        _ => return None,
    };
    let group: PathBuf = root.join(path.trim_start_matches('/'));
    let folders = group.ancestors().take_while(|folder| folder.starts_with(&root));
    let limits = folders.filter_map(|folder| std::fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok());
    limits.filter(|limit| *limit < ENDLESS).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().expect("in a folder")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        }
        root
    }

    #[test]
    fn the_lowest_limit_on_the_way_to_the_root_counts() {
        let files = [("system.slice/memory.max", "1000\n"), ("system.slice/a.service/memory.max", "max\n")];
        assert_eq!(lowest("0::/system.slice/a.service\n", root(&files).path()), Some(1000));
        let files = [("system.slice/memory.max", "1000\n"), ("system.slice/a.service/memory.max", "400\n")];
        assert_eq!(lowest("0::/system.slice/a.service\n", root(&files).path()), Some(400));
        assert_eq!(lowest("0::/\n", root(&[("memory.max", "max\n")]).path()), None, "nobody set one");
    }

    #[test]
    fn a_container_finds_its_own_at_the_root() {
        assert_eq!(lowest("0::/\n", root(&[("memory.max", "536870912\n")]).path()), Some(512 << 20));
        let first = root(&[("memory/memory.limit_in_bytes", "536870912\n")]);
        let groups = "5:cpu,cpuacct:/docker/1\n4:memory:/docker/1\n1:name=systemd:/docker/1\n";
        assert_eq!(lowest(groups, first.path()), Some(512 << 20), "as the first version of control groups has it");
        let endless = root(&[("memory/memory.limit_in_bytes", "9223372036854771712\n")]);
        assert_eq!(lowest(groups, endless.path()), None);
    }

    #[test]
    fn what_cannot_be_read_is_no_limit() {
        for groups in ["", "nonsense", "0", "0::", "0::/../..", "4:memory:"] {
            assert_eq!(lowest(groups, root(&[("memory.max", "no number")]).path()), None, "{groups:?}");
        }
    }
}
