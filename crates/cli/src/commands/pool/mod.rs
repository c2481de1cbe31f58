//! Commands over a pool: what its daemon shows, and what it is asked to do.

mod address;
mod amounts;
mod devices;
mod down;
pub(super) mod failure;
mod frame;
mod job;
mod link;
mod node;
mod screen;
mod tenant;
mod top;
mod up;

use super::Ended;
use crate::args::pool::PoolCommand;
use crate::console::Console;

/// Asks a pool.
pub(crate) fn run(command: &PoolCommand, console: &Console) -> Ended {
    match command {
        PoolCommand::Up(up) => up::run(up, console),
        PoolCommand::Devices(devices) => devices::run(devices, console),
        PoolCommand::Job(job) => job::run(job, console),
        PoolCommand::Node(node) => node::run(node, console),
        PoolCommand::Tenant(tenant) => tenant::run(tenant, console),
        PoolCommand::Top(top) => top::run(top, console),
        PoolCommand::Down(down) => down::run(down, console),
    }
}
