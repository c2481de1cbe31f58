//! Reads the tables that a simulation is of.

use std::error::Error;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use cotenant_sched::replay::{Cluster, Workload, read_nodes, read_pods};

use crate::args::simulate::SimulateArgs;
use crate::words::count;

/// A table at most.
const BYTES_MAX: u64 = 1 << 30;

/// What is replayed, and what policies learn from if it is something else.
pub(super) struct Traces {
    pub(super) cluster: Cluster,
    pub(super) workload: Workload,
    pub(super) learned: Option<Workload>,
}

/// What went wrong with a file.
#[derive(Debug)]
pub(super) struct FileError {
    pub(super) act: &'static str,
    pub(super) file: PathBuf,
    pub(super) source: Box<dyn Error>,
}

/// Reads what the arguments name.
pub(super) fn read(arguments: &SimulateArgs) -> Result<Traces, Box<dyn Error>> {
    let of = |act, file: &Path| {
        let file = file.to_owned();
        move |source: Box<dyn Error>| FileError { act, file, source }
    };
    let (nodes, pods) = arguments.tables();
    let in_nodes = || of("read the nodes", nodes);
    let rows = read_nodes(&text(nodes).map_err(in_nodes())?).map_err(|e| in_nodes()(e.into()))?;
    let cluster = Cluster::new(rows).map_err(|error| in_nodes()(error.into()))?;
    let workload = |file: &Path| -> Result<Workload, FileError> {
        let in_pods = || of("read the jobs", file);
        let rows = read_pods(&text(file).map_err(in_pods())?).map_err(|e| in_pods()(e.into()))?;
        Ok(Workload::new(cluster.fleet(), rows))
    };
    let (learned, workload) =
        (arguments.mix.as_deref().map(workload).transpose()?, workload(pods)?);
    Ok(Traces { cluster, workload, learned })
}

fn text(file: &Path) -> Result<String, Box<dyn Error>> {
    let mut bytes = Vec::new();
    let there = |error: io::Error| format!("{error}\nhint: check the path, and that it is a file");
    let opened = File::open(file).map_err(there)?;
    opened.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(there)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(format!("it has more than {BYTES_MAX} bytes\nhint: cut it into parts").into());
    }
    let at = |error: std::string::FromUtf8Error| {
        let at = error.utf8_error().valid_up_to();
        format!("it is not UTF-8 at byte {at}\nhint: give a CSV file in UTF-8")
    };
    Ok(String::from_utf8(bytes).map_err(at)?)
}

impl Traces {
    /// What policies learn from.
    pub(super) fn mix(&self) -> &Workload {
        self.learned.as_ref().unwrap_or(&self.workload)
    }

    /// What somebody should know about the tables beside the results.
    pub(super) fn notices(&self) -> Vec<String> {
        let (nodes, jobs) = (self.cluster.nodes() as u64, self.workload.pods() as u64);
        let cards = self.cluster.fleet().compute() / 1000;
        let mut notices =
            vec![[count(nodes, "node"), count(cards, "card"), count(jobs, "job")].join(", ")];
        let unknown: Vec<&str> = self.workload.unknown_models().collect();
        if !unknown.is_empty() {
            let models = unknown.join(", ");
            notices.push(format!("warning: jobs name models that no node has: {models}"));
        }
        notices
    }
}

impl std::fmt::Display for FileError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} in {}", self.act, self.file.display())
    }
}

impl Error for FileError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}
