//! `cotenant node`

use std::process::ExitCode;

use cotenant_api::{NodeRequest, NodeView};

use super::link::Pool;
use crate::args::pool::{NodeArgs, NodeCommand};
use crate::commands::Ended;
use crate::console::Console;
use crate::table::{Side, table_of};
use crate::words::plain;

/// Lists machines, drains them and takes them into use again.
pub(super) fn run(arguments: &NodeArgs, console: &Console) -> Ended {
    let pool = Pool::open(&arguments.pool)?;
    let (name, draining) = match &arguments.command {
        NodeCommand::List => {
            let list = pool.ask("list machines", |client| client.nodes())?;
            console.data(&list, || text(&list.nodes))?;
            return Ok(ExitCode::SUCCESS);
        }
        NodeCommand::Drain { name } => (name, true),
        NodeCommand::Resume { name } => (name, false),
    };
    let what = format!("{} machine {name}", if draining { "drain" } else { "resume" });
    let node = pool.ask(&what, |client| client.put_node(name, &NodeRequest { draining }))?;
    console.data(&node, || text(std::slice::from_ref(&node)))?;
    if draining && node.jobs > 0 {
        console.say(&format!("{} jobs go on there; new ones go elsewhere", node.jobs));
    }
    Ok(ExitCode::SUCCESS)
}

fn text(nodes: &[NodeView]) -> String {
    let row = |node: &NodeView| {
        let state = if node.draining { "draining" } else { "in use" };
        let counts = [node.cards, node.cards_lost, node.jobs].map(|count| count.to_string());
        [plain(&node.name).into_owned(), state.to_owned()].into_iter().chain(counts).collect()
    };
    let rows: Vec<Vec<String>> = nodes.iter().map(row).collect();
    let columns = [
        ("machine", Side::Left),
        ("state", Side::Left),
        ("cards", Side::Right),
        ("lost", Side::Right),
        ("jobs", Side::Right),
    ];
    table_of(&columns, &rows)
}
