//! The functions of the driver, by what they are about.

pub(crate) mod array;
pub(crate) mod capture;
pub(crate) mod context;
pub(crate) mod copy;
pub(crate) mod device;
pub(crate) mod event;
pub(crate) mod graph;
pub(crate) mod graph_memory;
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
        graph_memory::exported(),
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

#[cfg(test)]
mod tests {
    use super::{array, copy, graph, graph_memory, launch, node, pool, share, vmm};

    /// The lengths are those that a C compiler finds in the header of CUDA 12.8.
    #[test]
    fn layouts_are_as_long_as_the_header_says() {
        let lengths = [
            ("CUDA_ARRAY_DESCRIPTOR", size_of::<array::Array2d>(), 24),
            ("CUDA_ARRAY3D_DESCRIPTOR", size_of::<array::Array3d>(), 40),
            ("CUDA_MEMCPY2D", size_of::<copy::Copy2d>(), 128),
            ("CUDA_GRAPH_INSTANTIATE_PARAMS", size_of::<graph::InstantiateParams>(), 32),
            ("CUDA_MEM_ALLOC_NODE_PARAMS", size_of::<graph_memory::AllocParams>(), 120),
            ("CUlaunchConfig", size_of::<launch::LaunchConfig>(), 56),
            ("CUDA_LAUNCH_PARAMS", size_of::<launch::LaunchParams>(), 56),
            ("CUDA_KERNEL_NODE_PARAMS", size_of::<node::KernelParams>(), 56),
            ("CUDA_KERNEL_NODE_PARAMS_v2", size_of::<node::KernelParamsV2>(), 72),
            ("CUDA_MEMSET_NODE_PARAMS", size_of::<node::FillParams>(), 40),
            ("CUmemPoolProps", size_of::<pool::PoolProps>(), 88),
            ("CUipcMemHandle", size_of::<share::MemHandle>(), 64),
            ("CUmemAllocationProp", size_of::<vmm::AllocationProp>(), 32),
            ("CUmemAccessDesc", size_of::<vmm::AccessDesc>(), 12),
        ];
        for (name, ours, header) in lengths {
            assert_eq!(ours, header, "{name}");
        }
    }
}
