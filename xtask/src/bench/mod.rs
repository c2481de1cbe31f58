//! Measurements beside other systems, in one run on one machine.

mod contender;
mod embed;
mod fused;
pub(crate) mod isolation;
mod machine;
mod options;
mod table;
mod train;

use crate::project::Project;

const USAGE: &str = "\
cargo xtask bench train [OPTIONS]

Trains one LoRA tenant with Cotenant and with PyTorch and peft, in turn, on the same batches.

  --venv            make golden/venv with the pinned packages first
  --data FOLDER     a BEIR folder      [default: scifact in $COTENANT_DATA or ../shared/data]
  --model FOLDER    a BERT folder      [default: all-MiniLM-L6-v2 from golden/venv]
  --threads N[,N]   threads to run on  [default: 1,2]
  --rounds N        runs of each       [default: 3]
  --steps N         timed steps a run  [default: 12]
  --only WORD       contenders whose name holds the word, such as 'f32'

cargo xtask bench embed [OPTIONS]

Embeds texts of mixed lengths with Cotenant, sentence-transformers and onnxruntime, in turn. The
options are those above without --steps; unless --data names one BEIR folder, texts are of five.

cargo xtask bench isolation [--seconds N]

Runs jobs in a pool of this machine's processor and measures what neighbours cost a job, and what
the pool costs one that is alone; N seconds for each of three, 40 if not given.
";

/// Seconds of each measurement of isolation.
const SECONDS_DEFAULT: u64 = 40;

/// Runs the benchmark that the arguments name.
pub(crate) fn run(project: &Project, arguments: &[&str]) -> Result<(), String> {
    match arguments {
        ["train" | "embed" | "isolation", "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(())
        }
        ["isolation"] => isolation::run(project, SECONDS_DEFAULT),
        ["isolation", "--seconds", seconds] => {
            let seconds = seconds.parse().ok().filter(|seconds| (5..=600).contains(seconds));
            let seconds = seconds.ok_or("--seconds wants a number from 5 to 600")?;
            isolation::run(project, seconds)
        }
        ["embed", rest @ ..] => embed::run(project, &options::Options::parse(rest)?),
        ["train", rest @ ..] => train::run(project, &options::Options::parse(rest)?),
        _ => Err(format!("no benchmark is called '{}'\n\n{USAGE}", arguments.join(" "))),
    }
}
