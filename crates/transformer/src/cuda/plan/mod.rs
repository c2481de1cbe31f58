//! From what is to be done to launches: grids, tables, and what is refused.
//!
//! Every function is pure. Where nothing is to be done it gives `None`, since no grid is empty. A
//! function's arguments are the kernel's own, with what a kernel cannot see for itself beside them;
//! shapes and meanings stand with the kernels.

pub(super) mod attention;
pub(super) mod batch;
pub(super) mod gelu;
pub(super) mod linear;
pub(super) mod lora;
pub(super) mod loss;
pub(super) mod norm;
pub(super) mod optimizer;
pub(super) mod pool;
pub(super) mod rows;
pub(super) mod tile;
