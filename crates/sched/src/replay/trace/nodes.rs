//! Nodes: `sn,cpu_milli,memory_mib,gpu,model`, and `gpu_memory_mib` where it is known.

use super::TraceError;
use super::table::{Bounds, Names, Table};

/// A node of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRow {
    /// Its name, which no other node has.
    pub name: String,
    /// vCPU in thousandths.
    pub cpu_milli: u64,
    /// Memory of the host in MiB.
    pub memory_mib: u64,
    /// Cards, at most 64.
    pub cards: u32,
    /// The model of its cards; empty where it has none.
    pub model: String,
    /// Memory of each card in MiB; 0 where the trace does not say.
    pub card_memory_mib: u64,
    /// Its line in the table.
    pub line: usize,
}

/// A million vCPU, or a PiB.
pub(super) const AMOUNT_MAX: u64 = 1 << 30;

/// Cards of a node.
const CARDS: Bounds = Bounds { column: "gpu", least: 0, most: 64 };
const CPU: Bounds = Bounds { column: "cpu_milli", least: 0, most: AMOUNT_MAX };
const MEMORY: Bounds = Bounds { column: "memory_mib", least: 0, most: AMOUNT_MAX };
const CARD_MEMORY: Bounds = Bounds { column: "gpu_memory_mib", least: 0, most: AMOUNT_MAX };

/// Reads a table of nodes.
pub fn read_nodes(text: &str) -> Result<Vec<NodeRow>, TraceError> {
    let table = Table::new(text, &["sn", CPU.column, MEMORY.column, CARDS.column, "model"])?;
    let mut names = Names::default();
    let mut nodes = Vec::new();
    for row in table.rows() {
        let row = row?;
        let name = names.take(row.text("sn").unwrap_or_default(), row.line)?;
        nodes.push(NodeRow {
            name,
            cpu_milli: row.number(CPU)?.unwrap_or_default(),
            memory_mib: row.number(MEMORY)?.unwrap_or_default(),
            cards: row.number(CARDS)?.unwrap_or_default(),
            model: row.text("model").unwrap_or_default().to_owned(),
            card_memory_mib: row.number(CARD_MEMORY)?.unwrap_or_default(),
            line: row.line,
        });
    }
    match nodes.is_empty() {
        true => Err(TraceError::Empty("there are no nodes")),
        false => Ok(nodes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "sn,cpu_milli,memory_mib,gpu,model\n";

    #[test]
    fn nodes_are_read_in_any_order_of_columns() {
        let check = |text: &str, expected: &[(&str, u64, u32, u64)]| {
            let nodes = read_nodes(text).unwrap();
            let found: Vec<_> = nodes
                .iter()
                .map(|n| (n.name.as_str(), n.cpu_milli, n.cards, n.card_memory_mib))
                .collect();
            assert_eq!(found, expected);
        };
        check(
            &format!("{HEADER}a,64000,1,2,T4\r\n\r\nb,1,1,0,\r\n"),
            &[("a", 64000, 2, 0), ("b", 1, 0, 0)],
        );
        let text = "\u{feff}model,gpu,gpu_memory_mib,memory_mib,cpu_milli,sn\nT4,1,16000,5,6,x";
        check(text, &[("x", 6, 1, 16000)]);
    }

    #[test]
    fn what_is_no_table_of_nodes_is_refused() {
        let check = |text: &str, expected: &str| {
            let message = read_nodes(text).unwrap_err().to_string();
            assert!(message.starts_with(expected), "{message}");
            assert!(message.lines().last().unwrap().starts_with("hint: "), "{message}");
        };
        check("", "find anything in the table: there is no header");
        check(HEADER, "find anything in the table: there are no nodes");
        check("sn,gpu\na,1", "find the column 'cpu_milli': the table has sn, gpu");
        check("sn,sn\n", "tell columns apart: two are named 'sn'");
        let with = |row: &str| format!("{HEADER}a,1,1,1,T4\n{row}\n");
        check(&with("b,1,1,1"), "read line 3: it has 4 cells and the header 5");
        check(&with("\"b,1\",1,1,1,T4"), "read line 3: it has a quote");
        check(&with("b,-1,1,1,T4"), "read line 3: cpu_milli is '-1'");
        check(&with("b,+1,1,1,T4"), "read line 3: cpu_milli is '+1'");
        check(&with("b,1,1.5,1,T4"), "read line 3: memory_mib is '1.5'");
        check(&with("b,1,1,65,T4"), "read line 3: gpu is '65'");
        check(&with("a,1,1,1,T4"), "read line 3: the name 'a' came before");
        check(&with(",1,1,1,T4"), "read line 3: the name '' is empty");
    }
}
