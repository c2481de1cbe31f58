//! What people ask for, by chance.

use cotenant_types::{
    Ask, CardShare, Class, Idle, JobTerms, Mebibytes, MemoryAsk, Moment, Near, Place, Policy,
    Preempt, Seconds, Share, Signal, Span, Watermark,
};

use super::dice::Dice;

/// A job.
pub(super) fn terms(dice: &mut Dice, now: Moment) -> JobTerms {
    let class = if dice.happens(300) { Class::Online } else { Class::Offline };
    let is_soft = class == Class::Offline && dice.happens(600);
    let mut sometimes =
        |per_mille, upto| dice.happens(per_mille).then(|| Seconds(1 + dice.below(upto) as u32));
    let (time_limit, deadline) = (sometimes(400, 100), sometimes(100, 300));
    let idle = sometimes(100, 60).map(|after| Idle { after, notice: Seconds(10) });
    let mark = Watermark { latency_ms: Some(100), usage: Share::from_per_mille(800).ok() };
    let watermark = (class == Class::Online && dice.happens(700)).then_some(mark);
    let share = share(dice);
    JobTerms {
        tenant: dice.pick(&["a", "b", "c"]).parse().unwrap(),
        ask: Ask {
            members: *dice.pick(&[1, 1, 1, 2, 3]),
            cards: *dice.pick(&[1, 1, 2]),
            share,
            policy: *dice.pick(&[Policy::Fixed, Policy::Burst, Policy::Contend]),
            place: *dice.pick(&[Place::Binpack, Place::Spread]),
            same: *dice.pick(&[None, None, Some(Near::Nvlink), Some(Near::Rack)]),
            prefer: *dice.pick(&[None, Some(Near::Nvlink), Some(Near::Rack)]),
            foretold: dice.happens(200).then(|| Mebibytes(1_000 * dice.below(90))),
            models: Vec::new(),
            rung_min: None,
        },
        class,
        priority: dice.below(3) as i32,
        time_limit,
        deadline: deadline.map(|wait| now.after(wait)),
        retries: dice.below(3) as u32,
        preempt: is_soft.then_some(Preempt { signal: Signal::Term, grace: Seconds(5) }),
        idle,
        watermark,
    }
}

/// The part of a card that it wants.
pub(super) fn share(dice: &mut Dice) -> CardShare {
    if dice.happens(200) {
        return CardShare::Whole;
    }
    let memory = MemoryAsk::Mib(Mebibytes(1_000 * (1 + dice.below(60))));
    let compute = Share::from_per_mille(50 * (1 + dice.below(15) as u32)).unwrap();
    CardShare::Part {
        memory: Span { request: memory, limit: memory },
        compute: Span { request: compute, limit: compute },
    }
}
