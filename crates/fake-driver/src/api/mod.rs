//! The functions of the driver, by what they are about.

pub(crate) mod array;
pub(crate) mod capture;
pub(crate) mod context;
pub(crate) mod copy;
pub(crate) mod device;
pub(crate) mod event;
pub(crate) mod graph;
pub(crate) mod launch;
pub(crate) mod lookup;
pub(crate) mod memory;
pub(crate) mod module;
pub(crate) mod node;
pub(crate) mod own;
pub(crate) mod pool;
pub(crate) mod share;
pub(crate) mod stream;
pub(crate) mod vmm;

use crate::ffi::Exported;

/// Every function of the driver, and our own.
pub(crate) fn exported() -> Vec<Exported> {
    [
        array::exported(),
        capture::exported(),
        context::exported(),
        copy::exported(),
        device::exported(),
        event::exported(),
        graph::exported(),
        launch::exported(),
        lookup::exported(),
        memory::exported(),
        module::exported(),
        node::exported(),
        own::exported(),
        pool::exported(),
        share::exported(),
        stream::exported(),
        vmm::exported(),
    ]
    .concat()
}
