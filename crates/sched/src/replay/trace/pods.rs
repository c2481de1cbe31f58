//! Pods: `name,cpu_milli,memory_mib,num_gpu,gpu_milli`, perhaps `gpu_spec`, and `gpu_memory_mib`
//! where jobs name it; `creation_time`, `deletion_time` and `scheduled_time` where times are known,
//! and `qos` where some jobs may be moved. Other columns are passed over.

use super::TraceError;
use super::nodes::AMOUNT_MAX;
use super::table::{Bounds, Names, Row, Table};
use crate::policy::WHOLE;

/// A pod of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodRow {
    /// Its name, which no other pod has.
    pub name: String,
    /// vCPU in thousandths.
    pub cpu_milli: u64,
    /// Memory of the host in MiB.
    pub memory_mib: u64,
    /// Cards.
    pub cards: u32,
    /// Thousandths of each card.
    pub compute: u32,
    /// Memory of each card in MiB; 0 where the pod names none.
    pub card_memory_mib: u64,
    /// Models that will do, joined by `|`, as they were written; empty for any.
    pub models: String,
    /// When it came and went; none where the trace does not say.
    pub times: Option<Times>,
    /// Whether it may be moved.
    pub service: Service,
}

/// When a pod came and went, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// When it came.
    pub created_s: u64,
    /// When it was gone.
    pub deleted_s: u64,
    /// When it began to run; none if it never did.
    pub scheduled_s: Option<u64>,
}

/// Whether somebody waits for a pod's answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// Somebody does: it stays where it is.
    Online,
    /// Nobody does (quality of service `BE`, best effort): it may be moved at a price.
    Offline,
}

const CPU: Bounds = Bounds { column: "cpu_milli", least: 0, most: AMOUNT_MAX };
const MEMORY: Bounds = Bounds { column: "memory_mib", least: 0, most: AMOUNT_MAX };
const CARDS: Bounds = Bounds { column: "num_gpu", least: 0, most: 64 };
const COMPUTE: Bounds = Bounds { column: "gpu_milli", least: 0, most: WHOLE as u64 };
const CARD_MEMORY: Bounds = Bounds { column: "gpu_memory_mib", least: 0, most: AMOUNT_MAX };

/// Times: more than a hundred years of seconds.
const CREATED: Bounds = Bounds { column: "creation_time", least: 0, most: SECONDS_MAX };
const DELETED: Bounds = Bounds { column: "deletion_time", least: 0, most: SECONDS_MAX };
const SCHEDULED: Bounds = Bounds { column: "scheduled_time", least: 0, most: SECONDS_MAX };
const SECONDS_MAX: u64 = 1 << 32;

/// Reads a table of pods.
pub fn read_pods(text: &str) -> Result<Vec<PodRow>, TraceError> {
    let required = ["name", CPU.column, MEMORY.column, CARDS.column, COMPUTE.column];
    let table = Table::new(text, &required)?;
    let mut names = Names::default();
    let mut pods = Vec::new();
    for row in table.rows() {
        let row = row?;
        let pod = PodRow {
            name: names.take(row.text("name").unwrap_or_default(), row.line)?,
            cpu_milli: row.number(CPU)?.unwrap_or_default(),
            memory_mib: row.number(MEMORY)?.unwrap_or_default(),
            cards: row.number(CARDS)?.unwrap_or_default(),
            compute: row.number(COMPUTE)?.unwrap_or_default(),
            card_memory_mib: row.number(CARD_MEMORY)?.unwrap_or_default(),
            models: row.text("gpu_spec").unwrap_or_default().to_owned(),
            times: times(&row)?,
            service: match row.text("qos") {
                Some("BE") => Service::Offline,
                Some(_) | None => Service::Online,
            },
        };
        let is_possible = match (pod.cards, pod.compute) {
            (0, compute) => compute == 0 && pod.card_memory_mib == 0,
            (1, compute) => compute > 0,
            (_, compute) => compute == WHOLE,
        };
        if !is_possible {
            let PodRow { name, cards, compute, .. } = pod;
            return Err(TraceError::Shares { line: row.line, name, cards, compute });
        }
        pods.push(pod);
    }
    match pods.is_empty() {
        true => Err(TraceError::Empty("there are no pods")),
        false => Ok(pods),
    }
}

/// The times of a row; none if the table has none, or the row lacks one of the two that count.
fn times(row: &Row<'_, '_>) -> Result<Option<Times>, TraceError> {
    let seconds = |bounds: Bounds| match row.text(bounds.column) {
        None | Some("") => Ok(None),
        Some(_) => row.number::<u64>(bounds),
    };
    let (created, deleted) = (seconds(CREATED)?, seconds(DELETED)?);
    let scheduled_s = seconds(SCHEDULED)?;
    let (Some(created_s), Some(deleted_s)) = (created, deleted) else { return Ok(None) };
    let begun_s = scheduled_s.unwrap_or(created_s);
    if begun_s < created_s || deleted_s < begun_s {
        return Err(TraceError::Times { line: row.line });
    }
    Ok(Some(Times { created_s, deleted_s, scheduled_s }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "name,cpu_milli,memory_mib,num_gpu,gpu_milli";

    #[test]
    fn pods_are_read_with_five_columns_and_with_all() {
        let plain = read_pods(&format!("{HEADER}\na,1,2,1,460\nb,1,2,8,1000\n")).unwrap();
        assert_eq!(
            plain.iter().map(|pod| (pod.cards, pod.compute)).collect::<Vec<_>>(),
            [(1, 460), (8, 1000)]
        );
        let text = format!("{HEADER},gpu_spec,qos,gpu_memory_mib\na,1,2,1,460,T4|P100,LS,8000\n");
        let full = read_pods(&text).unwrap();
        assert_eq!((full[0].models.as_str(), full[0].card_memory_mib), ("T4|P100", 8000));
    }

    #[test]
    fn impossible_pods_are_refused() {
        let check = |row: &str, expected: &str| {
            let message =
                read_pods(&format!("{HEADER}\nx,0,0,0,0\n{row}\n")).unwrap_err().to_string();
            assert!(message.starts_with(expected), "{message}");
            assert!(message.lines().last().unwrap().starts_with("hint: "), "{message}");
        };
        check("a,1,1,2,500", "read line 3: 'a' wants 2 cards and 500 thousandths of each");
        check("a,1,1,0,500", "read line 3: 'a' wants 0 cards and 500 thousandths of each");
        check("a,1,1,1,0", "read line 3: 'a' wants 1 cards and 0 thousandths of each");
        check("a,1,1,1,1001", "read line 3: gpu_milli is '1001'");
        check("a,1,1,-1,1000", "read line 3: num_gpu is '-1'");
        check(
            "a,99999999999999999999,1,1,1000",
            "read line 3: cpu_milli is '99999999999999999999'",
        );
        check("x,1,1,1,1000", "read line 3: the name 'x' came before");
    }
}
