// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask differential`: scenarios made at random are done to the real kernel module, in a virtual machine, and to the daemon.
//! Every answer must be the same. For nights, and for seeds that nobody has seen yet; what it finds becomes a recording of our own.

use super::conformance;
use crate::process::{self, find_program};
use crate::workspace;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// The virtual machine is ended after so many seconds, and so many more for each scenario.
const BOOT_SECONDS: u32 = 300;
const SCENARIO_SECONDS: u32 = 60;

/// What to make and whom to ask.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Seed of the scenarios; default: a new one, which is printed
    #[arg(long)]
    seed: Option<u32>,
    /// How many scenarios
    #[arg(long, default_value_t = 10)]
    count: u32,
    /// Folder of the oracle: gen_random.py and run.sh; default: $PORTWAY_ORACLE, else `../shared/oracle` beside the checkout
    #[arg(long)]
    oracle: Option<PathBuf>,
}

/// Makes scenarios, records what the kernel module does, and replays that against the daemon.
pub(crate) fn run(options: &Options) -> Result<()> {
    let oracle = Oracle::find(options.oracle.as_deref())?;
    let seed = options.seed.unwrap_or_else(any_seed);
    let folder = workspace::target_dir().join("differential").join(seed.to_string());
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    }
    std::fs::create_dir_all(&folder)?;
    println!("differential: {} scenarios of seed {seed}, in {}", options.count, folder.display());
    let (scenarios, recordings) = (folder.join("scenarios.json"), folder.join("recordings"));
    process::run(&mut oracle.generate(seed, options.count, &scenarios))?;
    process::run(&mut oracle.record(options.count, &scenarios, &recordings))?;
    let recorded = std::fs::read_dir(&recordings)?.filter_map(Result::ok);
    let recorded = recorded.filter(|file| file.path().extension().is_some_and(|end| end == "json")).count();
    if recorded != options.count as usize {
        bail!(
            "the virtual machine recorded {recorded} of {} scenarios: see {}",
            options.count,
            recordings.display()
        );
    }
    conformance::replay(vec![recordings.display().to_string(), "--retries".into(), "2".into()])
}

/// What asks the real module.
struct Oracle {
    folder: PathBuf,
}

impl Oracle {
    /// Finds it and what it needs, or says what is missing.
    fn find(asked: Option<&Path>) -> Result<Self> {
        let by_variable = std::env::var_os("PORTWAY_ORACLE").map(PathBuf::from);
        let folder = asked.map(Path::to_owned).or(by_variable);
        let folder = folder.unwrap_or_else(|| {
            let places = workspace::root().ancestors().map(|place| place.join("shared/oracle"));
            places.into_iter().find(|place| place.exists()).unwrap_or_else(|| "../shared/oracle".into())
        });
        for needed in ["gen_random.py", "run.sh"] {
            if !folder.join(needed).exists() {
                bail!(
                    "there is no oracle: {} has no {needed}; give its folder with --oracle",
                    folder.display()
                );
            }
        }
        for program in ["qemu-system-x86_64", "python3"] {
            if find_program(program).is_none() {
                bail!("{program} is not installed, and without it the kernel module cannot be asked");
            }
        }
        let temporary = std::env::var_os("TMPDIR").map_or_else(|| "/tmp".into(), PathBuf::from);
        let image = std::env::var_os("IMG").map_or_else(|| temporary.join("portway-oracle"), PathBuf::from);
        if !image.join("rootfs.ext4").exists() {
            let build = folder.join("build-image.sh");
            bail!(
                "there is no virtual machine in {}: make it once with {}",
                image.display(),
                build.display()
            );
        }
        Ok(Self { folder: folder.canonicalize()? })
    }

    fn generate(&self, seed: u32, count: u32, scenarios: &Path) -> Command {
        let mut command = Command::new("python3");
        command
            .arg(self.folder.join("gen_random.py"))
            .args([seed.to_string(), count.to_string()])
            .arg(scenarios);
        command
    }

    fn record(&self, count: u32, scenarios: &Path, recordings: &Path) -> Command {
        let limit = BOOT_SECONDS + count.saturating_mul(SCENARIO_SECONDS);
        let mut command = Command::new(self.folder.join("run.sh"));
        command.args(["-t", &limit.to_string()]).args([scenarios, recordings]);
        command
    }
}

fn any_seed() -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.subsec_nanos() ^ now.as_secs() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let empty = tempfile::tempdir().unwrap();
        let error = Oracle::find(Some(empty.path())).err().map(|error| error.to_string());
        assert!(error.is_some_and(|text| text.contains("has no gen_random.py") && text.contains("--oracle")));
    }
}
