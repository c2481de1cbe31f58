//! From a job file and flags to what the pool is asked for.

use std::error::Error;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use cotenant_api::{IdleRequest, JobRequest, PreemptRequest, parse_job};

use super::super::failure::Failure;
use crate::args::job::{NeedsArgs, SubmitArgs, TermsArgs};

/// More than the largest job file; how large that is, the parser knows.
const READ_BYTES_MAX: u64 = 2 << 20;

/// Seconds between a notice to an idle job and the end of its slice.
const NOTICE_S_DEFAULT: u32 = 60;

/// The job that is meant: the file's, with what flags say in place of what it says.
pub(super) fn request(arguments: &SubmitArgs) -> Result<JobRequest, Box<dyn Error>> {
    let mut job = match &arguments.file {
        Some(file) => from_file(file)?,
        None => JobRequest::default(),
    };
    if !arguments.program.is_empty() {
        job.command.clone_from(&arguments.program);
    }
    if let Some(folder) = &arguments.folder {
        job.folder = Some(absolute(folder.clone())?);
    } else if !arguments.program.is_empty() && job.folder.is_none() {
        job.folder = Some(absolute(PathBuf::from("."))?);
    }
    set(&mut job.name, &arguments.name);
    set(&mut job.tenant, &arguments.tenant.as_ref().map(ToString::to_string));
    job.env.extend(arguments.env.iter().cloned());
    set_needs(&mut job, &arguments.needs);
    set_terms(&mut job, &arguments.terms);
    Ok(job)
}

/// A job file's job, with its paths as they are meant from its folder.
fn from_file(path: &Path) -> Result<JobRequest, Box<dyn Error>> {
    let what = format!("read the job file {}", path.display());
    let text = read(path)
        .map_err(|error| Failure::new(&what, format!("{error}\nhint: check its path")))?;
    let mut job = parse_job(&text).map_err(|error| {
        let hint = "hint: cotenant job submit --help shows a job file";
        Failure::new(&what, format!("{error}\n{hint}"))
    })?;
    let above = path.parent().unwrap_or(Path::new(""));
    for key in [&mut job.folder, &mut job.train] {
        if let Some(relative) = key {
            *key = Some(absolute(above.join(&*relative))?);
        }
    }
    Ok(job)
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(READ_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// A path as it is meant from this folder; nothing has to be there, since the pool may be elsewhere.
fn absolute(path: PathBuf) -> Result<String, Box<dyn Error>> {
    let what = format!("name the folder {}", path.display());
    // An empty path, which is no error elsewhere, is this folder.
    let path = if path.as_os_str().is_empty() { PathBuf::from(".") } else { path };
    let path = std::path::absolute(path).map_err(|error| Failure::new(&what, error))?;
    path.into_os_string().into_string().map_err(|_| {
        let because = "it is not UTF-8\nhint: give a path in UTF-8, which the pool can store";
        Failure::new(&what, because).into()
    })
}

fn set_needs(job: &mut JobRequest, needs: &NeedsArgs) {
    // An amount on each card takes the place of one over all cards, and the other way round.
    if needs.memory.is_some() || needs.memory_total.is_some() {
        (job.memory, job.memory_total) = (None, None);
    }
    if needs.compute.is_some() || needs.compute_total.is_some() {
        (job.compute, job.compute_total) = (None, None);
    }
    set(&mut job.cards, &needs.cards);
    set(&mut job.members, &needs.members);
    set(&mut job.memory, &needs.memory);
    set(&mut job.memory_limit, &needs.memory_limit);
    set(&mut job.memory_total, &needs.memory_total);
    set(&mut job.estimate, &needs.estimate);
    set(&mut job.compute, &needs.compute);
    set(&mut job.compute_limit, &needs.compute_limit);
    set(&mut job.compute_total, &needs.compute_total);
    set(&mut job.policy, &needs.policy);
    set(&mut job.place, &needs.place);
    set(&mut job.same, &needs.same);
    set(&mut job.prefer, &needs.prefer);
    set(&mut job.enforced_by, &needs.enforced_by);
    if !needs.model.is_empty() {
        job.models.clone_from(&needs.model);
    }
}

fn set_terms(job: &mut JobRequest, terms: &TermsArgs) {
    set(&mut job.class, &terms.class);
    set(&mut job.priority, &terms.priority);
    set(&mut job.time_limit_s, &terms.time_limit_s);
    set(&mut job.deadline_s, &terms.deadline_s);
    set(&mut job.retries, &terms.retries);
    if terms.preemptible && job.preempt.is_none() {
        job.preempt = Some(PreemptRequest::default());
    }
    if terms.latency_mark_ms.is_some() || terms.usage_mark.is_some() {
        let mark = job.watermark.get_or_insert_default();
        set(&mut mark.latency_ms, &terms.latency_mark_ms);
        set(&mut mark.usage, &terms.usage_mark);
    }
    if let Some(after_s) = terms.idle_after_s {
        let notice_s = job.idle.as_ref().map_or(NOTICE_S_DEFAULT, |idle| idle.notice_s);
        job.idle = Some(IdleRequest { after_s, notice_s });
    }
}

/// What a flag says goes before what the file says.
fn set<T: Clone>(key: &mut Option<T>, flag: &Option<T>) {
    if flag.is_some() {
        key.clone_from(flag);
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::job::JobCommand;
    use crate::args::pool::PoolCommand;
    use crate::args::{Arguments, Command};

    /// Every flag of a job, with a value, and the key that it sets.
    const FLAGS: [(&str, &str, &str); 20] = [
        ("--tenant", "law", r#""tenant":"law""#),
        ("--name", "x", r#""name":"x""#),
        ("--cards", "3", r#""cards":3"#),
        ("--members", "2", r#""members":2"#),
        ("--memory", "1GiB", r#""memory":"1GiB""#),
        ("--memory-limit", "2GiB", r#""memory_limit":"2GiB""#),
        ("--memory-total", "6GiB", r#""memory_total":"6GiB""#),
        ("--compute", "10%", r#""compute":"10%""#),
        ("--compute-limit", "20%", r#""compute_limit":"20%""#),
        ("--compute-total", "60%", r#""compute_total":"60%""#),
        ("--policy", "burst", r#""policy":"burst""#),
        ("--place", "spread", r#""place":"spread""#),
        ("--same", "rack", r#""same":"rack""#),
        ("--model", "H100", r#""models":["H100"]"#),
        ("--enforced-by", "mps", r#""enforced_by":"mps""#),
        ("--class", "online", r#""class":"online""#),
        ("--priority", "-5", r#""priority":-5"#),
        ("--time-limit-s", "60", r#""time_limit_s":60"#),
        ("--deadline-s", "90", r#""deadline_s":90"#),
        ("--retries", "4", r#""retries":4"#),
    ];

    fn submitted(words: &[&str]) -> JobRequest {
        let words = [&["cotenant", "job", "submit"][..], words].concat();
        let parsed = Arguments::try_parse_from(&words).unwrap_or_else(|error| panic!("{error}"));
        let Command::Pool(PoolCommand::Job(job)) = parsed.command else { panic!("{words:?}") };
        let JobCommand::Submit(arguments) = job.command else { panic!("{words:?}") };
        request(&arguments).unwrap()
    }

    #[test]
    fn each_flag_sets_its_key_alone() {
        let command = ["--folder", "/x", "--", "true"];
        let plain = serde_json::to_value(submitted(&command)).unwrap();
        for (flag, value, expected) in FLAGS {
            let job = submitted(&[&[flag, value], &command[..]].concat());
            let mut wanted = plain.clone();
            let pair: serde_json::Value = serde_json::from_str(&format!("{{{expected}}}")).unwrap();
            let (key, value) = pair.as_object().unwrap().iter().next().unwrap();
            wanted[key] = value.clone();
            assert_eq!(serde_json::to_value(job).unwrap(), wanted, "{flag}");
        }
    }

    #[test]
    fn flags_go_before_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("job.toml");
        let text = "command = ['a']\nfolder = 'sub'\nmemory_total = '8GiB'\ncompute = '10%'\n\
                    models = ['A100']\nenv = { A = '1', B = '2' }\n\
                    preempt = { grace_s = 5 }\nidle = { after_s = 20, notice_s = 7 }\n";
        std::fs::write(&file, text).unwrap();
        let file = file.to_str().unwrap();
        let job = submitted(&[file]);
        assert_eq!(job.folder.as_deref(), folder.path().join("sub").to_str());
        assert_eq!(job.command, ["a"]);
        let flags = ["--memory", "25%", "--model", "H100", "--env", "B=3=4", "--preemptible"];
        let job = submitted(&[&[file], &flags[..], &["--idle-after-s", "30", "--", "b"]].concat());
        assert_eq!(job.command, ["b"]);
        assert_eq!(job.folder.as_deref(), folder.path().join("sub").to_str());
        assert_eq!((job.memory.as_deref(), job.memory_total), (Some("25%"), None));
        assert_eq!(job.compute.as_deref(), Some("10%"));
        assert_eq!(job.models, ["H100"]);
        let env: Vec<_> = job.env.iter().map(|(key, value)| (&**key, &**value)).collect();
        assert_eq!(env, [("A", "1"), ("B", "3=4")]);
        assert_eq!(job.preempt.unwrap().grace_s, Some(5));
        assert_eq!(job.idle, Some(IdleRequest { after_s: 30, notice_s: 7 }));
    }

    #[test]
    fn paths_are_meant_from_where_they_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("job.toml");
        std::fs::write(&file, "train = 'law.toml'").unwrap();
        let job = submitted(&[file.to_str().unwrap()]);
        assert_eq!(job.train.as_deref(), folder.path().join("law.toml").to_str());
        assert_eq!(job.folder, None, "the pool gives it one");
        let here = std::env::current_dir().unwrap();
        let job = submitted(&["--", "true"]);
        assert_eq!(job.folder.as_deref(), here.to_str());
        let job = submitted(&["--folder", "sub", "--", "true"]);
        assert_eq!(job.folder.as_deref(), here.join("sub").to_str());
    }
}
