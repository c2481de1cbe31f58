//! Ten thousand random calls of a program for memory, by every way to it, against a model of what
//! must be granted and a card that knows what was taken.

use std::collections::BTreeMap;

use cotenant_fake_cards::tenant::TenantProcess;
use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, prop_oneof, proptest};

use super::scene::{MIB, Scene, Slice, told};

/// All amounts are so many of these, which every way rounds to.
const UNIT: u64 = 2 * MIB;
const LIMIT: u64 = 512 * UNIT;

/// Ways to memory of the card, and then ways to memory that is not the card's.
const WAYS: [&str; 14] = [
    "plain",
    "pitch",
    "managed",
    "array",
    "async",
    "pool",
    "vmm",
    "orphan",
    "mapped",
    "pages",
    "sparse",
    "host",
    "hostpool",
    "hostpages",
];
const OF_HOST: usize = 11;

#[derive(Clone, Debug)]
enum Act {
    Take {
        way: usize,
        units: u64,
    },
    /// Gives back the one in that place, counted around.
    Give(usize),
    Wait,
    MakeGraph(u64),
    Launch(usize),
    DropGraph(usize),
    TrimGraphs,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (0..WAYS.len(), 1u64..160).prop_map(|(way, units)| Act::Take { way, units }),
        6 => (0usize..100).prop_map(Act::Give),
        1 => Just(Act::Wait),
        1 => (1u64..100).prop_map(Act::MakeGraph),
        1 => (0usize..100).prop_map(Act::Launch),
        1 => (0usize..100).prop_map(Act::DropGraph),
        1 => Just(Act::TrimGraphs),
    ]
}

/// What a program holds, as it was granted.
#[derive(Default)]
struct Model {
    number: u32,
    held: Vec<(String, usize, u64)>,
    /// Blocks of destroyed pools that were freed in a stream's order and not waited for.
    unwaited: u64,
    /// Graphs by name: what each takes, and what it has of that.
    graphs: BTreeMap<String, (u64, u64)>,
    spare: u64,
}

impl Model {
    /// What nobody can give up for others.
    fn needed(&self) -> u64 {
        let of_card = self.held.iter().filter(|(_, way, _)| *way < OF_HOST);
        of_card.map(|(_, _, bytes)| bytes).sum::<u64>() + self.unwaited + self.of_graphs()
    }

    fn of_graphs(&self) -> u64 {
        self.graphs.values().map(|(_, has)| has).sum::<u64>() + self.spare
    }

    fn name(&mut self) -> String {
        self.number += 1;
        format!("n{}", self.number)
    }

    fn graph(&self, nth: usize) -> Option<String> {
        self.graphs.keys().nth(nth % self.graphs.len().max(1)).cloned()
    }

    fn act(&mut self, slice: &Slice, tenant: &mut TenantProcess, act: &Act) {
        match act {
            Act::Take { way, units } => self.take(tenant, *way, units * UNIT),
            Act::Give(nth) => self.give(tenant, *nth),
            Act::Wait => {
                told(tenant, "sync", "ok");
                self.unwaited = 0;
            }
            Act::MakeGraph(units) => {
                let (name, bytes) = (self.name(), units * UNIT);
                told(tenant, &format!("capture {name} 1000 1 bytes={bytes}"), "ok");
                self.graphs.insert(name, (bytes, 0));
            }
            Act::Launch(nth) => self.launch(slice, tenant, *nth),
            Act::DropGraph(nth) => {
                if let Some(name) = self.graph(*nth) {
                    told(tenant, &format!("forget {name}"), "ok");
                    self.spare += self.graphs.remove(&name).unwrap().1;
                }
            }
            Act::TrimGraphs => {
                told(tenant, "call cuDeviceGraphMemTrim 0", "ok");
                self.spare = 0;
            }
        }
    }

    fn take(&mut self, tenant: &mut TenantProcess, way: usize, bytes: u64) {
        let name = self.name();
        let answer = tenant.ask(&format!("alloc {name} {bytes} {}", WAYS[way])).unwrap();
        let fits = way >= OF_HOST || self.needed() + bytes <= LIMIT;
        let expected = if fits { "ok" } else { "error 2 " };
        assert!(answer.starts_with(expected), "{bytes} {}: {answer}", WAYS[way]);
        if fits {
            self.held.push((name, way, bytes));
        } else if WAYS[way] == "sparse" {
            // The array without its pages is destroyed, which waits for all.
            self.unwaited = 0;
        }
    }

    fn give(&mut self, tenant: &mut TenantProcess, nth: usize) {
        if self.held.is_empty() {
            return;
        }
        let (name, way, bytes) = self.held.swap_remove(nth % self.held.len());
        told(tenant, &format!("free {name}"), "ok");
        match WAYS[way] {
            // These wait for the whole context.
            "plain" | "pitch" | "managed" | "array" | "sparse" => self.unwaited = 0,
            "orphan" => self.unwaited += bytes,
            _ => {}
        }
    }

    fn launch(&mut self, slice: &Slice, tenant: &mut TenantProcess, nth: usize) {
        let Some(name) = self.graph(nth) else { return };
        let is_over = self.needed() > LIMIT;
        let answer = tenant.ask(&format!("play {name}")).unwrap();
        let expected = if is_over { "error 2 " } else { "ok" };
        assert!(
            answer.starts_with(expected),
            "{answer}: {} needed, {} charged, {} not waited for, graphs {:?} and {} left of them",
            self.needed(),
            slice.used(),
            self.unwaited,
            self.graphs,
            self.spare
        );
        let (takes, has) = self.graphs[&name];
        if !is_over && has == 0 {
            self.graphs.insert(name, (takes, takes));
            self.spare -= self.spare.min(takes);
        }
    }

    /// Nothing is held that is not charged; and once the card was waited for, nothing is charged
    /// that is not held.
    fn check(&self, scene: &Scene, slice: &Slice, tenant: &TenantProcess, act: &Act) {
        let truth = scene.cards.process(tenant.pid()).unwrap().cards[0].used_bytes;
        let charged = slice.used();
        assert!(
            charged >= truth && charged - truth <= self.unwaited,
            "{charged} charged of {truth} after {act:?}, {} not waited for, graphs {:?} and {}, {:?}",
            self.unwaited,
            self.graphs,
            self.spare,
            self.held
        );
        assert!(truth - self.of_graphs() <= LIMIT, "{truth} held of {LIMIT}");
        if matches!(act, Act::Wait) {
            assert_eq!((charged, truth), (self.needed(), self.needed()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_hundred_programs_of_a_hundred_calls_agree_with_a_model(acts in vec(act(), 100)) {
        let scene = Scene::new();
        let slice = scene.slice(Some(LIMIT), 1000);
        let (mut tenant, mut model) = (scene.start(&slice), Model::default());
        for act in acts.iter().chain([&Act::Wait]) {
            model.act(&slice, &mut tenant, act);
            model.check(&scene, &slice, &tenant, act);
        }
        assert_eq!(slice.failures(), 0);
    }
}
