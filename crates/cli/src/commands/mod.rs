//! One module a command: arguments in, library calls, data out.

pub(crate) mod advise;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod estimate;
pub(crate) mod eval;
pub(crate) mod export;
pub(crate) mod index;
pub(crate) mod internal;
pub(crate) mod model;
pub(crate) mod pool;
pub(crate) mod search;
pub(crate) mod serve;
pub(crate) mod simulate;
pub(crate) mod train;

mod apart;
mod base;
mod training;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use cotenant_rag::workspace::TenantConfig;

/// How a command ends.
pub(crate) type Ended = Result<ExitCode, Box<dyn Error>>;

/// Most characters of a name that is made up here.
const NAME_MAX: usize = 60;

/// A tenant named after a file or folder, in the characters that such a name may have.
fn tenant_named_after(path: &Path, otherwise: &str) -> TenantConfig {
    let stem = path.file_stem().unwrap_or(otherwise.as_ref()).to_string_lossy();
    let legal = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = stem.chars().map(legal).collect();
    let name: String = name.trim_matches('-').chars().take(NAME_MAX).collect();
    let name = if name.is_empty() { otherwise } else { &name };
    let name = name.parse().expect("letters, digits and inner dashes are a name");
    TenantConfig { data: vec![path.to_owned()], ..TenantConfig::new(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_gives_a_name() {
        for (path, expected) in [
            ("data/SciFact", "scifact"),
            ("my docs (v2).jsonl", "my-docs--v2"),
            ("..", "docs"),
            ("文档", "docs"),
        ] {
            assert_eq!(
                tenant_named_after(Path::new(path), "docs").name.as_str(),
                expected,
                "{path}"
            );
        }
        let long = "x".repeat(200);
        let name = tenant_named_after(Path::new(&long), "docs").name;
        assert_eq!(name.as_str(), &long[..NAME_MAX]);
    }
}
