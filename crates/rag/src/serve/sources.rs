//! Where adapters are found: in the run of a workspace, or in a folder of folders.

use std::fs;
use std::io;
use std::path::Path;

use super::adapters::{AdapterSource, Keep, Prefixes};
use super::error::ServeError;
use crate::job::{RunFolder, SavedRun};
use crate::workspace::Workspace;

/// The file that makes a folder an adapter's.
const CONFIG: &str = "adapter_config.json";

impl AdapterSource {
    /// An adapter that a user named, whose folder must be there.
    pub fn new(name: &str, folder: &Path) -> Result<Self, ServeError> {
        if !folder.join(CONFIG).exists() {
            let (name, folder) = (name.to_owned(), folder.to_owned());
            return Err(ServeError::NoAdapter { name, folder });
        }
        Ok(source(name.to_owned(), folder))
    }
}

/// The adapters of a finished run's tenants. What stands in front of documents is known from the
/// workspace that was trained, where it is given.
pub fn of_run(
    folder: &RunFolder,
    run: &SavedRun,
    workspace: Option<&Workspace>,
) -> Vec<AdapterSource> {
    let trained = run.tenants.iter().filter(|tenant| tenant.is_trained);
    let source = |tenant: &crate::job::SavedTenant| {
        let all = workspace.into_iter().flat_map(|workspace| &workspace.tenants);
        let config = all.into_iter().find(|config| config.name.as_str() == tenant.name);
        let document = config.map(|config| &config.texts.document_prefix);
        AdapterSource {
            name: tenant.name.clone(),
            folder: folder.adapter(&tenant.name),
            keep: Keep::WhileUsed,
            prefixes: Some(Prefixes {
                query: tenant.query_prefix.clone(),
                document: document.unwrap_or(&tenant.document_prefix).clone(),
            }),
            tokens_max: Some(tenant.tokens_max),
        }
    };
    trained.map(source).collect()
}

/// The adapters in a folder, by name: `NAME/adapter_config.json`, `TENANT/WORD/adapter_config.json`
/// (named `TENANT/WORD`), and `NAME/adapter/adapter_config.json` as a run has it (named `NAME`).
pub fn below(folder: &Path) -> Result<Vec<AdapterSource>, ServeError> {
    let mut found = Vec::new();
    for tenant in folders(folder)? {
        let inner = folder.join(&tenant);
        if inner.join(CONFIG).exists() {
            found.push(source(tenant, &inner));
            continue;
        }
        for word in folders(&inner)? {
            let innermost = inner.join(&word);
            if !innermost.join(CONFIG).exists() {
                continue;
            }
            let name = if word == "adapter" { tenant.clone() } else { format!("{tenant}/{word}") };
            found.push(source(name, &innermost));
        }
    }
    Ok(found)
}

fn source(name: String, folder: &Path) -> AdapterSource {
    AdapterSource { name, folder: folder.to_owned(), ..AdapterSource::default() }
}

/// The names of the folders in a folder, in order; hidden ones and names that are no text are left
/// out.
fn folders(folder: &Path) -> Result<Vec<String>, ServeError> {
    let failed = |source: io::Error| ServeError::Folder { folder: folder.to_owned(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if !name.starts_with('.') && entry.path().is_dir() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adapters_are_found_where_people_keep_them() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["law", "bio/v1", "bio/v2", "run/adapter", ".hidden", "empty/deep/deeper"] {
            fs::create_dir_all(folder.path().join(path)).unwrap();
        }
        for path in ["law", "bio/v1", "bio/v2", "run/adapter", ".hidden", "empty/deep/deeper"] {
            fs::write(folder.path().join(path).join(CONFIG), "{}").unwrap();
        }
        fs::write(folder.path().join("notes.txt"), "").unwrap();
        let found = below(folder.path()).unwrap();
        let names: Vec<&str> = found.iter().map(|source| source.name.as_str()).collect();
        assert_eq!(names, ["bio/v1", "bio/v2", "law", "run"]);
        assert!(found.iter().all(|source| source.folder.join(CONFIG).is_file()));
        assert!(matches!(below(&folder.path().join("none")), Err(ServeError::Folder { .. })));
    }
}
