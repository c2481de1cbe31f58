//! The list of all targets.

/// What a reader made of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They were read, and what was read holds together.
    Accepted,
    /// They were refused, with an error as it should be.
    Refused,
}

/// A function over bytes, and the name of its file in `fuzz/fuzz_targets` and of its folder in
/// `fuzz/corpus`.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Panics if a promise does not hold.
    pub run: fn(&[u8]) -> Verdict,
}

/// Every target.
pub const TARGETS: [Target; 16] = [
    Target { name: "adapter_config", run: crate::adapter_config },
    Target { name: "beir", run: crate::beir },
    Target { name: "checkpoint", run: crate::checkpoint },
    Target { name: "experiment", run: crate::experiment },
    Target { name: "filter", run: crate::filter },
    Target { name: "html", run: crate::html },
    Target { name: "http_body", run: crate::http_body },
    Target { name: "jsonl", run: crate::jsonl },
    Target { name: "log_record", run: crate::log_record },
    Target { name: "manifest", run: crate::manifest },
    Target { name: "markdown", run: crate::markdown },
    Target { name: "plain", run: crate::plain },
    Target { name: "safetensors_header", run: crate::safetensors_header },
    Target { name: "segment", run: crate::segment },
    Target { name: "trec", run: crate::trec },
    Target { name: "workspace", run: crate::workspace },
];
