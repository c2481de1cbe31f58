//! Arguments of `simulate`.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Args, ValueEnum};
use cotenant_sched::policy::PolicyName;
use cotenant_sched::replay::Order;
use cotenant_sched::replay::timed::Beyond;

use super::sizing::SizingArgs;

/// Arguments of `simulate`.
#[derive(Debug, Args)]
pub(crate) struct SimulateArgs {
    /// Nodes: a table with sn, cpu_milli, memory_mib, gpu, model, and perhaps gpu_memory_mib
    #[arg(long, value_name = "NODES.csv", required_unless_present = "jobs")]
    pub nodes: Option<PathBuf>,
    /// Jobs: a table with name, cpu_milli, memory_mib, num_gpu, gpu_milli, and perhaps gpu_spec and
    /// gpu_memory_mib
    #[arg(long, value_name = "PODS.csv", verbatim_doc_comment, required_unless_present = "jobs")]
    pub pods: Option<PathBuf>,
    /// Policies to compare, with commas between them; all if not given
    #[arg(long, value_enum, value_delimiter = ',')]
    pub policy: Vec<PolicyArg>,
    /// Seeds of arrivals: a number, or the first and the last, as 42..51
    #[arg(long, default_value = "42..51")]
    pub seeds: Seeds,
    /// What draws the order of arrival
    #[arg(long, value_enum, default_value_t = ArrivalArg::Published)]
    pub arrival: ArrivalArg,
    /// With --arrival timed: let jobs come so many times as fast as they did
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub load: u64,
    /// With --arrival timed: keep only so many nodes, which the seed chooses
    #[arg(long, value_name = "NODES", value_parser = clap::value_parser!(u64).range(1..))]
    pub keep: Option<u64>,
    /// With --arrival timed: what is done beside asking the policy, with commas between them
    ///
    /// nothing; departures: jobs share cards with jobs that are expected to go when they do, with
    /// bid-price only; ratio: of those that wait, the one with the highest response ratio is tried
    /// first; moves: offline jobs (qos BE) are moved to make room for jobs that wait; or several at
    /// once, as ratio+moves.
    #[arg(long, value_delimiter = ',', default_value = "nothing")]
    pub beyond: Vec<Beyond>,
    /// With --arrival timed: work that a job loses when it is moved
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(0..=1_000_000))]
    pub move_s: u64,
    /// With --arrival timed: also find the fewest cards for a mean wait of at most so many seconds
    #[arg(long, value_name = "SECONDS")]
    pub wait_s: Option<u64>,
    /// Let policies learn what to expect from other jobs than those that come
    #[arg(long, value_name = "PODS.csv")]
    pub mix: Option<PathBuf>,
    /// Also write a page with plots
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    #[command(flatten)]
    pub sizing: SizingArgs,
}

impl SimulateArgs {
    /// The tables of a trace: nodes and jobs.
    pub(crate) fn tables(&self) -> (&Path, &Path) {
        let tables = self.nodes.as_deref().zip(self.pods.as_deref());
        tables.expect("both are there where no file of jobs is")
    }
}

/// A policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PolicyArg {
    /// Least growth of fragmentation (Weng et al., USENIX ATC 2023)
    Fgd,
    /// Least left over, of processors and cards
    BestFit,
    /// Cards in use, then idle cards of nodes in use, then idle nodes
    Packing,
    /// Beside jobs of the same kind
    Clustering,
    /// Where what is free looks least like what is asked for
    DotProduct,
    /// Anywhere
    Random,
    /// Least worth of what is taken, at the prices that the expected jobs would pay
    BidPrice,
}

/// What draws the order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ArrivalArg {
    /// The generator of the experiment that was published with the openb traces: its orders, exactly
    Published,
    /// A generator of our own: other orders for the same seeds
    Shuffled,
    /// None: jobs come when the trace says, run as long as they did, wait and go
    Timed,
}

/// Seeds, at most a thousand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seeds(pub Vec<u64>);

/// Seeds of one command at most.
const SEEDS_MAX: u64 = 1000;

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str| {
            text.trim().parse::<u64>().map_err(|_| format!("{text:?} is no whole number"))
        };
        let (first, last) = match text.split_once("..") {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(text)?, number(text)?),
        };
        if last < first {
            return Err(format!("the last seed, {last}, is below the first, {first}"));
        }
        if last - first >= SEEDS_MAX {
            return Err(format!(
                "{} seeds are more than {SEEDS_MAX}",
                u128::from(last - first) + 1
            ));
        }
        Ok(Self((first..=last).collect()))
    }
}

impl PolicyArg {
    /// The policy itself.
    pub(crate) fn name(self) -> PolicyName {
        match self {
            Self::Fgd => PolicyName::Fgd,
            Self::BestFit => PolicyName::BestFit,
            Self::Packing => PolicyName::Packing,
            Self::Clustering => PolicyName::Clustering,
            Self::DotProduct => PolicyName::DotProduct,
            Self::Random => PolicyName::Random,
            Self::BidPrice => PolicyName::BidPrice,
        }
    }
}

impl ArrivalArg {
    /// The order itself; none if the trace says when jobs come.
    pub(crate) fn order(self) -> Option<Order> {
        match self {
            Self::Published => Some(Order::Published),
            Self::Shuffled => Some(Order::Shuffled),
            Self::Timed => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_a_number_or_a_range_with_both_ends() {
        let check = |text: &str, expected: &[u64]| {
            assert_eq!(text.parse::<Seeds>().unwrap().0, expected, "{text}");
        };
        check("7", &[7]);
        check("42..44", &[42, 43, 44]);
        check("18446744073709551615", &[u64::MAX]);
        let refused = |text: &str, expected: &str| {
            assert_eq!(text.parse::<Seeds>().unwrap_err(), expected);
        };
        refused("44..42", "the last seed, 42, is below the first, 44");
        refused("0..1000", "1001 seeds are more than 1000");
        refused("0..18446744073709551615", "18446744073709551616 seeds are more than 1000");
        refused("a", "\"a\" is no whole number");
        refused("1..", "\"\" is no whole number");
        refused("-1", "\"-1\" is no whole number");
    }

    #[test]
    fn policies_are_called_what_they_are() {
        for policy in PolicyArg::value_variants() {
            let value = policy.to_possible_value().expect("no variant is hidden");
            assert_eq!(value.get_name(), policy.name().as_str());
        }
        assert_eq!(PolicyArg::value_variants().len(), PolicyName::ALL.len());
    }
}
