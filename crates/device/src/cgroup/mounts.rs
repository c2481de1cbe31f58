//! Where the kernel's control groups are mounted, and which of them this process is in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// The hierarchies that this process sees, and its place in each.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Mounts {
    v1: BTreeMap<String, Place>,
    v2: Option<Place>,
}

/// A place in a hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Where the hierarchy is mounted.
    mount: PathBuf,
    /// The folder of the group that this process is in.
    pub(crate) folder: PathBuf,
}

impl Mounts {
    pub(crate) fn read() -> io::Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        Ok(Self::parse(&mounts, &fs::read_to_string("/proc/self/cgroup")?))
    }

    /// Reads `/proc/self/mountinfo` and `/proc/self/cgroup`; lines of other forms are passed over.
    pub(crate) fn parse(mountinfo: &str, groups: &str) -> Self {
        let mut own: BTreeMap<&str, &str> = BTreeMap::new();
        for line in groups.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            if let (Some(controllers), Some(path)) = (parts.next(), parts.next()) {
                own.extend(controllers.split(',').map(|controller| (controller, path)));
            }
        }
        let mut found = Self::default();
        for mount in mountinfo.lines().filter_map(Mount::parse) {
            if mount.kind == "cgroup2" {
                if let Some(path) = own.get("") {
                    found.v2.get_or_insert_with(|| mount.place(path));
                }
                continue;
            }
            for controller in mount.options.split(',') {
                let is_new = !controller.is_empty() && !found.v1.contains_key(controller);
                if let (true, Some(path)) = (is_new, own.get(controller)) {
                    found.v1.insert(controller.to_owned(), mount.place(path));
                }
            }
        }
        found
    }

    /// The place in version 1's hierarchy of that controller.
    pub(crate) fn v1(&self, controller: &str) -> Option<&Place> {
        self.v1.get(controller)
    }

    /// The place in version 2's hierarchy.
    pub(crate) fn v2(&self) -> Option<&Place> {
        self.v2.as_ref()
    }
}

impl Place {
    /// The group's folder and those above it, to the top of what is mounted.
    pub(crate) fn upwards(&self) -> impl Iterator<Item = &Path> {
        self.folder.ancestors().take_while(|folder| folder.starts_with(&self.mount))
    }
}

/// A line of `/proc/self/mountinfo` about control groups.
struct Mount<'a> {
    /// The group that the mount shows at its top.
    top: &'a str,
    point: PathBuf,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (mount, system) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let (top, point) = (mount.next()?, unescape(mount.next()?));
        let mut system = system.split(' ');
        let (kind, options) = (system.next()?, system.nth(1)?);
        ["cgroup", "cgroup2"].contains(&kind).then_some(Self { top, point, kind, options })
    }

    /// The folder of a group in this mount. What a container mounts may not show the group; then
    /// its top is the nearest there is.
    fn place(&self, path: &str) -> Place {
        let inner = Path::new(path).strip_prefix(self.top).ok();
        let plain = inner.filter(|inner| !inner.starts_with(".."));
        let folder = plain.map_or_else(|| self.point.clone(), |inner| self.point.join(inner));
        Place { mount: self.point.clone(), folder }
    }
}

/// Undoes what the kernel does to odd letters: a blank is `\040`.
fn unescape(text: &str) -> PathBuf {
    let mut plain = text.to_owned();
    for (code, letter) in [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")] {
        plain = plain.replace(code, letter);
    }
    PathBuf::from(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mountinfo: &str, groups: &str, expected: &[(&str, &str)]) {
        let mounts = Mounts::parse(mountinfo, groups);
        for (controller, folder) in expected {
            let place = match *controller {
                "" => mounts.v2(),
                controller => mounts.v1(controller),
            };
            let found = place.map_or_else(String::new, |place| place.folder.display().to_string());
            assert_eq!(found, *folder, "{controller:?} of {mounts:?}");
        }
    }

    #[test]
    fn both_forms_side_by_side() {
        let mountinfo = "\
23 1 254:0 / / rw - ext4 /dev/vda rw
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/my\\040unified rw,relatime - cgroup2 cgroup2 rw
nonsense
1 2 - x
";
        let groups = "\
9:name=systemd:/
4:memory:/outer/inner
1:cpu,cpuacct:/
0::/user.slice
nonsense
";
        let expected = [
            ("cpu", "/sys/fs/cgroup/cpu,cpuacct/"),
            ("cpuacct", "/sys/fs/cgroup/cpu,cpuacct/"),
            ("memory", "/sys/fs/cgroup/memory/outer/inner"),
            ("", "/sys/fs/cgroup/my unified/user.slice"),
            ("freezer", ""),
        ];
        check(mountinfo, groups, &expected);
        let mounts = Mounts::parse(mountinfo, groups);
        let upwards: Vec<_> = mounts.v1("memory").unwrap().upwards().collect();
        let memory = Path::new("/sys/fs/cgroup/memory");
        assert_eq!(upwards, [&*memory.join("outer/inner"), &*memory.join("outer"), memory]);
    }

    #[test]
    fn containers_show_a_part_of_a_hierarchy() {
        let mountinfo = "35 31 0:32 /box/7 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n\
                         36 31 0:33 / /sys/fs/cgroup/unified rw - cgroup2 cgroup rw";
        check(mountinfo, "4:memory:/box/7/job", &[("memory", "/sys/fs/cgroup/memory/job")]);
        check(mountinfo, "4:memory:/elsewhere", &[("memory", "/sys/fs/cgroup/memory")]);
        check(mountinfo, "0::/../../other", &[("", "/sys/fs/cgroup/unified")]);
        check("", "", &[("memory", ""), ("", "")]);
    }
}
