//! Makes the committed golden files anew, with pinned packages and seeds.

use crate::command;
use crate::project::Project;
use crate::python;

/// Runs every script that writes golden files. Look at `git diff golden` afterwards: files change
/// only together with the script that made them.
pub(crate) fn run(project: &Project) -> Result<(), String> {
    python::make(project)?;
    let model = python::model_folder(project)?;
    for script in ["golden/metrics.py", "golden/peer_metrics.py", "golden/text_metrics.py"] {
        command::run(python::python(project).arg(script))?;
    }
    command::run(python::python(project).arg("golden/make_encoder.py").arg("--minilm").arg(model))?;
    println!("golden files are made; `git diff --stat golden` says what changed");
    Ok(())
}
