//! How many cards a set of jobs needs, by how they are shared.

use std::collections::BTreeMap;

use cotenant_types::{Amount, Ask, CardId, CardShare, Class, JobTerms, Rung, Share};
use serde::Serialize;

use super::job::{JobAdvice, Trust, Way, advise_job};
use super::shape::{CardChoice, NodeShape};
use super::smallest::{Fitting, Misfit, smallest_pool};
use crate::reason::CardLack;

/// A job of a set, and what is known of it beside its terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetJob {
    /// When and where it is to run.
    pub terms: JobTerms,
    /// How many like it run at a time.
    pub copies: u32,
    /// Whether its code is known to mean well.
    pub trust: Trust,
    /// How much of its time it computes, if somebody knows.
    pub busy: Option<Share>,
}

/// What is advised for a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAdvice {
    /// For each job.
    pub jobs: Vec<JobAdvice>,
    /// Ways to lay out all of them.
    pub layouts: Vec<Layout>,
    /// Compute that is expected to be in use at a time, in thousandths of a card; none if nobody
    /// said of some job how busy it is.
    pub busy_milli: Option<u64>,
}

/// One way to lay out a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Which way.
    pub kind: LayoutKind,
    /// Cards that are used alike, or why there are none; a misfit's job is one of the set's.
    pub parts: Result<Vec<Part>, Misfit>,
}

/// Ways to lay out a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LayoutKind {
    /// No card is shared.
    Whole,
    /// Every card is shared, as the cards are now.
    Shared,
    /// Every card is shared in MIG mode.
    Partitioned,
    /// Each job is where it should be.
    Advised,
    /// The same, and no online job shares a card with an offline one.
    Apart,
}

/// Cards of a layout that are used alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Their mode.
    pub mode: CardMode,
    /// The class that they are kept for, if they are.
    pub class: Option<Class>,
    /// Which job of the set each placement is of, copy by copy.
    pub jobs: Vec<usize>,
    /// How many there are, and what runs where.
    pub pool: Fitting,
}

/// What runs on one card of a layout.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct OnCard {
    /// Which jobs of the set have a slice of it, each as often as it has one.
    pub jobs: Vec<usize>,
    /// What is kept for them.
    pub kept: Amount,
}

/// The mode of a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CardMode {
    /// Shared by limits or turns, or not at all.
    Ordinary,
    /// In MIG mode.
    Partitioned,
}

/// Advises for each job and for the set, on pools of up to so many cards.
pub fn advise(set: &[SetJob], choice: &CardChoice, cards_max: u32) -> SetAdvice {
    let advised = |job: &SetJob| advise_job(&job.terms, (job.trust, job.busy), choice);
    let jobs: Vec<JobAdvice> = set.iter().map(advised).collect();
    let mut kinds = vec![LayoutKind::Whole, LayoutKind::Shared];
    if choice.ordinary.is_some() && choice.partitioned.is_some() {
        kinds.push(LayoutKind::Partitioned);
    }
    kinds.push(LayoutKind::Advised);
    if [Class::Online, Class::Offline].iter().all(|&class| has_class(set, class)) {
        kinds.push(LayoutKind::Apart);
    }
    let planner = Planner { set, jobs: &jobs, choice, cards_max };
    let layouts = kinds.into_iter().map(|kind| planner.layout(kind)).collect();
    let busy_milli = set.iter().map(busy_milli).sum();
    SetAdvice { layouts, busy_milli, jobs }
}

fn has_class(set: &[SetJob], class: Class) -> bool {
    set.iter().any(|job| job.terms.class == class)
}

/// Compute that the copies of a job are expected to use at a time, if somebody knows.
fn busy_milli(job: &SetJob) -> Option<u64> {
    let Ask { members, cards, share, .. } = &job.terms.ask;
    let kept = match share {
        CardShare::Whole => Share::WHOLE,
        CardShare::Part { compute, .. } => compute.request,
    };
    let slices = u64::from(job.copies) * u64::from(*members) * u64::from(*cards);
    let parts = u64::from(kept.per_mille()) * u64::from(job.busy?.per_mille());
    Some(slices.saturating_mul(parts) / 1000)
}

impl Layout {
    /// Cards in all, if it is one.
    pub fn cards(&self) -> Option<u32> {
        Some(self.parts.as_ref().ok()?.iter().map(|part| part.pool.cards).sum())
    }
}

impl Part {
    /// What runs on each of its cards.
    pub fn on_cards(&self) -> BTreeMap<CardId, OnCard> {
        let mut cards: BTreeMap<CardId, OnCard> = BTreeMap::new();
        for (&job, placement) in self.jobs.iter().zip(&self.pool.placements) {
            for slice in placement.slices() {
                let card = cards.entry(slice.card.clone()).or_default();
                card.jobs.push(job);
                card.kept = card.kept.plus(Amount::of(slice));
            }
        }
        cards
    }
}

impl SetAdvice {
    /// The layout of a kind, if it was tried.
    pub fn layout(&self, kind: LayoutKind) -> Option<&Layout> {
        self.layouts.iter().find(|layout| layout.kind == kind)
    }

    /// Cards that are saved where each job is where it should be, against no sharing.
    pub fn cards_saved(&self) -> Option<u32> {
        let whole = self.layout(LayoutKind::Whole)?.cards()?;
        Some(whole.saturating_sub(self.layout(LayoutKind::Advised)?.cards()?))
    }
}

/// What layouts are made of.
struct Planner<'a> {
    set: &'a [SetJob],
    jobs: &'a [JobAdvice],
    choice: &'a CardChoice,
    cards_max: u32,
}

impl Planner<'_> {
    fn layout(&self, kind: LayoutKind) -> Layout {
        let parts = match kind {
            LayoutKind::Whole => {
                self.too_large().and_then(|()| self.all_on(self.choice.as_found(), kind))
            }
            LayoutKind::Shared => self.all_on(self.choice.as_found(), kind),
            LayoutKind::Partitioned => {
                let shape = self.choice.partitioned.as_ref();
                self.all_on(shape.expect("a kind is tried where it can be"), kind)
            }
            LayoutKind::Advised => self.advised(None),
            LayoutKind::Apart => self.advised(Some(Class::Online)).and_then(|mut online| {
                online.extend(self.advised(Some(Class::Offline))?);
                Ok(online)
            }),
        };
        Layout { kind, parts }
    }

    /// A job that wants more memory than a card has does not fit because it gets the card whole.
    fn too_large(&self) -> Result<(), Misfit> {
        let memory = self.choice.as_found().card().memory;
        let is_too_large = |job: &SetJob| match job.terms.ask.share {
            CardShare::Whole => false,
            CardShare::Part { memory: asked, .. } => asked.request.on(memory) > memory,
        };
        match self.set.iter().position(is_too_large) {
            Some(job) => Err(Misfit::Job { job, lack: CardLack::Size }),
            None => Ok(()),
        }
    }

    /// All jobs on cards of one shape.
    fn all_on(&self, shape: &NodeShape, kind: LayoutKind) -> Result<Vec<Part>, Misfit> {
        let jobs: Vec<usize> = (0..self.set.len()).collect();
        let terms = |job: usize| match kind {
            LayoutKind::Whole => whole(&self.set[job].terms),
            LayoutKind::Shared
            | LayoutKind::Partitioned
            | LayoutKind::Advised
            | LayoutKind::Apart => self.set[job].terms.clone(),
        };
        Ok(vec![self.part(shape, (&jobs, None), terms)?])
    }

    /// Each job, or each of a class, where it should be: in a partition, or on ordinary cards.
    fn advised(&self, class: Option<Class>) -> Result<Vec<Part>, Misfit> {
        let (mut ordinary, mut partitioned) = (Vec::new(), Vec::new());
        for (job, advice) in self.jobs.iter().enumerate() {
            if class.is_some_and(|class| class != self.set[job].terms.class) {
                continue;
            }
            match advice.way {
                Way::Shared(Rung::Mig) => partitioned.push(job),
                Way::Shared(_) | Way::Whole => ordinary.push(job),
                Way::Nowhere(lack) => return Err(Misfit::Job { job, lack }),
            }
        }
        let terms = |job: usize| match self.jobs[job].way {
            Way::Whole => whole(&self.set[job].terms),
            Way::Shared(_) | Way::Nowhere(_) => self.set[job].terms.clone(),
        };
        let mut parts = Vec::new();
        if !ordinary.is_empty() {
            parts.push(self.part(self.choice.as_found(), (&ordinary, class), terms)?);
        }
        if let Some(shape) = self.choice.partitioned.as_ref().filter(|_| !partitioned.is_empty()) {
            parts.push(self.part(shape, (&partitioned, class), terms)?);
        }
        Ok(parts)
    }

    /// The smallest pool of a shape for every copy of some jobs.
    fn part(
        &self,
        shape: &NodeShape,
        (jobs, class): (&[usize], Option<Class>),
        terms: impl Fn(usize) -> JobTerms,
    ) -> Result<Part, Misfit> {
        let copies = |&job: &usize| std::iter::repeat_n(job, self.set[job].copies as usize);
        let jobs: Vec<usize> = jobs.iter().flat_map(copies).collect();
        let all: Vec<JobTerms> = jobs.iter().map(|&job| terms(job)).collect();
        let pool = smallest_pool(&all, shape, self.cards_max).map_err(|misfit| match misfit {
            Misfit::Job { job, lack } => Misfit::Job { job: jobs[job], lack },
            Misfit::Limit { cards_max } => Misfit::Limit { cards_max },
        })?;
        let mode = match shape.card().mig {
            Some(_) => CardMode::Partitioned,
            None => CardMode::Ordinary,
        };
        Ok(Part { mode, class, jobs, pool })
    }
}

/// The same job on cards of its own.
pub(crate) fn whole(terms: &JobTerms) -> JobTerms {
    let ask = Ask { share: CardShare::Whole, ..terms.ask.clone() };
    JobTerms { ask, ..terms.clone() }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::super::testing::{bursting, cards, geometry, online, share, terms};
    use super::*;

    #[test]
    fn each_card_knows_what_runs_on_it() {
        let set = [job(terms("10GiB 200"), 1), job(terms("20GiB 300"), 3)];
        let advice = advise(&set, &choice(), 64);
        let layout = advice.layout(LayoutKind::Shared).unwrap();
        let line = |(card, on): (CardId, OnCard)| {
            format!("{card} {:?} {}‰ {}", on.jobs, on.kept.compute_milli, on.kept.memory)
        };
        let cards = layout.parts.as_ref().unwrap()[0].on_cards().into_iter();
        expect![[r#"
            node-0-0 [1, 1, 1] 900‰ 61440MiB
            node-0-1 [0] 200‰ 10240MiB"#]]
        .assert_eq(&cards.map(line).collect::<Vec<_>>().join("\n"));
    }

    fn job(terms: JobTerms, copies: u32) -> SetJob {
        SetJob { terms, copies, trust: Trust::Trusted, busy: None }
    }

    fn choice() -> CardChoice {
        CardChoice::of(&cards(8, 81_920), Some(&geometry())).unwrap()
    }

    fn check(set: &[SetJob], choice: &CardChoice, expected: Expect) {
        let advice = advise(set, choice, 64);
        let part = |part: &Part| {
            let class = part.class.map_or(String::new(), |class| format!(" {class:?}"));
            format!("{} {:?}{class}", part.pool.cards, part.mode)
        };
        let line = |layout: &Layout| match &layout.parts {
            Ok(parts) => {
                let parts: Vec<String> = parts.iter().map(part).collect();
                format!("{:?}: {}", layout.kind, parts.join(" + "))
            }
            Err(misfit) => format!("{:?}: {misfit:?}", layout.kind),
        };
        let lines: Vec<String> = advice.layouts.iter().map(line).collect();
        let saved = advice.cards_saved();
        expected.assert_eq(&format!(
            "{}\nsaves {saved:?}, busy {:?}\n",
            lines.join("\n"),
            advice.busy_milli
        ));
    }

    #[test]
    fn a_set_is_laid_out_in_every_way() {
        let hostile = SetJob { trust: Trust::Untrusted, ..job(terms("8GiB 100"), 2) };
        let set = [
            job(online(terms("22GiB 300")), 2),
            job(bursting(terms("10GiB 200")), 3),
            hostile,
            job(terms("whole"), 1),
        ];
        check(
            &set,
            &choice(),
            expect![[r#"
                Whole: 8 Ordinary
                Shared: 3 Ordinary
                Partitioned: Job { job: 1, lack: Enforcement }
                Advised: 3 Ordinary + 1 Partitioned
                Apart: 1 Ordinary Online + 2 Ordinary Offline + 1 Partitioned Offline
                saves Some(4), busy None
            "#]],
        );
    }

    #[test]
    fn what_fits_nowhere_is_named() {
        let one = CardChoice::of(&cards(1, 81_920), None).unwrap();
        check(
            &[job(terms("1GiB 1"), 65)],
            &one,
            expect![[r#"
                Whole: Limit { cards_max: 64 }
                Shared: 1 Ordinary
                Advised: 1 Ordinary
                saves None, busy None
            "#]],
        );
        let set = [job(terms("1GiB 1"), 65), job(terms("81GiB 1"), 1)];
        check(
            &set,
            &one,
            expect![[r#"
                Whole: Job { job: 1, lack: Size }
                Shared: Job { job: 1, lack: Size }
                Advised: Job { job: 1, lack: Size }
                saves None, busy None
            "#]],
        );
    }

    #[test]
    fn expected_use_is_of_what_is_kept() {
        let busy = |per_mille, job| SetJob { busy: Some(share(per_mille)), ..job };
        let set = [busy(300, job(terms("1GiB 500"), 2)), busy(100, job(terms("whole"), 1))];
        let switched = choice().partitioned.unwrap().grown_to(8);
        check(
            &set,
            &CardChoice::of(&switched, None).unwrap(),
            expect![[r#"
                Whole: 3 Partitioned
                Shared: 3 Partitioned
                Advised: 1 Partitioned + 2 Partitioned
                saves Some(0), busy Some(400)
            "#]],
        );
    }
}
