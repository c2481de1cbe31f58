//! Cards and jobs for the tests of this module, and of what builds on it.

use cotenant_types::{
    Ask, Card, CardKind, CardShare, Class, JobTerms, Mebibytes, MemoryAsk, MigGeometry, MigProfile,
    Place, Policy, Rung, Share, Site, Span,
};

/// Cards of one node, of so much memory.
pub(crate) fn cards(count: u32, memory: u64) -> Vec<Card> {
    let card = |index: u32| Card {
        id: format!("n-{index}").parse().unwrap(),
        node: "n".parse().unwrap(),
        index,
        kind: CardKind::Sim,
        model: "NVIDIA H100 80GB HBM3".to_owned(),
        memory: Mebibytes(memory),
        cores: 0,
        site: Site::default(),
        rungs: vec![Rung::Mps, Rung::TimeSlice, Rung::Advisory],
        mig: None,
    };
    (0..count).map(card).collect()
}

/// The larger partitions of an H100.
pub(crate) fn geometry() -> MigGeometry {
    let profile = |name: &str, memory, compute, width, starts: &[u8], count_max| MigProfile {
        name: name.to_owned(),
        memory: Mebibytes(memory),
        compute: share(compute),
        width,
        starts: starts.to_vec(),
        count_max,
    };
    MigGeometry {
        slots: 8,
        profiles: vec![
            profile("1g.10gb", 10_240, 142, 1, &[0, 1, 2, 3, 4, 5, 6], 7),
            profile("2g.20gb", 20_480, 285, 2, &[0, 2, 4], 3),
            profile("3g.40gb", 40_960, 428, 4, &[0, 4], 2),
            profile("7g.80gb", 81_920, 1000, 8, &[0], 1),
        ],
    }
}

/// An offline job of a fixed share: `22GiB 300` with compute in thousandths, or `whole`.
pub(crate) fn terms(text: &str) -> JobTerms {
    let part = |(memory, compute): (&str, &str)| {
        let memory = MemoryAsk::Mib(memory.parse().unwrap());
        let compute = share(compute.parse().unwrap());
        CardShare::Part {
            memory: Span { request: memory, limit: memory },
            compute: Span { request: compute, limit: compute },
        }
    };
    let ask = Ask {
        members: 1,
        cards: 1,
        share: text.split_once(' ').map_or(CardShare::Whole, part),
        policy: Policy::Fixed,
        place: Place::Binpack,
        same: None,
        prefer: None,
        foretold: None,
        models: Vec::new(),
        rung_min: None,
    };
    JobTerms {
        tenant: "law".parse().unwrap(),
        ask,
        class: Class::Offline,
        priority: 0,
        time_limit: None,
        deadline: None,
        retries: 0,
        preempt: None,
        idle: None,
        watermark: None,
    }
}

pub(crate) fn online(terms: JobTerms) -> JobTerms {
    JobTerms { class: Class::Online, ..terms }
}

pub(crate) fn bursting(mut terms: JobTerms) -> JobTerms {
    terms.ask.policy = Policy::Burst;
    terms
}

pub(crate) fn of_cards(mut terms: JobTerms, cards: u32) -> JobTerms {
    terms.ask.cards = cards;
    terms
}

pub(crate) fn share(per_mille: u32) -> Share {
    Share::from_per_mille(per_mille).unwrap()
}
