//! NVIDIA cards over an NVML of our own, which answers as was recorded.
//!
//! The loader finds that NVML by a variable that it reads when a program starts. So each test starts
//! itself once more with that variable, and does its work there.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod inventory;
mod limits;
mod meter;
mod partitions;
mod random;

use std::path::{Path, PathBuf};
use std::process::Command;

use cotenant_device::{CardSettings, CardsSpec, Inventory, Partitions, Terms, discover};
use cotenant_fake_cards::{Cards, Description, Recorded, install};
use cotenant_types::{CardId, MigPlace};

const FILE: &str = "COTENANT_FAKE_DRIVER";
const H100_MIG: &str = include_str!("answers/h100-mig.txt");
const H100_WORN: &str = include_str!("answers/h100-worn.txt");

/// What a test works with: cards, and a folder for its files.
struct World {
    cards: Cards,
    folder: PathBuf,
}

/// What a world is made of.
#[derive(Clone, Copy)]
struct Made {
    cards: &'static str,
    settings: &'static str,
    answers: &'static str,
    /// Functions that its driver lacks.
    missing: &'static [&'static str],
}

/// A card in MIG mode.
const MIG: Made = Made {
    cards: "name=NVIDIA_H100_80GB_HBM3,memory=80GiB,sms=132,mig=on",
    settings: "driver=12040",
    answers: H100_MIG,
    missing: &[],
};

/// A card outside MIG mode, with a driver that limits memory.
const PLAIN: Made = Made { settings: "driver=13040", answers: H100_WORN, ..MIG };

/// Does a test in a world: `name` is the test's own.
macro_rules! in_world {
    ($name:literal, $made:expr, $body:expr) => {
        $crate::enter(concat!(module_path!(), "::", $name), $made, $body)
    };
}

use in_world;

fn enter(path: &str, made: Made, body: impl FnOnce(&World)) {
    if let Some(file) = std::env::var_os(FILE) {
        let file = PathBuf::from(file);
        let folder = file.parent().unwrap().to_owned();
        return body(&World { cards: Cards::open(&file).unwrap(), folder });
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cards");
    let description = Description::parse(made.cards, made.settings).unwrap();
    let cards = Cards::create(&file, &description).unwrap();
    let recorded = Recorded::parse(made.answers).unwrap();
    (0..cards.len()).for_each(|card| cards.play(card, &recorded));
    let lib = folder.path().join("lib");
    install(&lib, made.missing).unwrap();
    let (_, name) = path.split_once("::").unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(FILE, &file)
        .env("LD_LIBRARY_PATH", &lib)
        .env("PATH", folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 passed"), "the test found itself: {said}");
}

impl World {
    fn at(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn partitions(&self, settings: CardSettings) -> Partitions {
        Partitions::open(self.at("partitions.toml"), settings).unwrap()
    }

    fn discover(&self, settings: CardSettings) -> Inventory {
        let partitions = self.partitions(settings).ours();
        discover(&CardsSpec::Auto, &Terms { settings, partitions }).unwrap()
    }

    /// What is on the first card, such as `1g.10gb@6`.
    fn there(&self) -> String {
        let named = |one: cotenant_fake_cards::PartitionFacts| {
            let computes = if one.computes.len() == 1 { "" } else { " without a compute instance" };
            format!("{}@{}{computes}", one.profile.name(), one.start)
        };
        self.cards.partitions(0).into_iter().map(named).collect::<Vec<_>>().join(", ")
    }
}

/// The identity of the first card of every world.
fn first() -> CardId {
    "GPU-fa4eca4d-0000-4000-8000-000000000000".parse().unwrap()
}

fn place(text: &str) -> MigPlace {
    let (profile, start) = text.split_once('@').unwrap();
    MigPlace { profile: profile.to_owned(), start: start.parse().unwrap() }
}

/// A folder that stands for a control group.
fn group(world: &World) -> &Path {
    &world.folder
}
