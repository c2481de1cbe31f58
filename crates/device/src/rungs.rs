//! From what a card and its machine can do to the rungs that the card offers.

use cotenant_types::Rung;

/// What was found about a card that decides what can hold a slice of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// It is in MIG mode, and this version can make partitions on it.
    pub partitions: bool,
    /// The number before the first dot of the NVIDIA driver's version; 0 without a driver.
    pub driver_major: u32,
    /// NVML has `nvmlDeviceSetMemoryLimits_v1`, and this version can call it.
    pub driver_limits: bool,
    /// MPS is installed and limits each client on it; [`MpsGroups`](crate::MpsGroups) starts it.
    pub mps: bool,
    /// The preload library is here.
    pub intercept: bool,
    /// It is a processor, and control groups can be made for it.
    pub control_groups: bool,
    /// It is a processor: the job's own worker keeps to threads and memory.
    pub processor: bool,
}

/// The first driver that limits memory by itself.
const DRIVER_LIMITS_MAJOR_MIN: u32 = 615;

/// The rungs of a card, best first.
///
/// A card in MIG mode has no other: what runs on it runs in a partition.
pub fn rungs(capabilities: &Capabilities) -> Vec<Rung> {
    if capabilities.partitions {
        return vec![Rung::Mig];
    }
    let is_offered = |rung: Rung| match rung {
        Rung::Mig => false,
        Rung::Driver => {
            let is_new = capabilities.driver_major >= DRIVER_LIMITS_MAJOR_MIN;
            !capabilities.processor && capabilities.driver_limits && is_new
        }
        Rung::Mps => !capabilities.processor && capabilities.mps,
        Rung::Intercept => !capabilities.processor && capabilities.intercept,
        Rung::Cgroup => capabilities.processor && capabilities.control_groups,
        Rung::Worker => capabilities.processor,
        Rung::TimeSlice | Rung::Advisory => !capabilities.processor,
    };
    Rung::ALL.into_iter().filter(|&rung| is_offered(rung)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rungs_follow_from_what_was_found() {
        let check = |capabilities: Capabilities, expected: &str| {
            let names: Vec<&str> = rungs(&capabilities).into_iter().map(Rung::name).collect();
            assert_eq!(names.join(" "), expected, "{capabilities:?}");
        };
        let none = Capabilities::default();
        let new = Capabilities { driver_major: 615, driver_limits: true, ..none };
        let cpu = Capabilities { processor: true, ..none };
        check(none, "time-slice advisory");
        check(Capabilities { mps: true, ..none }, "mps time-slice advisory");
        let intercept = Capabilities { intercept: true, ..none };
        check(intercept, "intercept time-slice advisory");
        check(Capabilities { mps: true, ..intercept }, "mps intercept time-slice advisory");
        check(Capabilities { intercept: true, ..cpu }, "worker");
        check(new, "driver time-slice advisory");
        check(Capabilities { mps: true, ..new }, "driver mps time-slice advisory");
        check(Capabilities { driver_major: 614, ..new }, "time-slice advisory");
        check(Capabilities { driver_limits: false, ..new }, "time-slice advisory");
        check(Capabilities { partitions: true, mps: true, ..new }, "mig");
        check(cpu, "worker");
        check(Capabilities { control_groups: true, ..cpu }, "cgroup worker");
        check(Capabilities { mps: true, driver_major: 999, ..cpu }, "worker");
    }
}
