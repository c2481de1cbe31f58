//! The driver as programs meet it: processes that load it by the loader, and what they are told
//! beside what really happened.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod faults;
mod launches;
mod lookup;
mod memory;
mod nvml;
mod processes;

use std::path::{Path, PathBuf};

use cotenant_fake_cards::tenant::TenantProcess;
use cotenant_fake_cards::{Cards, Description, ProcessUse, install};
use tempfile::TempDir;

const TENANT: &str = env!("CARGO_BIN_EXE_fake-tenant");
const MIB: u64 = 1 << 20;
const MS: u64 = 1_000_000;

/// Cards and a folder with the driver.
struct World {
    cards: Cards,
    folder: TempDir,
}

impl World {
    fn new(cards: &str, settings: &str) -> Self {
        Self::without(cards, settings, &[])
    }

    /// A world whose driver lacks some functions.
    fn without(cards: &str, settings: &str, missing: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let description = Description::parse(cards, settings).unwrap();
        let cards = Cards::create(&folder.path().join("cards"), &description).unwrap();
        install(&folder.path().join("lib"), missing).unwrap();
        Self { cards, folder }
    }

    fn lib(&self) -> PathBuf {
        self.folder.path().join("lib")
    }

    /// A tenant that has a context on the first card.
    fn tenant(&self) -> Tenant {
        let mut tenant = self.fresh();
        tenant.expect("init", "ok");
        tenant
    }

    /// A tenant that did nothing yet.
    fn fresh(&self) -> Tenant {
        let process = TenantProcess::start(Path::new(TENANT), &self.cards, &self.lib());
        Tenant(process.unwrap())
    }

    /// What a tenant really has of the first card.
    fn of(&self, tenant: &Tenant) -> ProcessUse {
        self.cards.process(tenant.0.pid()).unwrap().cards[0]
    }
}

struct Tenant(TenantProcess);

impl Tenant {
    fn ask(&mut self, line: &str) -> String {
        self.0.ask(line).unwrap()
    }

    #[track_caller]
    fn expect(&mut self, line: &str, answer: &str) {
        assert_eq!(self.ask(line), answer, "{line}");
    }

    /// The numbers behind `ok`.
    #[track_caller]
    fn numbers(&mut self, line: &str) -> Vec<u64> {
        let answer = self.ask(line);
        let numbers = answer.strip_prefix("ok ").unwrap_or_else(|| panic!("{line}: {answer}"));
        numbers.split(' ').map(|number| number.parse().unwrap()).collect()
    }
}
