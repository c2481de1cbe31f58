//! What to change, cause by cause, in the words of those who write trainings in PyTorch.

pub(super) const SLOW_WORKERS: &str = "\
    more loader workers (num_workers, prefetch_factor), persistent_workers=True, cheaper \
    transforms, or data that were prepared once and kept";
pub(super) const SMALL_FILES: &str = "\
    pack the data into few large files (tar shards, WebDataset, Parquet, LMDB, one \
    memory-mapped array), or copy them to a local disk first";
pub(super) const SLOW_STORAGE: &str = "\
    keep the data on a local disk or in memory, read ahead in more loader workers \
    (num_workers, prefetch_factor), or compress them";
pub(super) const NETWORK: &str = "\
    keep a local copy of what is fetched, fetch ahead in other threads, or ask for more at a \
    time";
pub(super) const INLINE_PREPARATION: &str = "\
    move loading, transforms and metrics into loader workers (num_workers > 0), or do them \
    on the card; let the training loop submit and nothing else";
pub(super) const UNPINNED_COPIES: &str = "\
    pin_memory=True in the DataLoader, then .to(device, non_blocking=True)";
pub(super) const SYNCHRONOUS_COPIES: &str = "\
    non_blocking=True for copies from pinned memory, on a stream of their own, one batch \
    ahead";
pub(super) const FETCHES: &str = "\
    fetch less or less often; into pinned memory with non_blocking=True, and look at it a \
    step later";
pub(super) const SYNCHRONIZATION: &str = "\
    no .item(), .cpu(), print of a tensor or torch.cuda.synchronize() in every step; sum \
    losses on the card and look at them every hundred steps";
pub(super) const TINY_KERNELS: &str = "\
    torch.compile, CUDA graphs (mode=\"reduce-overhead\"), fused optimizers (fused=True), or \
    a larger batch";
pub(super) const SMALL_BATCH: &str = "\
    a larger batch; where memory is short for it, several tenants on one card";
pub(super) const ALLOCATIONS: &str = "\
    keep buffers, leave torch.cuda.empty_cache() out of the loop, and leave the caching \
    allocator on";
pub(super) const CHECKPOINTS: &str = "\
    checkpoint less often, from a copy in memory by another thread (async_save), or to a \
    faster disk";
pub(super) const LOGGING: &str = "\
    log every hundred steps, let lines gather in memory, and do not flush or sync each one";
pub(super) const NO_PROCESSOR: &str = "\
    more processors for it (its container's limit, cpus-per-task), fewer threads and loader \
    workers, or less beside it on the machine";
pub(super) const OUTPUT: &str = "print less, or into a file";
pub(super) const ONE_THREAD: &str = "\
    hold locks for less; in Python use processes for what computes, since one thread at a \
    time runs; cut work into equal parts";
pub(super) const SMALL_PIECES: &str = "\
    a larger batch, or fewer threads (OMP_NUM_THREADS, torch.set_num_threads)";
pub(super) const SLEEP: &str = "wait for what is to happen, not for time to pass";
pub(super) const UNKNOWN_WAIT: &str = "\
    look at the process itself, with a profiler of its language (py-spy, perf)";
