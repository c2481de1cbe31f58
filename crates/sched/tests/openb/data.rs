//! Finds and reads the openb traces: `COTENANT_DATA`, or `../shared/data` beside the checkout.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "the helpers are tests too")]
#![allow(dead_code, reason = "each program that reads the traces uses a part")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cotenant_sched::policy::PolicyName;
use cotenant_sched::replay::{Cluster, Workload, read_nodes, read_pods};

/// Every trace, by the names of the published table.
pub(crate) const TRACES: [&str; 15] = [
    "default",
    "cpu050",
    "cpu100",
    "cpu200",
    "cpu250",
    "gpushare40",
    "gpushare80",
    "gpushare100",
    "gpuspec10",
    "gpuspec20",
    "gpuspec33",
    "multigpu20",
    "multigpu30",
    "multigpu40",
    "multigpu50",
];

/// The folder of the traces.
pub(crate) struct Data(PathBuf);

impl Data {
    /// The folder, if it is there.
    pub(crate) fn find() -> Option<Self> {
        let data = match std::env::var_os("COTENANT_DATA") {
            Some(folder) => PathBuf::from(folder),
            None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        };
        let openb = data.join("openb");
        if openb.is_dir() {
            return Some(Self(openb));
        }
        eprintln!("skipped: {} is not there; set COTENANT_DATA to run this", openb.display());
        None
    }

    /// The text of a file.
    pub(crate) fn text(&self, file: &str) -> String {
        std::fs::read_to_string(self.0.join(file)).unwrap()
    }

    /// The nodes with cards.
    pub(crate) fn cluster(&self) -> Cluster {
        Cluster::new(read_nodes(&self.text("csv/openb_node_list_gpu_node.csv")).unwrap()).unwrap()
    }

    /// The pods of a trace.
    pub(crate) fn workload(&self, cluster: &Cluster, trace: &str) -> Workload {
        let text = self.text(&format!("csv/openb_pod_list_{trace}.csv"));
        Workload::new(cluster.fleet(), read_pods(&text).unwrap())
    }

    /// The published curves of a policy, by seed.
    pub(crate) fn published(&self, trace: &str, policy: PolicyName) -> BTreeMap<u64, Vec<f64>> {
        let name = match policy {
            PolicyName::Random => "01-Random",
            PolicyName::DotProduct => "02-DotProd",
            PolicyName::Clustering => "03-GpuClustering",
            PolicyName::Packing => "04-GpuPacking",
            PolicyName::BestFit => "05-BestFit",
            PolicyName::Fgd => "06-FGD",
            PolicyName::BidPrice => return BTreeMap::new(),
        };
        let text = self.text("published_allocation.csv");
        let prefix = format!("openb_pod_list_{trace},{name},1.3,");
        let rows = text.lines().filter_map(|line| line.strip_prefix(&prefix));
        rows.map(|row| {
            let mut cells = row.split(',');
            let seed = cells.next().unwrap().parse().unwrap();
            (seed, cells.skip(1).map(|cell| cell.parse().unwrap_or(f64::NAN)).collect())
        })
        .collect()
    }
}

/// The largest resident set of this process, as the kernel counts it.
pub(crate) fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or_else(|| "unknown".to_owned(), |line| line.trim().to_owned())
}
